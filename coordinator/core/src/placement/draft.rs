//! A blueprint in the making: every shard of an open gallery with the nodes that it is to have, before it is compared
//! with the present one.

use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, NodeId};

use super::blueprint::Placement;
use super::score::{Bucket, Loads};

/// What one shard is to have.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    pub shard: ShardId,
    /// When its work comes.
    pub bucket: Bucket,
    /// How much work it is: its people, one at least.
    pub people: u64,
    /// It boards, or may be searched at any moment: it moves only where a node is lost.
    pub boards: bool,
    /// Replicas that it should have, without those on nodes that are being drained.
    pub wanted: usize,
    pub owner: NodeId,
    /// Replicas, the owner among them.
    pub replicas: Vec<NodeId>,
    pub rosters: Vec<NodeId>,
    /// Where it is now.
    pub before: Option<&'a Placement>,
}

impl Draft<'_> {
    /// A replica more than is wanted: another one is being copied, or has just been.
    pub fn has_surplus(&self) -> bool {
        self.replicas.len() > self.wanted
    }

    /// The placement, where it is not the one that the shard has.
    pub fn change(&self, same_epoch: bool) -> Option<Placement> {
        let epoch = match self.before {
            None => Epoch(1),
            Some(before) if before.owner == self.owner || same_epoch => before.epoch,
            Some(before) => Epoch(before.epoch.0 + 1),
        };
        let standbys = self.replicas.iter().copied().filter(|node| *node != self.owner).collect();
        let after = Placement { epoch, owner: self.owner, standbys, rosters: self.rosters.clone() };
        let unchanged = self.before.is_some_and(|before| {
            before.owner == after.owner
                && same(&before.standbys, &after.standbys)
                && same(&before.rosters, &after.rosters)
        });
        (!unchanged).then_some(after)
    }
}

/// Whether both are the same nodes, in any order; none is in a list twice.
fn same(one: &[NodeId], other: &[NodeId]) -> bool {
    one.len() == other.len() && one.iter().all(|node| other.contains(node))
}

/// What nodes hold and own under drafts.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub held: Loads,
    pub owned: Loads,
}
