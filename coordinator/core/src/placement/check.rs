//! Judges every blueprint, whoever made it: the rules that no placement may break.

use std::collections::BTreeSet;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, NodeId};

use super::command::Change;
use crate::state::State;

/// A rule that a change breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The shard's gallery is unknown, closed, of another model, or has no such part.
    #[error("{0}: no open gallery has this shard")]
    NoSuchShard(ShardId),
    /// The same shard twice in one change.
    #[error("{0}: placed twice in one change")]
    PlacedTwice(ShardId),
    /// One node twice among those that hold the shard.
    #[error("{shard}: node {node} is given two places")]
    NodeTwice {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A place on a node that is no member.
    #[error("{shard}: node {node} is not a member")]
    NotAMember {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The epoch must rise by one exactly when the owner changes (P4).
    #[error("{shard}: epoch {found} where {wanted} is due")]
    Epoch {
        /// The shard.
        shard: ShardId,
        /// What the change says.
        found: Epoch,
        /// What it has to say.
        wanted: Epoch,
    },
}

/// Judges `changes` against the state that they would apply to.
///
/// # Errors
/// The first rule that is broken.
pub fn changes(state: &State, changes: &[Change], canaries: Canaries) -> Result<(), Violation> {
    let mut placed = BTreeSet::new();
    for Change { shard, placement } in changes {
        let shard = *shard;
        let is_open = state.galleries.get(shard.gallery).is_some_and(|gallery| gallery.is_open());
        if !is_open || state.galleries.part(shard).is_none() {
            return Err(Violation::NoSuchShard(shard));
        }
        if !placed.insert(shard) {
            return Err(Violation::PlacedTwice(shard));
        }
        let mut nodes = BTreeSet::new();
        for node in placement.holders() {
            if !nodes.insert(node) {
                return Err(Violation::NodeTwice { shard, node });
            }
            if !state.members.contains(node) {
                return Err(Violation::NotAMember { shard, node });
            }
        }
        let wanted = match state.blueprint.placement(shard) {
            None => Epoch(1),
            Some(before) if before.owner == placement.owner || canaries.has(Canary::SameEpoch) => before.epoch,
            Some(before) => Epoch(before.epoch.0 + 1),
        };
        if placement.epoch != wanted {
            return Err(Violation::Epoch { shard, found: placement.epoch, wanted });
        }
    }
    Ok(())
}
