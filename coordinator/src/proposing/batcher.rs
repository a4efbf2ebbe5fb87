//! The loop around the batching of ledger records: at the leader, whose batches are entries of the log, and at every
//! other node, whose batches are messages to the leader.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

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

/// How long what comes may wait to be taken up while as many batches are in flight as may be.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

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
        let ended = if machine.is_full() {
            // What comes meanwhile can only wait, unless it is for another leader. So it is taken up when a batch ends,
            // all at once, and every now and then.
            let ended = tokio::time::timeout(LOOK_INTERVAL, in_flight.next()).await;
            while asked.len() < LEDGER_BATCH_RECORDS_MAX
                && let Ok(next) = inbox.try_recv()
            {
                asked.push(next);
            }
            ended.ok().flatten()
        } else {
            tokio::select! {
                count = inbox.recv_many(&mut asked, LEDGER_BATCH_RECORDS_MAX) => match count {
                    0 => return watched.asked_to_end(),
                    _ => None,
                },
                Some(ended) = in_flight.next() => Some(ended),
            }
        };
        let asked = std::mem::take(&mut asked);
        let asked = (!asked.is_empty()).then(|| Event::Asked(asked));
        let ended = ended.map(|(batch, outcomes)| Event::Ended { batch, outcomes });
        for event in asked.into_iter().chain(ended) {
            machine.step(event, |asker: &Asker<E>| !asker.is_closed(), &mut effects);
        }
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

#[cfg(test)]
mod tests {
    use cluster_config::ids::{EncounterId, UnixMs};

    use super::*;

    const DEAD: NodeId = NodeId(1);
    const NEW: NodeId = NodeId(2);

    fn record(encounter: u128) -> Vec<Record> {
        let journey = "AA100-20261124-JFK".parse().expect("an id");
        vec![Record::waiting(EncounterId(encounter), journey, "GATE-1".parse().expect("an id"), UnixMs(1))]
    }

    #[tokio::test]
    async fn a_new_leader_gets_its_records_while_a_dead_one_has_as_many_batches_as_may_be_in_flight() {
        let watch = Watchlist::new(Arc::new(|_| ()));
        let batcher =
            Batcher::start(&Handle::current(), watch.watch("batcher"), |to, records: Vec<Record>| async move {
                if to == DEAD {
                    std::future::pending::<()>().await;
                }
                Ok::<_, ()>(records.into_iter().map(RecordOutcome::Stored).collect())
            });
        let mut unanswered = FuturesUnordered::new();
        for encounter in 0..100 {
            unanswered.push(batcher.record(DEAD, record(encounter)));
            // Each is asked for by itself, so that a batch holds no more than the others leave to it.
            tokio::select! {
                answered = unanswered.next() => panic!("the dead node has answered {answered:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        let answered = tokio::time::timeout(Duration::from_secs(5), batcher.record(NEW, record(100))).await;
        assert_eq!(answered.expect("in time").map(|outcomes| outcomes.len()), Ok(1));
        while let Some(answered) = unanswered.next().await {
            assert_eq!(answered, Err(Error::Forgotten));
        }
    }
}
