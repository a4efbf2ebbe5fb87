//! How commands about the ledger are applied.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::{Directive, Reason};
use cluster_config::gallery::GalleryId;
use cluster_config::ids::{ContentHash, UnixMs};
use cluster_config::versions::Version;
use cluster_config::wire::RefusalCode;

use super::command::Command;
use super::record::{Record, RecordOutcome};
use super::state::{Line, Place};
use crate::outcome::Outcome;
use crate::state::State;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    match command {
        Command::Record(records) => Outcome::Recorded(records.iter().map(|new| record(state, new, canaries)).collect()),
        Command::Seal { chunk, hash, version } => seal(state, *chunk, *hash, *version),
        Command::Expire(chunk) => expire(state, *chunk),
        Command::Settle(gallery) => settle(state, *gallery),
        #[cfg(feature = "next")]
        Command::Amend(amendment) if state.ledger.amend(amendment) => Outcome::Done,
        #[cfg(feature = "next")]
        Command::Amend(amendment) => Outcome::refused(
            RefusalCode::NotFound,
            format!("encounter {}", amendment.encounter),
            "it is not in the ledger",
            "see `tvs ledger export --encounters` for the records",
        ),
    }
}

fn seal(state: &mut State, chunk: u64, hash: ContentHash, version: Version) -> Outcome {
    let place = format!("chunk {chunk} of the ledger");
    if state.ledger.line(chunk).is_some_and(|line| line.hash == hash) {
        return Outcome::Done;
    }
    let Some(full) = state.ledger.full(chunk) else {
        let problem = "it is not full, or it is sealed as another file";
        return Outcome::refused(RefusalCode::Conflict, place, problem, "seal another one");
    };
    let kept_ms = u64::from(state.policy.retention.ledger_days) * DAY_MS;
    let line = Line {
        hash,
        version,
        records: full.records.len() as u32,
        crossings: full.records.iter().filter(|record| record.is_crossing()).count() as u32,
        keep_until: UnixMs(state.clock.now().0.saturating_add(kept_ms)),
        is_removed: false,
    };
    state.ledger.seal(chunk, line);
    Outcome::Done
}

fn expire(state: &mut State, chunk: u64) -> Outcome {
    let now = state.clock.now();
    if state.ledger.is_traced(chunk) || state.ledger.line(chunk).is_none_or(|line| now < line.keep_until) {
        let place = format!("chunk {chunk} of the ledger");
        let problem = "it is not sealed, it is to be kept for longer, or one of its records may still be asked for";
        return Outcome::refused(RefusalCode::Conflict, place, problem, "wait until its time is over");
    }
    state.ledger.expire(chunk);
    Outcome::Done
}

fn settle(state: &mut State, gallery: GalleryId) -> Outcome {
    if state.settled_until(gallery).is_some_and(|until| state.ledger.settle(gallery, until)) {
        return Outcome::Done;
    }
    let problem = "none of its records is in a file, or they may still be asked for";
    Outcome::refused(RefusalCode::Conflict, format!("gallery {gallery}"), problem, "wait until its time is over")
}

fn record(state: &mut State, new: &Record, canaries: Canaries) -> RecordOutcome {
    if let Some(known) = known(state, new, canaries) {
        return known;
    }
    if !state.takes(new.gallery) && !canaries.has(Canary::RecordAfterClose) {
        return RecordOutcome::NotOpen;
    }
    let is_behind = new.fence.is_behind(state.fence(new.gallery));
    if is_behind && !canaries.has(Canary::OldVersionRecorded) {
        return RecordOutcome::Behind;
    }
    let mut stored = new.clone();
    let journey = stored.gallery.journey();
    let again = journey.is_some_and(|id| state.ledger.has_boarded(id, stored.subject, stored.mark));
    if stored.directive == Directive::Proceed && again && !canaries.has(Canary::SecondCrossing) {
        stored.directive = Directive::Wait;
        stored.reason = Reason::AlreadyBoarded;
        stored.subject = None;
        stored.mark = None;
        stored.manifest_ordinal = None;
    }
    state.ledger.push(stored.clone(), state.clock.now());
    RecordOutcome::Stored(stored)
}

/// What is known of a record's encounter (P12).
fn known(state: &State, new: &Record, canaries: Canaries) -> Option<RecordOutcome> {
    if canaries.has(Canary::ApplyTwice) {
        return None;
    }
    let position = state.ledger.position(new.encounter)?;
    match state.ledger.place(position)? {
        Place::Here(stored) if stored.answers(new.request, canaries) => Some(RecordOutcome::Stored(stored.clone())),
        Place::Here(_) => Some(RecordOutcome::OtherRequest),
        Place::Sealed(..) if canaries.has(Canary::SealedForgotten) => None,
        Place::Sealed(..) => Some(RecordOutcome::Sealed(position)),
    }
}
