//! Getting a command into the replicated state from any node: proposed here where this node leads, else handed to the
//! leader, again and again until the deadline. Every command that goes this way may be repeated without harm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::limits::{LEDGER_BATCH_RECORDS_MAX, PEER_FRAME_BYTES_MAX, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::wire::{Refusal, RefusalCode, codec, peer};
use coordinator::ProposeError;
use coordinator_core::{Command, Outcome, Record, RecordOutcome};
use node_link::Lane;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::context::{Context, out_of_turn};

/// How often a waiting proposal looks whether there is another leader by now.
const LEADER_LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Batches of records on their way to the leader at once: enough to keep it busy while one is being flushed, few enough
/// that records gather in the meantime.
const BATCHES_IN_FLIGHT: usize = 4;

/// A record that waits for its batch.
type Waiting = (Record, oneshot::Sender<Result<RecordOutcome, Refusal>>);

/// See the module. A cheap handle.
#[derive(Clone)]
pub struct Proposer {
    context: Arc<Context>,
    forward: mpsc::Sender<Waiting>,
}

fn unavailable(place: &str) -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        place,
        "try again; a leader is elected within a second while a majority lives",
    )
}

impl Proposer {
    /// Starts the batching task on the network runtime.
    pub fn start(context: Arc<Context>) -> Self {
        let (forward, waiting) = mpsc::channel(SEARCHES_IN_FLIGHT_MAX);
        context.network.clone().spawn(batch(context.clone(), waiting));
        Self { context, forward }
    }

    /// Applies `command`.
    ///
    /// # Errors
    /// The state's refusal, or `unavailable` where there was no leader and quorum by `deadline`. Then the command may
    /// still be applied later.
    pub async fn propose(&self, command: Command, deadline: Instant) -> Result<Outcome, Refusal> {
        loop {
            let outcome = match self.leader(deadline).await? {
                leader if leader == self.context.me => {
                    by_deadline(deadline, propose_here(&self.context, command.clone())).await
                }
                leader => propose_at(&self.context, leader, &command, deadline).await,
            };
            match outcome {
                Ok(Outcome::Refused(refusal)) => return Err(refusal),
                Ok(outcome) => return Ok(outcome),
                Err(refusal) if !refusal.code.retryable() || Instant::now() >= deadline => return Err(refusal),
                Err(_) => tokio::time::sleep(LEADER_LOOK_INTERVAL).await,
            }
        }
    }

    /// Adds one record to the ledger; a retry gives what the first try stored.
    ///
    /// # Errors
    /// As [`Proposer::propose`].
    pub async fn record(&self, record: Record, deadline: Instant) -> Result<RecordOutcome, Refusal> {
        loop {
            let outcome = match self.leader(deadline).await? {
                leader if leader == self.context.me => {
                    let recorded = self.context.coordinator.record(record.clone());
                    by_deadline(deadline, async { recorded.await.map_err(refusal_of) }).await
                }
                leader => self.record_at(leader, record.clone(), deadline).await,
            };
            match outcome {
                Ok(outcome) => return Ok(outcome),
                Err(refusal) if !refusal.code.retryable() || Instant::now() >= deadline => return Err(refusal),
                Err(_) => tokio::time::sleep(LEADER_LOOK_INTERVAL).await,
            }
        }
    }

    /// The leader, as soon as one is known.
    async fn leader(&self, deadline: Instant) -> Result<NodeId, Refusal> {
        loop {
            if let Some(leader) = self.context.coordinator.leader() {
                return Ok(leader);
            }
            if Instant::now() >= deadline {
                return Err(unavailable("no leader is known"));
            }
            tokio::time::sleep(LEADER_LOOK_INTERVAL).await;
        }
    }

    async fn record_at(&self, leader: NodeId, record: Record, deadline: Instant) -> Result<RecordOutcome, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.forward.try_send((record, reply)).map_err(|_| {
            Refusal::new(RefusalCode::Busy, "the queue of records to the leader is full", "try again in a moment")
        })?;
        let answered = async { answer.await.unwrap_or_else(|_| Err(unavailable("the batch was given up"))) };
        while_leading(&self.context, leader, deadline, answered).await
    }
}

/// Waits for `work`, but not beyond the leader's rule or the deadline: what was sent to a dead leader is sent to its
/// successor, long before the dead one's connection times out.
async fn while_leading<T>(
    context: &Context,
    leader: NodeId,
    deadline: Instant,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LEADER_LOOK_INTERVAL) => {
                let now = context.coordinator.leader();
                if now.is_some() && now != Some(leader) {
                    return Err(unavailable("the leader changed"));
                }
                if Instant::now() >= deadline {
                    return Err(unavailable("the leader did not answer in time"));
                }
            }
        }
    }
}

