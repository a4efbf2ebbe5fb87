//! The day's course: every flight is announced, boards and is closed at its time, on a clock that runs fast.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_config::decision::Directive;
use cluster_config::ids::{EncounterId, PortCode};
use cluster_config::wire::operator::Request;
use node_link::GateClient;
use node_link::client::ClientError;
use node_population::Population;
use node_stage::flight::{Flight, Itinerary};
use node_stage::guest::Guest;
use node_stage::operator::Operator;
use node_stage::{capture, clock};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::books::Books;
use super::schedule::Departure;

/// Minutes before departure of the manifest, of a late manifest, of the first and the last traveller.
const ANNOUNCED_MIN: f64 = 120.0;
const ANNOUNCED_LATE_MIN: f64 = 50.0;
const BOARDING_MIN: f64 = 45.0;
const BOARDED_MIN: f64 = 10.0;

/// Flights of a thousand that have a late manifest, and that change the gate in the middle of boarding.
const LATE_PER_MILLE: u32 = 30;
const GATE_CHANGES_PER_MILLE: u32 = 50;

/// Travellers of a thousand who do not come, and whose first picture is bad.
const NO_SHOWS_PER_MILLE: u32 = 30;
const BAD_PICTURES_PER_MILLE: u32 = 40;

/// Captures of one traveller before a person looks.
const ATTEMPTS_MAX: u8 = 3;

/// How often a gate asks again if it gets no answer, and the pause in between.
const TRIES_MAX: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(200);

/// Travellers of one flight at once, if the machine sets the pace.
const AT_ONCE: usize = 8;

/// Numbers of travellers that each flight has to itself.
const TRAVELLERS_APART: u32 = 1_000;

/// How fast the day passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as a real day.
    Times(f64),
    /// As fast as the machine can, with so many flights at once.
    Max(usize),
}

/// The day's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// When it stood at `from_min`.
    pub begun: Instant,
    /// Minutes after midnight at the beginning.
    pub from_min: f64,
    /// How fast it runs.
    pub speed: Speed,
}

impl Clock {
    /// Minutes after midnight now. If the machine sets the pace, real minutes since the beginning.
    pub fn now_min(&self) -> f64 {
        let real_min = self.begun.elapsed().as_secs_f64() / 60.0;
        match self.speed {
            Speed::Times(times) => self.from_min + real_min * times,
            Speed::Max(_) => real_min,
        }
    }

    /// Waits for a minute of the day. If the machine sets the pace, it does not wait.
    async fn wait(&self, minute: f64) {
        if let Speed::Times(times) = self.speed {
            let real_s = ((minute - self.from_min) * 60.0 / times).max(0.0);
            tokio::time::sleep_until(self.begun + Duration::from_secs_f64(real_s)).await;
        }
    }
}

/// What became of a flight.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// Announced, boarding, closed: minutes of the day's clock.
    pub times: [f64; 3],
    /// On the manifest.
    pub booked: u32,
    /// Who came.
    pub present: u32,
    /// Who was let through by the camera.
    pub boarded: u32,
    /// Who was sent to a person.
    pub to_person: u32,
    pub captures: u32,
    /// Whether the manifest was late.
    pub late: bool,
    /// Whether the gate changed.
    pub gate_changed: bool,
}

/// One request: when it was asked, milliseconds after the beginning; how long it took, microseconds.
pub type Sample = (u32, u32);

/// Requests that failed: how many, and the first of them.
#[derive(Debug, Default)]
pub struct Failures {
    pub count: u64,
    pub first: Vec<String>,
}

/// Failures that are kept in words.
const FAILURES_KEPT: usize = 50;

impl Failures {
    fn add(&mut self, failure: String) {
        self.count += 1;
        if self.first.len() < FAILURES_KEPT {
            self.first.push(failure);
        }
    }
}

/// What the day's tasks share.
pub struct Course {
    pub clock: Clock,
    /// Real seconds since 1970 at the beginning.
    pub begun_s: i64,
    pub seed: u64,
    pub population: Population,
    /// Gates. Flights at different times share them.
    pub gates: BTreeMap<PortCode, Vec<GateClient>>,
    /// Who announces and closes.
    pub operator: Operator,
    /// Promises and records.
    pub books: Mutex<Books>,
    pub samples: Mutex<Vec<Sample>>,
    /// Requests that failed, the first of them in words.
    pub failures: Mutex<Failures>,
    /// Travellers let through as somebody else or without being known.
    pub false_matches: AtomicU64,
    /// Flights that board now.
    pub boarding: AtomicU64,
    pub done: Mutex<Vec<Completion>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A draw for one flight.
struct Draw(ChaCha8Rng);

impl Draw {
    fn happens(&mut self, per_mille: u32) -> bool {
        self.0.next_u32() % 1_000 < per_mille
    }

