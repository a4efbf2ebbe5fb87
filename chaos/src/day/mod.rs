//! A national departure day on a live cluster: every flight of a real schedule, with everybody on board.

mod books;
mod course;
mod schedule;
mod story;
mod svg;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use cluster_config::ids::{NodeId, PortCode};
use cluster_config::wire::operator::{Request, Response};
use harness::fault::Fault;
use harness::live::{Live, Setting};
use harness::target::Target;
use node_link::GateClient;
use node_population::{Population, TEMPLATE_DIMS};
use tokio::time::Instant;

use crate::results;
use course::{Clock, Course, Speed};
use schedule::Departure;
use story::{Kill, Look, Story};

/// How often the cluster is looked at, for the picture.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long the killed node stays dead.
const DOWN: Duration = Duration::from_secs(5);

/// Records of the ledger in one question.
const PAGE_RECORDS: u32 = 5_000;

/// Minutes from the beginning of the clock to the first departure: the manifests come before it.
const BEGINS_BEFORE_MIN: f64 = 121.0;

/// Which day, and how fast.
#[derive(Args)]
pub struct Arguments {
    /// Table of departures: carrier, flight, origin, dest, pax, utc_min
    #[arg(long)]
    schedule: PathBuf,
    /// How many times as fast as a real day, or `max`
    #[arg(long, default_value = "60", value_parser = speed)]
    speed: Speed,
    /// The hours that the flights leave in, `A..B`
    #[arg(long, default_value = "0..24", value_parser = hours)]
    hours: (u32, u32),
    /// So many flights of them, evenly taken
    #[arg(long)]
    flights: Option<usize>,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: u64,
    /// Gates' connections; flights share them at different times
    #[arg(long, default_value_t = 200)]
    gates: u32,
    /// Seed of everybody who travels
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kill nobody in the busiest hour
    #[arg(long)]
    no_kill: bool,
    /// Where the picture goes
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// Flights at once if the machine sets the pace: so many that it never waits, and so few that memory stays small.
const FLIGHTS_AT_ONCE: usize = 12;

fn speed(text: &str) -> Result<Speed, String> {
    match (text, text.parse::<f64>()) {
        ("max", _) => Ok(Speed::Max(FLIGHTS_AT_ONCE)),
        (_, Ok(times)) if (0.1..=100_000.0).contains(&times) => Ok(Speed::Times(times)),
        _ => Err("give a number from 0.1 to 100000, or max".to_owned()),
    }
}

fn hours(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    parsed.filter(|(from, to)| from < to && *to <= 24).ok_or("give A..B with 0 <= A < B <= 24".to_owned())
}

/// Runs the day, prints its report, and says whether everything held.
///
/// # Errors
/// Where the schedule cannot be read, or the picture cannot be written.
pub async fn run(arguments: &Arguments) -> Result<bool, String> {
    let departures = schedule::part(schedule::read(&arguments.schedule)?, arguments.hours, arguments.flights);
    if departures.is_empty() {
        return Err("no flight leaves in these hours".to_owned());
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut live = Live::start_as(Setting {
        log: "warn,openraft=error".to_owned(),
        seed: arguments.seed,
        again: format!("cargo run -p chaos -- {command}"),
        ..Setting::new("day", arguments.nodes)
    })
    .await;
    let gates = gates(&live, &departures, arguments.gates).await;
    let first = departures.iter().map(|departure| departure.at_min).min().unwrap_or(0);
    let now = live.status(live.leader().await).await;
    let engine = now.map(|status| status.engine).unwrap_or_default();
    let clock = Clock { begun: Instant::now(), from_min: f64::from(first) - BEGINS_BEFORE_MIN, speed: arguments.speed };
    let course = Arc::new(Course {
        clock,
        begun_s: harness::clock_s(),
        seed: arguments.seed,
        population: Population::new(arguments.seed, TEMPLATE_DIMS),
        gates,
        operator: live.operator().clone(),
        books: Mutex::default(),
        samples: Mutex::default(),
        failures: Mutex::default(),
        false_matches: AtomicU64::new(0),
        boarding: AtomicU64::new(0),
        done: Mutex::default(),
    });
    let looks = Arc::new(Mutex::new(Vec::new()));
    let looking = tokio::spawn(look(course.clone(), looks.clone()));
    let reader = Arc::new(AtomicU64::new(0));
    let reading = tokio::spawn(read_ledger(course.clone(), reader.clone()));
    let gates: usize = course.gates.values().map(Vec::len).sum();
    println!("{} flights, {} nodes, {gates} gates", departures.len(), arguments.nodes);

    let flying = {
        let (course, departures) = (course.clone(), departures.clone());
        tokio::spawn(async move { course::run(&course, departures).await })
    };
    let mut kills = Vec::new();
    if !arguments.no_kill {
        kills.push(kill_when_busiest(&mut live, &course, &departures).await);
    }
    flying.await.map_err(|error| error.to_string())?;
    let wall_s = clock.begun.elapsed().as_secs_f64();
    looking.abort();
    reading.abort();
    live.ready(arguments.nodes as usize).await;
    let ledger = live.same_ledger_length().await;
    // The records that the reader had not read yet.
    let mut from = reader.load(Ordering::Relaxed);
    while from < ledger {
        from = page(&course, from).await?;
    }
    lock(&course.books).close(true);
    let story = Story {
        flights: std::mem::take(&mut *lock(&course.done)),
        samples: std::mem::take(&mut *lock(&course.samples)),
        failures: std::mem::take(&mut *lock(&course.failures)),
        books: std::mem::take(&mut *lock(&course.books)),
        false_matches: course.false_matches.load(Ordering::Relaxed),
        looks: std::mem::take(&mut *lock(&looks)),
        kills,
        clock,
        wall_s,
        ledger,
        engine,
        nodes: arguments.nodes,
    };
    println!("{}", story.report());
    if let Some(path) = &arguments.svg {
        std::fs::write(path, story.picture().draw()).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("drawn: {}", path.display());
    }
    let run = story.result(arguments.seed, format!("cargo run -p chaos -- {command}"));
    results::append(&run).map_err(|error| format!("{}: {error}", results::path().display()))?;
    Ok(run.failures.is_empty())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the leader in the middle of the hour in which most people leave, and starts it again. If the machine sets the
/// pace, it does so when half of the flights are done.
async fn kill_when_busiest(live: &mut Live, course: &Arc<Course>, departures: &[Departure]) -> Kill {
    let middle = f64::from(schedule::busiest_hour(departures)) + 30.0;
    let half = departures.len() / 2;
    loop {
        let due = match course.clock.speed {
            // People board half an hour before they leave.
            Speed::Times(_) => course.clock.now_min() >= middle - 28.0,
            Speed::Max(_) => lock(&course.done).len() >= half,
        };
        if due {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let node = live.leader().await;
    let began_min = course.clock.now_min();
    let began_ms = course.clock.begun.elapsed().as_millis() as u32;
    live.strike(Fault::Kill(node)).await;
    tokio::time::sleep(DOWN).await;
    live.strike(Fault::Start(node)).await;
    let ended_min = course.clock.now_min();
    let ended_ms = course.clock.begun.elapsed().as_millis() as u32;
    live.ready(live.running().len()).await;
    live.replicated().await;
    let well_ms = course.clock.begun.elapsed().as_millis() as u32;
    Kill { node, began_min, ended_min, began_ms, ended_ms, well_ms }
}

/// Looks at the cluster in regular steps.
async fn look(course: Arc<Course>, looks: Arc<Mutex<Vec<Look>>>) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        ticks.tick().await;
        let boarding = course.boarding.load(Ordering::Relaxed);
        let mut shards: BTreeMap<NodeId, u32> = BTreeMap::new();
        if let Ok(Response::ClusterStatus(status)) = course.operator.insist(&Request::ClusterStatus).await {
            shards.extend(status.members.iter().map(|member| (member.member.id, member.owner_of + member.standby_of)));
        }
        lock(&looks).push(Look { at_min: course.clock.now_min(), boarding, shards });
    }
}

/// Reads the ledger while it grows, and closes the books of flights that agree with it.
async fn read_ledger(course: Arc<Course>, position: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        ticks.tick().await;
        let from = position.load(Ordering::Relaxed);
        if let Ok(next) = page(&course, from).await {
            position.store(next, Ordering::Relaxed);
        }
        lock(&course.books).close(false);
    }
}

/// Gates for all ports, as many at each as it has of the departures, but one at least.
async fn gates(live: &Live, departures: &[Departure], gates: u32) -> BTreeMap<PortCode, Vec<GateClient>> {
    let mut flights: BTreeMap<PortCode, usize> = BTreeMap::new();
    for departure in departures {
        *flights.entry(departure.from.parse().expect("a port")).or_default() += 1;
    }
    let (mut all, mut nearest) = (BTreeMap::new(), 0);
    for (port, count) in flights {
        let at_port: &mut Vec<GateClient> = all.entry(port).or_default();
        for _ in 0..(gates as usize * count / departures.len()).max(1) {
            at_port.push(live.gate_of(port, nearest).await);
            nearest += 1;
        }
    }
    all
}

/// Takes one page of the ledger into the books, and says where the next begins.
async fn page(course: &Course, from: u64) -> Result<u64, String> {
    match course
        .operator
        .insist(&Request::LedgerPage { from, limit: PAGE_RECORDS })
        .await
        .map_err(|error| error.to_string())?
    {
        Response::LedgerPage(page) => {
            let count = page.records.len() as u64;
            let mut books = lock(&course.books);
            page.records.into_iter().for_each(|record| books.recorded(record));
            Ok(from + count)
        }
        other => Err(format!("a page of the ledger is answered by {other:?}")),
    }
}
