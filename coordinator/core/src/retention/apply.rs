//! How commands about destruction are applied.

use cluster_config::canary::Canaries;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::wire::RefusalCode;

use super::command::Command;
use crate::galleries::{Part, Receipt};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, at: UnixMs, canaries: Canaries) -> Outcome {
    match command {
        Command::Receipt { shard, node, keeps } => receipt(state, (*shard, *node, *keeps), at, canaries),
        Command::Attest(node) => attest(state, *node, at, canaries),
    }
}

fn receipt(state: &mut State, given: (ShardId, NodeId, bool), at: UnixMs, canaries: Canaries) -> Outcome {
    let (shard, node, keeps) = given;
    let placed = state.blueprint.placement(shard).is_some_and(|p| p.holders().any(|holder| holder == node));
    if placed {
        let place = format!("purge receipt of node {node} for {shard}");
        let problem = "the blueprint has that node hold the shard";
        let fix = "give the receipt once the blueprint has it hold the shard no more";
        return Outcome::refused(RefusalCode::Conflict, place, problem, fix);
    }
    state.galleries.settle_receipt(shard, node, (Receipt { at, attested: false }, keeps), canaries);
    Outcome::Done
}

fn attest(state: &mut State, node: NodeId, at: UnixMs, canaries: Canaries) -> Outcome {
    let place = format!("attestation for node {node}");
    if state.members.contains(node) {
        let fix = "take it out with `tvs cluster remove` first";
        return Outcome::refused(RefusalCode::Conflict, place, "the node is a member", fix);
    }
    let placed = state.blueprint.iter().find(|(_, placement)| placement.holders().any(|n| n == node));
    if let Some((shard, _)) = placed {
        let problem = format!("the node is still to hold {shard}");
        return Outcome::refused(RefusalCode::Conflict, place, problem, "try again in a moment");
    }
    let all = state.galleries.all_shards();
    let of_part = |(shard, part): (ShardId, &Part)| {
        let held = part.holders.contains(&node).then_some(shard);
        held.into_iter().chain(shard.kept().filter(|_| part.keepers.contains(&node))).collect::<Vec<ShardId>>()
    };
    let held: Vec<ShardId> = all.flat_map(of_part).collect();
    for shard in held {
        state.galleries.settle_receipt(shard, node, (Receipt { at, attested: true }, false), canaries);
    }
    Outcome::Done
}
