//! A small world of a node that is emptied (P3): the planner moves its galleries while nodes build their copies step by
//! step, and it may be stopped when nothing of it is left, no earlier.

use std::collections::BTreeMap;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::gallery::{GalleryId, Modality, ShardId};
use cluster_config::ids::{ContentHash, GalleryVersion, Incarnation, NodeId, UnixMs};
use cluster_config::journey::JourneyPlan;
use cluster_config::member::Member;
use cluster_config::wire::peer::{Held, Report};
use coordinator_core::placement::{Inventory, leaving, plan};
use coordinator_core::{Command, Entry, State, journeys, membership};
use node_population::model;

use crate::dice::Dice;

/// Steps in which a node must be empty.
const STEPS: usize = 200;

/// The node that is emptied.
const NODE: NodeId = NodeId(1);

fn apply(state: &mut State, command: impl Into<Command>) {
    state.apply(&Entry::new(Actor::node(NODE), UnixMs(0), command.into()), Canaries::default());
}

fn journey(number: u64) -> JourneyPlan {
    JourneyPlan {
        id: format!("AA{number}-20270115-JFK").parse().expect("an id"),
        carrier: "AA".into(),
        number: number.to_string(),
        departure_port: "JFK".parse().expect("a port"),
        arrival_port: "LHR".parse().expect("a port"),
        departs_at: UnixMs(1),
        people: 10,
        parts: 1,
        manifest: ContentHash([number as u8; 32]),
        model: model(),
    }
}

/// Empties a node, and gives what did not hold.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<(), String> {
    let (mut dice, mut state, mut inventory) = (Dice::new(seed, "emptied"), State::default(), Inventory::default());
    let nodes: Vec<NodeId> = (1..=dice.between(3, 6)).map(NodeId).collect();
    for id in nodes.iter().copied() {
        let (address, zone) = (format!("10.0.0.{id}:7100"), format!("z{id}").parse().expect("a zone"));
        apply(&mut state, membership::Command::Register(Member { id, address, zone }));
    }
    let flights = dice.between(1, 12);
    (1..=flights).for_each(|number| apply(&mut state, journeys::Command::Open(journey(number))));
    let mut held: BTreeMap<(NodeId, ShardId), GalleryVersion> = BTreeMap::new();
    for step in 0..STEPS {
        if step == STEPS / 4 {
            apply(&mut state, membership::Command::SetDraining { node: NODE, draining: true });
        }
        // Each node builds or drops one copy, and tells what it has.
        for node in nodes.iter().copied() {
            let shards: Vec<ShardId> = (1..=flights).map(shard).collect();
            if let Some(shard) = dice.pick(&shards) {
                match state.placement(shard).is_some_and(|placement| placement.has(node)) {
                    true => held.insert((node, shard), GalleryVersion(0)),
                    false => held.remove(&(node, shard)),
                };
            }
            let shards = held.iter().filter(|((at, _), _)| *at == node).map(|((_, shard), v)| (*shard, *v)).collect();
            // Gates go on asking it for a while after its last gallery has moved.
            let open = if node == NODE && step < STEPS - 10 { dice.between(0, 3) as u32 } else { 0 };
            inventory.take(Report {
                node,
                incarnation: Incarnation(1),
                revision: 1,
                held: Some(Held { shards, troubles: Vec::new() }),
                open,
                clock: UnixMs(0),
            });
            check(&state, &inventory)?;
        }
        for command in plan(&state, &inventory, UnixMs(0), Canaries::default()) {
            apply(&mut state, command);
        }
        check(&state, &inventory)?;
    }
    let left = leaving::draining(&state, &inventory, NODE, false, Canaries::of_process());
    if left.is_done { Ok(()) } else { Err(format!("P3: the node is not emptied: {left:?}")) }
}

fn shard(number: u64) -> ShardId {
    let gallery = GalleryId::passengers(journey(number).id);
    ShardId { gallery, modality: Modality::Face, model: model(), part: 0 }
}

/// A node that may be stopped is named by no placement and owes no answer.
fn check(state: &State, inventory: &Inventory) -> Result<(), String> {
    let open = inventory.open(NODE);
    let left = leaving::draining(state, inventory, NODE, false, Canaries::of_process());
    let named = state.blueprint().iter().filter(|(_, placement)| placement.holders().any(|node| node == NODE)).count();
    if left.is_done && (named > 0 || open > 0) {
        return Err(format!("P3: done, but {named} galleries name the node, and {open} answers are open"));
    }
    Ok(())
}
