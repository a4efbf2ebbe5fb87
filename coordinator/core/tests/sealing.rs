//! What leaves the state and what stays: chunks whose journeys are settled (P13, and P1 for what is left).

use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::{ContentHash, EncounterId, JourneyId, SubjectId, UnixMs};
use cluster_config::versions::Version;
use cluster_config::wire::{RefusalCode, codec};
use coordinator_core::ledger::{CHUNK_RECORDS, Place};
use coordinator_core::{Command, Outcome, Record, RecordOutcome, State, clock, journeys, ledger, upkeep};

mod support;
use support::apply;

const CHUNK: u64 = CHUNK_RECORDS as u64;
const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn id(number: u64) -> JourneyId {
    support::plan(number).id
}

fn boarding(number: u64, journey: u64) -> Record {
    Record {
        directive: Directive::Proceed,
        reason: Reason::Matched,
        subject: Some(SubjectId(number)),
        manifest_ordinal: Some(number as u32),
        ..Record::waiting(EncounterId(u128::from(number)), id(journey), "JFK-B1".parse().expect("a device"), UnixMs(5))
    }
}

/// Records `CHUNK` boardings of a journey, numbered from `first`.
fn fill(state: &mut State, first: u64, journey: u64) {
    let records = (first..first + CHUNK).map(|number| boarding(number, journey)).collect();
    let Outcome::Recorded(outcomes) = apply(state, Command::record(records)) else { panic!("not recorded") };
    assert!(outcomes.iter().all(|outcome| matches!(outcome, RecordOutcome::Stored(_))));
}

/// Two journeys with a chunk of boardings each; the first is closed.
fn state() -> State {
    let mut state = State::default();
    for journey in [1, 2] {
        assert_eq!(apply(&mut state, journeys::Command::Open(support::plan(journey))), Outcome::Done);
        fill(&mut state, (journey - 1) * CHUNK, journey);
    }
    apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS)));
    assert_eq!(apply(&mut state, journeys::Command::Close(id(1))), Outcome::Done);
    state
}

fn seal(state: &mut State, chunk: u64) -> Option<RefusalCode> {
    let seal = ledger::Command::Seal { chunk, hash: ContentHash([9; 32]), version: Version::CURRENT };
    match apply(state, seal) {
        Outcome::Refused(refusal) => Some(refusal.code),
        _ => None,
    }
}

#[test]
fn a_chunk_leaves_once_no_retry_of_its_journeys_can_come_and_not_before() {
    let mut state = state();
    assert_eq!(seal(&mut state, 0), Some(RefusalCode::Conflict), "its journey was closed this moment");
    assert!(state.ledger().find(EncounterId(7)).is_some(), "a retry is answered");
    apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS + 2 * HOUR_MS)));
    assert_eq!(seal(&mut state, 1), Some(RefusalCode::Conflict), "its journey is open");
    assert_eq!(seal(&mut state, 2), Some(RefusalCode::Conflict), "there is none");
    assert_eq!(seal(&mut state, 0), None);
    assert_eq!(seal(&mut state, 0), None, "a repeat");

    assert_eq!(state.ledger().len(), 2 * CHUNK, "positions stay");
    assert!(matches!(state.ledger().place(7), Some(Place::Sealed(0, line)) if line.crossings == CHUNK as u32));
    assert_eq!((state.ledger().find(EncounterId(7)), state.ledger().get(7)), (None, None));
    assert!(!state.ledger().has_boarded(id(1), Some(SubjectId(7)), None));
    assert_eq!(state.boardings(id(1)), CHUNK as u32, "the count stays");
    assert!(state.ledger().has_boarded(id(2), Some(SubjectId(CHUNK + 7)), None), "who is open is still known");
    assert_eq!(state.ledger().boarded(id(2)).len(), CHUNK_RECORDS);
}

/// F1: 75 bytes of each record stood in every snapshot for ever.
#[test]
fn a_snapshot_carries_lines_and_not_records_and_reads_back_alike() {
    let mut state = state();
    let before = codec::encode(&state.freeze(), usize::MAX).expect("encodes").len();
    apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS + 2 * HOUR_MS)));
    seal(&mut state, 0);
    let bytes = codec::encode(&state.freeze(), usize::MAX).expect("encodes");
    assert!(bytes.len() < before / 2 + 1_000, "{} of {before} bytes", bytes.len());
    let thawed: State = codec::decode(&bytes, usize::MAX).expect("decodes");
    assert_eq!(thawed, state);
}

#[test]
fn the_leader_proposes_what_is_due_and_nothing_before() {
    let mut state = state();
    let now = state.clock().now();
    assert_eq!(upkeep::due(&state, None), []);
    let next = UnixMs(now.0 + 5_000);
    // The other journey of these was to depart in 1970, and is over by a day.
    let advance = Command::from(clock::Command::Advance(next));
    for (time, wanted) in [(Some(next), advance), (None, journeys::Command::Close(id(2)).into())] {
        assert_eq!(upkeep::due(&state, time), std::slice::from_ref(&wanted));
        assert_eq!(apply(&mut state, wanted), Outcome::Done);
    }
    assert!(!state.is_open(id(2)), "F14: nothing ended by itself");
    apply(&mut state, clock::Command::Advance(UnixMs(next.0 + HOUR_MS)));
    assert_eq!(seal(&mut state, 0), None);
    assert_eq!(upkeep::due(&state, None), []);

    let kept_ms = u64::from(state.policy().retention.ledger_days) * DAY_MS;
    assert!(matches!(apply(&mut state, ledger::Command::Expire(0)), Outcome::Refused(_)), "its time is not over");
    apply(&mut state, clock::Command::Advance(UnixMs(next.0 + HOUR_MS + kept_ms)));
    assert_eq!(upkeep::due(&state, None), [ledger::Command::Expire(0).into()]);
    assert_eq!(apply(&mut state, ledger::Command::Expire(0)), Outcome::Done);
    assert_eq!(upkeep::due(&state, None), []);
    assert!(state.ledger().line(0).is_some_and(|line| line.is_removed), "the line stays");
}
