//! Turns at other nodes: what a node gets from another in bulk it gets one after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_config::ids::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Contents that a node gets from another at a time. A node that comes back after a drain gets a hundred galleries; all at once they
/// take both nodes' processors and the link between them from those who stand at a gate.
const AT_A_TIME: usize = 2;

/// How long a turn is waited for: a node that is silent must not keep anybody from asking another. Longer than a silent node
/// keeps its connections.
const WAIT_MAX: Duration = Duration::from_millis(2_500);

/// Whose turn it is at each of the other nodes.
#[derive(Debug, Default)]
pub struct Turns(Mutex<BTreeMap<NodeId, Arc<Semaphore>>>);

impl Turns {
    /// Waits for a turn at a node. It ends when what is given back is dropped; none is given where the wait was too long.
    pub async fn at(&self, node: NodeId) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(node).or_insert_with(|| Arc::new(Semaphore::new(AT_A_TIME))).clone()
        };
        tokio::time::timeout(WAIT_MAX, turns.acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_waits_at_one_node_keeps_nobody_from_another() {
        let turns = Turns::default();
        let held: Vec<_> = (0..AT_A_TIME).map(|_| turns.at(NodeId(1)).now_or_never()).collect();
        assert!(held.iter().all(|turn| matches!(turn, Some(Some(_)))), "as many as may be at a time");
        assert!(turns.at(NodeId(1)).now_or_never().is_none(), "one more has to wait");
        assert!(matches!(turns.at(NodeId(2)).now_or_never(), Some(Some(_))));
        assert!(turns.at(NodeId(1)).await.is_none(), "a silent node is not waited for for ever");
        drop(held);
        assert!(matches!(turns.at(NodeId(1)).now_or_never(), Some(Some(_))));
    }
}
