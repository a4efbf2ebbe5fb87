//! How commands about the ledger are applied.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::{Directive, Reason};
use cluster_config::gallery::GalleryId;
use cluster_config::ids::{ContentHash, UnixMs};
use cluster_config::versions::Version;
use cluster_config::wire::RefusalCode;

use super::command::Command;
use super::record::{Record, RecordOutcome};
use super::state::Line;
use crate::outcome::Outcome;
use crate::state::State;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    match command {
        Command::Record(records) => Outcome::Recorded(records.iter().map(|new| record(state, new, canaries)).collect()),
        Command::Seal { chunk, hash, version } => seal(state, *chunk, *hash, *version),
        Command::Expire(chunk) => expire(state, *chunk),
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
    let settled = state.ledger.first_settled(chunk, |journey| state.is_settled(journey));
    let Some((_, full)) = settled.filter(|(found, _)| *found == chunk) else {
        let problem = "it is not full, it is sealed, or one of its records may still be asked for";
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
    if state.ledger.line(chunk).is_none_or(|line| now < line.keep_until) {
        let place = format!("chunk {chunk} of the ledger");
        let problem = "it is not sealed, or it is to be kept for longer";
        return Outcome::refused(RefusalCode::Conflict, place, problem, "wait until its time is over");
    }
    state.ledger.expire(chunk);
    Outcome::Done
}

fn record(state: &mut State, new: &Record, canaries: Canaries) -> RecordOutcome {
    let known = state.ledger.find(new.encounter).filter(|_| !canaries.has(Canary::ApplyTwice));
    if let Some(stored) = known {
        return match stored.answers(new.request, canaries) {
            true => RecordOutcome::Stored(stored.clone()),
            false => RecordOutcome::OtherRequest,
        };
    }
    if !state.is_open(new.journey) && !canaries.has(Canary::RecordAfterClose) {
        return RecordOutcome::NotOpen;
    }
    let is_behind = new.fence.is_behind(state.fence(GalleryId::passengers(new.journey)));
    if is_behind && !canaries.has(Canary::OldVersionRecorded) {
        return RecordOutcome::Behind;
    }
    let mut stored = new.clone();
    let again = state.ledger.has_boarded(stored.journey, stored.subject, stored.mark);
    if stored.directive == Directive::Proceed && again && !canaries.has(Canary::SecondCrossing) {
        stored.directive = Directive::Wait;
        stored.reason = Reason::AlreadyBoarded;
        stored.subject = None;
        stored.mark = None;
        stored.manifest_ordinal = None;
    }
    state.ledger.push(stored.clone());
    RecordOutcome::Stored(stored)
}
