//! An airport that never closes: at every stand one flight after the other is announced, boards at its gates and is
//! closed, until the airport is told to stop. While a flight boards, latecomers are added to its list, and somebody who
//! did not come is taken off. Long runs of faults strike while this goes on.

use std::ops::RangeBounds;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_config::ids::JourneyId;
use cluster_config::wire::operator::Request;
use node_intake::MessageKind;
use node_link::GateClient;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Error;
use crate::bank::Bank;
use crate::boarding::board_one;
use crate::flight::Flight;
use crate::level::wait_for;
use crate::operator::Operator;
use crate::oracle::History;

/// How long the next travellers may take to board.
const BOARD_DEADLINE: Duration = Duration::from_secs(30);

/// Travellers of a flight who are not on its first manifest: the last ones. The first one of all does not come.
const LATECOMERS: u32 = 2;

/// What an airport is like.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seed of everybody who travels.
    pub seed: u64,
    /// Gates of a flight; as many flights board at once as there are gates for them.
    pub gates: u32,
    /// Travellers of the fullest; the others have from a quarter of that on, so that they do not all end at once.
    pub travellers: u32,
    /// Time between two travellers of one gate.
    pub interval: Duration,
}

/// A running airport.
pub struct Airport {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

/// What has been done by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Flights that were announced.
    pub announced: u32,
    /// Flights that were closed.
    pub closed: u32,
    /// Travellers who were at a gate.
    pub travellers: u64,
}

struct Shared {
    plan: Plan,
    operator: Operator,
    numbers: AtomicU32,
    closed: Mutex<Vec<JourneyId>>,
    history: Mutex<History>,
    travellers: AtomicU64,
    problems: Mutex<Vec<String>>,
}

/// What a closed airport leaves.
#[derive(Debug)]
pub struct Closed {
    /// What gates asked and were told.
    pub history: History,
    /// The journeys that are closed.
    pub journeys: Vec<JourneyId>,
    /// What has been done.
    pub progress: Progress,
}

impl Airport {
    /// Opens it: every stand gets its share of the `gates` and its first flight, which the operator announces.
    pub fn open(operator: Operator, gates: Vec<GateClient>, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            plan,
            operator,
            numbers: AtomicU32::new(1),
            closed: Mutex::default(),
            history: Mutex::default(),
            travellers: AtomicU64::new(0),
            problems: Mutex::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for gates in gates.chunks(plan.gates as usize) {
            tasks.spawn(operate(shared.clone(), gates.to_vec(), stopping.clone()));
        }
        Self { tasks, shared, stop }
    }

    /// What has been done by now.
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Waits until so many more travellers have boarded.
    ///
    /// # Errors
    /// Where that takes too long, with what the operator's problems are.
    pub async fn board(&self, travellers: u64) -> Result<(), Error> {
        let wanted = self.shared.travellers.load(Ordering::Relaxed) + travellers;
        let boarded = wait_for("boarding goes on", BOARD_DEADLINE, async || {
            let boarded = self.shared.travellers.load(Ordering::Relaxed);
            let problems = lock(&self.shared.problems).join("; ");
            if boarded >= wanted { Ok(()) } else { Err(format!("{boarded} of {wanted} travellers; {problems}")) }
        });
        Ok(boarded.await?)
    }

    /// Announces no more flights, calls nobody more to a gate, and waits until all flights are closed.
    ///
    /// # Errors
    /// Where a manifest or a closing was not taken within the operator's patience.
    pub async fn close(mut self) -> Result<Closed, Error> {
        // The stands hold the other end until they are done.
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(Error::failed)?;
        }
        let problems = std::mem::take(&mut *lock(&self.shared.problems));
        if !problems.is_empty() {
            return Err(Error::Failed(format!("the operator was left alone: {}", problems.join("; "))));
        }
        let progress = self.shared.progress();
        let history = std::mem::take(&mut *lock(&self.shared.history));
        let journeys = std::mem::take(&mut *lock(&self.shared.closed));
        Ok(Closed { history, journeys, progress })
    }
}

