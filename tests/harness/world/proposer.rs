//! Getting a command into the replicated state from any node, as `node/src/proposer.rs` and `coordinator/src/batcher.rs`
//! do it.

use std::future::Future;
use std::rc::Rc;

use cluster_config::ids::NodeId;
use cluster_config::limits::{LEDGER_BATCH_RECORDS_MAX, PEER_FRAME_BYTES_MAX};
use cluster_config::wire::{Refusal, RefusalCode, codec, peer};
use coordinator_core::{Command, Outcome, Record, RecordOutcome};
use futures::channel::oneshot;
use futures::future::{Either, join_all, select};

use super::World;
use super::node::Node;
use super::raft::Payload;

/// How often a waiting proposal looks whether there is another leader by now, microseconds.
const LEADER_LOOK_US: u64 = 5_000;

/// Longest wait for the outcome of a proposal at the leader, microseconds (`coordinator::PROPOSE_MS_MAX`).
const PROPOSE_US_MAX: u64 = 1_000_000;

/// How long records gather while nothing is in flight, microseconds.
const BATCH_US: u64 = 500;

/// A record that waits for its batch, and who waits for it.
pub type Waiting = (Record, oneshot::Sender<Result<RecordOutcome, Refusal>>);

fn unavailable(place: &str) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, place, "try again")
}

