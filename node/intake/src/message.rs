//! One message of an input, the journeys that follow from it, and the people whose entries cannot be trusted.

use serde::Serialize;

use crate::manifest::{Disposition, Journey, Leg, Manifest, Refusal, Traveller};
use crate::place::Place;

/// One message with what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Where the message begins.
    pub place: Place,
    /// What a receiver may do with it.
    pub disposition: Disposition,
    /// The message itself.
    pub manifest: Manifest,
    /// People whose entries cannot be trusted, and why.
    pub quarantined: Vec<Quarantine>,
    /// What the message says about its own size.
    pub stated: StatedCounts,
    /// The departures that its passengers board; empty where there is a refusal.
    pub journeys: Vec<Journey>,
    /// Later legs of a progressive flight whose departure the message does not tell; they are no journeys.
    pub unplaced_legs: Vec<Leg>,
    /// Why it makes no journey.
    pub refusal: Option<Refusal>,
}

/// Counts as the sender wrote them, and as they are. They differ often; see the warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StatedCounts {
    /// Qualifier of CNT: `42` passengers, `41` crew.
    pub people_qualifier: Option<String>,
    /// Number of people by CNT.
    pub people: Option<String>,
    /// Number of segments by UNT.
    pub segments: Option<String>,
    /// Number of segments from UNH to UNT, both included.
    pub segments_counted: u32,
}

/// One person whose entry cannot be trusted. It does not affect the others of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantine {
    /// Position on the manifest, from 1.
    pub ordinal: u32,
    /// Why.
    pub reason: QuarantineReason,
    /// Where.
    pub place: Place,
    /// The detail and the fix, without personal data.
    pub detail: String,
    /// What could be read, for the person who corrects it.
    pub traveller: Box<Traveller>,
}

/// Why a person is quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuarantineReason {
    /// No name at all in a message that lists people by name.
    NoName,
    /// The date of birth is no date.
    DateOfBirth,
    /// A segment of the entry is damaged, most often by a separator that was not released.
    Damaged,
    /// The entry has more documents, references or other details than are read.
    TooManyDetails,
    /// The JSON of the entry does not follow the schema.
    Schema,
}

impl Message {
    pub(crate) fn new(place: Place, manifest: Manifest, quarantined: Vec<Quarantine>, stated: StatedCounts) -> Self {
        let (journeys, unplaced_legs, refusal) = match manifest.journeys() {
            Ok(journeys) => {
                let unplaced = manifest.legs().into_iter().filter(|leg| !leg.has_departure()).collect();
                (journeys, unplaced, None)
            }
            Err(refusal) => (Vec::new(), Vec::new(), Some(refusal)),
        };
        Self {
            place,
            disposition: manifest.disposition(),
            manifest,
            quarantined,
            stated,
            journeys,
            unplaced_legs,
            refusal,
        }
    }

    /// The departures that the message is about: its passengers board them, or a cancellation takes people off them.
    ///
    /// # Errors
    /// Why there are none.
    pub fn departures(&self) -> Result<Vec<Journey>, Refusal> {
        match (self.disposition, &self.refusal) {
            (Disposition::Remove, _) => self.manifest.affected_journeys(),
            (_, Some(refusal)) => Err(refusal.clone()),
            (_, None) => Ok(self.journeys.clone()),
        }
    }
}
