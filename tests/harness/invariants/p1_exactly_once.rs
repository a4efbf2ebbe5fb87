//! P1: a *proceed* with `recording: committed` is in the ledger exactly once, and nothing is there that nobody asked
//! for.

use std::collections::BTreeMap;

use cluster_config::ids::EncounterId;
use cluster_config::wire::gate::{Directive, Recording};
use cluster_config::wire::operator::LedgerRecord;

use super::p1_real_time;
use crate::oracle::{Entry, History, Outcome};

/// What the comparison counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Boardings that clients were told are committed.
    pub promised: usize,
    /// Crossings in the ledger.
    pub crossings: usize,
    /// Boardings whose fate their client does not know.
    pub unknown: usize,
}

/// Compares what was promised with a ledger.
///
/// # Panics
/// With every promise that is missing, every encounter and every person that is there twice, every record that
/// differs from what the client was told, and every record that nobody asked for.
pub fn check(history: &History, ledger: &[LedgerRecord]) -> Counts {
    let mut violations = Vec::new();
    let mut counts = Counts::default();
    let mut records: BTreeMap<EncounterId, &LedgerRecord> = BTreeMap::new();
    let mut boarded = BTreeMap::new();
    for record in ledger {
        if records.insert(record.encounter, record).is_some() {
            violations.push(format!("encounter {} is in the ledger twice", record.encounter));
        }
        if record.crossing {
            counts.crossings += 1;
            let person = (record.journey, record.manifest_ordinal);
            if let Some(earlier) = boarded.insert(person, record.encounter) {
                violations.push(format!("{person:?} crossed twice: {earlier} and {}", record.encounter));
            }
        }
    }
    let asked: BTreeMap<EncounterId, &Entry> = history.boardings().map(|entry| (entry.encounter, entry)).collect();
    for (encounter, record) in &records {
        match asked.get(encounter) {
            None => violations.push(format!("encounter {encounter} is in the ledger, and nobody asked for it")),
            Some(entry) if entry.journey != record.journey => {
                violations.push(format!("encounter {encounter} is recorded under {}", record.journey));
            }
            Some(entry) if matches!(entry.outcome, Outcome::Refused(_)) => {
                violations.push(format!("encounter {encounter} was refused, and is recorded"));
            }
            Some(_) => {}
        }
    }
    for entry in history.boardings() {
        match &entry.outcome {
            Outcome::Answered(answer) if answer.recording == Recording::Committed => {
                counts.promised += 1;
                violations.extend(differs(entry, records.get(&entry.encounter).copied()));
            }
            Outcome::Answered(answer) => {
                violations.push(format!("boarding {} was answered {:?}", entry.encounter, answer.recording));
            }
            Outcome::Unknown(_) => counts.unknown += 1,
            Outcome::Refused(_) => {}
        }
    }
    violations.extend(p1_real_time::violations(history, ledger));
    assert!(violations.is_empty(), "P1 is broken: {violations:#?}");
    counts
}

/// How a record differs from what its client was told.
fn differs(entry: &Entry, record: Option<&LedgerRecord>) -> Option<String> {
    let encounter = entry.encounter;
    let answer = entry.outcome.answer()?;
    let Some(record) = record else {
        return Some(format!("encounter {encounter} was answered as committed, and is not in the ledger"));
    };
    if (record.directive, record.reason) != (answer.directive, answer.reason) {
        return Some(format!("encounter {encounter} is recorded as {:?}/{:?}", record.directive, record.reason));
    }
    // Who is out of scope leaves no trace in the ledger (R3, R4); everybody else stands there by the number that the gate
    // was told. That it is the right one is for `true_answers` to say: now and then somebody without a photograph looks
    // like another, and whether that one is in scope is not known here.
    let told = answer.confirmed.filter(|_| answer.directive == Directive::Proceed).map(|who| who.manifest_ordinal);
    let truly = entry.who.as_ref().filter(|guest| told == Some(guest.person.manifest_ordinal));
    let recorded = record.manifest_ordinal;
    let as_told = match truly {
        Some(guest) => recorded == told.filter(|_| guest.in_scope),
        None => recorded.is_none() || recorded == told,
    };
    if !as_told {
        return Some(format!("encounter {encounter} is recorded for {recorded:?}, and its gate was told {told:?}"));
    }
    if record.crossing != recorded.is_some() {
        return Some(format!("encounter {encounter}: crossing {} for {recorded:?}", record.crossing));
    }
    None
}
