//! Groups single ledger records into shared log entries: at once when idle, together while proposals are in flight.

use cluster_config::limits::{LEDGER_BATCH_RECORDS_MAX, SEARCHES_IN_FLIGHT_MAX};
use coordinator_core::{Command, Outcome, Record, RecordOutcome};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::error::ProposeError;
use crate::machine::Raft;
use crate::proposing::propose::submit;

/// Proposals in flight at once: enough that one is on the disk while others travel, few enough that records gather.
const PROPOSALS_IN_FLIGHT_MAX: usize = 4;

/// Records that may wait: as many as a node searches at once.
const WAITING_MAX: usize = SEARCHES_IN_FLIGHT_MAX;

type Answer = oneshot::Sender<Result<RecordOutcome, ProposeError>>;

/// A handle of the task that groups records.
#[derive(Debug, Clone)]
pub struct LedgerBatcher {
    waiting: mpsc::Sender<(Record, Answer)>,
}

impl LedgerBatcher {
    /// Starts the task on the current runtime, the raft thread's.
    pub fn start(raft: Raft) -> Self {
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(raft, inbox));
        Self { waiting }
    }

    /// Records one encounter.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn record(&self, record: Record) -> Result<RecordOutcome, ProposeError> {
        let (answer, outcome) = oneshot::channel();
        self.waiting.try_send((record, answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        outcome.await.map_err(|_| stopped())?
    }
}

fn stopped() -> ProposeError {
    ProposeError::Fault("the raft thread has stopped".to_owned())
}

async fn run(raft: Raft, mut inbox: mpsc::Receiver<(Record, Answer)>) {
    let mut in_flight = FuturesUnordered::new();
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = inbox.recv_many(&mut batch, LEDGER_BATCH_RECORDS_MAX),
                if in_flight.len() < PROPOSALS_IN_FLIGHT_MAX =>
            {
                if count == 0 {
                    return;
                }
                in_flight.push(propose(&raft, std::mem::take(&mut batch)));
            }
            Some(()) = in_flight.next() => {}
        }
    }
}

async fn propose(raft: &Raft, batch: Vec<(Record, Answer)>) {
    // Who has stopped waiting has spooled the record or will ask again: nothing is written for them now.
    let (records, answers): (Vec<Record>, Vec<Answer>) =
        batch.into_iter().filter(|(_, answer)| !answer.is_closed()).unzip();
    if records.is_empty() {
        return;
    }
    let outcomes = match submit(raft, Command::Record(records)).await {
        Ok(Outcome::Recorded(outcomes)) if outcomes.len() == answers.len() => Ok(outcomes),
        Ok(other) => Err(ProposeError::Fault(format!("records were answered with {other:?}"))),
        Err(error) => Err(error),
    };
    match outcomes {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // The asker may have gone meanwhile; the record stays.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}