impl World {
    /// Waits for `work` for as long as a condition holds; absent where it ceased to.
    pub async fn while_holds<T>(self: &Rc<Self>, work: impl Future<Output = T>, holds: impl Fn() -> bool) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            match select(work.as_mut(), std::pin::pin!(self.sleep(LEADER_LOOK_US))).await {
                Either::Left((done, _)) => return Some(done),
                Either::Right(_) if holds() => {}
                Either::Right(_) => return None,
            }
        }
    }

    /// Applies a command.
    ///
    /// # Errors
    /// The state's refusal, or `unavailable` where there was no leader and quorum by then; the command may be applied
    /// later then.
    pub async fn propose(self: &Rc<Self>, node: &Node, command: Command, deadline_us: u64) -> Result<Outcome, Refusal> {
        loop {
            let outcome = match self.find_leader(node, deadline_us).await? {
                leader if leader == node.id => {
                    self.by_deadline(deadline_us, self.propose_here(node, command.clone())).await
                }
                leader => self.propose_at(node, leader, &command, deadline_us).await,
            };
            match outcome {
                Ok(Outcome::Refused(refusal)) => return Err(refusal),
                Ok(outcome) => return Ok(outcome),
                Err(refusal) if !refusal.code.retryable() || self.now_us() >= deadline_us => return Err(refusal),
                Err(_) => self.sleep(LEADER_LOOK_US).await,
            }
        }
    }

    /// Adds one record to the ledger; a retry gives what the first try stored.
    ///
    /// # Errors
    /// As [`World::propose`].
    pub async fn record(
        self: &Rc<Self>,
        node: &Node,
        record: Record,
        deadline_us: u64,
    ) -> Result<RecordOutcome, Refusal> {
        loop {
            let outcome = match self.find_leader(node, deadline_us).await? {
                leader if leader == node.id => {
                    self.by_deadline(deadline_us, self.record_here(node, record.clone())).await
                }
                leader => {
                    let command = Command::Record(vec![record.clone()]);
                    match self.propose_at(node, leader, &command, deadline_us).await {
                        Ok(Outcome::Recorded(mut outcomes)) if outcomes.len() == 1 => Ok(outcomes.remove(0)),
                        Ok(Outcome::Refused(refusal)) | Err(refusal) => Err(refusal),
                        Ok(_) => Err(unavailable("answered out of turn")),
                    }
                }
            };
            match outcome {
                Ok(outcome) => return Ok(outcome),
                Err(refusal) if !refusal.code.retryable() || self.now_us() >= deadline_us => return Err(refusal),
                Err(_) => self.sleep(LEADER_LOOK_US).await,
            }
        }
    }

    async fn by_deadline<T>(
        &self,
        deadline_us: u64,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let patience = std::pin::pin!(self.sleep(deadline_us.saturating_sub(self.now_us())));
        match select(std::pin::pin!(work), patience).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(unavailable("the group did not confirm by the deadline")),
        }
    }

    async fn find_leader(self: &Rc<Self>, node: &Node, deadline_us: u64) -> Result<NodeId, Refusal> {
        loop {
            if let Some(leader) = node.leader() {
                return Ok(leader);
            }
            if self.now_us() >= deadline_us {
                return Err(unavailable("no leader is known"));
            }
            self.sleep(LEADER_LOOK_US).await;
        }
    }

    async fn propose_at(
        self: &Rc<Self>,
        node: &Node,
        leader: NodeId,
        command: &Command,
        deadline_us: u64,
    ) -> Result<Outcome, Refusal> {
        let bytes = codec::encode(command, PEER_FRAME_BYTES_MAX).expect("a command encodes");
        let request = peer::Request::Propose(bytes);
        let asked = self.ask(node, leader, &request, deadline_us.saturating_sub(self.now_us()));
        let leads = || node.leader().is_none_or(|now| now == leader) && self.now_us() < deadline_us;
        match self.while_holds(asked, leads).await {
            Some(Ok(peer::Response::Proposed(bytes))) => {
                Ok(codec::decode(&bytes, PEER_FRAME_BYTES_MAX).expect("an outcome decodes"))
            }
            Some(Ok(_)) => Err(unavailable("the node asked does not lead any more")),
            Some(Err(refusal)) => Err(refusal),
            None => Err(unavailable("the leader changed, or did not answer in time")),
        }
    }

    /// Proposes on this node, which takes itself for the leader, and waits until the command is applied here.
    ///
    /// # Errors
    /// `unavailable`; then the command may be applied later.
    pub async fn propose_here(self: &Rc<Self>, node: &Node, command: Command) -> Result<Outcome, Refusal> {
        let bytes = codec::encode(&command, PEER_FRAME_BYTES_MAX).expect("a command encodes");
        let (reply, outcome) = oneshot::channel();
        let mut reply = Some(reply);
        let mut proposed = false;
        self.drive(node, |process, _, out| {
            let index = process.raft.propose(Payload::Command(bytes), out);
            if let (Some(index), Some(reply)) = (index, reply.take()) {
                process.waiting.insert(index, (process.raft.term(), reply));
                proposed = true;
            }
        });
        if !proposed {
            return Err(unavailable("this node does not lead"));
        }
        match select(outcome, std::pin::pin!(self.sleep(PROPOSE_US_MAX))).await {
            Either::Left((Ok(outcome), _)) => Ok(outcome),
            Either::Left((Err(_), _)) => Err(unavailable("the entry was discarded")),
            Either::Right(_) => Err(unavailable("the group did not confirm in time")),
        }
    }

    /// Records one encounter on the leader, sharing an entry with whatever else waits.
    async fn record_here(self: &Rc<Self>, node: &Node, record: Record) -> Result<RecordOutcome, Refusal> {
        let (reply, outcome) = oneshot::channel();
        let first = node.with(|process| {
            process.batch.push((record, reply));
            process.batch.len() == 1
        });
        if first == Some(true) {
            let (world, id) = (self.clone(), node.id);
            self.executor.spawn(Some(node.owner()), async move {
                world.sleep(BATCH_US).await;
                world.flush_batch(id).await;
            });
        }
        outcome.await.unwrap_or_else(|_| Err(unavailable("the process ends")))
    }

    async fn flush_batch(self: &Rc<Self>, id: NodeId) {
        let node = self.node(id);
        let batch = node.with(|process| {
            let count = process.batch.len().min(LEDGER_BATCH_RECORDS_MAX);
            process.batch.drain(..count).collect::<Vec<Waiting>>()
        });
        let (records, replies): (Vec<Record>, Vec<_>) =
            batch.unwrap_or_default().into_iter().filter(|(_, reply)| !reply.is_canceled()).unzip();
        if records.is_empty() {
            return;
        }
        let outcomes = match self.propose_here(node, Command::Record(records)).await {
            Ok(Outcome::Recorded(outcomes)) if outcomes.len() == replies.len() => Ok(outcomes),
            Ok(_) => Err(unavailable("answered out of turn")),
            Err(refusal) => Err(refusal),
        };
        for (index, reply) in replies.into_iter().enumerate() {
            // The asker may have gone meanwhile; the record stays.
            let _ = reply.send(outcomes.clone().map(|outcomes| outcomes[index].clone()));
        }
    }

    /// Takes a command that another node handed on, and answers it.
    pub async fn serve_proposal(self: &Rc<Self>, node: &Node, bytes: &[u8]) -> peer::Response {
        let command: Command = codec::decode(bytes, PEER_FRAME_BYTES_MAX).expect("a command decodes");
        if node.with(|process| process.raft.leads()) != Some(true) {
            return peer::Response::NotLeader(node.leader());
        }
        let outcome = match command {
            Command::Record(records) => {
                let all = join_all(records.into_iter().map(|record| self.record_here(node, record))).await;
                all.into_iter().collect::<Result<Vec<_>, _>>().map(Outcome::Recorded)
            }
            command => self.propose_here(node, command).await,
        };
        match outcome {
            Ok(outcome) => {
                peer::Response::Proposed(codec::encode(&outcome, PEER_FRAME_BYTES_MAX).expect("an outcome encodes"))
            }
            Err(refusal) => peer::Response::Refused(refusal),
        }
    }
}
