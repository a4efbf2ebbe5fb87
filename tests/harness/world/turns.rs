//! Turns at other nodes: the shell around [`node_core::turns`], as `node/src/peers/turns.rs` has it.

use cluster_config::ids::NodeId;
use futures::channel::oneshot;
use futures::future::{Either, select};
use node_core::turns::{Ticket, WAIT_MAX};

use super::node::Node;
use super::{World, micros};

/// A turn, or the wait for one; it ends when this is dropped.
pub struct Turn<'a> {
    node: &'a Node,
    run: u64,
    at: NodeId,
    ticket: Ticket,
}

impl World {
    /// Waits for a turn at another node; none is given where the wait was too long.
    pub async fn turn<'a>(&self, node: &'a Node, at: NodeId) -> Option<Turn<'a>> {
        let (ticket, told) = node.with(|process| {
            let (ticket, is_next) = process.turns.ask(at);
            let told = (!is_next).then(|| {
                let (tell, told) = oneshot::channel();
                process.turns_told.insert(ticket, tell);
                told
            });
            (ticket, told)
        })?;
        let turn = Turn { node, run: node.run.get(), at, ticket };
        let Some(told) = told else { return Some(turn) };
        self.count("waited for a turn");
        match select(told, std::pin::pin!(self.sleep(micros(WAIT_MAX)))).await {
            Either::Left((told, _)) => told.ok().map(|()| turn),
            Either::Right(_) => None,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.node.run.get() != self.run {
            return;
        }
        self.node.with(|process| {
            process.turns_told.remove(&self.ticket);
            let next = process.turns.leave(self.at, self.ticket);
            if let Some(tell) = next.and_then(|next| process.turns_told.remove(&next)) {
                // One who has stopped waiting gives the turn on as well.
                let _ = tell.send(());
            }
        });
    }
}
