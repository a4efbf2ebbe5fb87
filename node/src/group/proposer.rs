//! Getting a command into the replicated state from any node: the loop around the proposals, whose rules are in
//! `node_core::proposal`, and what the leader answers to a node that hands one on.

use std::future::Future;
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::ids::NodeId;
use cluster_config::limits::{GATE_DEADLINE_MS, LEDGER_BATCH_RECORDS_MAX, PEER_FRAME_BYTES_MAX};
use cluster_config::versions::Unknown;
use cluster_config::wire::{Fix, Refusal, RefusalCode, codec, peer};
use coordinator::{Batcher, Coordinator, ProposeError, Watchlist};
use coordinator_core::{Command, Outcome, Record, RecordOutcome, ledger};
use node_core::authority;
use node_core::proposal::{self, Effect, Event, Proposal, unavailable};
use node_link::Lane;
use tokio::runtime::Handle;

use crate::peers::links::{Links, out_of_turn};

/// How long a change of the state that a person or a node asks for may take.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module. A cheap handle.
#[derive(Clone)]
pub struct Proposer {
    coordinator: Coordinator,
    links: Links,
    forward: Batcher<Refusal>,
}

impl Proposer {
    /// Starts the task that batches records for the leader on the network's runtime.
    pub fn start(coordinator: Coordinator, links: Links, network: &Handle, watch: &Watchlist) -> Self {
        let (me, asking) = (coordinator.node_id(), links.clone());
        let forward = Batcher::start(network, watch.watch("forwarding batcher"), move |leader, records| {
            let links = asking.clone();
            async move { forward(&links, me, leader, records).await }
        });
        Self { coordinator, links, forward }
    }

    /// Applies a command; `actor` is whoever asked for the change.
    ///
    /// # Errors
    /// The state's refusal, or `unavailable` where there was no leader and quorum by `deadline`. Then the command may
    /// still be applied later.
    pub async fn propose(
        &self,
        actor: Actor,
        command: impl Into<Command>,
        deadline: Instant,
    ) -> Result<Outcome, Refusal> {
        let (coordinator, links, command) = (&self.coordinator, &self.links, command.into());
        self.follow(deadline, |leader| {
            let command = command.clone();
            async move {
                if leader == coordinator.node_id() {
                    coordinator.propose(actor, command).await.map_err(refusal_of)
                } else {
                    propose_at(links, leader, (actor, &command), deadline).await
                }
            }
        })
        .await
    }

    /// Adds one record to the ledger; a retry gives what the first try stored.
    ///
    /// # Errors
    /// As [`Proposer::propose`].
    pub async fn record(&self, record: Record, deadline: Instant) -> Result<RecordOutcome, Refusal> {
        let coordinator = &self.coordinator;
        let recorded = self.follow(deadline, |leader| {
            let records = vec![record.clone()];
            async move {
                let outcomes = if leader == coordinator.node_id() {
                    coordinator.record_batch(records).await.map_err(refusal_of)
                } else {
                    self.forward.record(leader, records).await.map_err(proposal::refusal_of)
                };
                outcomes.map(Outcome::Recorded)
            }
        });
        match recorded.await? {
            Outcome::Recorded(mut outcomes) if outcomes.len() == 1 => Ok(outcomes.remove(0)),
            _ => Err(out_of_turn(coordinator.node_id())),
        }
    }

    /// Performs what a proposal wants done, until it is. `at` tries it at a node: the leader, perhaps this one.
    async fn follow<F>(&self, deadline: Instant, at: impl Fn(NodeId) -> F) -> Result<Outcome, Refusal>
    where
        F: Future<Output = Result<Outcome, Refusal>> + Send,
    {
        let (me, begun) = (self.coordinator.node_id(), Instant::now());
        let deadline_us = deadline.saturating_duration_since(begun).as_micros() as u64;
        let mut machine = Proposal::new(me, deadline_us, Canaries::of_process());
        let mut effects = Vec::new();
        let mut trying = None;
        let mut wake_us = deadline_us;
        let mut event = Event::Looked(self.coordinator.leader());
        loop {
            machine.step(begun.elapsed().as_micros() as u64, event, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::ProposeHere => trying = Some(Box::pin(at(me))),
                    Effect::Send { leader } => trying = Some(Box::pin(at(leader))),
                    Effect::Forget => trying = None,
                    Effect::Wake { at_us } => wake_us = at_us,
                    Effect::Done(outcome) => return outcome,
                }
            }
            let answered = async {
                match &mut trying {
                    Some(trying) => trying.await,
                    None => std::future::pending().await,
                }
            };
            let wake = begun + Duration::from_micros(wake_us);
            event = tokio::select! {
                answer = answered => Event::Answered(answer),
                () = tokio::time::sleep_until(wake.into()) => Event::Looked(self.coordinator.leader()),
            };
            if matches!(event, Event::Answered(_)) {
                trying = None;
            }
        }
    }
}

