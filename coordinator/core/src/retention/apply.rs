//! How commands about destruction are applied.

use cluster_config::canary::Canaries;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::wire::RefusalCode;

use super::command::Command;
use crate::galleries::Receipt;
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, at: UnixMs, canaries: Canaries) -> Outcome {
    match command {
        Command::Receipt { shard, node } => receipt(state, *shard, *node, at, canaries),
        Command::Attest(node) => attest(state, *node, at, canaries),
    }
}

fn receipt(state: &mut State, shard: ShardId, node: NodeId, at: UnixMs, canaries: Canaries) -> Outcome {
    let placed = state.blueprint.placement(shard).is_some_and(|p| p.holders().any(|holder| holder == node));
    if placed {
        let place = format!("purge receipt of node {node} for {shard}");
        return Outcome::refused(RefusalCode::Conflict, place, "the blueprint has that node hold the shard");
    }
    state.galleries.settle_receipt(shard, node, Receipt { at, attested: false }, canaries);
    Outcome::Done
}

fn attest(state: &mut State, node: NodeId, at: UnixMs, canaries: Canaries) -> Outcome {
    let place = format!("attestation for node {node}");
    if state.members.contains(node) {
        return Outcome::refused(RefusalCode::Conflict, place, "it is a member; `tvs cluster remove` comes first");
    }
    let placed = state.blueprint.iter().find(|(_, placement)| placement.holders().any(|n| n == node));
    if let Some((shard, _)) = placed {
        let fix = format!("it is still to hold {shard}; try again in a moment");
        return Outcome::refused(RefusalCode::Conflict, place, fix);
    }
    let all = state.galleries.all_shards();
    let held: Vec<ShardId> = all.filter(|(_, part)| part.holders.contains(&node)).map(|(shard, _)| shard).collect();
    for shard in held {
        state.galleries.settle_receipt(shard, node, Receipt { at, attested: true }, canaries);
    }
    Outcome::Done
}
