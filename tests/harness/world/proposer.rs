//! Getting a command into the replicated state from any node: the loops around the product's own machines, for
//! proposals (`node_core::proposal`) and for the records that share an entry or a message
//! (`coordinator_core::ledger::batching`).

use std::future::Future;
use std::rc::Rc;

use cluster_config::actor::{Actor, Role};
use cluster_config::canary::Canaries;
use cluster_config::ids::NodeId;
use cluster_config::limits::{GATE_DEADLINE_MS, PEER_FRAME_BYTES_MAX, PROPOSE_MS_MAX};
use cluster_config::wire::{Refusal, codec, peer};
use coordinator_core::ledger::batching::{self, Asked, Batch};
use coordinator_core::{Command, Entry, Outcome, Record, RecordOutcome, ledger};
use futures::channel::oneshot;
use futures::future::{Either, select};
use node_core::authority;
use node_core::proposal::{self, Effect, Event, LEADER_LOOK_US, Proposal, unavailable};

use super::World;
use super::batcher::{Asker, Lane, Outcomes};
use super::network::Address;
use super::node::Node;
use super::raft::Payload;

/// How long a loop takes to come round to what was asked of it, microseconds.
const TURN_US: u64 = 500;

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

    /// Applies a command of the node itself.
    ///
    /// # Errors
    /// As `propose_for`, for the node itself.
    pub async fn propose(
        self: &Rc<Self>,
        node: &Node,
        command: impl Into<Command>,
        deadline_us: u64,
    ) -> Result<Outcome, Refusal> {
        self.propose_for(node, Actor::node(node.id), command, deadline_us).await
    }

    /// Applies a command of an operator who asked this node.
    ///
    /// # Errors
    /// As `propose_for`, for an operator.
    pub async fn propose_for_operator(
        self: &Rc<Self>,
        node: &Node,
        command: impl Into<Command>,
        deadline_us: u64,
    ) -> Result<Outcome, Refusal> {
        let operator = Actor { role: Role::Operator, name: "operator".parse().expect("a name") };
        self.propose_for(node, operator, command, deadline_us).await
    }

    /// Applies a command of `actor`, who asked this node.
    ///
    /// # Errors
    /// The state's refusal, or `unavailable` where there was no leader and quorum by then; the command may be applied
    /// later then.
    async fn propose_for(
        self: &Rc<Self>,
        node: &Node,
        actor: Actor,
        command: impl Into<Command>,
        deadline_us: u64,
    ) -> Result<Outcome, Refusal> {
        let command = command.into();
        self.follow(node, deadline_us, |leader| {
            let command = command.clone();
            async move {
                if leader == node.id {
                    self.propose_here(node, actor, command).await
                } else {
                    self.propose_at(node, leader, (actor, &command), deadline_us).await
                }
            }
        })
        .await
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
        let recorded = self.follow(node, deadline_us, |leader| {
            let records = vec![record.clone()];
            let lane = if leader == node.id { Lane::Log } else { Lane::Leader };
            async move { self.batched(node, lane, leader, records).await.map(Outcome::Recorded) }
        });
        match recorded.await? {
            Outcome::Recorded(mut outcomes) if outcomes.len() == 1 => Ok(outcomes.remove(0)),
            _ => Err(unavailable("answered out of turn")),
        }
    }

    /// Performs what a proposal wants done, until it is. `at` tries it at a node: the leader, perhaps this one.
    async fn follow<F>(&self, node: &Node, deadline_us: u64, at: impl Fn(NodeId) -> F) -> Result<Outcome, Refusal>
    where
        F: Future<Output = Result<Outcome, Refusal>>,
    {
        let mut machine = Proposal::new(node.id, deadline_us, Canaries::of_process());
        let mut effects = Vec::new();
        let mut trying = None;
        let mut wake_us = deadline_us;
        let mut event = Event::Looked(node.leader());
        loop {
            machine.step(self.now_us(), event, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::ProposeHere => trying = Some(Box::pin(at(node.id))),
                    Effect::Send { leader } => trying = Some(Box::pin(at(leader))),
                    Effect::Forget => trying = None,
                    Effect::Wake { at_us } => wake_us = at_us,
                    Effect::Done(outcome) => return outcome,
                }
            }
            let wake = std::pin::pin!(self.sleep(wake_us.saturating_sub(self.now_us())));
            event = match &mut trying {
                None => {
                    wake.await;
                    Event::Looked(node.leader())
                }
                Some(trying) => match select(trying, wake).await {
                    Either::Left((answer, _)) => Event::Answered(answer),
                    Either::Right(_) => Event::Looked(node.leader()),
                },
            };
            if matches!(event, Event::Answered(_)) {
                trying = None;
            }
        }
    }

    async fn propose_at(
        self: &Rc<Self>,
        node: &Node,
        leader: NodeId,
        (actor, command): (Actor, &Command),
        deadline_us: u64,
    ) -> Result<Outcome, Refusal> {
        let command = codec::encode(command, PEER_FRAME_BYTES_MAX).expect("a command encodes");
        let request = peer::Request::Propose { actor, command };
        match self.ask(node, leader, &request, deadline_us.saturating_sub(self.now_us())).await? {
            peer::Response::Proposed(bytes) => {
                Ok(codec::decode(&bytes, PEER_FRAME_BYTES_MAX).expect("an outcome decodes"))
            }
            _ => Err(unavailable("the node asked does not lead any more")),
        }
    }

    /// Proposes on this node, which takes itself for the leader, and waits until the command is applied here.
    ///
    /// # Errors
    /// `unavailable`; then the command may be applied later.
    pub async fn propose_here(
        self: &Rc<Self>,
        node: &Node,
        actor: Actor,
        command: Command,
    ) -> Result<Outcome, Refusal> {
        let stamped = Entry::new(actor, self.wall(node), command);
        let bytes = codec::encode(&stamped, PEER_FRAME_BYTES_MAX).expect("an entry encodes");
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
        match select(outcome, std::pin::pin!(self.sleep(PROPOSE_MS_MAX * 1_000))).await {
            Either::Left((Ok(outcome), _)) => Ok(outcome),
            Either::Left((Err(_), _)) => Err(unavailable("the entry was discarded")),
            Either::Right(_) => Err(unavailable("the group did not confirm in time")),
        }
    }

    /// Has the leader store records, sharing an entry or a message with whatever else waits.
    async fn batched(self: &Rc<Self>, node: &Node, lane: Lane, to: NodeId, records: Vec<Record>) -> Outcomes<Refusal> {
        let (asker, outcomes) = oneshot::channel();
        let first = node.with(|process| {
            let inbox = &mut process.batcher(lane).inbox;
            inbox.push(Asked { to, records, asker });
            inbox.len() == 1
        });
        if first == Some(true) {
            let (world, id) = (self.clone(), node.id);
            self.executor.spawn(Some(node.owner()), async move {
                world.sleep(TURN_US).await;
                let node = world.node(id);
                let asked = node.with(|process| std::mem::take(&mut process.batcher(lane).inbox));
                world.batch(node, lane, batching::Event::Asked(asked.unwrap_or_default()));
            });
        }
        outcomes.await.unwrap_or(Err(batching::Error::Forgotten)).map_err(proposal::refusal_of)
    }

    /// Steps a lane's machine, and performs what it wants done.
    fn batch(self: &Rc<Self>, node: &Node, lane: Lane, event: batching::Event<Asker, Refusal>) {
        let mut effects = Vec::new();
        node.with(|process| {
            let waits = |asker: &Asker| !asker.is_canceled();
            process.batcher(lane).machine.step(event, waits, &mut effects);
        });
        for effect in effects {
            match effect {
                batching::Effect::Send(batch) => {
                    if batch.records.len() > 1 {
                        self.count("batches of several records");
                    }
                    let (world, id) = (self.clone(), node.id);
                    self.executor.spawn(Some(node.owner()), async move {
                        let (node, number) = (world.node(id), batch.number);
                        let outcomes = world.send_batch(node, lane, batch).await;
                        world.batch(node, lane, batching::Event::Ended { batch: number, outcomes });
                    });
                }
                batching::Effect::Answer(asker, outcomes) => {
                    // The asker may have gone meanwhile; a retry finds what was stored.
                    let _ = asker.send(outcomes);
                }
            }
        }
    }

    async fn send_batch(self: &Rc<Self>, node: &Node, lane: Lane, batch: Batch) -> Outcomes<Refusal> {
        let (actor, command) = (Actor::node(node.id), Command::record(batch.records));
        let recorded = match lane {
            Lane::Log => self.propose_here(node, actor, command).await,
            Lane::Leader => {
                let deadline_us = self.now_us() + GATE_DEADLINE_MS * 1_000;
                self.propose_at(node, batch.to, (actor, &command), deadline_us).await
            }
        };
        match recorded? {
            Outcome::Recorded(outcomes) => Ok(outcomes),
            Outcome::Refused(refusal) => Err(refusal),
            _ => Err(unavailable("answered out of turn")),
        }
    }

    /// Takes a command that another node handed on, and answers it.
    pub async fn serve_proposal(
        self: &Rc<Self>,
        node: &Node,
        from: Address,
        actor: Actor,
        bytes: &[u8],
    ) -> peer::Response {
        let command: Command = codec::decode(bytes, PEER_FRAME_BYTES_MAX).expect("a command decodes");
        let Address::Node(caller) = from else { unreachable!("gates propose nothing") };
        if let Err(refusal) = authority::judge_command(caller, &actor, &command, Canaries::of_process()) {
            panic!("P11: an honest proposal of {actor} is refused: {refusal}");
        }
        if node.with(|process| process.raft.leads()) != Some(true) {
            return peer::Response::NotLeader(node.leader());
        }
        let outcome = match command {
            Command::Ledger(ledger::Command::Record(records)) => {
                self.batched(node, Lane::Log, node.id, records).await.map(Outcome::Recorded)
            }
            command => self.propose_here(node, actor, command).await,
        };
        match outcome {
            Ok(outcome) => {
                peer::Response::Proposed(codec::encode(&outcome, PEER_FRAME_BYTES_MAX).expect("an outcome encodes"))
            }
            Err(refusal) => peer::Response::Refused(refusal),
        }
    }
}
