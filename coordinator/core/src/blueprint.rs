//! The blueprint: one placement of all shards on nodes, with a generation and a parent.

use std::collections::BTreeMap;

use cluster_config::ids::{Epoch, Generation, NodeId, ShardId};
use serde::{Deserialize, Serialize};

/// Where one shard lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Generation of ownership; one more with each change of the owner.
    pub epoch: Epoch,
    /// The replica that builds and commits versions.
    pub owner: NodeId,
    /// The replicas that follow it and answer searches as well.
    pub standbys: Vec<NodeId>,
    /// Nodes without a replica that keep its people, so that it can be built again when every replica is lost.
    pub rosters: Vec<NodeId>,
}

impl Placement {
    /// Owner first, then the standbys.
    pub fn replicas(&self) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::once(self.owner).chain(self.standbys.iter().copied())
    }

    /// Every node that holds anything of the shard.
    pub fn holders(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.replicas().chain(self.rosters.iter().copied())
    }

    /// Whether `node` holds a replica.
    pub fn has(&self, node: NodeId) -> bool {
        self.replicas().any(|n| n == node)
    }
}

/// The new placement of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The shard.
    pub shard: ShardId,
    /// Where it lives from now on.
    pub placement: Placement,
}

/// All placements.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Blueprint {
    /// Counts up with each change.
    pub generation: Generation,
    /// The generation before.
    pub parent: Generation,
    /// Where each open shard lives.
    pub placements: BTreeMap<ShardId, Placement>,
}

impl Blueprint {
    /// Starts the next generation.
    pub(crate) fn advance(&mut self) {
        self.parent = self.generation;
        self.generation = Generation(self.generation.0 + 1);
    }
}