async fn propose_at(
    links: &Links,
    leader: NodeId,
    (actor, command): (Actor, &Command),
    deadline: Instant,
) -> Result<Outcome, Refusal> {
    let version = links.version();
    let command = codec::encode_stamped(command, version, PEER_FRAME_BYTES_MAX).map_err(|error| {
        let (code, fix) = match error {
            codec::Error::TooLarge { .. } => (RefusalCode::TooLarge, "send less at once"),
            _ => (RefusalCode::UnknownVersion, Unknown::FIX),
        };
        Refusal::new(code, "command", error.to_string(), fix)
    })?;
    let timeout = deadline.saturating_duration_since(Instant::now());
    match links.ask(leader, Lane::Raft, &peer::Request::Propose { actor, command }, timeout).await? {
        peer::Response::Proposed(bytes) => codec::decode_stamped(&bytes, PEER_FRAME_BYTES_MAX)
            .map(|(outcome, _)| outcome)
            .map_err(|error| Refusal::new(RefusalCode::Internal, "outcome", error.to_string(), ONE_VERSION)),
        peer::Response::NotLeader(_) => Err(unavailable("the node asked does not lead any more")),
        _ => Err(out_of_turn(leader)),
    }
}

/// What to do where nodes do not understand each other.
const ONE_VERSION: &str = "run the same version on all nodes";

/// Hands a batch of records to the leader.
async fn forward(
    links: &Links,
    me: NodeId,
    leader: NodeId,
    records: Vec<Record>,
) -> Result<Vec<RecordOutcome>, Refusal> {
    let deadline = Instant::now() + Duration::from_millis(GATE_DEADLINE_MS);
    match propose_at(links, leader, (Actor::node(me), &Command::record(records)), deadline).await? {
        Outcome::Recorded(outcomes) => Ok(outcomes),
        Outcome::Refused(refusal) => Err(refusal),
        _ => Err(out_of_turn(leader)),
    }
}

fn refusal_of(error: ProposeError) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "cluster", error.to_string(), error.fix())
}

/// Takes a command that the member `caller` handed on in the name of `actor`, and answers it.
pub async fn serve(coordinator: &Coordinator, caller: NodeId, actor: Actor, body: &[u8]) -> peer::Response {
    let (command, version): (Command, _) = match codec::decode_stamped(body, PEER_FRAME_BYTES_MAX) {
        Ok(decoded) => decoded,
        Err(error) => {
            let refusal = Refusal::new(RefusalCode::MalformedFrame, "command", error.to_string(), ONE_VERSION);
            return peer::Response::Refused(refusal);
        }
    };
    if let Err(refusal) = authority::judge_command(caller, &actor, &command, Canaries::of_process()) {
        return peer::Response::Refused(refusal);
    }
    let outcome = match command {
        Command::Ledger(ledger::Command::Record(records)) if records.len() > LEDGER_BATCH_RECORDS_MAX => {
            let problem = format!("{} records are too many", records.len());
            let fix = Fix::with(format!("send {LEDGER_BATCH_RECORDS_MAX} at most"));
            return peer::Response::Refused(Refusal::new(RefusalCode::TooLarge, "command", problem, fix));
        }
        Command::Ledger(ledger::Command::Record(records)) => {
            coordinator.record_batch(records).await.map(Outcome::Recorded)
        }
        command => coordinator.propose(actor, command).await,
    };
    match outcome {
        Ok(outcome) => match codec::encode_stamped(&outcome, version, PEER_FRAME_BYTES_MAX) {
            Ok(bytes) => peer::Response::Proposed(bytes),
            Err(error) => {
                let fix = "report this to who maintains the nodes";
                let refusal = Refusal::new(RefusalCode::Internal, "outcome", error.to_string(), fix);
                peer::Response::Refused(refusal)
            }
        },
        Err(ProposeError::NotLeader(leader)) => peer::Response::NotLeader(leader),
        Err(error) => peer::Response::Refused(refusal_of(error)),
    }
}
