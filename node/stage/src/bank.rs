//! A bank of departures, with everybody who travels on it and whom its gates see.

use cluster_config::ids::{EncounterId, UnixMs};
use cluster_config::wire::gate::Capture;
use node_population::{Population, TEMPLATE_DIMS};

use crate::flight::{Flight, Itinerary};
use crate::{capture, clock};

/// The port that all flights of a bank leave from. A gate boards nothing that leaves from elsewhere.
pub const PORT: &str = "JFK";

/// Carriers of numbered flights, and how many flights each has before the next one's turn: flight numbers have four
/// digits.
const NUMBERED_CARRIERS: [&str; 10] = ["ZT", "ZU", "ZV", "ZW", "ZX", "ZY", "ZA", "ZB", "ZC", "ZD"];
const FLIGHTS_OF_CARRIER: u32 = 900;

/// How long before departure a bank boards: within the hour in which journeys get all their replicas.
const DEPARTS_IN_S: i64 = 30 * 60;

/// Numbers of travellers that each flight of a numbered bank has to itself.
const TRAVELLERS_APART: u32 = 1_000;

/// Carriers and destinations of a national bank, in turn.
const CARRIERS: [&str; 6] = ["AA", "BA", "DL", "LH", "UA", "VS"];
const DESTINATIONS: [&str; 8] = ["LHR", "CDG", "FRA", "AMS", "MAD", "DUB", "NRT", "GRU"];

/// Minutes from now to the first departure of a national bank: late enough that nothing departs while it boards, early
/// enough that all flights count as boarding.
const FIRST_DEPARTURE_MINUTES: u64 = 35;

/// Minutes between its departures, and how many come before they begin again.
const DEPARTURE_GAP_MINUTES: u64 = 2;
const DEPARTURES_APART: u64 = 12;

#[derive(Debug)]
pub struct Bank {
    pub flights: Vec<Flight>,
    /// Where the nodes' holdings and the gates' captures come from.
    pub population: Population,
    seed: u64,
    first: u32,
}

impl Bank {
    /// `flights` flights of `travellers` people each, up to 999.
    pub fn new(seed: u64, flights: u32, travellers: u32) -> Self {
        Self::numbered(seed, 1, flights, travellers)
    }

    /// As [`Bank::new`], with flights numbered from `first` on: banks of one seed and different numbers have different
    /// flights, people and encounters.
    pub fn numbered(seed: u64, first: u32, flights: u32, travellers: u32) -> Self {
        let population = Population::new(seed, TEMPLATE_DIMS);
        let departs_at_s = (clock::now().0 / 1_000) as i64 + DEPARTS_IN_S;
        let itinerary = |number: u32| Itinerary {
            carrier: NUMBERED_CARRIERS[(number / FLIGHTS_OF_CARRIER) as usize % NUMBERED_CARRIERS.len()].to_owned(),
            number: number % FLIGHTS_OF_CARRIER + 100 * (1 + seed as u32 % 90),
            from: PORT.to_owned(),
            to: "VIE".to_owned(),
            departs_at_s,
            travellers_before: number * TRAVELLERS_APART,
            travellers,
        };
        let flights = (first..first + flights).map(|number| Flight::new(&population, &itinerary(number))).collect();
        Self { flights, population, seed, first }
    }

    /// A national bank: flights of several carriers out of one port, that leave close together some time after `now`.
    pub fn national(seed: u64, flights: u32, travellers: u32, now: UnixMs) -> Self {
        let population = Population::new(seed, TEMPLATE_DIMS);
        let itinerary = |flight: u32| {
            let minutes = FIRST_DEPARTURE_MINUTES + DEPARTURE_GAP_MINUTES * (u64::from(flight) % DEPARTURES_APART);
            Itinerary {
                carrier: CARRIERS[flight as usize % CARRIERS.len()].to_owned(),
                number: 100 + flight,
                from: PORT.to_owned(),
                to: DESTINATIONS[flight as usize % DESTINATIONS.len()].to_owned(),
                departs_at_s: ((now.0 / 60_000 + minutes) * 60) as i64,
                travellers_before: flight * travellers,
                travellers,
            }
        };
        let flights = (0..flights).map(|flight| Flight::new(&population, &itinerary(flight))).collect();
        Self::of(seed, flights)
    }

    /// These flights, whose people's photographs come from the population of the seed.
    pub fn of(seed: u64, flights: Vec<Flight>) -> Self {
        Self { flights, population: Population::new(seed, TEMPLATE_DIMS), seed, first: 1 }
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
        capture::of_template(self.flights[flight].journey, encounter, attempt, values, clock::now())
    }

    /// Everything that identifies a person and must never be found in the clear: family names and document numbers.
    pub fn personal_data(&self) -> Vec<String> {
        self.flights.iter().flat_map(Flight::personal_data).collect()
    }
}
