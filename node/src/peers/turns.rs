//! Turns at other nodes: the shell around [`node_core::turns`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_config::ids::NodeId;
use node_core::turns::{self, Ticket, WAIT_MAX};
use tokio::sync::oneshot;

#[derive(Debug, Default)]
struct Waiting {
    core: turns::Turns,
    told: BTreeMap<Ticket, oneshot::Sender<()>>,
}

/// Whose turn it is at each of the other nodes.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<Waiting>>);

/// A turn, or the wait for one; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    at: NodeId,
    ticket: Ticket,
}

impl Turns {
    /// Waits for a turn at a node. It ends when what is given back is dropped; none is given where the wait was too
    /// long.
    pub async fn at(&self, node: NodeId) -> Option<Turn> {
        let (turn, told) = {
            let mut waiting = self.lock();
            let (ticket, is_next) = waiting.core.ask(node);
            let turn = Turn { turns: self.clone(), at: node, ticket };
            let told = (!is_next).then(|| {
                let (tell, told) = oneshot::channel();
                waiting.told.insert(ticket, tell);
                told
            });
            (turn, told)
        };
        match told {
            None => Some(turn),
            Some(told) => tokio::time::timeout(WAIT_MAX, told).await.ok()?.ok().map(|()| turn),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.turns.lock();
        waiting.told.remove(&self.ticket);
        let next = waiting.core.leave(self.at, self.ticket);
        if let Some(tell) = next.and_then(|next| waiting.told.remove(&next)) {
            // One who has stopped waiting gives the turn on as well.
            let _ = tell.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use node_core::turns::AT_A_TIME;

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
