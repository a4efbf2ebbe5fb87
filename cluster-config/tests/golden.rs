//! The wire does not change by accident: the bytes of every message are written down in `golden_VERSION.txt`. P10, R27.
//!
//! A deliberate change writes the newest version's file anew with `TVS_BLESS=1`. Once a version has been released, the
//! change first counts `Version::CURRENT` up, and the released version's file stays as it is.

use std::path::Path;

use cluster_config::actor::{Actor, Revoked, Role};
use cluster_config::decision::{Directive, Priority, Reason, Recording};
use cluster_config::device::{Device, DeviceKind, Ownership, Place, Registered, Touchpoint};
use cluster_config::gallery::{GalleryCounts, GalleryId, List, Modality, ShardId};
use cluster_config::ids::*;
use cluster_config::journey::{Ended, JourneyStatus, Listing, NextStatus};
use cluster_config::member::{Member, Past, Trouble};
use cluster_config::policy::{Matching, Policy};
use cluster_config::versions::Version;
use cluster_config::versions::golden::Golden;
use cluster_config::wire::codec::{decode, encode};
use cluster_config::wire::{Channel, FrameHeader, Refusal, RefusalCode, gate, operator, peer};

fn journey() -> JourneyId {
    "AA100-20261124-JFK".parse().expect("id")
}

fn shard() -> ShardId {
    ShardId { gallery: GalleryId::passengers(journey()), modality: Modality::Face, model: model(), part: 3 }
}

fn actor() -> Actor {
    Actor { role: Role::Operator, name: "operator".parse().expect("a name") }
}

fn model() -> ModelVersion {
    "synthetic-512-v1".parse().expect("model")
}

fn port(code: &str) -> PortCode {
    code.parse().expect("port")
}

fn cluster() -> ClusterId {
    ClusterId(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100)
}

fn member() -> Member {
    Member { id: NodeId(2), address: "127.0.0.1:7102".into(), zone: "b".parse().expect("zone") }
}

fn refusal() -> Refusal {
    Refusal::new(RefusalCode::NotOpen, "place", "problem", "fix")
}

fn capture() -> gate::Capture {
    gate::Capture {
        encounter: EncounterId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        journey: journey(),
        sample: gate::Sample::Template { model: model(), values: vec![0.5, -0.25] },
        detail: cluster_config::device::CaptureDetail {
            device_kind: cluster_config::device::DeviceKind::Egate,
            image_kind: cluster_config::device::ImageKind::VideoFrame,
            quality: Some(77),
        },
        attempt: 2,
        captured_at: UnixMs(1_800_000_000_123),
        deadline_ms: 2_000,
    }
}

fn gates(golden: &mut Golden) {
    golden.add("gate.request.hello", &gate::Request::Hello);
    golden.add("gate.request.identify", &gate::Request::Identify(capture()));
    golden.add("gate.request.board", &gate::Request::Board(capture()));
    let welcome = gate::Welcome { node: NodeId(1), members: vec!["127.0.0.1:7101".into()] };
    golden.add("gate.response.welcome", &gate::Response::Welcome(welcome));
    let answer = gate::Answer {
        encounter: EncounterId(9),
        directive: cluster_config::decision::Directive::Proceed,
        reason: cluster_config::decision::Reason::Matched,
        confirmed: Some(cluster_config::decision::Confirmed { subject: SubjectId(u64::MAX), manifest_ordinal: 17 }),
        recording: cluster_config::decision::Recording::Committed,
        epoch: Epoch(4),
        gallery_version: GalleryVersion(5),
        searched_by: NodeId(3),
    };
    golden.add("gate.response.answer", &gate::Response::Answer(answer));
    golden.add("gate.response.refused", &gate::Response::Refused(refusal()));
}

