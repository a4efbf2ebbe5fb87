//! A state with one gallery, for the tests of this crate: made by the commands that a cluster would apply.

use std::collections::BTreeSet;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::cluster::Agreed;
use cluster_config::device::{CaptureDetail, DeviceKind, ImageKind};
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{
    ContentHash, EncounterId, Epoch, FolderId, GalleryVersion, Incarnation, JourneyId, ModelVersion, NodeId, UnixMs,
};
use cluster_config::journey::JourneyPlan;
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use cluster_config::wire::gate::{Capture, Sample};
use cluster_config::wire::peer::Hello;
use coordinator_core::placement::{Change, Placement};
use coordinator_core::{Command, Entry, Outcome, State, galleries, journeys, membership, placement};

pub fn journey() -> JourneyId {
    "AA1".parse().expect("an id")
}

/// The model of all templates.
pub fn model() -> ModelVersion {
    "synthetic-512-v1".parse().expect("a model")
}

/// A part of the journey's gallery.
pub fn shard(part: u16) -> ShardId {
    ShardId { gallery: GalleryId::passengers(journey()), modality: Modality::Face, model: model(), part }
}

/// What is announced of it.
pub fn plan() -> JourneyPlan {
    JourneyPlan {
        id: journey(),
        carrier: "AA".to_owned(),
        number: "1".to_owned(),
        departure_port: "JFK".parse().expect("a port"),
        arrival_port: "VIE".parse().expect("a port"),
        departs_at: UnixMs(1_000_000),
        people: 3,
        parts: 1,
        manifest: ContentHash([1; 32]),
        model: model(),
    }
}

/// A capture of somebody on it.
pub fn capture() -> Capture {
    Capture {
        encounter: EncounterId(7),
        journey: journey(),
        sample: Sample::Template { model: model(), values: vec![1.0] },
        detail: CaptureDetail { device_kind: DeviceKind::Egate, image_kind: ImageKind::VideoFrame, quality: None },
        attempt: 1,
        captured_at: UnixMs(1),
        deadline_ms: 2_000,
    }
}

/// A placement in its first epoch.
pub fn placement(owner: u64, standbys: &[u64], rosters: &[u64]) -> Placement {
    let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
    Placement { epoch: Epoch(1), owner: NodeId(owner), standbys: nodes(standbys), rosters: nodes(rosters) }
}

/// Applies a command; one that is refused is a fault of the test.
pub fn apply(state: &mut State, command: impl Into<Command>) {
    let entry = Entry::new(Actor::node(NodeId(1)), UnixMs(1), command.into());
    let outcome = state.apply(&entry, Canaries::default());
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

/// The journey with its gallery of one part, placed so and committed at this version.
pub fn state(placement: &Placement, version: u32) -> State {
    let mut state = State::default();
    let zone = "a".parse().expect("a zone");
    for id in placement.holders().collect::<BTreeSet<NodeId>>() {
        apply(&mut state, membership::Command::Register(Member { id, address: format!("10.0.0.{id}:7100"), zone }));
    }
    apply(&mut state, journeys::Command::Open(plan()));
    place(&mut state, placement);
    for version in 1..=version {
        apply(&mut state, galleries::Command::Commit(commit(placement, version)));
    }
    state
}

/// Places the gallery anew.
pub fn place(state: &mut State, placement: &Placement) {
    let changes = vec![Change { shard: shard(0), placement: placement.clone() }];
    apply(state, placement::Command::Change { parent: state.blueprint().generation(), changes });
}

/// The commit of this version by the owner.
pub fn commit(placement: &Placement, version: u32) -> galleries::Commit {
    galleries::Commit {
        shard: shard(0),
        epoch: placement.epoch,
        node: placement.owner,
        version: GalleryVersion(version),
        hash: ContentHash([version as u8; 32]),
        manifest: ContentHash([1; 32]),
        counts: GalleryCounts { people: 3, rows: 4, without_photo: 1 },
        made_from: None,
        numbered_by: ContentHash::default(),
        loss: None,
        is_built: true,
    }
}

/// A greeting of a node that has started for the first time.
pub fn hello(id: u64) -> Hello {
    let (address, zone) = (format!("10.0.0.{id}:7100"), "a".parse().expect("a zone"));
    Hello {
        member: Member { id: NodeId(id), address, zone },
        incarnation: Incarnation(1),
        past: Past { folder: FolderId(id.into()), started: Incarnation::default(), last_entry: 0 },
        cluster: None,
        agreed: Agreed { name: "north".to_owned(), model: model(), template_dims: 512 },
        members: Vec::new(),
        initialised: false,
        doubt: None,
        applied: 0,
        leader: None,
        version: Version::CURRENT,
    }
}
