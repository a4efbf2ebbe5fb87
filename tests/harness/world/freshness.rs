//! What a node does to know that it lacks nothing: the product's own rules, and a leader that makes sure that it leads.

use std::rc::Rc;

use cluster_config::ids::NodeId;
use cluster_config::limits::{CONFIRM_INTERVAL_MS, UNCONFIRMED_MS_MAX};
use cluster_config::wire::{Refusal, RefusalCode, peer};
use node_core::freshness::{Next, QUESTION_US_MAX};

use super::World;
use super::node::Node;

/// How often a node that waits looks whether it has come, microseconds.
const LOOK_US: u64 = 2_000;

/// How long a leader tries to make sure that it leads, microseconds (`coordinator::PROPOSE_MS_MAX`).
const BARRIER_US_MAX: u64 = 1_000_000;

impl World {
    /// Waits until the node has applied all that anybody had been told of before. Gives whether it has by then.
    pub async fn catch_up(self: &Rc<Self>, node: &Node, until_us: u64) -> bool {
        let asked_us = self.now_us();
        let Some(mut waiting) = node.with(|process| process.freshness.join()) else { return false };
        loop {
            let now_us = self.now_us();
            let next = node.with(|process| process.freshness.next(now_us, &mut waiting, process.applied));
            match next {
                Some(Next::Done) => {
                    node.with(|process| process.confirmed_us = Some(asked_us));
                    return true;
                }
                Some(Next::Ask(question)) => {
                    let (world, id) = (self.clone(), node.id);
                    self.executor.spawn(Some(node.owner()), async move { world.ask_leader(id, question).await });
                }
                Some(Next::Wait) if now_us < until_us => self.sleep(LOOK_US).await,
                Some(Next::Wait) | None => return false,
            }
        }
    }

    /// Has it confirmed again and again that the node lacks nothing, for as long as its process lives.
    pub async fn confirm(self: &Rc<Self>, id: NodeId) {
        let interval_us = CONFIRM_INTERVAL_MS * 1_000;
        loop {
            let node = self.node(id);
            let now_us = self.now_us();
            match node.with(|process| process.raft.quorum_heard_as_leader_us(now_us)).flatten() {
                Some(heard_us) => {
                    node.with(|process| process.confirmed_us = Some(heard_us));
                }
                None => {
                    self.catch_up(node, now_us + interval_us).await;
                }
            }
            self.sleep(interval_us).await;
        }
    }

    /// For how long nobody has confirmed that the node lacks nothing.
    pub fn unconfirmed_us(&self, node: &Node) -> u64 {
        let now_us = self.now_us();
        match node.with(|process| process.confirmed_us).flatten() {
            Some(confirmed_us) => now_us - confirmed_us,
            None => UNCONFIRMED_MS_MAX * 1_000 + 1 + now_us,
        }
    }

    async fn ask_leader(self: Rc<Self>, id: NodeId, question: u64) {
        let node = self.node(id);
        let index = match node.leader() {
            None => None,
            Some(leader) if leader == id => self.read_index(node).await.ok(),
            Some(leader) => match self.ask(node, leader, &peer::Request::ReadIndex, QUESTION_US_MAX).await {
                Ok(peer::Response::ReadIndex(index)) => Some(index),
                _ => None,
            },
        };
        node.with(|process| process.freshness.answered(question, index));
    }

    /// What the node, as leader, has applied once it has made sure that it leads.
    ///
    /// # Errors
    /// `unavailable` where it does not lead, or has no majority.
    pub async fn read_index(self: &Rc<Self>, node: &Node) -> Result<u64, Refusal> {
        let until_us = self.now_us() + BARRIER_US_MAX;
        let mut barrier = None;
        self.drive(node, |process, _, out| barrier = process.raft.confirm(out));
        let place = format!("node {}", node.id);
        let unsure = || Refusal::new(RefusalCode::Unavailable, place.clone(), "it does not lead", "try again");
        let (round, term, index) = barrier.ok_or_else(unsure)?;
        while self.now_us() < until_us {
            let (confirmed, applied) =
                node.with(|process| (process.raft.is_confirmed(round, term), process.applied)).ok_or_else(unsure)?;
            if confirmed.ok_or_else(unsure)? && applied >= index {
                return Ok(applied);
            }
            self.sleep(LOOK_US / 4).await;
        }
        Err(unsure())
    }
}
