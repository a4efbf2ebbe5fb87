//! What nodes last said of themselves: stale by contract, held by the leader alone, never replicated.

use std::collections::BTreeMap;

use cluster_config::ids::{GalleryVersion, Incarnation, NodeId, ShardId, UnixMs};
use cluster_config::limits::{NODE_LOST_AFTER_MS, REPLACE_AFTER_MS};
use cluster_config::wire::peer::Report;

/// The reports of all nodes, as this leader received them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    since: UnixMs,
    nodes: BTreeMap<NodeId, Seen>,
}

/// The last report of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    at: UnixMs,
    incarnation: Incarnation,
    shards: BTreeMap<ShardId, GalleryVersion>,
}

impl Inventory {
    /// An empty inventory of a leader that leads since `since`; silence counts from there.
    pub fn new(since: UnixMs) -> Self {
        Self { since, nodes: BTreeMap::new() }
    }

    /// Takes a report. One of an earlier incarnation is ignored.
    pub fn take(&mut self, report: Report, at: UnixMs) {
        let older = self.nodes.get(&report.node).is_some_and(|seen| seen.incarnation > report.incarnation);
        if !older {
            let shards = report.shards.into_iter().collect();
            self.nodes.insert(report.node, Seen { at, incarnation: report.incarnation, shards });
        }
    }

    /// Milliseconds since the node was last heard of.
    pub fn silent_ms(&self, node: NodeId, now: UnixMs) -> u64 {
        now.since(self.nodes.get(&node).map_or(self.since, |seen| seen.at))
    }

    /// Whether the node has reported to this leader and not fallen silent since.
    pub fn is_alive(&self, node: NodeId, now: UnixMs) -> bool {
        self.nodes.contains_key(&node) && self.silent_ms(node, now) < NODE_LOST_AFTER_MS
    }

    /// Whether the node is silent, though perhaps for a moment only.
    pub fn is_lost(&self, node: NodeId, now: UnixMs) -> bool {
        self.silent_ms(node, now) >= NODE_LOST_AFTER_MS
    }

    /// Whether the node has been silent for so long that its replicas are made again elsewhere.
    pub fn is_gone(&self, node: NodeId, now: UnixMs) -> bool {
        self.silent_ms(node, now) >= REPLACE_AFTER_MS
    }

    /// The version of a shard that the node can search.
    pub fn version(&self, node: NodeId, shard: ShardId) -> GalleryVersion {
        self.nodes.get(&node).and_then(|seen| seen.shards.get(&shard)).copied().unwrap_or_default()
    }
}
