//! P11: nobody acts beyond their identity. A node is believed while it is a member, and of itself alone.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use cluster_config::actor::{Actor, Caller, Revoked, Role};
use cluster_config::canary::Canaries;
use cluster_config::cluster::Agreed;
use cluster_config::gallery::{GalleryId, Modality, Segment, ShardId};
use cluster_config::ids::{
    ClusterId, ContentHash, Epoch, FolderId, GalleryVersion, Incarnation, JourneyId, NodeId, UnixMs,
};
use cluster_config::journey::{JourneyPlan, Listing};
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::member::{Member, Past};
use cluster_config::policy::Policy;
use cluster_config::rights::Ask;
use cluster_config::versions::Version;
use cluster_config::versions::shape::variants_of;
use cluster_config::wire::gate::Capture;
use cluster_config::wire::peer::{self, BuildOrder, RaftCall, Request};
use cluster_config::wire::{Channel, Refusal, codec, gate, operator};
use coordinator_core::placement::{Change, Placement};
use coordinator_core::{
    Command, Entry, Outcome, State, clock, galleries, journeys, ledger, membership, placement, policy, retention,
    revocations,
};
use node_core::authority;
use node_population::model;

use super::p10_clear_refusals::unclear;
use crate::raw::frame;

/// Commands that no node may hand on in the name of `name`, one of the node `victim`'s certificate among them.
pub fn forged_commands(victim: NodeId, shard: ShardId) -> Vec<(Actor, Command)> {
    let operator = Actor { role: Role::Operator, name: "operator".parse().expect("a name") };
    let gate = Actor { role: Role::Gate, name: "gate-1".parse().expect("a name") };
    let carrier = Actor { role: Role::Carrier, name: "desk".parse().expect("a name") };
    let journey = shard.journey().expect("a journey's");
    let forged = Actor::node(victim);
    let plan = placement::Command::Change { parent: Default::default(), changes: Vec::new() };
    let start = |node| membership::Command::AnnounceStart {
        node,
        incarnation: Incarnation(u64::MAX),
        version: Version::CURRENT,
        past: past(),
    };
    let receipt = retention::Command::Receipt { shard, node: victim, keeps: false };
    let policy = Policy { version: 2, ..Policy::default() };
    vec![
        (forged, start(victim).into()),
        (operator, membership::Command::Remove(victim).into()),
        (operator, plan.into()),
        (forged, receipt.into()),
        (forged, Command::record(Vec::new())),
        (forged, ledger::Command::Seal { chunk: 0, hash: ContentHash::default(), version: Version::CURRENT }.into()),
        (operator, ledger::Command::Expire(0).into()),
        (operator, clock::Command::Advance(UnixMs(u64::MAX)).into()),
        (forged, policy::Command::Set(policy.clone()).into()),
        (gate, policy::Command::Set(policy).into()),
        (gate, membership::Command::SetDraining { node: victim, draining: true }.into()),
        (gate, retention::Command::Attest(victim).into()),
        (gate, journeys::Command::Close(journey).into()),
        (carrier, journeys::Command::Purge(journey).into()),
        (operator, journeys::Command::Forget(journey).into()),
        (operator, journeys::Command::ForgetLines.into()),
        (operator, revocations::Command::Forget.into()),
    ]
}

fn past() -> Past {
    Past { folder: FolderId(1), started: Incarnation(u64::MAX), last_entry: u64::MAX }
}

/// One request of each kind that a node can send, each of them forged: it speaks for `victim`, or asks for what only a
/// holder of `shard` is given. The name says which it is.
pub fn forged(victim: NodeId, shard: ShardId) -> Vec<(String, Request)> {
    let version_min = GalleryVersion(1);
    let hello = peer::Hello {
        member: Member { id: victim, address: "10.0.0.1:7100".to_owned(), zone: "a".parse().expect("a zone") },
        incarnation: Incarnation(u64::MAX),
        past: past(),
        cluster: None,
        agreed: Agreed { name: "local".to_owned(), model: model(), template_dims: 512 },
        members: Vec::new(),
        initialised: true,
        doubt: None,
        applied: u64::MAX,
        leader: None,
        version: Version::CURRENT,
    };
    let report = peer::Report {
        node: victim,
        incarnation: Incarnation(u64::MAX),
        revision: 1,
        held: Some(peer::Held::default()),
        open: 0,
        clock: UnixMs(0),
    };
    let segment = Segment { shard, version: GalleryVersion(9), hash: ContentHash([9; 32]), bytes: vec![0; 8] };
    let request = operator::Request::RemoveMember { node: victim, i_know: true };
    let mut all = vec![
        ("hello".to_owned(), Request::Hello(hello)),
        ("report".to_owned(), Request::Report(report)),
        ("store".to_owned(), Request::StoreSegment(segment)),
        ("segment".to_owned(), Request::FetchSegment { shard, version_min }),
        ("roster".to_owned(), Request::FetchRoster { shard, version_min }),
        ("for the leader".to_owned(), Request::ForLeader { actor: Actor::node(victim), request }),
    ];
    for (actor, command) in forged_commands(victim, shard) {
        let bytes = codec::encode_stamped(&command, Version::CURRENT, PEER_FRAME_BYTES_MAX).expect("it encodes");
        all.push((format!("{actor}: {command:?}"), Request::Propose { actor, command: bytes }));
    }
    all
}

