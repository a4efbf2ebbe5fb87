//! What was said of each node last: a line that would come many times a second is written when it changes, and then
//! once a minute with the count.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::limits::NODES_MAX;

const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub struct Said(Mutex<BTreeMap<NodeId, Last>>);

#[derive(Debug)]
struct Last {
    text: String,
    at: Instant,
    times: u64,
}

impl Said {
    /// Whether it is time to say this of a node; then how often it came since it was said last.
    pub fn is_due(&self, node: NodeId, text: &str) -> Option<u64> {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = all.get_mut(&node).filter(|last| last.text == text) {
            last.times += 1;
            if now.duration_since(last.at) < AGAIN_AFTER {
                return None;
            }
            last.at = now;
            return Some(std::mem::take(&mut last.times));
        }
        // Ids come out of certificates: there may be more of them than nodes.
        if all.len() >= 2 * NODES_MAX {
            all.clear();
        }
        all.insert(node, Last { text: text.to_owned(), at: now, times: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_when_it_changes() {
        let said = Said::default();
        assert_eq!(said.is_due(NodeId(1), "a"), Some(1));
        assert_eq!(said.is_due(NodeId(1), "a"), None);
        assert_eq!(said.is_due(NodeId(2), "a"), Some(1));
        assert_eq!(said.is_due(NodeId(1), "b"), Some(1));
        for node in 0..1_000 {
            said.is_due(NodeId(node), "a");
        }
        assert!(said.0.lock().expect("a lock").len() <= 2 * NODES_MAX);
    }
}
