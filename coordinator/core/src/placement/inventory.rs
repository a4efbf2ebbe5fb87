//! What nodes last said of themselves: stale by contract, held by the leader alone, never replicated.

use std::collections::BTreeMap;

use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, Incarnation, NodeId, UnixMs};
use cluster_config::limits::{NODE_LOST_AFTER_MS, REPLACE_AFTER_MS};
use cluster_config::member::Trouble;
use cluster_config::wire::peer::{Held, Report};

/// The reports of all nodes, as this leader received them.
///
/// Its time is milliseconds since it began, by a clock that never goes back and never jumps: a leader whose wall clock
/// is set must neither take everybody for dead nor a dead node for one that has just been heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    now_ms: u64,
    nodes: BTreeMap<NodeId, Seen>,
}

/// The last report of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    at_ms: u64,
    incarnation: Incarnation,
    revision: u64,
    shards: BTreeMap<ShardId, GalleryVersion>,
    troubles: Vec<Trouble>,
    open: u32,
    clock: UnixMs,
}

impl Inventory {
    /// Time has come to `now_ms` since this inventory began.
    pub fn pass(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Takes a report. One of an earlier incarnation is ignored. False where it says that all is as before, and that is
    /// not known here: nothing is taken of it then.
    pub fn take(&mut self, report: Report) -> bool {
        let Report { node, incarnation, revision, held, open, clock } = report;
        let (at_ms, known) = (self.now_ms, self.nodes.get_mut(&node));
        if known.as_ref().is_some_and(|seen| seen.incarnation > incarnation) {
            return true;
        }
        match (held, known) {
            (Some(Held { shards, troubles }), _) => {
                let shards = shards.into_iter().collect();
                self.nodes.insert(node, Seen { at_ms, incarnation, revision, shards, troubles, open, clock });
                true
            }
            (None, Some(seen)) if (seen.incarnation, seen.revision) == (incarnation, revision) => {
                (seen.at_ms, seen.open, seen.clock) = (at_ms, open, clock);
                true
            }
            (None, _) => false,
        }
    }

    /// Whether the node has reported.
    pub(super) fn has_heard(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Milliseconds since the node was last heard of, or since this inventory began.
    pub fn silent_ms(&self, node: NodeId) -> u64 {
        self.now_ms - self.nodes.get(&node).map_or(0, |seen| seen.at_ms)
    }

    /// Whether the node has reported to this leader and not fallen silent since.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node) && self.silent_ms(node) < NODE_LOST_AFTER_MS
    }

    /// Whether the node is silent, though perhaps for a moment only.
    pub fn is_lost(&self, node: NodeId) -> bool {
        self.silent_ms(node) >= NODE_LOST_AFTER_MS
    }

    /// Whether the node has been silent for so long that its replicas are made again elsewhere.
    pub fn is_gone(&self, node: NodeId) -> bool {
        self.silent_ms(node) >= REPLACE_AFTER_MS
    }

    /// What the clocks of the nodes that live show by now.
    pub fn clocks(&self) -> Vec<UnixMs> {
        let alive = self.nodes.iter().filter(|(node, _)| self.is_alive(**node));
        alive.map(|(_, seen)| UnixMs(seen.clock.0.saturating_add(self.now_ms - seen.at_ms))).collect()
    }

    /// What the node says that it cannot do; empty for one that has not reported.
    pub fn troubles(&self, node: NodeId) -> &[Trouble] {
        self.nodes.get(&node).map_or(&[], |seen| &seen.troubles)
    }

    /// Whether the node says that it cannot do its work.
    pub fn is_unfit(&self, node: NodeId) -> bool {
        !self.troubles(node).is_empty()
    }

    /// Answers that gates wait for at the node.
    pub fn open(&self, node: NodeId) -> u32 {
        self.nodes.get(&node).map_or(0, |seen| seen.open)
    }

    /// The version of a shard that the node can search.
    pub fn version(&self, node: NodeId, shard: ShardId) -> GalleryVersion {
        self.nodes.get(&node).and_then(|seen| seen.shards.get(&shard)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_the_last_report_or_from_the_beginning() {
        let mut inventory = Inventory::default();
        let report = |incarnation| Report {
            node: NodeId(1),
            incarnation: Incarnation(incarnation),
            revision: 1,
            held: Some(Held::default()),
            open: 0,
            clock: UnixMs(0),
        };
        inventory.pass(NODE_LOST_AFTER_MS - 1);
        assert!(!inventory.is_alive(NodeId(1)) && !inventory.is_lost(NodeId(1)), "it could not have reported yet");
        inventory.take(report(2));
        assert!(inventory.is_alive(NodeId(1)));
        inventory.pass(5);
        assert_eq!(inventory.silent_ms(NodeId(1)), 0, "time does not go back");
        inventory.pass(2 * NODE_LOST_AFTER_MS);
        inventory.take(report(1));
        assert!(inventory.is_lost(NodeId(1)), "a report of an earlier start says nothing of this one");
        assert!(!inventory.is_gone(NodeId(1)));
        inventory.pass(2 * NODE_LOST_AFTER_MS + REPLACE_AFTER_MS);
        assert!(inventory.is_gone(NodeId(1)) && inventory.is_gone(NodeId(2)));
    }
}
