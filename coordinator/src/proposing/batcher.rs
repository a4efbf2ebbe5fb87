//! The loop around the batching of ledger records: at the leader, whose batches are entries of the log, and at every
//! other node, whose batches are messages to the leader.

use std::future::Future;
use std::sync::Arc;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::ids::NodeId;
use cluster_config::limits::{LEDGER_BATCH_RECORDS_MAX, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::versions::Version;
use coordinator_core::ledger::batching::{Asked, Batching, Effect, Error, Event, WAITING_MAX};
use coordinator_core::{Command, Entry, Outcome, Record, RecordOutcome};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::Now;
use crate::error::ProposeError;
use crate::machine::{Raft, SharedState};
use crate::proposing::propose::submit;
use crate::watchlist::{Watched, Watchlist};

/// Askers that may wait to be taken up: with those that wait inside of the machine as many as a node searches at once.
const INBOX_MAX: usize = SEARCHES_IN_FLIGHT_MAX - WAITING_MAX;

/// One outcome for each record, in their order.
type Outcomes<E> = Result<Vec<RecordOutcome>, E>;

type Asker<E> = oneshot::Sender<Outcomes<Error<E>>>;

/// A handle of the task that batches records. When the last one goes the task ends, and what was in flight is given up.
#[derive(Debug)]
pub struct Batcher<E> {
    inbox: mpsc::Sender<Asked<Asker<E>>>,
}

impl<E> Clone for Batcher<E> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone() }
    }
}

impl<E: Clone + Send + 'static> Batcher<E> {
    /// Starts the task. `send` hands a batch to the node that leads and waits for its outcomes.
    pub fn start<S, F>(runtime: &Handle, watched: Watched, send: S) -> Self
    where
        S: Fn(NodeId, Vec<Record>) -> F + Send + 'static,
        F: Future<Output = Outcomes<E>> + Send + 'static,
    {
        let (inbox, asked) = mpsc::channel(INBOX_MAX);
        runtime.spawn(run(asked, send, watched));
        Self { inbox }
    }

    /// Has `leader` store these records, perhaps together with others.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn record(&self, leader: NodeId, records: Vec<Record>) -> Outcomes<Error<E>> {
        let (asker, outcomes) = oneshot::channel();
        self.inbox.try_send(Asked { to: leader, records, asker }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Forgotten,
        })?;
        outcomes.await.unwrap_or(Err(Error::Forgotten))
    }
}

async fn run<E, S, F>(mut inbox: mpsc::Receiver<Asked<Asker<E>>>, send: S, watched: Watched)
where
    E: Clone,
    S: Fn(NodeId, Vec<Record>) -> F,
    F: Future<Output = Outcomes<E>>,
{
    let mut machine = Batching::new(Canaries::of_process());
    let mut in_flight = FuturesUnordered::new();
    let mut asked = Vec::new();
    let mut effects = Vec::new();
    loop {
        let event = tokio::select! {
            count = inbox.recv_many(&mut asked, LEDGER_BATCH_RECORDS_MAX) => match count {
                0 => return watched.asked_to_end(),
                _ => Event::Asked(std::mem::take(&mut asked)),
            },
            Some((batch, outcomes)) = in_flight.next() => Event::Ended { batch, outcomes },
        };
        machine.step(event, |asker: &Asker<E>| !asker.is_closed(), &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(batch) => {
                    let sent = send(batch.to, batch.records);
                    in_flight.push(async move { (batch.number, sent.await) });
                }
                Effect::Answer(asker, outcomes) => {
                    // The asker may have gone meanwhile; a retry finds what was stored.
                    let _ = asker.send(outcomes);
                }
            }
        }
    }
}

/// The leader's: its batches are entries of the log.
#[derive(Debug, Clone)]
pub struct LedgerBatcher {
    me: NodeId,
    batcher: Batcher<ProposeError>,
}

impl LedgerBatcher {
    /// Starts the task on the current runtime, the raft thread's.
    pub fn start(raft: Raft, now: Now, shared: Arc<SharedState>, watch: &Watchlist) -> Self {
        let me = NodeId(raft.metrics().borrow_watched().id);
        let batcher = Batcher::start(&Handle::current(), watch.watch("ledger batcher"), move |_, records| {
            let raft = raft.clone();
            let entry = Entry::new(Actor::node(me), now(), Command::record(records));
            let version = shared.version();
            async move { append(&raft, entry, version).await }
        });
        Self { me, batcher }
    }

    /// Records encounters in one entry, perhaps together with others.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn record(&self, records: Vec<Record>) -> Result<Vec<RecordOutcome>, ProposeError> {
        self.batcher.record(self.me, records).await.map_err(|error| match error {
            Error::Failed(error) => error,
            Error::Busy => ProposeError::Busy,
            Error::Forgotten => ProposeError::Fault("the raft thread has stopped".to_owned()),
            Error::TooMany | Error::OutOfTurn => ProposeError::Fault(error.to_string()),
        })
    }
}

async fn append(raft: &Raft, entry: Entry, version: Version) -> Result<Vec<RecordOutcome>, ProposeError> {
    match submit(raft, entry, version).await? {
        Outcome::Recorded(outcomes) => Ok(outcomes),
        other => Err(ProposeError::Fault(format!("records were answered with {other:?}"))),
    }
}
