//! Galleries of several parts: they grow and never shrink (R43), and no part is built on what another part was (P1).

use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, JourneyId, NodeId, ShardId, UnixMs};
use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::JourneyStatus;
use cluster_config::wire::peer::{JourneyPlan, Member};
use coordinator_core::blueprint::{Change, Placement};
use coordinator_core::command::GalleryCommit;
use coordinator_core::{Command, Outcome, State};

fn id() -> JourneyId {
    "AA1-20270115-JFK".parse().expect("an id")
}

fn plan(parts: u16, manifest: u8) -> JourneyPlan {
    JourneyPlan {
        id: id(),
        carrier: "AA".into(),
        number: "1".into(),
        departure_port: "JFK".parse().expect("a port"),
        arrival_port: "LHR".parse().expect("a port"),
        departs_at: UnixMs(1),
        people: 10,
        parts,
        manifest: ContentHash([manifest; 32]),
    }
}

fn place(state: &mut State, part: u16) {
    let placement = Placement { epoch: Epoch(1), owner: NodeId(1), standbys: Vec::new(), rosters: Vec::new() };
    let changes = vec![Change { shard: ShardId { journey: id(), part }, placement }];
    let parent = state.blueprint.generation;
    assert_eq!(state.apply(&Command::ChangeBlueprint { parent, changes }), Outcome::Done);
}

fn commit(part: u16, version: u32, made_from: &[u32]) -> Command {
    Command::CommitGallery(GalleryCommit {
        shard: ShardId { journey: id(), part },
        epoch: Epoch(1),
        node: NodeId(1),
        version: GalleryVersion(version),
        hash: ContentHash([version as u8; 32]),
        manifest: ContentHash([1; 32]),
        people: 3,
        rows: 5,
        without_photo: 0,
        made_from: (!made_from.is_empty()).then(|| made_from.iter().copied().map(GalleryVersion).collect()),
        numbered_by: ContentHash([1; 32]),
    })
}

/// A journey whose only part is built.
fn state() -> State {
    let mut state = State::default();
    let zone = "a".parse().expect("a zone");
    state.apply(&Command::RegisterMember(Member { id: NodeId(1), address: "10.0.0.1:7100".into(), zone }));
    assert_eq!(state.apply(&Command::OpenJourney(plan(1, 1))), Outcome::Done);
    place(&mut state, 0);
    assert_eq!(state.apply(&commit(0, 1, &[0])), Outcome::Done);
    state
}

fn code(outcome: Outcome) -> Option<RefusalCode> {
    match outcome {
        Outcome::Refused(refusal) => Some(refusal.code),
        _ => None,
    }
}

#[test]
fn a_gallery_grows_stays_ready_meanwhile_and_does_not_shrink() {
    let mut state = state();
    assert_eq!(state.apply(&Command::OpenJourney(plan(3, 2))), Outcome::Done);
    let journey = &state.journeys[&id()];
    assert_eq!((journey.shards.len(), journey.status), (3, JourneyStatus::Ready), "the built part goes on");
    assert_eq!(journey.shards[0].version, GalleryVersion(1));
    assert_eq!(code(state.apply(&Command::OpenJourney(plan(2, 3)))), Some(RefusalCode::Conflict));
    assert_eq!(state.journeys[&id()].plan.parts, 3);
    for part in [1, 2] {
        place(&mut state, part);
    }
    assert_eq!(state.journeys[&id()].shard_ids().count(), 3);
}

#[test]
fn a_part_is_not_committed_on_what_another_part_was() {
    let mut state = state();
    state.apply(&Command::OpenJourney(plan(2, 2)));
    place(&mut state, 1);
    // Both parts were built at the same time, and each may have taken the same newcomer.
    assert_eq!(state.apply(&commit(1, 1, &[1, 0])), Outcome::Done);
    assert_eq!(code(state.apply(&commit(0, 2, &[1, 0]))), Some(RefusalCode::Conflict));
    assert_eq!(code(state.apply(&commit(0, 2, &[1]))), Some(RefusalCode::Conflict), "who did not know of part 1");
    assert_eq!(state.apply(&commit(0, 2, &[1, 1])), Outcome::Done, "built again");
    assert_eq!(state.apply(&commit(1, 1, &[1, 0])), Outcome::Done, "a repeat");
    // People who stay as they are depend on nobody.
    assert_eq!(state.apply(&commit(1, 2, &[])), Outcome::Done);
}
