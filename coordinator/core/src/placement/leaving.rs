//! What a node that leaves takes with it: how many voters may be lost before and after, the galleries of which it has
//! the last copy, and what it still holds while it is being emptied.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::wire::operator::{Draining, Move, Voters};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use super::command::Command;
use super::inventory::Inventory;
use super::plan::plan;
use crate::state::State;

/// How a change of the voters changes what the group survives.
///
/// # Errors
/// Where those who would be left and answer are no majority.
pub fn voters(inventory: &Inventory, before: usize, after: &BTreeSet<NodeId>) -> Result<Voters, Refusal> {
    let alive = after.iter().filter(|node| !inventory.is_lost(**node)).count();
    if 2 * alive > after.len() {
        return Ok(Voters { before: before as u32, after: after.len() as u32 });
    }
    let problem = format!("of the {} that would be left {alive} answer, which is no majority", after.len());
    let fix = "start those that are silent, or add others first; give --i-know where the cluster may stop";
    Err(Refusal::new(RefusalCode::Conflict, "voters", problem, fix))
}

/// Refuses to let go of a node that has the last copy of a gallery at its committed version.
///
/// # Errors
/// The first such gallery, and how many there are.
pub fn keeps_copies(state: &State, inventory: &Inventory, node: NodeId) -> Result<(), Refusal> {
    let is_last = |shard: ShardId| {
        let committed = state.part(shard).map(|part| part.version).unwrap_or_default();
        let mut others = state.members.ids().filter(|other| *other != node && !inventory.is_lost(*other));
        committed.0 > 0 && !others.any(|other| inventory.version(other, shard) >= committed)
    };
    let held = state.blueprint.iter().filter(|(_, placement)| placement.has(node)).map(|(shard, _)| shard);
    let last: Vec<ShardId> = held.filter(|shard| is_last(*shard)).collect();
    let Some(first) = last.first() else { return Ok(()) };
    let problem = format!("node {node} has its last copy; so it is with {} galleries", last.len());
    let fix = Fix::with(format!("run `tvs cluster drain {node}` first; give --i-know where they are lost anyway"));
    Err(Refusal::new(RefusalCode::Conflict, format!("gallery {first}"), problem, fix))
}

/// What a node still holds that is being emptied. `leads` says whether it leads the group.
pub fn draining(state: &State, inventory: &Inventory, node: NodeId, leads: bool, canaries: Canaries) -> Draining {
    let mut left = Draining { leads, ..Draining::default() };
    for (shard, placement) in state.blueprint.iter() {
        left.owns += u32::from(placement.owner == node);
        left.stands_by += u32::from(placement.standbys.contains(&node));
        left.rosters += u32::from(placement.rosters.contains(&node));
        if !placement.has(node) {
            continue;
        }
        let committed = state.part(shard).map(|part| part.version).unwrap_or_default();
        let takes = |other: &NodeId| *other != node && !state.members.is_draining(*other);
        let others: Vec<NodeId> = placement.replicas().filter(takes).collect();
        let is_ready = |other: &NodeId| inventory.is_alive(*other) && inventory.version(*other, shard) >= committed;
        left.stuck += u32::from(others.is_empty());
        left.unready += u32::from(!others.is_empty() && !others.iter().any(is_ready));
    }
    left.rosters += state.galleries.all_shards().filter(|(_, part)| state.gives_up(node, part)).count() as u32;
    left.open = if inventory.is_lost(node) { 0 } else { inventory.open(node) };
    let is_empty = !leads && left.owns + left.stands_by + left.rosters + left.open == 0;
    left.is_done = state.members.is_draining(node) && (is_empty || canaries.has(Canary::DrainDoneEarly));
    left
}

/// Where the galleries of a node would go if it were emptied now; those that nobody would take go nowhere.
pub fn preview(state: &State, inventory: &Inventory, node: NodeId, now: UnixMs) -> Vec<Move> {
    let mut emptied = state.freeze();
    emptied.members.empty(node);
    let mut planned = BTreeMap::new();
    for command in plan(&emptied, inventory, now, Canaries::default()) {
        let Command::Change { changes, .. } = command;
        planned.extend(changes.into_iter().map(|change| (change.shard, change.placement)));
    }
    let held = state.blueprint.iter().filter(|(_, placement)| placement.has(node));
    let moves = held.map(|(shard, before)| {
        let after = planned.get(&shard).unwrap_or(before);
        let to = after.replicas().filter(|other| *other != node && !emptied.members.is_draining(*other)).collect();
        Move { shard, owned: before.owner == node, to }
    });
    moves.collect()
}