/// Waits for what this node does as leader, but not beyond the deadline: it may still happen then, and a retry finds it.
async fn by_deadline<T>(deadline: Instant, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = |_| Err(unavailable("the group did not confirm by the deadline"));
    tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(late)
}

async fn propose_here(context: &Context, command: Command) -> Result<Outcome, Refusal> {
    context.coordinator.propose(command).await.map_err(refusal_of)
}

async fn propose_at(
    context: &Context,
    leader: NodeId,
    command: &Command,
    deadline: Instant,
) -> Result<Outcome, Refusal> {
    let body = codec::encode(command, PEER_FRAME_BYTES_MAX)
        .map_err(|error| Refusal::new(RefusalCode::TooLarge, "command", error.to_string()))?;
    let timeout = deadline.saturating_duration_since(Instant::now());
    let request = peer::Request::Propose(body);
    let asked = context.ask(leader, Lane::Raft, &request, timeout);
    match while_leading(context, leader, deadline, asked).await? {
        peer::Response::Proposed(bytes) => codec::decode(&bytes, PEER_FRAME_BYTES_MAX)
            .map_err(|error| Refusal::new(RefusalCode::Internal, "outcome", error.to_string())),
        peer::Response::NotLeader(_) => Err(unavailable("the node asked does not lead any more")),
        _ => Err(out_of_turn(leader)),
    }
}

fn refusal_of(error: ProposeError) -> Refusal {
    unavailable(&error.to_string())
}

/// Takes a command that another node handed on, and answers it.
pub async fn serve(context: &Context, body: &[u8]) -> peer::Response {
    let command: Command = match codec::decode(body, PEER_FRAME_BYTES_MAX) {
        Ok(command) => command,
        Err(error) => {
            let refusal = Refusal::new(RefusalCode::MalformedFrame, format!("command: {error}"), "run one version");
            return peer::Response::Refused(refusal);
        }
    };
    let outcome = match command {
        Command::Record(records) => {
            let all = records.into_iter().map(|record| context.coordinator.record(record));
            futures::future::try_join_all(all).await.map(Outcome::Recorded)
        }
        command => context.coordinator.propose(command).await,
    };
    match outcome {
        Ok(outcome) => match codec::encode(&outcome, PEER_FRAME_BYTES_MAX) {
            Ok(bytes) => peer::Response::Proposed(bytes),
            Err(error) => {
                let refusal = Refusal::new(RefusalCode::Internal, format!("outcome: {error}"), "report this");
                peer::Response::Refused(refusal)
            }
        },
        Err(ProposeError::NotLeader(leader)) => peer::Response::NotLeader(leader),
        Err(error) => peer::Response::Refused(refusal_of(error)),
    }
}

/// Gathers the records that wait and sends them to the leader, a few batches at a time.
async fn batch(context: Arc<Context>, mut waiting: mpsc::Receiver<Waiting>) {
    let slots = Arc::new(Semaphore::new(BATCHES_IN_FLIGHT));
    while let Some(first) = waiting.recv().await {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let mut records = Vec::new();
        let mut replies = Vec::new();
        let mut next = Some(first);
        while let Some((record, reply)) = next {
            records.push(record);
            replies.push(reply);
            next = if records.len() < LEDGER_BATCH_RECORDS_MAX { waiting.try_recv().ok() } else { None };
        }
        let context = context.clone();
        tokio::spawn(async move {
            let outcomes = send(&context, records).await;
            drop(slot);
            for (index, reply) in replies.into_iter().enumerate() {
                let outcome = match &outcomes {
                    Ok(outcomes) => outcomes.get(index).cloned().ok_or_else(|| unavailable("the outcome is missing")),
                    Err(refusal) => Err(refusal.clone()),
                };
                // Whoever waited may have run into the deadline; the record's retry finds what was stored.
                let _ = reply.send(outcome);
            }
        });
    }
}

async fn send(context: &Context, records: Vec<Record>) -> Result<Vec<RecordOutcome>, Refusal> {
    let Some(leader) = context.coordinator.leader().filter(|leader| *leader != context.me) else {
        return Err(unavailable("the leader changed"));
    };
    let deadline = Instant::now() + Duration::from_millis(cluster_config::limits::GATE_DEADLINE_MS);
    match propose_at(context, leader, &Command::Record(records), deadline).await? {
        Outcome::Recorded(outcomes) => Ok(outcomes),
        Outcome::Refused(refusal) => Err(refusal),
        _ => Err(out_of_turn(leader)),
    }
}
