//! How loaded nodes are, and which one is best for a replica: an order, the best first, the id last so that there is
//! never a tie.

use std::collections::BTreeMap;

use cluster_config::ids::{NodeId, UnixMs};

/// Departures this close together load a node at the same time (design, section 7).
const BUCKET_MS: u64 = 15 * 60 * 1_000;

/// The 15-minute bucket of a departure.
pub type Bucket = u64;

/// The bucket of a departure. What never departs is in the first one, since its work is spread over all of them.
pub fn bucket(departs_at: Option<UnixMs>) -> Bucket {
    departs_at.map_or(0, |at| at.0 / BUCKET_MS)
}

/// Why one node is preferred over another; the least is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preference {
    /// Another replica stands in the same zone.
    pub shares_zone: bool,
    /// People of the departure's bucket.
    pub bucket: u64,
    /// People of all buckets.
    pub total: u64,
    pub node: NodeId,
}

/// People by node. Those whom a node holds and those whom it owns are counted apart: an owner does nearly all of the
/// work, but any replica may become one.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    buckets: BTreeMap<(NodeId, Bucket), u64>,
    totals: BTreeMap<NodeId, u64>,
}

impl Loads {
    fn of(&self, node: NodeId, bucket: Bucket) -> (u64, u64) {
        let of_bucket = self.buckets.get(&(node, bucket)).copied().unwrap_or(0);
        (of_bucket, self.totals.get(&node).copied().unwrap_or(0))
    }

    pub fn add(&mut self, node: NodeId, bucket: Bucket, people: u64) {
        *self.buckets.entry((node, bucket)).or_default() += people;
        *self.totals.entry(node).or_default() += people;
    }

    /// Takes off what was added before.
    pub fn remove(&mut self, node: NodeId, bucket: Bucket, people: u64) {
        let less = |load: &mut u64| *load = load.saturating_sub(people);
        self.buckets.get_mut(&(node, bucket)).map(less);
        self.totals.get_mut(&node).map(less);
    }

    /// How good `node` is for one more in `bucket`.
    pub fn preference(&self, node: NodeId, bucket: Bucket, shares_zone: bool) -> Preference {
        let (of_bucket, total) = self.of(node, bucket);
        Preference { shares_zone, bucket: of_bucket, total, node }
    }

    /// Whether so many people are better at `to` than at `from`. Each such move makes the sum of the squares of all
    /// loads smaller, in the bucket or else over all of them, so that moves come to an end.
    pub fn improves(&self, from: NodeId, to: NodeId, bucket: Bucket, people: u64) -> bool {
        let ((here, here_total), (there, there_total)) = (self.of(from, bucket), self.of(to, bucket));
        here > there + people || (here == there + people && here_total > there_total + people)
    }
}