impl Shared {
    /// Takes a problem of the operator down, and says so at once: a flight that is not there is missed elsewhere first.
    fn problem(&self, problem: String) {
        eprintln!("  {problem}");
        lock(&self.problems).push(problem);
    }

    /// Submits a message about a flight; says whether it was taken.
    async fn submit(&self, flight: &Flight, kind: MessageKind, numbers: impl RangeBounds<u32>) -> bool {
        let done = self.operator.insist(&Request::SubmitManifest(flight.message(kind.clone(), numbers))).await;
        if let Err(problem) = &done {
            self.problem(format!("{}: {kind:?} was not taken: {problem}", flight.journey));
        }
        done.is_ok()
    }

    fn progress(&self) -> Progress {
        Progress {
            announced: self.numbers.load(Ordering::Relaxed) - 1,
            closed: lock(&self.closed).len() as u32,
            travellers: self.travellers.load(Ordering::Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One stand: one flight after the other.
async fn operate(shared: Arc<Shared>, gates: Vec<GateClient>, stopping: watch::Receiver<bool>) {
    while !*stopping.borrow() {
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let Plan { seed, travellers, interval, .. } = shared.plan;
        let quarter = travellers.div_ceil(4).max(1);
        let booked = quarter + (number * 37) % (travellers - quarter + 1);
        let bank = Arc::new(Bank::numbered(seed, number, 1, booked));
        let journey = bank.flights[0].journey;
        let early = booked - LATECOMERS.min(booked - 1);
        let announced = shared.submit(&bank.flights[0], MessageKind::PassengerList, ..=early).await;
        if !announced {
            return;
        }
        let (is_added, added) = watch::channel(false);
        let board = board(&shared, &bank, &gates, interval, &stopping, early, added);
        tokio::join!(board, change(&shared, &bank.flights[0], early, is_added));
        match shared.operator.insist(&Request::CloseJourney { journey, purge: true }).await {
            Ok(_) => lock(&shared.closed).push(journey),
            Err(problem) => shared.problem(format!("{journey} was not closed: {problem}")),
        }
    }
}

/// Adds the latecomers to a flight's list, says so, and takes off it who does not come.
async fn change(shared: &Shared, flight: &Flight, early: u32, is_added: watch::Sender<bool>) {
    if shared.submit(flight, MessageKind::PassengerChange, early + 1..).await {
        // Nobody waits for it any more where boarding was stopped.
        let _ = is_added.send(true);
        shared.submit(flight, MessageKind::ReservationCancellation, ..=1).await;
    }
}

/// All guests of a flight who come, at all its gates; those behind the first `early` once they are `added`. A gate
/// takes the next guest every `interval` whether or not the one before is done: an outage meets as many captures as a
/// calm second.
async fn board(
    shared: &Arc<Shared>,
    bank: &Arc<Bank>,
    gates: &[GateClient],
    interval: Duration,
    stopping: &watch::Receiver<bool>,
    early: u32,
    added: watch::Receiver<bool>,
) {
    let mut pace = tokio::time::interval(interval / gates.len() as u32);
    let mut inside = JoinSet::new();
    for guest in 1..bank.flights[0].guests.len() {
        pace.tick().await;
        if *stopping.borrow() {
            break;
        }
        let (shared, bank, gate) = (shared.clone(), bank.clone(), gates[guest % gates.len()].clone());
        let mut added = added.clone();
        let is_late = guest >= early as usize;
        inside.spawn(async move {
            if is_late && added.wait_for(|added| *added).await.is_err() {
                // They were not added, which the desk has said.
                return;
            }
            board_one(&bank, &gate, 0, guest, &shared.history).await;
            shared.travellers.fetch_add(1, Ordering::Relaxed);
        });
    }
    while let Some(ended) = inside.join_next().await {
        ended.expect("no gate panics");
    }
}
