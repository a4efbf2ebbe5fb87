//! The ledger as promised: P1's exactly once, R4's crossings, and snapshots that read back alike.

use cluster_config::decision::{Directive, Reason};
use cluster_config::gallery::{Fence, GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{
    ContentHash, EncounterId, Epoch, GalleryVersion, JourneyId, NodeId, PersonMark, RequestDigest, SubjectId, UnixMs,
};
use cluster_config::member::Member;
use coordinator_core::placement::{Change, Placement};
use coordinator_core::{Command, Outcome, Record, RecordOutcome, State, galleries, journeys, membership, placement};

mod support;
use support::apply;

fn id() -> JourneyId {
    support::plan(1).id
}

fn state() -> State {
    let mut state = State::default();
    assert_eq!(apply(&mut state, journeys::Command::Open(support::plan(1))), Outcome::Done);
    state
}

fn boarding(encounter: u128, subject: Option<u64>) -> Record {
    Record {
        directive: Directive::Proceed,
        reason: Reason::Matched,
        subject: subject.map(SubjectId),
        manifest_ordinal: subject.map(|s| s as u32),
        epoch: Epoch(1),
        gallery_version: GalleryVersion(1),
        ..Record::waiting(EncounterId(encounter), id(), "JFK-B1".parse().expect("device"), UnixMs(5))
    }
}

fn record(state: &mut State, record: Record) -> RecordOutcome {
    match apply(state, Command::record(vec![record])) {
        Outcome::Recorded(mut outcomes) => outcomes.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_finds_the_first_record_and_adds_none() {
    let mut state = state();
    let first = record(&mut state, boarding(1, Some(7)));
    let mut retry = boarding(1, Some(7));
    retry.at = UnixMs(99);
    assert_eq!(record(&mut state, retry), first);
    assert_eq!(state.ledger().len(), 1);
}

/// P12, of people out of scope too: nothing else of theirs is stored that could be compared.
#[test]
fn another_request_under_a_known_encounter_is_told_nothing_and_changes_nothing() {
    let mut state = state();
    for (encounter, subject) in [(1, Some(7)), (2, None)] {
        let first = record(&mut state, boarding(encounter, subject));
        let other = Record { request: RequestDigest([1; 16]), ..boarding(encounter, subject) };
        assert_eq!(record(&mut state, other), RecordOutcome::OtherRequest);
        assert_eq!(record(&mut state, boarding(encounter, subject)), first);
    }
    let other = Record { request: RequestDigest([1; 16]), ..boarding(1, Some(7)) };
    apply(&mut state, journeys::Command::Close(id()));
    assert_eq!(record(&mut state, other), RecordOutcome::OtherRequest);
    assert_eq!(state.ledger().len(), 2);
}

#[test]
fn a_person_boards_once_and_the_second_encounter_waits() {
    let mut state = state();
    record(&mut state, boarding(1, Some(7)));
    let RecordOutcome::Stored(second) = record(&mut state, boarding(2, Some(7))) else { panic!("not stored") };
    assert_eq!((second.directive, second.reason), (Directive::Wait, Reason::AlreadyBoarded));
    assert!(!second.is_crossing());
    assert_eq!(state.ledger().boardings(id()), 1);
}

#[test]
fn people_out_of_scope_board_without_a_crossing() {
    let mut state = state();
    let RecordOutcome::Stored(stored) = record(&mut state, boarding(1, None)) else { panic!("not stored") };
    assert_eq!(stored.directive, Directive::Proceed);
    assert!(!stored.is_crossing());
    assert_eq!(state.ledger().boardings(id()), 1);
}

/// P1, F8: the mark of somebody out of scope says who boarded and not who that is. A correction that brings a person
/// into scope, or out of it, does not let them board again.
#[test]
fn nobody_boards_twice_whether_in_scope_or_out_of_it_or_once_this_and_once_that() {
    let marked = |encounter, subject| Record { mark: Some(PersonMark([7; 16])), ..boarding(encounter, subject) };
    for (first, second) in [(None, None), (None, Some(7)), (Some(7), None), (Some(7), Some(7))] {
        let mut state = state();
        record(&mut state, marked(1, first));
        let RecordOutcome::Stored(again) = record(&mut state, marked(2, second)) else { panic!("not stored") };
        assert_eq!((again.directive, again.reason), (Directive::Wait, Reason::AlreadyBoarded), "{first:?} {second:?}");
        assert_eq!((again.mark, again.subject), (None, None));
        let other = Record { mark: Some(PersonMark([8; 16])), ..boarding(3, None) };
        let RecordOutcome::Stored(other) = record(&mut state, other) else { panic!("not stored") };
        assert_eq!(other.directive, Directive::Proceed);
        assert_eq!(state.ledger().boardings(id()), 2);
    }
}

/// P4, F5: of each part of the gallery the committed version counts, and its present owner.
#[test]
fn nothing_is_recorded_below_the_committed_version_or_in_an_older_epoch() {
    let mut state = state();
    let gallery = GalleryId::passengers(id());
    let shard = ShardId { gallery, modality: Modality::Face, model: support::model(), part: 0 };
    let placed = |state: &mut State, owner: u64, epoch: u64| {
        let placement = Placement { epoch: Epoch(epoch), owner: NodeId(owner), standbys: vec![], rosters: vec![] };
        let parent = state.blueprint().generation();
        let changes = vec![Change { shard, placement }];
        assert_eq!(apply(state, placement::Command::Change { parent, changes }), Outcome::Done);
    };
    let commit = |state: &mut State, version: u32, owner: u64, epoch: u64| {
        let built = galleries::Commit {
            shard,
            epoch: Epoch(epoch),
            node: NodeId(owner),
            version: GalleryVersion(version),
            hash: ContentHash([version as u8; 32]),
            manifest: ContentHash([1; 32]),
            counts: GalleryCounts::default(),
            made_from: None,
            numbered_by: ContentHash::default(),
            loss: None,
            is_built: true,
        };
        assert_eq!(apply(state, galleries::Command::Commit(built)), Outcome::Done);
    };
    for node in [1, 2] {
        let (address, zone) = (format!("10.0.0.{node}:7100"), "a".parse().expect("a zone"));
        apply(&mut state, membership::Command::Register(Member { id: NodeId(node), address, zone }));
    }
    placed(&mut state, 1, 1);
    commit(&mut state, 1, 1, 1);
    let searched = |encounter, versions, epochs| Record {
        fence: Fence { versions, epochs },
        ..boarding(encounter, Some(encounter as u64))
    };
    assert!(matches!(record(&mut state, searched(1, 1, 1)), RecordOutcome::Stored(_)));
    commit(&mut state, 2, 1, 1);
    assert_eq!(record(&mut state, searched(2, 1, 1)), RecordOutcome::Behind);
    assert!(matches!(record(&mut state, searched(1, 1, 1)), RecordOutcome::Stored(_)), "a retry was recorded before");
    assert!(matches!(record(&mut state, searched(2, 2, 1)), RecordOutcome::Stored(_)));
    placed(&mut state, 2, 2);
    assert_eq!(record(&mut state, searched(3, 2, 1)), RecordOutcome::Behind);
    assert!(matches!(record(&mut state, searched(3, 2, 2)), RecordOutcome::Stored(_)));
    assert_eq!(state.ledger().len(), 3);
}

#[test]
fn a_closed_journey_takes_no_encounter_but_still_answers_a_retry() {
    let mut state = state();
    let first = record(&mut state, boarding(1, Some(7)));
    assert_eq!(apply(&mut state, journeys::Command::Close(id())), Outcome::Done);
    assert_eq!(record(&mut state, boarding(2, Some(8))), RecordOutcome::NotOpen);
    assert_eq!(record(&mut state, boarding(1, Some(7))), first);
}

#[test]
fn a_frozen_copy_thaws_to_the_same_state() {
    let mut state = state();
    for number in 0..10_000u64 {
        record(&mut state, boarding(u128::from(number), Some(number)));
    }
    let bytes = cluster_config::wire::codec::encode(&state.freeze(), usize::MAX).expect("encodes");
    let thawed: State = cluster_config::wire::codec::decode(&bytes, usize::MAX).expect("decodes");
    assert_eq!(thawed, state);
    assert_eq!(thawed.ledger().get(9_999).map(|r| r.encounter), Some(EncounterId(9_999)));
}