/// Requests that any member may send, and nobody else.
pub fn members_only(shard: ShardId) -> Vec<(String, Request)> {
    let search = peer::ShardSearch {
        shard,
        version_min: GalleryVersion(1),
        model: model(),
        probe: vec![1.0],
        floor: 0.0,
        priority: cluster_config::decision::Priority::Board,
        wait_ms: 100,
    };
    let build = BuildOrder { shard, manifest: ContentHash([9; 32]), people: Vec::new(), listing: Listing::Whole };
    vec![
        ("raft".to_owned(), Request::Raft { cluster: ClusterId(1), call: RaftCall::Vote, body: Vec::new() }),
        ("search".to_owned(), Request::Search(search)),
        ("build".to_owned(), Request::Build(build)),
        ("read index".to_owned(), Request::ReadIndex),
        ("chunk".to_owned(), Request::FetchChunk(ContentHash([9; 32]))),
        ("vouch".to_owned(), Request::Vouch(NodeId(1))),
        ("keeps".to_owned(), Request::Keeps { shard, version_min: GalleryVersion(1) }),
    ]
}

/// One request of each kind in the table of rights, to the node at this address. Whoever may ask for it changes nothing
/// by it: it is about what is not there.
///
/// # Panics
/// Where a kind is missing.
pub fn of_each_kind(capture: &Capture, shard: ShardId, address: SocketAddr) -> Vec<(Ask, Vec<u8>)> {
    let node = NodeId(99);
    let gates = [gate::Request::Hello, gate::Request::Identify(capture.clone()), gate::Request::Board(capture.clone())];
    let peers = forged(NodeId(9), shard).into_iter().chain(members_only(shard)).map(|(_, request)| request);
    let zone = "a".parse().expect("a zone");
    let member = Member { id: node, address: address.to_string(), zone };
    let what = Revoked::Name("tvs://gate/nobody".parse().expect("an actor"));
    let operators = [
        operator::Request::ClusterStatus,
        operator::Request::Metrics,
        operator::Request::AddMember { member: member.clone(), voter: false },
        operator::Request::RemoveMember { node, i_know: false },
        operator::Request::MoveMember(member.clone()),
        operator::Request::DrainStatus(node),
        operator::Request::Drain { node, draining: false },
        operator::Request::TransferLeader(node),
        operator::Request::AttestDestruction(node),
        operator::Request::SubmitManifest(Vec::new()),
        operator::Request::GalleryList,
        operator::Request::GalleryShow(capture.journey),
        operator::Request::BuildJourney(capture.journey),
        operator::Request::CloseJourney { journey: capture.journey, purge: false },
        operator::Request::CloseJourney { journey: capture.journey, purge: true },
        operator::Request::LedgerPage { from: 0, limit: 1 },
        operator::Request::PolicyShow,
        operator::Request::PolicySet(Policy { version: 99, ..Policy::default() }),
        operator::Request::DeviceAdd(Vec::new()),
        operator::Request::DeviceList,
        operator::Request::DeviceShow("nobody".parse().expect("a name")),
        operator::Request::DeviceRetire("nobody".parse().expect("a name")),
        operator::Request::Revoke { what, revoked: false },
        operator::Request::RevocationList,
    ];
    let gates = gates.iter().map(|request| (Ask::from(request), frame(Channel::Gate, request)));
    let peers = peers.map(|request| (Ask::from(&request), frame(Channel::Peer, &request)));
    let operators = operators.iter().map(|request| (Ask::from(request), frame(Channel::Operator, request)));
    let all: Vec<(Ask, Vec<u8>)> = gates.chain(peers).chain(operators).collect();
    for ask in Ask::ALL {
        assert!(all.iter().any(|(kind, _)| kind == ask), "{ask:?} is not walked");
    }
    all
}

