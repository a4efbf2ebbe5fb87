//! Commands about placement.

use cluster_config::gallery::ShardId;
use cluster_config::ids::Generation;
use serde::{Deserialize, Serialize};

use super::blueprint::Placement;

/// The new placement of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub shard: ShardId,
    /// Where it lives from now on.
    pub placement: Placement,
}

/// A change of the blueprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A new generation, as a difference to its parent.
    Change {
        /// The generation that this builds on; any other refuses it.
        parent: Generation,
        changes: Vec<Change>,
    },
}
