//! The oracle: what clients were promised, compared with what the ledger says. An unanswered write is unknown: it may be
//! there once, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::ids::{EncounterId, JourneyId, SubjectId};
use cluster_config::wire::gate::{Directive, Recording};
use cluster_config::wire::operator::LedgerRecord;
use serde::Serialize;

use super::gates::{Event, Kind, Truth};

/// Crossings as counted from the clients' own history (promise P1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Crossings {
    /// Boardings of people in scope that a gate was told are committed.
    pub promised: u64,
    /// Of these, in the ledger.
    pub committed: u64,
    /// Of these, not in the ledger.
    pub missing: u64,
    /// Encounters, or people of one journey, that are in the ledger more than once.
    pub duplicated: u64,
    /// Crossings in the ledger that no gate asked for, or was told not to let through.
    pub unasked: u64,
    /// Boardings that were never answered and are in the ledger: allowed, and counted.
    pub unknown_committed: u64,
}

/// Whether the person of this number on the manifest of this journey is in scope.
pub type InScope<'a> = &'a dyn Fn(JourneyId, u32) -> bool;

/// Compares the clients' history with all records of the ledger.
pub fn crossings(events: &[Event], ledger: &[LedgerRecord], in_scope: InScope<'_>) -> Crossings {
    let mut counts = Crossings::default();
    let mut recorded: BTreeMap<EncounterId, u64> = BTreeMap::new();
    let mut boarded: BTreeSet<(JourneyId, SubjectId)> = BTreeSet::new();
    for record in ledger.iter().filter(|record| record.crossing) {
        *recorded.entry(record.encounter).or_default() += 1;
        if record.subject.is_some_and(|subject| !boarded.insert((record.journey, subject))) {
            counts.duplicated += 1;
        }
    }
    counts.duplicated += recorded.values().map(|times| times - 1).sum::<u64>();
    let mut asked = BTreeSet::new();
    for event in events.iter().filter(|event| event.kind == Kind::Board) {
        let there = recorded.contains_key(&event.encounter);
        match &event.answer {
            Err(_) => {
                asked.insert(event.encounter);
                counts.unknown_committed += u64::from(there);
            }
            Ok(answer) if answer.directive == Directive::Proceed && answer.recording == Recording::Committed => {
                let scope = answer.confirmed.is_some_and(|who| in_scope(event.journey, who.manifest_ordinal));
                if scope {
                    asked.insert(event.encounter);
                    counts.promised += 1;
                    counts.committed += u64::from(there);
                    counts.missing += u64::from(!there);
                }
            }
            Ok(_) => {}
        }
    }
    counts.unasked = recorded.keys().filter(|encounter| !asked.contains(encounter)).count() as u64;
    counts
}

/// Decisions against the truth.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Decisions {
    /// *Proceed*, and it is that person.
    pub true_matches: u64,
    /// *Proceed*, and it is somebody else.
    pub false_matches: u64,
    /// *Wait*, and nobody of the gallery stood there, or nobody with a photograph.
    pub true_non_matches: u64,
    /// *Wait*, though the person is in the gallery.
    pub false_non_matches: u64,
    /// Another picture was asked for.
    pub recaptures: u64,
}

/// Compares the answers to boardings with the truth.
pub fn decisions<'a>(events: impl Iterator<Item = &'a Event>) -> Decisions {
    let mut counts = Decisions::default();
    for event in events.filter(|event| event.kind == Kind::Board) {
        let Ok(answer) = &event.answer else { continue };
        let who = answer.confirmed.map(|who| who.manifest_ordinal);
        match (answer.directive, event.truth) {
            (Directive::Recapture, _) => counts.recaptures += 1,
            (Directive::Proceed, Truth::Traveller { ordinal, .. }) if who == Some(ordinal) => counts.true_matches += 1,
            (Directive::Proceed, _) => counts.false_matches += 1,
            (Directive::Wait, Truth::Traveller { photographs: 1.., .. }) => counts.false_non_matches += 1,
            (Directive::Wait, _) => counts.true_non_matches += 1,
        }
    }
    counts
}
