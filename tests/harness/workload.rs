//! A bank of departures: PAXLST manifests, the people on them, and gate clients that board everybody at once.

use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_config::ids::{EncounterId, JourneyId, NodeId};
use cluster_config::wire::gate::{Capture, CaptureDetail, DeviceKind, Directive, ImageKind, Sample};
pub use node::holdings::synthetic::Population;
use node::holdings::synthetic::model;
use node::manifests;
use node_intake::{Date, Document, Leg, LocalDateTime, LocalTime, Manifest, MessageKind, Traveller, compose, parse};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use crate::guest::Guest;
use crate::oracle::{Entry, History, Kind, Outcome};
use crate::target::{Gate, LEVEL_DEADLINE, Target};

/// Numbers in a template of the local clusters.
pub const TEMPLATE_DIMS: usize = 512;

/// Captures of one traveller before the gate sends them to a person.
const ATTEMPTS_MAX: u8 = 3;

/// Ports that flights leave from, and how many leave from each before the next one's turn: flight numbers have four
/// digits.
const PORTS: [&str; 10] = ["JFK", "MIA", "LAX", "EWR", "ORD", "ATL", "SFO", "IAH", "DFW", "BOS"];
const FLIGHTS_OF_PORT: u32 = 900;

/// How often a gate asks before it leaves a traveller to a person, and the pause in between.
const TRIES_MAX: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(200);

/// How long before departure the bank boards: within the hour in which journeys get all their replicas.
const DEPARTS_IN_S: i64 = 30 * 60;

/// One departure.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Its journey.
    pub journey: JourneyId,
    /// Its manifest, PAXLST.
    pub manifest: Vec<u8>,
    /// Its travellers, in manifest order.
    pub guests: Vec<Guest>,
}

/// A bank of departures.
#[derive(Debug)]
pub struct Bank {
    /// The flights.
    pub flights: Vec<Flight>,
    /// Where the nodes' holdings and the gates' captures come from.
    pub population: Population,
    seed: u64,
    first: u32,
}

impl Bank {
    /// `flights` flights of `travellers` people each.
    ///
    /// # Panics
    /// Where the manifests do not read back as what was written: then nothing else can be judged.
    pub fn new(seed: u64, flights: u32, travellers: u32) -> Self {
        Self::numbered(seed, 1, flights, travellers)
    }

    /// As [`Bank::new`], with flights numbered from `first` on: banks of one seed and different numbers have different
    /// flights, people and encounters.
    ///
    /// # Panics
    /// As [`Bank::new`].
    pub fn numbered(seed: u64, first: u32, flights: u32, travellers: u32) -> Self {
        let population = Population::new(seed, TEMPLATE_DIMS);
        let flights = (first..first + flights).map(|number| flight(&population, seed, number, travellers)).collect();
        Self { flights, population, seed, first }
    }

    /// Submits all manifests, each to another node, and waits until every shard has all of its replicas.
    ///
    /// # Panics
    /// Where one is refused.
    pub async fn submit(&self, target: &impl Target) {
        let nodes = target.running();
        for (flight, node) in self.flights.iter().zip(nodes.iter().cycle()) {
            let submitted = target.submit(*node, &flight.manifest).await;
            let submitted = submitted.unwrap_or_else(|failure| panic!("{}: {failure}", flight.journey));
            let journey = &submitted.journeys[0];
            assert_eq!((journey.journey, journey.duplicate), (flight.journey, false));
            assert_eq!(journey.people as usize, flight.guests.len(), "{}", flight.journey);
        }
        target.replicated().await;
    }

    /// A capture of a guest of a flight. `number` numbers the captures of one guest; it decides picture and encounter.
    pub fn capture(&self, flight: usize, guest: usize, number: u64, attempt: u8) -> Capture {
        let person = &self.flights[flight].guests[guest].person;
        let values = self.population.capture(person, number);
        self.encounter(flight, (guest as u64) << 16 | number, attempt, values)
    }

    /// A capture of somebody who is on no manifest.
    pub fn stranger(&self, flight: usize, number: u64) -> Capture {
        let stranger = self.seed << 48 | u64::from(self.first) << 24 | number;
        self.encounter(flight, 1 << 60 | number, 1, self.population.stranger(stranger))
    }

    fn encounter(&self, flight: usize, number: u64, attempt: u8, values: Vec<f32>) -> Capture {
        let flights = self.first as u128 + flight as u128;
        let encounter = EncounterId(u128::from(self.seed) << 96 | flights << 64 | u128::from(number));
        capture_of(self.flights[flight].journey, encounter, attempt, values)
    }

    /// Everything that identifies a person and must never be found in the clear: family names and document numbers.
    pub fn personal_data(&self) -> Vec<String> {
        let guests = self.flights.iter().flat_map(|flight| &flight.guests);
        guests
            .flat_map(|guest| {
                let number = guest.person.document.as_ref().map(|document| document.number.clone());
                number.into_iter().chain([guest.person.family_name.clone()])
            })
            .collect()
    }
}