fn peers(golden: &mut Golden) {
    let hello = peer::Hello {
        member: member(),
        incarnation: Incarnation(2),
        past: Past { folder: FolderId(9), started: Incarnation(1), last_entry: 300 },
        cluster: Some(cluster()),
        agreed: cluster_config::cluster::Agreed { name: "north".into(), model: model(), template_dims: 512 },
        members: vec![member()],
        initialised: true,
        doubt: Some(refusal()),
        applied: 400,
        leader: Some(NodeId(3)),
        version: Version(1),
    };
    let person = cluster_config::person::Person {
        manifest_ordinal: 1,
        family_name: "DOE".into(),
        given_names: "JANE".into(),
        date_of_birth: Some(19_800_131),
        nationality: Some("GBR".into()),
        document: Some(cluster_config::person::Document { kind: "P".into(), number: "X1".into(), issuing_state: None }),
        other_documents: vec![cluster_config::person::Document {
            kind: "V".into(),
            number: "Y2".into(),
            issuing_state: Some("PRT".into()),
        }],
        reference: Some("EX0001".into()),
    };
    let segment = cluster_config::gallery::Segment {
        shard: shard(),
        version: GalleryVersion(1),
        hash: ContentHash([7; 32]),
        bytes: vec![1, 2, 3],
    };
    let report = peer::Report {
        node: NodeId(1),
        incarnation: Incarnation(2),
        revision: 4,
        held: Some(peer::Held { shards: vec![(shard(), GalleryVersion(1))], troubles: vec![Trouble::Store] }),
        open: 3,
        clock: UnixMs(1_800_000_000_000),
    };
    let search = peer::ShardSearch {
        shard: shard(),
        version_min: GalleryVersion(1),
        model: model(),
        probe: vec![1.0, 0.0],
        floor: 0.25,
        priority: cluster_config::decision::Priority::Board,
        wait_ms: 2_000,
    };
    let build = peer::BuildOrder {
        shard: shard(),
        manifest: ContentHash([1; 32]),
        people: vec![person],
        listing: cluster_config::journey::Listing::Whole,
    };
    golden.add("peer.request.hello", &peer::Request::Hello(hello.clone()));
    for call in [
        peer::RaftCall::Append,
        peer::RaftCall::Vote,
        peer::RaftCall::PreVote,
        peer::RaftCall::Snapshot,
        peer::RaftCall::TransferLeader,
    ] {
        golden.add(
            &format!("peer.request.raft.{call:?}"),
            &peer::Request::Raft { cluster: cluster(), call, body: vec![9] },
        );
    }
    golden.add("peer.request.propose", &peer::Request::Propose { actor: actor(), command: vec![1] });
    golden.add("peer.request.report", &peer::Request::Report(report));
    golden.add("peer.request.search", &peer::Request::Search(search));
    golden.add("peer.request.build", &peer::Request::Build(build.clone()));
    for listing in [cluster_config::journey::Listing::Added, cluster_config::journey::Listing::Removed] {
        let build = peer::BuildOrder { listing, ..build.clone() };
        golden.add(&format!("peer.request.build.{listing:?}"), &peer::Request::Build(build));
    }
    golden.add("peer.request.store", &peer::Request::StoreSegment(segment.clone()));
    let fetch = peer::Request::FetchSegment { shard: shard(), version_min: GalleryVersion(2) };
    golden.add("peer.request.fetch", &fetch);
    golden.add(
        "peer.request.for_leader",
        &peer::Request::ForLeader { actor: actor(), request: operator::Request::TransferLeader(NodeId(2)) },
    );
    let roster = peer::Request::FetchRoster { shard: shard(), version_min: GalleryVersion(2) };
    golden.add("peer.request.fetch_roster", &roster);
    golden.add("peer.request.read_index", &peer::Request::ReadIndex);
    golden.add("peer.request.fetch_chunk", &peer::Request::FetchChunk(ContentHash([4; 32])));
    golden.add("peer.response.chunk", &peer::Response::Chunk(vec![6, 5]));
    golden.add("peer.request.vouch", &peer::Request::Vouch(NodeId(4)));
    let keeps = peer::Request::Keeps { shard: shard(), version_min: GalleryVersion(2) };
    golden.add("peer.request.keeps", &keeps);

    let candidate = cluster_config::decision::Candidate {
        subject: SubjectId(5),
        mark: PersonMark([7; 16]),
        manifest_ordinal: 6,
        score: 0.75,
        in_scope: true,
    };
    let found = peer::ShardFound {
        node: NodeId(1),
        epoch: Epoch(2),
        version: GalleryVersion(3),
        rows: 400,
        candidates: vec![candidate],
    };
    let built =
        peer::Built { version: GalleryVersion(1), counts: GalleryCounts { people: 2, rows: 3, without_photo: 1 } };
    golden.add("peer.response.hello", &peer::Response::Hello(hello));
    golden.add("peer.response.raft", &peer::Response::Raft(vec![8]));
    golden.add("peer.response.proposed", &peer::Response::Proposed(vec![7]));
    golden.add("peer.response.not_leader", &peer::Response::NotLeader(Some(NodeId(3))));
    golden.add("peer.response.done", &peer::Response::Done);
    golden.add("peer.response.found", &peer::Response::Found(found));
    golden.add("peer.response.built", &peer::Response::Built(built));
    golden.add("peer.response.segment", &peer::Response::Segment(segment));
    golden.add("peer.response.for_leader", &peer::Response::ForLeader(operator::Response::Done));
    golden.add("peer.response.refused", &peer::Response::Refused(refusal()));
    golden.add("peer.response.read_index", &peer::Response::ReadIndex(300));
    golden.add("peer.response.vouched", &peer::Response::Vouched(true));
    golden.add("peer.response.tell_all", &peer::Response::TellAll);
}