/// Walks every request of a node by the product's rules, sent by a member that forges it and by a stranger, and says
/// how many were refused.
///
/// # Errors
/// One that is let through, or refused without place, problem and fix, or one that a member may send and is refused.
pub fn walk(canaries: Canaries) -> Result<usize, String> {
    let (state, shard) = cluster();
    let (victim, member, stranger) = (NodeId(1), NodeId(3), NodeId(9));
    let (forged, open) = (forged(victim, shard), members_only(shard));
    let kinds: BTreeSet<&str> = forged.iter().chain(&open).map(|(_, request)| kind(request)).collect();
    let all = variants_of::<Request>().len();
    if kinds.len() != all {
        return Err(format!("P11: {} of {all} kinds of requests are walked", kinds.len()));
    }
    let mut judged = Vec::new();
    for (name, request) in forged.iter().chain(&open) {
        let name = format!("a stranger's {name}");
        judged.push((name, authority::judge(&state, stranger, false, request, canaries)));
    }
    for (name, request) in forged.iter().filter(|(_, request)| !matches!(request, Request::Propose { .. })) {
        judged.push((format!("a member's {name}"), authority::judge(&state, member, true, request, canaries)));
    }
    for (actor, command) in forged_commands(victim, shard) {
        let name = format!("a member's {actor}: {command:?}");
        judged.push((name, authority::judge_command(member, &actor, &command, canaries)));
    }
    judged.extend(revoked(canaries));
    let refused = judged.len();
    for (name, judged) in judged {
        let refusal = judged.err().ok_or_else(|| format!("P11: {name} was let through"))?;
        if let Some(why) = unclear(&refusal) {
            return Err(format!("P11: {name}: {why}: {refusal:?}"));
        }
    }
    let may = |request| authority::judge(&state, member, true, request, canaries);
    match open.iter().find_map(|(name, request)| may(request).err().map(|refusal| (name, refusal))) {
        Some((name, refusal)) => Err(format!("P11: a member may not: {name}: {refusal}")),
        None => Ok(refused),
    }
}

/// What is judged of those who are revoked, by certificate and by name. Nobody else is.
fn revoked(canaries: Canaries) -> Vec<(String, Result<(), Refusal>)> {
    let gate = |name: &str, certificate| {
        let holder = format!("tvs://gate/{name}?port=JFK").parse().expect("a holder");
        Caller { holder, certificate: ContentHash([certificate; 32]) }
    };
    let mut state = State::default();
    let what = [Revoked::Certificate(ContentHash([1; 32])), Revoked::Name(*gate("G2", 2).actor())];
    for command in what.map(revocations::Command::Revoke) {
        state.apply(&Entry::new(Actor::node(NodeId(1)), UnixMs(1), command.into()), Canaries::default());
    }
    let judge = |caller| state.revocations().judge(&caller, canaries);
    assert!(judge(gate("G1", 3)).is_ok(), "P11: another certificate of the name is not revoked");
    vec![
        ("a revoked certificate's request".to_owned(), judge(gate("G1", 1))),
        ("a revoked name's request".to_owned(), judge(gate("G2", 9))),
    ]
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Hello(_) => "hello",
        Request::Raft { .. } => "raft",
        Request::Propose { .. } => "propose",
        Request::Report(_) => "report",
        Request::Search(_) => "search",
        Request::Build(_) => "build",
        Request::StoreSegment(_) => "store",
        Request::FetchSegment { .. } => "segment",
        Request::ForLeader { .. } => "for the leader",
        Request::FetchRoster { .. } => "roster",
        Request::Keeps { .. } => "keeps",
        Request::ReadIndex => "read index",
        Request::FetchChunk(_) => "chunk",
        Request::Vouch(_) => "vouch",
    }
}

/// Three members, of whom the first owns a gallery and the second stands by for it.
fn cluster() -> (State, ShardId) {
    let mut state = State::default();
    let mut apply = |command: Command| {
        let entry = Entry::new(Actor::node(NodeId(1)), UnixMs(1), command);
        let outcome = state.apply(&entry, Canaries::default());
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    };
    for id in 1..=3 {
        let zone = "a".parse().expect("a zone");
        let member = Member { id: NodeId(id), address: format!("10.0.0.{id}:7100"), zone };
        apply(membership::Command::Register(member).into());
    }
    let id: JourneyId = "AA1".parse().expect("an id");
    let port = |code: &str| code.parse().expect("a port");
    apply(
        journeys::Command::Open(JourneyPlan {
            id,
            carrier: "AA".to_owned(),
            number: "1".to_owned(),
            departure_port: port("JFK"),
            arrival_port: port("VIE"),
            departs_at: UnixMs(1_000_000),
            people: 3,
            parts: 1,
            manifest: ContentHash([1; 32]),
            model: model(),
        })
        .into(),
    );
    let shard = ShardId { gallery: GalleryId::passengers(id), modality: Modality::Face, model: model(), part: 0 };
    let placement = Placement { epoch: Epoch(1), owner: NodeId(1), standbys: vec![NodeId(2)], rosters: Vec::new() };
    let changes = vec![Change { shard, placement }];
    apply(placement::Command::Change { parent: Default::default(), changes }.into());
    apply(
        galleries::Command::Commit(galleries::Commit {
            shard,
            epoch: Epoch(1),
            node: NodeId(1),
            version: GalleryVersion(1),
            hash: ContentHash([1; 32]),
            manifest: ContentHash([1; 32]),
            counts: Default::default(),
            made_from: None,
            numbered_by: ContentHash::default(),
            loss: None,
            is_built: true,
        })
        .into(),
    );
    (state, shard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_forged_request_and_no_request_of_a_stranger_is_let_through() {
        let refused = walk(Canaries::default());
        assert!(refused.as_ref().is_ok_and(|refused| *refused > 30), "{refused:?}");
    }
}