/// What a gate sends of a template that it has made.
pub fn capture_of(journey: JourneyId, encounter: EncounterId, attempt: u8, values: Vec<f32>) -> Capture {
    Capture {
        encounter,
        journey,
        sample: Sample::Template { model: model(), values },
        detail: CaptureDetail {
            device_kind: DeviceKind::GateCamera,
            image_kind: ImageKind::VisibleStill,
            quality: Some(80),
        },
        attempt,
        captured_at: node::clock::now(),
        deadline_ms: 2_000,
    }
}

/// Letters for a number, so that every family name is one that stands nowhere else.
fn letters(mut number: u32) -> String {
    let mut text = String::new();
    for _ in 0..5 {
        text.push(char::from(b'A' + (number % 26) as u8));
        number /= 26;
    }
    text
}

fn flight(population: &Population, seed: u64, number: u32, travellers: u32) -> Flight {
    Flight::new(
        population,
        &Itinerary {
            carrier: "ZT".to_owned(),
            number: number % FLIGHTS_OF_PORT + 100 * (1 + seed as u32 % 90),
            from: PORTS[(number / FLIGHTS_OF_PORT) as usize % PORTS.len()].to_owned(),
            to: "VIE".to_owned(),
            departs_at_s: crate::clock_s() + DEPARTS_IN_S,
            unique: number,
            travellers,
        },
    )
}

/// What a flight is announced with.
#[derive(Debug, Clone)]
pub struct Itinerary {
    /// Two characters.
    pub carrier: String,
    /// Up to four digits.
    pub number: u32,
    /// Port of departure.
    pub from: String,
    /// Port of arrival.
    pub to: String,
    /// Seconds since 1970.
    pub departs_at_s: i64,
    /// A number that no other flight of the run has: nobody travels on two.
    pub unique: u32,
    /// People, up to 999.
    pub travellers: u32,
}

impl Flight {
    /// A flight with made-up people.
    ///
    /// # Panics
    /// Where its manifest does not read back as what was written.
    pub fn new(population: &Population, itinerary: &Itinerary) -> Self {
        let Itinerary { carrier, number, from, to, departs_at_s, unique, travellers } = itinerary;
        let people = (1..=*travellers).map(|ordinal| traveller(unique * 1_000 + ordinal, ordinal)).collect();
        let departs = time::OffsetDateTime::from_unix_timestamp(*departs_at_s).expect("a time");
        let date = Date::new(departs.year() as u16, departs.month().into(), departs.day()).expect("a date");
        let leg = Leg {
            carrier: Some(carrier.clone()),
            flight_number: Some(number.to_string()),
            departure_port: from.clone(),
            arrival_port: to.clone(),
            departure: Some(LocalDateTime { date, time: LocalTime::new(departs.hour(), departs.minute()) }),
            arrival: None,
        };
        let manifest = compose(&Manifest::air_passenger_list(leg, people));
        let mut announced = manifests::read(&manifest).expect("what was composed reads");
        assert!(announced.quarantined.is_empty(), "{:?}", announced.quarantined);
        let announcement = announced.journeys.remove(0);
        let guests = announcement.people.into_iter().map(|person| {
            let citizen = person.nationality.as_deref() == Some("USA");
            let born = person.date_of_birth.unwrap_or(0) / 10_000;
            let age = departs.year() as u32 - born;
            let known = population.photographs(&person) > 0;
            Guest { in_scope: !citizen && (15..=78).contains(&age), known, person }
        });
        Self { journey: announcement.plan.id, guests: guests.collect(), manifest }
    }

    /// A message of some kind about those of its people who have these numbers on its manifest.
    ///
    /// # Panics
    /// Where its manifest does not read back.
    pub fn message(&self, kind: MessageKind, numbers: impl RangeBounds<u32>) -> Vec<u8> {
        let mut manifest = parse(&self.manifest).expect("what was composed reads").messages.remove(0).manifest;
        manifest.kind = kind;
        manifest.travellers.retain(|traveller| numbers.contains(&traveller.ordinal));
        compose(&manifest)
    }
}

/// A third are citizens, a tenth are children; nobody is near the bounds of the ages in scope.
fn traveller(unique: u32, ordinal: u32) -> Traveller {
    let year = if ordinal.is_multiple_of(10) { 2021 } else { 1960 + (ordinal % 40) as u16 };
    let state = ["USA", "AUT", "GBR"][ordinal as usize % 3];
    Traveller {
        ordinal,
        family_name: format!("ZWQ{}", letters(unique)),
        given_names: vec!["MARIA".to_owned()],
        date_of_birth: Date::new(year, 3, 14),
        nationality: Some(state.to_owned()),
        documents: vec![Document {
            type_code: Some("P".to_owned()),
            number: Some(format!("QX{unique:07}")),
            issuing_state: Some(state.to_owned()),
            ..Document::default()
        }],
        ..Traveller::default()
    }
}

