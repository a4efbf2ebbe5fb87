//! What leaves the state and what stays: full chunks, and what may still be asked for of them (P12, P13, and P1 for
//! what is left).

use cluster_config::canary::Canaries;
use cluster_config::decision::{Directive, Reason};
use cluster_config::gallery::{GalleryId, Modality};
use cluster_config::ids::{ContentHash, EncounterId, JourneyId, SubjectId, UnixMs};
use cluster_config::versions::Version;
use cluster_config::wire::{RefusalCode, codec};
use coordinator_core::ledger::{CHUNK_RECORDS, Place};
use coordinator_core::{Command, Outcome, Record, RecordOutcome, State, clock, galleries, journeys, ledger, upkeep};

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

fn due(state: &State, time: Option<UnixMs>) -> Vec<Command> {
    upkeep::due(state, time, Canaries::default())
}

fn seal(state: &mut State, chunk: u64) -> Option<RefusalCode> {
    let seal = ledger::Command::Seal { chunk, hash: ContentHash([9; 32]), version: Version::CURRENT };
    match apply(state, seal) {
        Outcome::Refused(refusal) => Some(refusal.code),
        _ => None,
    }
}

fn settle(state: &mut State, gallery: GalleryId) -> bool {
    apply(state, ledger::Command::Settle(gallery)) == Outcome::Done
}

fn again(state: &mut State, record: Record) -> RecordOutcome {
    let Outcome::Recorded(mut outcomes) = apply(state, Command::record(vec![record])) else { panic!("not recorded") };
    outcomes.remove(0)
}

/// P12: a retry is known for as long as one may come, wherever the record is.
#[test]
fn a_full_chunk_leaves_and_its_encounters_are_known_until_no_retry_of_their_journey_can_come() {
    let mut state = state();
    assert_eq!(seal(&mut state, 2), Some(RefusalCode::Conflict), "there is none");
    assert_eq!([seal(&mut state, 0), seal(&mut state, 1)], [None, None]);
    assert_eq!(seal(&mut state, 0), None, "a repeat");
    assert_eq!(state.ledger().len(), 2 * CHUNK, "positions stay");
    assert!(matches!(state.ledger().place(7), Some(Place::Sealed(0, line)) if line.crossings == CHUNK as u32));
    assert_eq!((state.ledger().find(EncounterId(7)), state.ledger().get(7)), (None, None));

    let retry = |state: &mut State, number| again(state, boarding(number, 1 + number / CHUNK));
    assert_eq!(retry(&mut state, 7), RecordOutcome::Sealed(7), "its journey was closed this moment");
    assert_eq!(retry(&mut state, CHUNK + 7), RecordOutcome::Sealed(CHUNK + 7), "its journey is open");
    assert_eq!(state.ledger().len(), 2 * CHUNK, "nothing is recorded twice");
    assert!([1, 2].iter().all(|journey| !settle(&mut state, GalleryId::passengers(id(*journey)))));
    assert!(matches!(apply(&mut state, ledger::Command::Expire(0)), Outcome::Refused(_)), "it may be asked for");

    apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS + 2 * HOUR_MS)));
    assert!(settle(&mut state, GalleryId::passengers(id(1))), "no retry comes any more");
    assert!(!settle(&mut state, GalleryId::passengers(id(1))), "it is forgotten");
    assert!(!settle(&mut state, GalleryId::passengers(id(2))), "its journey is open");
    assert_eq!(retry(&mut state, 7), RecordOutcome::NotOpen);
    assert!(!state.ledger().has_boarded(id(1), Some(SubjectId(7)), None));
    assert_eq!(state.boardings(id(1)), CHUNK as u32, "the count stays");
    assert_eq!(retry(&mut state, CHUNK + 7), RecordOutcome::Sealed(CHUNK + 7));
    assert!(state.ledger().has_boarded(id(2), Some(SubjectId(CHUNK + 7)), None), "who is open is still known");
    assert_eq!(state.ledger().boarded(id(2)).len(), CHUNK_RECORDS);
    let other = Record { encounter: EncounterId(99_999), ..boarding(CHUNK + 7, 2) };
    assert!(matches!(again(&mut state, other), RecordOutcome::Stored(stored) if stored.directive == Directive::Wait));
}

