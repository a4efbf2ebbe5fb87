//! Which node is best for a replica: an order, the best first, the id last so that there is never a tie.

use std::collections::BTreeMap;

use cluster_config::ids::{NodeId, UnixMs};

use super::demand::Demand;
use crate::state::State;

/// Departures this close together load a node at the same time (design, section 7).
const BUCKET_MS: u64 = 15 * 60 * 1_000;

/// The 15-minute bucket of a departure.
pub type Bucket = u64;

/// The bucket of a departure. What never departs is in the first one, since its work is spread over all of them.
pub fn bucket(departs_at: Option<UnixMs>) -> Bucket {
    departs_at.map_or(0, |at| at.0 / BUCKET_MS)
}

/// Work of an owner against that of a standby: it builds and answers first, a standby only hedged requests.
const OWNER_WEIGHT: u64 = 2;

/// Why one node is preferred over another; the least is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Preference {
    /// Another replica stands in the same zone.
    pub shares_zone: bool,
    /// Predicted work in the departure's bucket, in person-replicas.
    pub bucket_load: u64,
    /// Predicted work over all buckets.
    pub total_load: u64,
    pub node: NodeId,
}

/// Predicted work of every node.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    buckets: BTreeMap<(NodeId, Bucket), u64>,
    totals: BTreeMap<NodeId, u64>,
}

impl Loads {
    /// The loads under the current blueprint.
    pub fn of(state: &State) -> Self {
        let mut loads = Self::default();
        for (shard, placement) in state.blueprint.iter() {
            let Some(demand) = Demand::of_shard(state, shard) else { continue };
            let departure = bucket(demand.departs_at);
            loads.add(placement.owner, departure, demand.people, true);
            for standby in &placement.standbys {
                loads.add(*standby, departure, demand.people, false);
            }
        }
        loads
    }

    /// Counts a replica in.
    pub fn add(&mut self, node: NodeId, bucket: Bucket, people: u64, owner: bool) {
        let work = people.max(1) * if owner { OWNER_WEIGHT } else { 1 };
        *self.buckets.entry((node, bucket)).or_default() += work;
        *self.totals.entry(node).or_default() += work;
    }

    /// How good `node` is for one more replica in `bucket`.
    pub fn preference(&self, node: NodeId, bucket: Bucket, shares_zone: bool) -> Preference {
        Preference {
            shares_zone,
            bucket_load: self.buckets.get(&(node, bucket)).copied().unwrap_or(0),
            total_load: self.totals.get(&node).copied().unwrap_or(0),
            node,
        }
    }
}