/// A boarding under way.
pub struct Boarding {
    tasks: JoinSet<()>,
    history: Arc<Mutex<History>>,
    progress: watch::Receiver<usize>,
    guests: usize,
}

/// Boards all flights at once: each has a gate, which takes the next guest every `interval` whether or not the one
/// before is done (an open loop, so that an outage meets as many captures as a calm second). Each guest is identified,
/// then boarded, again with a new picture where the answer is *recapture*; every tenth is followed by a stranger.
pub fn board<G: Gate>(bank: &Arc<Bank>, gates: Vec<G>, interval: Duration) -> Boarding {
    let history = Arc::new(Mutex::new(History::default()));
    let (done, progress) = watch::channel(0);
    let done = Arc::new(done);
    let mut tasks = JoinSet::new();
    let mut guests = 0;
    for (flight, gate) in gates.into_iter().enumerate().take(bank.flights.len()) {
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
pub async fn board_one(bank: &Bank, gate: &impl Gate, flight: usize, guest: usize, history: &Mutex<History>) {
    let capture = bank.capture(flight, guest, 0, 1);
    ask(bank, gate, Kind::Identify, Some((flight, guest)), capture, history).await;
    for attempt in 1..=ATTEMPTS_MAX {
        let capture = bank.capture(flight, guest, u64::from(attempt), attempt);
        let told = ask(bank, gate, Kind::Board, Some((flight, guest)), capture, history).await;
        if told != Some(Directive::Recapture) {
            break;
        }
    }
    if guest.is_multiple_of(10) {
        let capture = bank.stranger(flight, (flight as u64) << 16 | guest as u64);
        ask(bank, gate, Kind::Board, None, capture, history).await;
    }
}

/// Makes one request and writes it down with its answer. As a real gate would, it asks again, under the same encounter,
/// where it was left without an answer; every try is written down.
async fn ask(
    bank: &Bank,
    gate: &impl Gate,
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
    gate: &impl Gate,
    kind: Kind,
    who: Option<(usize, usize)>,
    capture: Capture,
    history: &Mutex<History>,
) -> Option<Directive> {
    let (journey, encounter) = (capture.journey, capture.encounter);
    let begun = Instant::now();
    let answered = match kind {
        Kind::Identify => gate.identify(capture).await,
        Kind::Board => gate.board(capture).await,
    };
    let took = begun.elapsed();
    let outcome: Outcome = answered.into();
    let told = outcome.answer().map(|answer| answer.directive);
    let who = who.map(|(flight, guest)| bank.flights[flight].guests[guest].clone());
    history.lock().expect("no gate panicked").add(Entry { kind, journey, who, encounter, begun, took, outcome });
    told
}

impl Boarding {
    /// Waits until so many hundredths of the guests are done.
    ///
    /// # Panics
    /// Where that takes too long.
    pub async fn reached(&mut self, percent: usize) {
        let wanted = self.guests * percent / 100;
        let reached = self.progress.wait_for(|done| *done >= wanted);
        tokio::time::timeout(LEVEL_DEADLINE, reached).await.expect("boarding goes on").expect("boarding goes on");
    }

    /// Waits until everybody is done, and gives what the gates asked and were told.
    ///
    /// # Panics
    /// Where that takes too long, or a gate panicked.
    pub async fn finish(mut self) -> History {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("no gate panics");
            }
        };
        tokio::time::timeout(2 * LEVEL_DEADLINE, all).await.expect("boarding ends");
        std::mem::take(&mut *self.history.lock().expect("no gate panicked"))
    }
}

/// Submits the manifests of a bank of flights with so many people on each, and boards them all, one after the other at
/// each gate with `interval` between.
pub async fn begin<T: Target>(target: &T, flights: u32, people: u32, interval: Duration) -> (Arc<Bank>, Boarding) {
    let bank = Arc::new(Bank::new(crate::seed(), flights, people));
    bank.submit(target).await;
    let gates = gates(target, &bank).await;
    let boarding = board(&bank, gates, interval);
    (bank, boarding)
}

/// One gate for each flight, each with another node as its first choice.
pub async fn gates<T: Target>(target: &T, bank: &Bank) -> Vec<T::Gate> {
    let mut gates = Vec::new();
    for nearest in 0..bank.flights.len() {
        gates.push(target.gate(nearest).await);
    }
    gates
}

/// The node that owns the bank's first flight.
pub async fn first_owner(target: &impl Target, bank: &Bank) -> NodeId {
    target.owner(bank.flights[0].journey).await
}