/// F1, P13: a standing gallery never ends, and its records stood in the state for ever.
#[test]
fn records_of_a_standing_gallery_are_forgotten_by_their_age() {
    let mut state = State::default();
    let (id, model) = ("LAREDO-PEDESTRIAN".parse().expect("an id"), support::model());
    let gallery = GalleryId::Standing(id);
    let open = galleries::Command::OpenStanding { id, modality: Modality::Face, model, parts: 1 };
    assert_eq!(apply(&mut state, open), Outcome::Done);
    apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS)));
    let crossing = |number| Record { gallery, ..boarding(number, 1) };
    let mut last = None;
    for chunk in 0..6 {
        let records = (chunk * CHUNK..(chunk + 1) * CHUNK).map(crossing).collect();
        apply(&mut state, Command::record(records));
        assert_eq!(seal(&mut state, chunk), None);
        last = Some(again(&mut state, crossing(chunk * CHUNK)));
        apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS + (chunk + 1) * 1_000)));
    }
    assert_eq!(last, Some(RecordOutcome::Sealed(5 * CHUNK)), "P12");
    let whole = codec::encode(&state.freeze(), usize::MAX).expect("encodes").len();
    assert_eq!(due(&state, None), []);
    let after = UnixMs(DAY_MS + HOUR_MS + 4_000);
    apply(&mut state, clock::Command::Advance(after));
    assert_eq!(due(&state, None), [ledger::Command::Settle(gallery).into()], "five are an hour old");
    assert!(settle(&mut state, gallery) && settle(&mut state, gallery), "a few at a time");
    assert!(!settle(&mut state, gallery));
    assert_eq!(again(&mut state, crossing(5 * CHUNK + 9)), RecordOutcome::Sealed(5 * CHUNK + 9), "it is younger");
    apply(&mut state, clock::Command::Advance(UnixMs(after.0 + 5_000)));
    assert!(settle(&mut state, gallery));
    let bytes = codec::encode(&state.freeze(), usize::MAX).expect("encodes");
    assert!(bytes.len() < 2_000 && whole > 100_000, "{} of {whole} bytes", bytes.len());
    assert_eq!(codec::decode::<State>(&bytes, usize::MAX).expect("decodes"), state);
    assert!(matches!(again(&mut state, crossing(9)), RecordOutcome::Stored(_)), "people come again");
}

/// F1: 75 bytes of each record stood in every snapshot for ever.
#[test]
fn a_snapshot_carries_lines_and_what_may_be_asked_for_and_reads_back_alike() {
    let mut state = state();
    assert_eq!([0, 1].map(|chunk| seal(&mut state, chunk)), [None, None]);
    let read_back = |state: &State| {
        let bytes = codec::encode(&state.freeze(), usize::MAX).expect("encodes");
        assert_eq!(codec::decode::<State>(&bytes, usize::MAX).expect("decodes"), *state);
        bytes.len()
    };
    let before = read_back(&state);
    assert!(before < 2 * CHUNK_RECORDS * 60, "{before} bytes");
    apply(&mut state, clock::Command::Advance(UnixMs(DAY_MS + 2 * HOUR_MS)));
    assert!(settle(&mut state, GalleryId::passengers(id(1))));
    let after = read_back(&state);
    assert!(after < before / 2 + 1_000, "{after} of {before} bytes");
}

#[test]
fn the_leader_proposes_what_is_due_and_nothing_before() {
    let mut state = state();
    let now = state.clock().now();
    assert_eq!(due(&state, None), []);
    let next = UnixMs(now.0 + 5_000);
    // The other journey of these was to depart in 1970, and is over by a day.
    let advance = Command::from(clock::Command::Advance(next));
    for (time, wanted) in [(Some(next), advance), (None, journeys::Command::Close(id(2)).into())] {
        assert_eq!(due(&state, time), std::slice::from_ref(&wanted));
        assert_eq!(apply(&mut state, wanted), Outcome::Done);
    }
    assert!(!state.is_open(id(2)), "F14: nothing ended by itself");
    apply(&mut state, clock::Command::Advance(UnixMs(next.0 + HOUR_MS)));
    assert_eq!(seal(&mut state, 0), None);
    let forget = |journey| Command::from(journeys::Command::Forget(id(journey)));
    let settle_first = Command::from(ledger::Command::Settle(GalleryId::passengers(id(1))));
    let all = [forget(1), forget(2), settle_first];
    assert_eq!(due(&state, None), all);
    for command in all {
        assert_eq!(apply(&mut state, command), Outcome::Done);
    }
    assert_eq!(due(&state, None), []);

    let kept_ms = u64::from(state.policy().retention.ledger_days) * DAY_MS;
    assert!(matches!(apply(&mut state, ledger::Command::Expire(0)), Outcome::Refused(_)), "its time is not over");
    apply(&mut state, clock::Command::Advance(UnixMs(next.0 + HOUR_MS + kept_ms)));
    assert_eq!(due(&state, None), [journeys::Command::ForgetLines.into(), ledger::Command::Expire(0).into()]);
    assert_eq!(apply(&mut state, journeys::Command::ForgetLines), Outcome::Done);
    assert_eq!(apply(&mut state, ledger::Command::Expire(0)), Outcome::Done);
    assert_eq!(due(&state, None), []);
    assert!(state.ledger().line(0).is_some_and(|line| line.is_removed), "the line stays");
}
