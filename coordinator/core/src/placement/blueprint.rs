//! The blueprint: one placement of all shards on nodes, with a generation and a parent.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, Generation, NodeId};
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

/// All placements.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Blueprint {
    generation: Generation,
    parent: Generation,
    /// Shared with the copies that snapshots are made of.
    placements: BTreeMap<ShardId, Arc<Placement>>,
}

impl Blueprint {
    /// Counts up with each change.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The generation before.
    pub fn parent(&self) -> Generation {
        self.parent
    }

    /// Where a shard lives; absent where it is not placed.
    pub fn placement(&self, shard: ShardId) -> Option<&Placement> {
        self.placements.get(&shard).map(Arc::as_ref)
    }

    /// All shards that are placed, and where they live.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, &Placement)> {
        self.placements.iter().map(|(shard, placement)| (*shard, placement.as_ref()))
    }

    /// How many shards are placed.
    pub fn len(&self) -> usize {
        self.placements.len()
    }

    /// Whether no shard is placed.
    pub fn is_empty(&self) -> bool {
        self.placements.is_empty()
    }

    pub(crate) fn place(&mut self, shard: ShardId, placement: Placement) {
        self.placements.insert(shard, Arc::new(placement));
    }

    /// Takes these shards off all nodes.
    pub(crate) fn remove(&mut self, shards: &[ShardId]) {
        for shard in shards {
            self.placements.remove(shard);
        }
        self.advance();
    }

    /// Starts the next generation.
    pub(crate) fn advance(&mut self) {
        self.parent = self.generation;
        self.generation = Generation(self.generation.0 + 1);
    }
}
