//! Judges every blueprint, whoever made it: the rules that no placement may break.

use std::collections::BTreeSet;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, NodeId};

use super::command::Change;
use crate::state::State;

/// What a change does that no placement may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shard}: {rule}")]
pub struct Violation {
    /// The shard that it places.
    pub shard: ShardId,
    /// The rule that it breaks.
    pub rule: Rule,
}

/// A rule, as the text of what breaks it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The shard's gallery is unknown, closed, of another model, or has no such part.
    #[error("no open gallery has this shard")]
    NoSuchShard,
    /// The same shard twice in one change.
    #[error("it is placed twice in one change")]
    PlacedTwice,
    /// One node twice among those that hold the shard.
    #[error("node {0} is given two places")]
    NodeTwice(NodeId),
    /// A place on a node that is no member.
    #[error("node {0} is not a member")]
    NotAMember(NodeId),
    /// The epoch must rise by one exactly when the owner changes (P4).
    #[error("the epoch is {found} where {wanted} is due")]
    Epoch {
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
        let broken = |rule| Err(Violation { shard, rule });
        let is_open = state.galleries.get(shard.gallery).is_some_and(|gallery| gallery.is_open());
        if !is_open || state.galleries.part(shard).is_none() {
            return broken(Rule::NoSuchShard);
        }
        if !placed.insert(shard) {
            return broken(Rule::PlacedTwice);
        }
        let mut nodes = BTreeSet::new();
        for node in placement.holders() {
            if !nodes.insert(node) {
                return broken(Rule::NodeTwice(node));
            }
            if !state.members.contains(node) {
                return broken(Rule::NotAMember(node));
            }
        }
        let wanted = match state.blueprint.placement(shard) {
            None => Epoch(1),
            Some(before) if before.owner == placement.owner || canaries.has(Canary::SameEpoch) => before.epoch,
            Some(before) => Epoch(before.epoch.0 + 1),
        };
        if placement.epoch != wanted {
            return broken(Rule::Epoch { found: placement.epoch, wanted });
        }
    }
    Ok(())
}