fn registered() -> Registered {
    let place = Place { port: port("JFK"), terminal: None, gate: Some("B32".parse().expect("a name")), lane: None };
    let device = Device {
        id: "JFK-T4-B32-1".parse().expect("a name"),
        place,
        owner: "AA".parse().expect("a name"),
        ownership: Ownership::Partner,
        kind: DeviceKind::Egate,
        touchpoints: [Touchpoint::Boarding].into(),
    };
    Registered { device, since: UnixMs(7), retired: Some(UnixMs(8)) }
}

fn operators(golden: &mut Golden) {
    let calibration = Matching::default().calibration[..2].to_vec();
    let policy = Policy { matching: Matching { calibration, ..Matching::default() }, ..Policy::default() };
    golden.add("operator.request.status", &operator::Request::ClusterStatus);
    golden.add("operator.request.add", &operator::Request::AddMember { member: member(), voter: true });
    golden.add("operator.request.drain_status", &operator::Request::DrainStatus(NodeId(2)));
    golden.add("operator.request.drain_preview", &operator::Request::DrainPreview(NodeId(2)));
    golden.add("operator.response.voters", &operator::Response::Voters(operator::Voters { before: 5, after: 4 }));
    let left = operator::Draining { owns: 3, open: 1, ..operator::Draining::default() };
    golden.add("operator.response.draining", &operator::Response::Draining(left));
    let moves = vec![operator::Move { shard: shard(), owned: true, to: vec![NodeId(3)] }];
    golden.add("operator.response.moves", &operator::Response::Moves(moves));
    golden.add("operator.request.move", &operator::Request::MoveMember(member()));
    golden.add("operator.request.remove", &operator::Request::RemoveMember { node: NodeId(2), i_know: true });
    golden.add("operator.request.attest-destruction", &operator::Request::AttestDestruction(NodeId(2)));
    golden.add("operator.request.drain", &operator::Request::Drain { node: NodeId(2), draining: true });
    golden.add("operator.request.transfer", &operator::Request::TransferLeader(NodeId(2)));
    golden.add("operator.request.submit", &operator::Request::SubmitManifest(b"UNA".to_vec()));
    golden.add("operator.request.list", &operator::Request::GalleryList);
    golden.add("operator.request.show", &operator::Request::GalleryShow(journey()));
    golden.add("operator.request.build", &operator::Request::BuildJourney(journey()));
    golden.add("operator.request.close", &operator::Request::CloseJourney { journey: journey(), purge: true });
    golden.add("operator.request.ledger", &operator::Request::LedgerPage { from: 300, limit: 10 });
    golden.add("operator.request.policy", &operator::Request::PolicyShow);
    golden.add("operator.request.set_policy", &operator::Request::PolicySet(policy.clone()));
    golden.add("operator.request.metrics", &operator::Request::Metrics);
    let known = registered();
    golden.add("operator.request.device_add", &operator::Request::DeviceAdd(vec![known.device.clone()]));
    golden.add("operator.request.device_list", &operator::Request::DeviceList);
    golden.add("operator.request.device_show", &operator::Request::DeviceShow(known.device.id));
    golden.add("operator.request.device_retire", &operator::Request::DeviceRetire(known.device.id));
    golden.add("operator.response.devices", &operator::Response::Devices(vec![known.clone()]));
    golden.add("operator.response.device", &operator::Response::Device(known));
    let what = Revoked::Certificate(ContentHash([5; 32]));
    golden.add("operator.request.revoke", &operator::Request::Revoke { what, revoked: true });
    golden.add("operator.request.revocation_list", &operator::Request::RevocationList);
    let name = operator::Revocation { what: Revoked::Name(actor()), since: UnixMs(3) };
    golden.add("operator.response.revocations", &operator::Response::Revocations(vec![name]));
    #[cfg(feature = "next")]
    {
        let amendment = cluster_config::decision::Amendment { encounter: EncounterId(2), attempt: 3 };
        golden.add("operator.request.amend", &operator::Request::Amend(amendment));
        golden.add("operator.response.amended", &operator::Response::Amended(amendment));
    }

    let status = operator::ClusterStatus {
        cluster: "loopback".into(),
        version: Version(1),
        node: NodeId(1),
        leader: Some(NodeId(2)),
        term: 3,
        applied_index: 4,
        time: UnixMs(1_800_000_000_000),
        generation: Generation(5),
        engine: "cpu".into(),
        members: vec![operator::MemberStatus {
            member: member(),
            voter: true,
            draining: false,
            version: Some(Version(1)),
            silent_ms: Some(12),
            troubles: vec![Trouble::Store],
            owner_of: 1,
            standby_of: 2,
        }],
        journeys: 6,
        shards: 7,
        shards_replicated: Some(7),
        ledger_records: 8,
    };
    let submitted = operator::Submitted {
        journeys: vec![operator::SubmittedJourney {
            journey: journey(),
            duplicate: false,
            status: JourneyStatus::Announced,
            next: Some(NextStatus { status: JourneyStatus::Building, at: UnixMs(7) }),
            version: GalleryVersion(1),
            people: 2,
            templates: 3,
            without_photo: 0,
        }],
        unbuilt: vec![operator::UnbuiltJourney {
            journey: journey(),
            refusal: Refusal::new(RefusalCode::Unavailable, "place", "problem", "fix"),
        }],
        warnings: vec!["w".into()],
        quarantined: vec!["q".into()],
    };
    let gallery = operator::Gallery {
        journey: journey(),
        carrier: "AA".into(),
        number: "100".into(),
        departure_port: port("JFK"),
        arrival_port: port("LHR"),
        departs_at: UnixMs(1),
        status: JourneyStatus::Ready,
        next: Some(NextStatus { status: JourneyStatus::Closed, at: UnixMs(7) }),
        people: 2,
        boarded: 1,
        shards: vec![operator::Shard {
            shard: shard(),
            version: GalleryVersion(1),
            hash: ContentHash([7; 32]),
            people: 2,
            rows: 3,
            without_photo: 0,
            epoch: Epoch(1),
            owner: Some(NodeId(1)),
            standbys: vec![NodeId(2)],
            rosters: vec![NodeId(4)],
            holders: vec![NodeId(1), NodeId(2)],
            keepers: vec![NodeId(2)],
            receipts: vec![operator::Receipt { node: NodeId(3), at: UnixMs(9), attested: false }],
            memory_bytes: Some(1_000),
        }],
    };
    let page = operator::LedgerPage {
        records: vec![operator::LedgerRecord {
            position: 1,
            encounter: EncounterId(2),
            journey: Some(journey()),
            standing: None,
            device: "JFK-T4".parse().expect("device"),
            entry: NodeId(1),
            at: UnixMs(3),
            directive: cluster_config::decision::Directive::Wait,
            reason: cluster_config::decision::Reason::AlreadyBoarded,
            subject: None,
            manifest_ordinal: Some(4),
            crossing: false,
            epoch: Epoch(5),
            gallery_version: GalleryVersion(6),
            #[cfg(feature = "next")]
            attempt: 2,
        }],
        next: Some(10),
    };
    golden.add("operator.response.status", &operator::Response::ClusterStatus(status));
    golden.add("operator.response.submitted", &operator::Response::Submitted(submitted));
    golden.add("operator.response.galleries", &operator::Response::Galleries(vec![gallery.clone()]));
    golden.add("operator.response.gallery", &operator::Response::Gallery(gallery));
    let ended = Ended {
        departs_at: UnixMs(1),
        closed_at: UnixMs(2),
        purged_at: UnixMs(3),
        people: 4,
        boarded: 5,
        receipts: 3,
        attested: 1,
    };
    golden.add("operator.response.ended", &operator::Response::Ended(ended));
    golden.add("operator.response.ledger", &operator::Response::LedgerPage(page));
    golden.add("operator.response.policy", &operator::Response::Policy(policy));
    golden.add("operator.response.metrics", &operator::Response::Metrics("m 1".into()));
    golden.add("operator.response.done", &operator::Response::Done);
    golden.add("operator.response.refused", &operator::Response::Refused(refusal()));
}

