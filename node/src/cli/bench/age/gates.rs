//! Gates that board at a steady pace, and what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::decision::Recording;
use node_link::GateClient;
use node_stage::Error;
use node_stage::bank::Bank;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Time between two travellers of one gate.
const PACE: Duration = Duration::from_millis(200);

/// Boardings, as the gates saw them.
#[derive(Debug, Default, Clone)]
pub struct Boardings {
    took_us: Vec<u32>,
    failed: u64,
    first_failure: Option<String>,
}

/// What they come to.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub boardings: usize,
    pub failed: u64,
    pub p50_us: u32,
    pub p99_us: u32,
    pub max_us: u32,
}

impl Boardings {
    pub fn add(&mut self, other: Self) {
        self.took_us.extend(other.took_us);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    pub fn row(&self) -> Row {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(0);
        let max_us = sorted.last().copied().unwrap_or(0);
        Row { boardings: sorted.len(), failed: self.failed, p50_us: at(0.5), p99_us: at(0.99), max_us }
    }

    pub fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }
}

/// All gates of a stand. Clones are the same gates.
#[derive(Clone)]
pub struct Gates {
    clients: Arc<[GateClient]>,
    bank: Arc<Bank>,
    /// Numbers the captures: no two of a run are one encounter.
    round: u64,
}

/// Gates that board.
pub struct Open {
    tasks: JoinSet<Boardings>,
    stop: watch::Sender<bool>,
}

impl Gates {
    pub fn new(clients: Vec<GateClient>, bank: Arc<Bank>) -> Self {
        Self { clients: clients.into(), bank, round: 0 }
    }

    /// Begins to board.
    pub fn open(&mut self) -> Open {
        self.round += 1;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (number, client) in self.clients.iter().enumerate() {
            tasks.spawn(board(number, client.clone(), self.bank.clone(), self.round, stopping.clone()));
        }
        Open { tasks, stop }
    }

    /// Boards for so long.
    ///
    /// # Errors
    /// As [`Open::close`].
    pub async fn board(&mut self, time: Duration) -> Result<Boardings, Error> {
        let open = self.open();
        tokio::time::sleep(time).await;
        open.close().await
    }
}

impl Open {
    /// Waits for the last travellers.
    ///
    /// # Errors
    /// Where a gate panics.
    pub async fn close(mut self) -> Result<Boardings, Error> {
        // The gates hold the other end until they are done.
        let _ = self.stop.send(true);
        let mut all = Boardings::default();
        while let Some(done) = self.tasks.join_next().await {
            all.add(done.map_err(Error::failed)?);
        }
        Ok(all)
    }
}

/// One gate with its own flight. Who has boarded is presented again in the end, and is recorded all the same.
async fn board(
    number: usize,
    client: GateClient,
    bank: Arc<Bank>,
    round: u64,
    stopping: watch::Receiver<bool>,
) -> Boardings {
    let mut done = Boardings::default();
    let first = tokio::time::Instant::now() + PACE * number as u32 / super::stand::GATES;
    let mut pace = tokio::time::interval_at(first, PACE);
    let guests = bank.flights[number].guests.len() as u64;
    for turn in 0..4_096 {
        let picture = round << 12 | turn;
        let capture = bank.capture(number, (turn % guests) as usize, picture, 1);
        let asked: Instant = pace.tick().await.into();
        if *stopping.borrow() {
            break;
        }
        match client.board(capture).await {
            Ok(answer) if answer.recording == Recording::Committed => {
                done.took_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            other => {
                done.failed += 1;
                done.first_failure.get_or_insert(format!("{other:?}"));
            }
        }
    }
    done
}