    fn share(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }
}

/// Runs all flights to their end.
pub async fn run(course: &Arc<Course>, departures: Vec<Departure>) {
    let at_once = match course.clock.speed {
        Speed::Times(_) => departures.len().max(1),
        Speed::Max(flights) => flights,
    };
    let slots = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for (index, departure) in departures.into_iter().enumerate() {
        // The semaphore is never closed.
        let slot = slots.clone().acquire_owned().await;
        let course = course.clone();
        tasks.spawn(async move {
            let completion = fly(&course, index as u32 + 1, &departure).await;
            lock(&course.done).push(completion);
            drop(slot);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no flight panics");
    }
}

async fn fly(course: &Arc<Course>, unique: u32, departure: &Departure) -> Completion {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(course.seed << 20 | u64::from(unique)));
    let leaves = f64::from(departure.at_min);
    let late = draw.happens(LATE_PER_MILLE);
    let gate_changed = draw.happens(GATE_CHANGES_PER_MILLE);
    course.clock.wait(leaves - if late { ANNOUNCED_LATE_MIN } else { ANNOUNCED_MIN }).await;
    let mut completion = Completion { late, gate_changed, ..Completion::default() };
    completion.times[0] = course.clock.now_min();
    let flight = announce(course, unique, departure).await;
    let Some(flight) = flight else { return completion };
    completion.booked = flight.guests.len() as u32;
    course.clock.wait(leaves - BOARDING_MIN).await;
    completion.times[1] = course.clock.now_min();
    board(course, unique, leaves, &Arc::new(flight), &mut draw, &mut completion).await;
    completion.times[2] = course.clock.now_min();
    completion
}

/// Composes and submits a flight's manifest. Its departure is on the fast clock, so that a flight becomes due for the
/// cluster as on a real day.
async fn announce(course: &Arc<Course>, unique: u32, departure: &Departure) -> Option<Flight> {
    let ahead_s = match course.clock.speed {
        Speed::Times(times) => (f64::from(departure.at_min) - course.clock.from_min) * 60.0 / times,
        Speed::Max(_) => ANNOUNCED_MIN * 60.0,
    };
    let itinerary = Itinerary {
        carrier: departure.carrier.clone(),
        number: departure.number,
        from: departure.from.clone(),
        to: departure.to.clone(),
        departs_at_s: course.begun_s + ahead_s as i64,
        travellers_before: unique * TRAVELLERS_APART,
        travellers: departure.travellers,
    };
    let population = course.population.clone();
    let composing = tokio::task::spawn_blocking(move || Flight::new(&population, &itinerary));
    let flight = composing.await.expect("a manifest that reads back");
    match course.operator.insist(&Request::SubmitManifest(flight.manifest.clone())).await {
        Ok(_) => Some(flight),
        Err(problem) => {
            lock(&course.failures).add(format!("{} was not announced: {problem}", flight.journey));
            None
        }
    }
}

async fn board(
    course: &Arc<Course>,
    unique: u32,
    leaves: f64,
    flight: &Arc<Flight>,
    draw: &mut Draw,
    completion: &mut Completion,
) {
    let journey = flight.journey;
    lock(&course.books).open(journey);
    course.boarding.fetch_add(1, Ordering::Relaxed);
    // People come evenly over the time of boarding, in no order.
    let mut comers: Vec<(f64, usize, bool)> = Vec::new();
    for guest in 0..flight.guests.len() {
        if !draw.happens(NO_SHOWS_PER_MILLE) {
            comers.push((draw.share(), guest, draw.happens(BAD_PICTURES_PER_MILLE)));
        }
    }
    comers.sort_by(|a, b| a.0.total_cmp(&b.0));
    completion.present = comers.len() as u32;
    let at_once = Arc::new(Semaphore::new(if course.clock.speed_is_max() { AT_ONCE } else { comers.len().max(1) }));
    let mut inside = JoinSet::new();
    for (share, guest, bad) in comers {
        let begins = leaves - BOARDING_MIN;
        course.clock.wait(begins + share * (BOARDING_MIN - BOARDED_MIN)).await;
        let moved = completion.gate_changed && share > 0.5;
        let gate = unique as usize + usize::from(moved);
        let slot = at_once.clone().acquire_owned().await;
        let (course, flight) = (course.clone(), flight.clone());
        inside.spawn(async move {
            let passed = pass(&course, unique, &flight, guest, gate, bad).await;
            drop(slot);
            passed
        });
    }
    while let Some(ended) = inside.join_next().await {
        let (let_through, captures) = ended.expect("no gate panics");
        completion.captures += captures;
        if let_through { completion.boarded += 1 } else { completion.to_person += 1 }
    }
    course.boarding.fetch_sub(1, Ordering::Relaxed);
    lock(&course.books).boarded(journey);
    course.clock.wait(leaves).await;
    if let Err(problem) = course.operator.insist(&Request::CloseJourney { journey, purge: true }).await {
        lock(&course.failures).add(format!("{journey} was not closed: {problem}"));
    }
}

impl Clock {
    fn speed_is_max(&self) -> bool {
        matches!(self.speed, Speed::Max(_))
    }
}

/// Brings one traveller to a gate. Gives whether the camera let them through, and after how many captures.
async fn pass(course: &Course, unique: u32, flight: &Flight, guest: usize, gate: usize, bad: bool) -> (bool, u32) {
    let who = &flight.guests[guest];
    for attempt in 1..=ATTEMPTS_MAX {
        let mut values = course.population.capture(&who.person, attempt.into());
        if bad && attempt == 1 {
            spoil(&mut values, &course.population.stranger(u64::from(unique) << 16 | guest as u64));
        }
        let number = u128::from(unique) << 32 | (guest as u128) << 8 | u128::from(attempt);
        let encounter = EncounterId(u128::from(course.seed) << 96 | number);
        match ask(course, flight, who, gate, encounter, attempt, values).await {
            Some(Directive::Proceed) => return (true, attempt.into()),
            Some(Directive::Recapture) => {}
            Some(Directive::Wait) | None => return (false, attempt.into()),
        }
    }
    (false, ATTEMPTS_MAX.into())
}

/// A picture out of focus, with somebody else half in it.
fn spoil(values: &mut [f32], other: &[f32]) {
    values.iter_mut().zip(other).for_each(|(value, other)| *value += 2.5 * other);
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter_mut().for_each(|value| *value /= norm);
}

async fn ask(
    course: &Course,
    flight: &Flight,
    who: &Guest,
    gate: usize,
    encounter: EncounterId,
    attempt: u8,
    values: Vec<f32>,
) -> Option<Directive> {
    for _ in 0..TRIES_MAX {
        let begun = Instant::now();
        let capture = capture::of_template(flight.journey, encounter, attempt, values.clone(), clock::now());
        let gates = &course.gates[&flight.port];
        let answered = gates[gate % gates.len()].board(capture).await;
        let at_ms = begun.duration_since(course.clock.begun).as_millis() as u32;
        lock(&course.samples).push((at_ms, begun.elapsed().as_micros() as u32));
        match answered {
            Ok(answer) => {
                let right =
                    answer.confirmed.map(|confirmed| confirmed.manifest_ordinal) == Some(who.person.manifest_ordinal);
                let through = answer.directive == Directive::Proceed;
                if through && !(right && who.known) {
                    course.false_matches.fetch_add(1, Ordering::Relaxed);
                    // The ledger has to name the person that the gate was told.
                    let told = answer.confirmed.and_then(|confirmed| {
                        flight.guests.iter().find(|guest| guest.person.manifest_ordinal == confirmed.manifest_ordinal)
                    });
                    let named = told.filter(|guest| guest.in_scope).map(|guest| guest.person.manifest_ordinal);
                    lock(&course.books).answered(flight.journey, &answer, named);
                } else {
                    let named = (through && who.in_scope).then_some(who.person.manifest_ordinal);
                    lock(&course.books).answered(flight.journey, &answer, named);
                }
                return Some(answer.directive);
            }
            Err(error) => {
                lock(&course.failures).add(format!("{encounter}: {error}"));
                if !matches!(error, ClientError::Refused { .. }) {
                    lock(&course.books).unanswered(flight.journey, encounter);
                }
                tokio::time::sleep(TRY_PAUSE).await;
            }
        }
    }
    None
}
