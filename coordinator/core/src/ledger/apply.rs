//! How commands about the ledger are applied.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::{Directive, Reason};

use super::command::Command;
use super::record::{Record, RecordOutcome};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    match command {
        Command::Record(records) => Outcome::Recorded(records.iter().map(|new| record(state, new, canaries)).collect()),
        #[cfg(feature = "next")]
        Command::Amend(amendment) if state.ledger.amend(amendment) => Outcome::Done,
        #[cfg(feature = "next")]
        Command::Amend(amendment) => Outcome::refused(
            cluster_config::wire::RefusalCode::NotFound,
            format!("encounter {}", amendment.encounter),
            "it is not in the ledger",
            "see `tvs ledger export --encounters` for the records",
        ),
    }
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
    let mut stored = new.clone();
    let again = stored.subject.is_some_and(|subject| state.ledger.has_boarded(stored.journey, subject));
    if stored.directive == Directive::Proceed && again && !canaries.has(Canary::SecondCrossing) {
        stored.directive = Directive::Wait;
        stored.reason = Reason::AlreadyBoarded;
        stored.subject = None;
        stored.manifest_ordinal = None;
    }
    state.ledger.push(stored.clone());
    RecordOutcome::Stored(stored)
}
