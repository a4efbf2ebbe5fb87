//! Gates that board a bank: everybody is captured, identified and boarded, and captured again where asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::decision::Directive;
use cluster_config::wire::gate::Capture;
use node_link::GateClient;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bank::Bank;
use crate::oracle::{Asked, Entry, History, Kind, Outcome};

/// Captures of one traveller before the gate sends them to a person.
const ATTEMPTS_MAX: u8 = 3;

/// How often a gate asks before it leaves a traveller to a person, and the pause in between.
const TRIES_MAX: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(200);

/// One guest in so many is followed by somebody who is not on the manifest.
const STRANGER_EVERY: usize = 10;

/// A boarding under way.
pub struct Boarding {
    tasks: JoinSet<()>,
    history: Arc<Mutex<History>>,
    progress: watch::Receiver<usize>,
    guests: usize,
}

/// Boards all flights at once, the first at the first gate and so on. Each gate takes the next guest every `interval`
/// whether or not the one before is done: an outage meets as many captures as a calm second. Each guest is identified,
/// then boarded, again with a new picture where the answer is *recapture*; every tenth is followed by a stranger.
pub fn board(bank: &Arc<Bank>, gates: Vec<GateClient>, interval: Duration) -> Boarding {
    let gates = gates.into_iter().map(|gate| (gate, interval)).collect();
    board_paced(bank, gates)
}

/// As [`board`], each gate with an interval of its own.
pub fn board_paced(bank: &Arc<Bank>, gates: Vec<(GateClient, Duration)>) -> Boarding {
    let history = Arc::new(Mutex::new(History::default()));
    let (done, progress) = watch::channel(0);
    let done = Arc::new(done);
    let mut tasks = JoinSet::new();
    let mut guests = 0;
    for (flight, (gate, interval)) in gates.into_iter().enumerate().take(bank.flights.len()) {
        guests += bank.flights[flight].guests.len();
        let (bank, history, done) = (bank.clone(), history.clone(), done.clone());
        tasks.spawn(async move {
            let mut pace = tokio::time::interval(interval);
            let mut inside = JoinSet::new();
            for guest in 0..bank.flights[flight].guests.len() {
                pace.tick().await;
                let (bank, gate, history, done) = (bank.clone(), gate.clone(), history.clone(), done.clone());
                inside.spawn(async move {
                    board_one(&bank, &gate, flight, guest, &history).await;
                    done.send_modify(|count| *count += 1);
                });
            }
            while let Some(ended) = inside.join_next().await {
                ended.expect("no gate task panics");
            }
        });
    }
    Boarding { tasks, history, progress, guests }
}

/// Brings one guest through a gate and writes down all that was asked and answered.
pub async fn board_one(bank: &Bank, gate: &GateClient, flight: usize, guest: usize, history: &Mutex<History>) {
    let capture = bank.capture(flight, guest, 0, 1);
    ask(bank, gate, Kind::Identify, Some((flight, guest)), capture, history).await;
    for attempt in 1..=ATTEMPTS_MAX {
        let capture = bank.capture(flight, guest, u64::from(attempt), attempt);
        let told = ask(bank, gate, Kind::Board, Some((flight, guest)), capture, history).await;
        if told != Some(Directive::Recapture) {
            break;
        }
    }
    if guest.is_multiple_of(STRANGER_EVERY) {
        let capture = bank.stranger(flight, (flight as u64) << 16 | guest as u64);
        ask(bank, gate, Kind::Board, None, capture, history).await;
    }
}

/// Makes one request and writes it down with its answer. As a real gate would, it asks again, under the same encounter,
/// where it was left without an answer; every try is written down.
async fn ask(
    bank: &Bank,
    gate: &GateClient,
    kind: Kind,
    who: Option<(usize, usize)>,
    capture: Capture,
    history: &Mutex<History>,
) -> Option<Directive> {
    for _ in 0..TRIES_MAX {
        if let Some(told) = ask_once(bank, gate, kind, who, capture.clone(), history).await {
            return Some(told);
        }
        tokio::time::sleep(TRY_PAUSE).await;
    }
    None
}

async fn ask_once(
    bank: &Bank,
    gate: &GateClient,
    kind: Kind,
    who: Option<(usize, usize)>,
    capture: Capture,
    history: &Mutex<History>,
) -> Option<Directive> {
    let (journey, encounter) = (capture.journey, capture.encounter);
    let asked = Asked::of("", &capture);
    let begun = Instant::now();
    let answered = match kind {
        Kind::Identify => gate.identify(capture).await,
        Kind::Board => gate.board(capture).await,
    };
    let took = begun.elapsed();
    let outcome: Outcome = answered.into();
    let told = outcome.answer().map(|answer| answer.directive);
    let who = who.map(|(flight, guest)| bank.flights[flight].guests[guest].clone());
    let entry = Entry { kind, journey, who, encounter, asked, begun, took, outcome };
    history.lock().unwrap_or_else(PoisonError::into_inner).add(entry);
    told
}

impl Boarding {
    /// How many guests are done, to be watched.
    pub fn progress(&self) -> watch::Receiver<usize> {
        self.progress.clone()
    }

    /// Waits until so many hundredths of the guests are done. Every request has a deadline and is asked a bounded
    /// number of times, so that boarding always goes on.
    ///
    /// # Panics
    /// Where a gate panicked.
    pub async fn reached(&mut self, percent: usize) {
        let wanted = self.guests * percent / 100;
        self.progress.wait_for(|done| *done >= wanted).await.expect("boarding goes on");
    }

    /// Waits until everybody is done, and gives what the gates asked and were told.
    ///
    /// # Panics
    /// Where a gate panicked.
    pub async fn finish(mut self) -> History {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no gate panics");
        }
        std::mem::take(&mut *self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
