//! An airport that never closes: at every stand one flight after the other is announced, boards at its gates and is
//! closed, until the airport is told to stop. While a flight boards, latecomers are added to its list, and somebody who did not
//! come is taken off. Long runs of faults strike while this goes on.

use std::net::SocketAddr;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::JourneyId;
use cluster_config::wire::operator::{Request, Response};
use node_intake::MessageKind;
use node_link::{Identity, OperatorClient};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::level::wait_for;
use crate::live::{Live, LiveGate};
use crate::oracle::History;
use crate::target::{LEVEL_DEADLINE, Target};
use crate::workload::{Bank, Flight, board_one};

/// How long one question of the desk may take before it is asked again.
const DESK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the desk tries at all. Faults last a minute at most, and the cluster needs a moment afterwards.
const DESK_PATIENCE: Duration = Duration::from_secs(150);

/// Pause between two tries of the desk.
const DESK_PAUSE: Duration = Duration::from_millis(200);

/// Travellers of a flight who are not on its first manifest: the last ones. The first one of all does not come.
const LATECOMERS: u32 = 2;

/// What an airport is like.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seed of everybody who travels.
    pub seed: u64,
    /// Flights that board at once.
    pub stands: u32,
    /// Gates of each.
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
    desk: Desk,
    numbers: AtomicU32,
    closed: Mutex<Vec<JourneyId>>,
    history: Mutex<History>,
    travellers: AtomicU64,
    problems: Mutex<Vec<String>>,
}

impl Airport {
    /// Opens it: every gate is connected, and every stand gets its first flight.
    pub async fn open(live: &Live, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            plan,
            desk: Desk::new(live),
            numbers: AtomicU32::new(1),
            closed: Mutex::default(),
            history: Mutex::default(),
            travellers: AtomicU64::new(0),
            problems: Mutex::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for stand in 0..plan.stands {
            let mut gates = Vec::new();
            for gate in 0..plan.gates {
                gates.push(live.gate((stand * plan.gates + gate) as usize).await);
            }
            tasks.spawn(operate(shared.clone(), gates, stopping.clone()));
        }
        Self { tasks, shared, stop }
    }

    /// What has been done by now.
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Waits until so many more travellers have boarded.
    ///
    /// # Panics
    /// Where that takes too long, with what the desk's problems are.
    pub async fn board(&self, travellers: u64) {
        let wanted = self.shared.travellers.load(Ordering::Relaxed) + travellers;
        wait_for("boarding goes on", LEVEL_DEADLINE, async || {
            let boarded = self.shared.travellers.load(Ordering::Relaxed);
            let problems = lock(&self.shared.problems).join("; ");
            if boarded >= wanted { Ok(()) } else { Err(format!("{boarded} of {wanted} travellers; {problems}")) }
        })
        .await;
    }

    /// Announces no more flights and calls nobody more to a gate, waits until all flights are closed, and gives what gates asked and were told,
    /// with the journeys that are closed.
    ///
    /// # Panics
    /// Where a manifest or a closing was not taken within the patience of the desk.
    pub async fn close(mut self) -> (History, Vec<JourneyId>, Progress) {
        // The stands hold the other end until they are done.
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no stand panics");
        }
        let problems = std::mem::take(&mut *lock(&self.shared.problems));
        assert!(problems.is_empty(), "the desk was left alone: {problems:#?}");
        let progress = self.shared.progress();
        (std::mem::take(&mut *lock(&self.shared.history)), std::mem::take(&mut *lock(&self.shared.closed)), progress)
    }
}

impl Shared {
    /// Takes a problem of the desk down, and says so at once: a flight that is not there is missed elsewhere first.
    fn problem(&self, problem: String) {
        eprintln!("  {problem}");
        lock(&self.problems).push(problem);
    }

    /// Submits a message about a flight; says whether it was taken.
    async fn submit(&self, flight: &Flight, kind: MessageKind, numbers: impl RangeBounds<u32>) -> bool {
        let done = self.desk.done(&Request::SubmitManifest(flight.message(kind.clone(), numbers))).await;
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
async fn operate(shared: Arc<Shared>, gates: Vec<LiveGate>, stopping: watch::Receiver<bool>) {
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
        match shared.desk.done(&Request::CloseJourney(journey)).await {
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

/// All guests of a flight who come, at all its gates; those behind the first `early` once they are `added`. A gate takes
/// the next guest every `interval` whether or not the one before is done: an outage meets as many captures as a calm second.
async fn board(
    shared: &Arc<Shared>,
    bank: &Arc<Bank>,
    gates: &[LiveGate],
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

/// An operator who knows all nodes and does not give up at the first that is silent. Every change asked for here may be
/// asked for again.
#[derive(Clone)]
pub struct Desk {
    /// Of the members: founders may have left.
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    identity: Identity,
    turn: Arc<AtomicU32>,
}

impl Desk {
    /// A desk of this cluster.
    pub fn new(live: &Live) -> Self {
        let addresses = live.addresses.clone();
        Self { addresses, identity: live.operator().clone(), turn: Arc::new(AtomicU32::new(0)) }
    }

    /// Asks one node after the other until one has an answer, each with a connection of its own.
    ///
    /// # Errors
    /// What went wrong last, at the end of all patience, and a refusal that no other node would take back.
    pub async fn done(&self, request: &Request) -> Result<Response, String> {
        let begun = Instant::now();
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
            let address = {
                let addresses = lock(&self.addresses);
                addresses[turn % addresses.len()]
            };
            let problem = match OperatorClient::connect(vec![address], &self.identity).await {
                Err(error) => error.to_string(),
                Ok(client) => match client.call(request, DESK_TIMEOUT).await {
                    Ok(Response::Refused(refusal)) if !refusal.code.retryable() => return Err(refusal.to_string()),
                    Ok(Response::Refused(refusal)) => refusal.to_string(),
                    Ok(response) => return Ok(response),
                    Err(error) => error.to_string(),
                },
            };
            if begun.elapsed() > DESK_PATIENCE {
                return Err(problem);
            }
            tokio::time::sleep(DESK_PAUSE).await;
        }
    }
}
