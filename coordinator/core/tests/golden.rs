//! What the log and the snapshots are made of does not change by accident: bytes of every command, outcome, record and
//! of the state are written down in `golden_VERSION.txt`. P13.
//!
//! A deliberate change writes the newest version's file anew with `TVS_BLESS=1`. Once a version has been released, the
//! change first counts `Version::CURRENT` up, and the released version's file stays as it is.

use std::collections::BTreeSet;
use std::path::Path;

use cluster_config::actor::{Actor, Revoked, Role};
use cluster_config::cluster::{Agreed, Founding};
use cluster_config::decision::{Directive, Reason};
use cluster_config::device::{Device, DeviceKind, Ownership, Place, Touchpoint};
use cluster_config::gallery::{Fence, GalleryCounts, GalleryId, List, Modality, ShardId};
use cluster_config::ids::{
    ClusterId, ContentHash, EncounterId, Epoch, FolderId, GalleryVersion, Generation, Incarnation, NodeId, PersonMark,
    RequestDigest, SubjectId, UnixMs,
};
use cluster_config::journey::JourneyPlan;
use cluster_config::member::{Member, Past};
use cluster_config::policy::{Matching, Policy};
use cluster_config::versions::Version;
use cluster_config::versions::golden::Golden;
use cluster_config::wire::codec::{decode, encode};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::placement::{Change, Placement};
use coordinator_core::{
    Command, Entry, Outcome, Record, RecordOutcome, State, clock, devices, galleries, journeys, ledger, membership,
    placement, policy, retention, revocations,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod support;
use support::model;

fn member() -> Member {
    Member { id: NodeId(2), address: "127.0.0.1:7102".into(), zone: "b".parse().expect("a zone") }
}

fn plan() -> JourneyPlan {
    JourneyPlan {
        id: "AA100-20261124-JFK".parse().expect("an id"),
        departs_at: UnixMs(1_800_000_000_000),
        people: 300,
        manifest: ContentHash([3; 32]),
        ..support::plan(100)
    }
}

fn past() -> Past {
    Past { folder: FolderId(9), started: Incarnation(5), last_entry: 300 }
}

fn founding() -> Founding {
    Founding { cluster: ClusterId(7), agreed: Agreed { name: "north".into(), model: model(), template_dims: 512 } }
}

fn shard(gallery: GalleryId, modality: Modality) -> ShardId {
    ShardId { gallery, modality, model: model(), part: 0 }
}

fn passengers() -> ShardId {
    shard(GalleryId::passengers(plan().id), Modality::Face)
}

fn record() -> Record {
    Record {
        encounter: EncounterId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        request: RequestDigest([6; 16]),
        gallery: GalleryId::passengers(plan().id),
        device: "JFK-T4-B32-1".parse().expect("a device"),
        entry: NodeId(1),
        at: UnixMs(1_800_000_000_123),
        directive: Directive::Proceed,
        reason: Reason::Matched,
        subject: Some(SubjectId(u64::MAX)),
        mark: Some(PersonMark([8; 16])),
        manifest_ordinal: Some(17),
        epoch: Epoch(4),
        gallery_version: GalleryVersion(5),
        fence: Fence { versions: 5, epochs: 4 },
        #[cfg(feature = "next")]
        attempt: 2,
    }
}

fn placed(shard: ShardId) -> Change {
    let (standbys, rosters) = (vec![NodeId(2)], vec![NodeId(3)]);
    Change { shard, placement: Placement { epoch: Epoch(1), owner: NodeId(1), standbys, rosters } }
}

fn device() -> Device {
    Device {
        id: "JFK-T4-B32-1".parse().expect("a name"),
        place: Place {
            port: "JFK".parse().expect("a port"),
            terminal: Some("4".parse().expect("a name")),
            gate: Some("B32".parse().expect("a name")),
            lane: None,
        },
        owner: "AA".parse().expect("a name"),
        ownership: Ownership::Partner,
        kind: DeviceKind::Egate,
        touchpoints: BTreeSet::from([Touchpoint::BagDrop, Touchpoint::Boarding]),
    }
}

/// Adds the entry of a command, by the command's room and name.
fn entry<T: Into<Command> + Clone + Serialize + DeserializeOwned>(golden: &mut Golden, name: &str, inner: T) {
    let actor = Actor { role: Role::Operator, name: "operator".parse().expect("a name") };
    golden.covers(&inner);
    let command: Command = inner.into();
    golden.covers(&command);
    for version in Version::understood() {
        let entry = Entry { version, actor, at: UnixMs(9), command: command.clone() };
        // What came with a newer version cannot be said in this one.
        let Ok(bytes) = encode(&entry, usize::MAX) else { continue };
        let read: Entry = decode(&bytes, usize::MAX).expect("an entry decodes");
        assert_eq!(read, entry.in_version(version).expect("it was said"), "{name}");
        golden.add_bytes(&format!("entry.{name}"), version, &bytes);
    }
}

fn entries(golden: &mut Golden) {
    let (node, draining) = (NodeId(2), true);
    entry(golden, "membership.register", membership::Command::Register(member()));
    entry(
        golden,
        "membership.announce_start",
        membership::Command::AnnounceStart { node, incarnation: Incarnation(7), version: Version(1), past: past() },
    );
    entry(golden, "membership.remove", membership::Command::Remove(node));
    entry(golden, "membership.set_draining", membership::Command::SetDraining { node, draining });
    entry(golden, "membership.mark", membership::Command::Mark([(NodeId(2), 300)].into()));
    entry(golden, "membership.found", membership::Command::Found(founding()));
    let calibration = Matching::default().calibration[..2].to_vec();
    let matching = Matching { calibration, ..Matching::default() };
    entry(golden, "policy.set", policy::Command::Set(Policy { matching, ..Policy::default() }));
    entry(golden, "journeys.open", journeys::Command::Open(plan()));
    entry(golden, "journeys.open_all", journeys::Command::OpenAll(vec![plan()]));
    entry(golden, "journeys.build", journeys::Command::Build { journey: plan().id, early: true });
    entry(golden, "journeys.close", journeys::Command::Close(plan().id));
    entry(golden, "journeys.purge", journeys::Command::Purge(plan().id));
    entry(golden, "journeys.forget", journeys::Command::Forget(plan().id));
    entry(golden, "journeys.forget_lines", journeys::Command::ForgetLines);
    let id = "LAREDO".parse().expect("an id");
    let open = galleries::Command::OpenStanding { id, modality: Modality::Iris, model: model(), parts: 2 };
    entry(golden, "galleries.open_standing", open);
    entry(golden, "galleries.close_standing", galleries::Command::CloseStanding(id));
    let commit = galleries::Commit {
        shard: passengers(),
        epoch: Epoch(1),
        node: NodeId(1),
        version: GalleryVersion(1),
        hash: ContentHash([7; 32]),
        manifest: ContentHash([3; 32]),
        counts: GalleryCounts { people: 300, rows: 700, without_photo: 9 },
        made_from: Some(vec![GalleryVersion(0)]),
        numbered_by: ContentHash([3; 32]),
        loss: None,
        is_built: true,
    };
    entry(golden, "galleries.commit", galleries::Command::Commit(commit));
    let crew = shard(GalleryId::Journey(plan().id, List::Crew), Modality::Finger);
    let standing = shard(GalleryId::Standing(id), Modality::Face);
    let changes = vec![placed(passengers()), placed(crew), placed(standing)];
    entry(golden, "placement.change", placement::Command::Change { parent: Generation(3), changes });
    entry(golden, "ledger.record", ledger::Command::Record(vec![record()]));
    let seal = ledger::Command::Seal { chunk: 3, hash: ContentHash([8; 32]), version: Version(1) };
    entry(golden, "ledger.seal", seal);
    entry(golden, "ledger.expire", ledger::Command::Expire(3));
    entry(golden, "ledger.settle", ledger::Command::Settle(GalleryId::Standing(id)));
    entry(golden, "clock.advance", clock::Command::Advance(UnixMs(1_800_000_000_000)));
    #[cfg(feature = "next")]
    {
        let encounter = record().encounter;
        let amendment = cluster_config::decision::Amendment { encounter, attempt: 3 };
        entry(golden, "ledger.amend", ledger::Command::Amend(amendment));
    }
    entry(golden, "retention.receipt", retention::Command::Receipt { shard: passengers(), node, keeps: true });
    entry(golden, "retention.attest", retention::Command::Attest(node));
    entry(golden, "devices.register", devices::Command::Register(vec![device()]));
    entry(golden, "devices.retire", devices::Command::Retire(device().id));
    entry(golden, "devices.forget", devices::Command::Forget);
    let certificate = Revoked::Certificate(ContentHash([5; 32]));
    entry(golden, "revocations.revoke", revocations::Command::Revoke(certificate));
    let name = Revoked::Name("tvs://gate/JFK-T4-B32-1".parse().expect("an actor"));
    entry(golden, "revocations.restore", revocations::Command::Restore(name));
    entry(golden, "revocations.forget", revocations::Command::Forget);
}

fn outcomes(golden: &mut Golden) {
    let stored = [
        RecordOutcome::Stored(record()),
        RecordOutcome::NotOpen,
        RecordOutcome::OtherRequest,
        RecordOutcome::Behind,
        RecordOutcome::Sealed(9),
    ];
    stored.iter().for_each(|outcome| golden.covers(outcome));
    golden.add("outcome.done", &Outcome::Done);
    golden.add("outcome.known_manifest", &Outcome::KnownManifest);
    golden.add("outcome.recorded", &Outcome::Recorded(stored.to_vec()));
    golden.add("outcome.opened", &Outcome::Opened(vec![false, true]));
    let refusal = Refusal::new(RefusalCode::Conflict, "place", "problem", "fix");
    golden.add("outcome.refused", &Outcome::Refused(refusal));
}

/// A state that has something in each of its rooms.
fn state() -> State {
    let mut state = State::default();
    let mut add = |command: Command| {
        let outcome = support::apply(&mut state, command);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    };
    add(membership::Command::Found(founding()).into());
    for id in [1, 2, 3] {
        let address = format!("127.0.0.1:710{id}");
        add(membership::Command::Register(Member { id: NodeId(id), address, ..member() }).into());
    }
    let (node, incarnation) = (NodeId(1), Incarnation(7));
    add(membership::Command::AnnounceStart { node, incarnation, version: Version(1), past: past() }.into());
    add(journeys::Command::Open(plan()).into());
    let changes = vec![placed(passengers())];
    add(placement::Command::Change { parent: Generation(0), changes }.into());
    add(Command::record(vec![record()]));
    add(journeys::Command::Close(plan().id).into());
    add(retention::Command::Receipt { shard: passengers(), node: NodeId(3), keeps: false }.into());
    add(devices::Command::Register(vec![device()]).into());
    add(revocations::Command::Revoke(Revoked::Certificate(ContentHash([5; 32]))).into());
    state
}

#[test]
fn what_the_log_is_made_of_has_the_bytes_that_are_written_down() {
    let mut golden = Golden::default();
    entries(&mut golden);
    outcomes(&mut golden);
    golden.add("record", &record());
    golden.add("state", &state());
    golden.is_complete_for::<Command>();
    golden.is_complete_for::<membership::Command>();
    golden.is_complete_for::<policy::Command>();
    golden.is_complete_for::<journeys::Command>();
    golden.is_complete_for::<galleries::Command>();
    golden.is_complete_for::<placement::Command>();
    golden.is_complete_for::<ledger::Command>();
    golden.is_complete_for::<retention::Command>();
    golden.is_complete_for::<devices::Command>();
    golden.is_complete_for::<revocations::Command>();
    golden.is_complete_for::<clock::Command>();
    golden.is_complete_for::<Outcome>();
    golden.is_complete_for::<RecordOutcome>();
    golden.hold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "golden");
}
