//! Manifest files of the caller, in place of made-up flights.

use cluster_config::ids::{JourneyId, PortCode, UnixMs};
use cluster_config::person::Person;
use cluster_config::wire::Refusal;
use node_population::Population;

use crate::flight::{Flight, day};
use crate::guest::Guest;

/// A file, as the reader of the nodes understands it.
#[derive(Debug, Clone)]
pub struct Given {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What it announces, or why it cannot be read.
    pub announced: Result<Vec<Announced>, Refusal>,
}

/// One journey of a file.
#[derive(Debug, Clone)]
pub struct Announced {
    pub journey: JourneyId,
    /// Where it boards.
    pub port: PortCode,
    pub departs_at: UnixMs,
    /// The people who are named.
    pub people: Vec<Person>,
    /// Whether they are taken off the journey.
    pub is_removal: bool,
}

impl Announced {
    /// The flight that everybody who is named boards.
    pub fn flight(self, population: &Population, manifest: Vec<u8>) -> Flight {
        let day = day((self.departs_at.0 / 1_000) as i64);
        let guests = self.people.into_iter().map(|person| Guest::new(population, person, day)).collect();
        Flight { journey: self.journey, port: self.port, manifest, guests }
    }
}
