//! Galleries of several parts: they grow and never shrink (R43), and no part is built on what another part was (P1).

use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, JourneyId, NodeId};
use cluster_config::journey::{JourneyPlan, JourneyStatus};
use cluster_config::member::Member;
use cluster_config::wire::RefusalCode;
use coordinator_core::placement::{Change, Placement};
use coordinator_core::{Outcome, State, galleries, journeys, membership, placement};

mod support;
use support::apply;

fn id() -> JourneyId {
    support::plan(1).id
}

fn plan(parts: u16, manifest: u8) -> JourneyPlan {
    JourneyPlan { parts, manifest: ContentHash([manifest; 32]), ..support::plan(1) }
}

fn shard(part: u16) -> ShardId {
    ShardId { gallery: GalleryId::passengers(id()), modality: Modality::Face, model: support::model(), part }
}

fn place(state: &mut State, part: u16) {
    let placement = Placement { epoch: Epoch(1), owner: NodeId(1), standbys: Vec::new(), rosters: Vec::new() };
    let changes = vec![Change { shard: shard(part), placement }];
    let parent = state.blueprint().generation();
    assert_eq!(apply(state, placement::Command::Change { parent, changes }), Outcome::Done);
}

fn commit(part: u16, version: u32, made_from: &[u32]) -> galleries::Command {
    galleries::Command::Commit(galleries::Commit {
        shard: shard(part),
        epoch: Epoch(1),
        node: NodeId(1),
        version: GalleryVersion(version),
        hash: ContentHash([version as u8; 32]),
        manifest: ContentHash([1; 32]),
        counts: GalleryCounts { people: 3, rows: 5, without_photo: 0 },
        made_from: (!made_from.is_empty()).then(|| made_from.iter().copied().map(GalleryVersion).collect()),
        numbered_by: ContentHash([1; 32]),
        loss: None,
        is_built: true,
    })
}

/// A journey whose only part is built.
fn state() -> State {
    let mut state = State::default();
    let zone = "a".parse().expect("a zone");
    apply(&mut state, membership::Command::Register(Member { id: NodeId(1), address: "10.0.0.1:7100".into(), zone }));
    assert_eq!(apply(&mut state, journeys::Command::Open(plan(1, 1))), Outcome::Done);
    place(&mut state, 0);
    assert_eq!(apply(&mut state, commit(0, 1, &[0])), Outcome::Done);
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
    assert_eq!(apply(&mut state, journeys::Command::Open(plan(3, 2))), Outcome::Done);
    let gallery = state.passengers(id()).expect("a gallery");
    assert_eq!((gallery.parts().len(), gallery.status()), (3, JourneyStatus::Ready), "the built part goes on");
    assert_eq!(gallery.parts()[0].version, GalleryVersion(1));
    assert_eq!(code(apply(&mut state, journeys::Command::Open(plan(2, 3)))), Some(RefusalCode::Conflict));
    assert_eq!(state.journeys().get(id()).map(|plan| plan.parts), Some(3));
    for part in [1, 2] {
        place(&mut state, part);
    }
    assert_eq!(state.galleries().shards(GalleryId::passengers(id())).count(), 3);
}

#[test]
fn a_part_is_not_committed_on_what_another_part_was() {
    let mut state = state();
    apply(&mut state, journeys::Command::Open(plan(2, 2)));
    place(&mut state, 1);
    // Both parts were built at the same time, and each may have taken the same newcomer.
    assert_eq!(apply(&mut state, commit(1, 1, &[1, 0])), Outcome::Done);
    assert_eq!(code(apply(&mut state, commit(0, 2, &[1, 0]))), Some(RefusalCode::Conflict));
    assert_eq!(code(apply(&mut state, commit(0, 2, &[1]))), Some(RefusalCode::Conflict), "who did not know of part 1");
    assert_eq!(apply(&mut state, commit(0, 2, &[1, 1])), Outcome::Done, "built again");
    assert_eq!(apply(&mut state, commit(1, 1, &[1, 0])), Outcome::Done, "a repeat");
    // People who stay as they are depend on nobody.
    assert_eq!(apply(&mut state, commit(1, 2, &[])), Outcome::Done);
}