#[test]
fn every_message_has_the_bytes_that_are_written_down() {
    let mut golden = Golden::default();
    gates(&mut golden);
    peers(&mut golden);
    operators(&mut golden);
    // What stands within messages, entries, records and the state.
    golden.order_of::<Role>();
    golden.order_of::<Directive>();
    golden.order_of::<Reason>();
    golden.order_of::<Recording>();
    golden.order_of::<Priority>();
    golden.order_of::<RefusalCode>();
    golden.order_of::<JourneyStatus>();
    golden.order_of::<Listing>();
    golden.order_of::<List>();
    golden.order_of::<Modality>();
    golden.order_of::<Trouble>();
    golden.order_of::<GalleryId>();
    golden.order_of::<gate::Sample>();
    golden.order_of::<peer::RaftCall>();
    golden.is_complete_for::<gate::Request>();
    golden.is_complete_for::<gate::Response>();
    golden.is_complete_for::<peer::Request>();
    golden.is_complete_for::<peer::Response>();
    golden.is_complete_for::<operator::Request>();
    golden.is_complete_for::<operator::Response>();
    golden.hold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "golden");
}

#[test]
fn a_header_says_which_of_its_bytes_is_wrong() {
    let header = FrameHeader { version: Version(1), channel: Channel::Gate, body_bytes: 258 };
    assert_eq!(header.encode(), [b'T', b'V', 1, 1, 2, 1, 0, 0]);
    assert_eq!(FrameHeader::decode(header.encode()), Ok(header));
    let refused = |bytes| FrameHeader::decode(bytes).expect_err("refused");
    assert_eq!(refused([b'X', b'V', 1, 1, 0, 0, 0, 0]).code, RefusalCode::MalformedFrame);
    // P13: two releases further is refused with the fix, never misread.
    for unknown in [0, Version::CURRENT.0 + 1, 255] {
        let refusal = refused([b'T', b'V', unknown, 1, 0, 0, 0, 0]);
        assert_eq!(refusal.code, RefusalCode::UnknownVersion);
        assert!(refusal.problem.contains(&format!("version {unknown} is not understood here")), "{refusal}");
    }
    assert_eq!(refused([b'T', b'V', 1, 4, 0, 0, 0, 0]).code, RefusalCode::MalformedFrame);
    assert_eq!(refused([b'T', b'V', 1, 1, 0, 0, 0, 0x40]).code, RefusalCode::TooLarge);
}

#[test]
fn a_length_that_lies_costs_no_memory_and_trailing_bytes_are_refused() {
    // Variant 1 (identify), then an encounter, then a journey id that claims 2^60 bytes.
    let mut bytes = vec![1];
    bytes.extend([0; 16]);
    bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0x10]);
    assert!(decode::<gate::Request>(&bytes, usize::MAX).is_err());
    let mut bytes = encode(&gate::Request::Identify(capture()), usize::MAX).expect("encodes");
    // The text of the journey begins after the variant, the encounter's 16 bytes and the text's length.
    bytes[18] = 0xff;
    let error = decode::<gate::Request>(&bytes, usize::MAX).expect_err("refused").to_string();
    assert!(error.contains("at byte 36 of"), "{error}");
    let mut bytes = encode(&gate::Request::Hello, usize::MAX).expect("encodes");
    bytes.push(0);
    let error = decode::<gate::Request>(&bytes, usize::MAX).expect_err("refused").to_string();
    assert!(error.contains("byte 1 of 2"), "{error}");
}
