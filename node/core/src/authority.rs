//! What a node is believed: what it says of itself, while it is a member, and what an operator asked it for. Nothing
//! that a node says of another one counts.

use cluster_config::actor::Actor;
use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::NodeId;
use cluster_config::rights::{Ask, Right};
use cluster_config::wire::{Fix, Refusal, RefusalCode, operator, peer};
use coordinator_core::{
    Command, Record, State, devices, galleries, journeys, ledger, membership, policy, retention, revocations,
};

/// What to do for a node that is no member.
const ADD: &str = "add it with `tvs cluster add`; where it was removed, set its data aside and add it under a new id";

/// The node whose certificate asks.
///
/// # Errors
/// `wrong-role` where the certificate names no node.
pub fn caller(from: &Actor) -> Result<NodeId, Refusal> {
    let unnamed = || {
        let (place, problem) = (format!("certificate {from}"), "the name is none of a node");
        Refusal::new(RefusalCode::WrongRole, place, problem, "issue it again with `tvs certs issue --name node-ID`")
    };
    from.as_node().ok_or_else(unnamed)
}

/// Judges a request of the node `caller`; what a proposal says is judged by [`judge_command`] once it is read. A node
/// that is no member may say Hello, and nothing else.
///
/// # Errors
/// `not-member`; `wrong-role` where it speaks for somebody else; `unavailable` where the blueprint, as far as this node
/// knows it, does not give the caller the shard.
pub fn judge(
    state: &State,
    caller: NodeId,
    is_member: bool,
    request: &peer::Request,
    canaries: Canaries,
) -> Result<(), Refusal> {
    if canaries.has(Canary::AnyNodeCommands) {
        return Ok(());
    }
    if let peer::Request::Hello(hello) = request {
        return speaks_for_itself(caller, hello.node());
    }
    if !is_member {
        return Err(no_member(caller));
    }
    match request {
        peer::Request::Report(report) => speaks_for_itself(caller, report.node),
        peer::Request::StoreSegment(segment) => owns(state, caller, segment.shard),
        peer::Request::FetchSegment { shard, .. } => has_replica(state, caller, *shard),
        peer::Request::FetchRoster { shard, .. } => holds_gallery(state, caller, *shard),
        peer::Request::ForLeader { actor, request } => may_be_led(caller, actor, request),
        peer::Request::Hello(_)
        | peer::Request::Raft { .. }
        | peer::Request::Propose { .. }
        | peer::Request::Search(_)
        | peer::Request::Build(_)
        | peer::Request::ReadIndex
        | peer::Request::FetchChunk(_)
        | peer::Request::Vouch(_)
        | peer::Request::Keeps { .. } => Ok(()),
    }
}

/// The refusal of a node that is no member.
pub fn no_member(node: NodeId) -> Refusal {
    let place = format!("certificate {}", Actor::node(node));
    Refusal::new(RefusalCode::NotMember, place, format!("node {node} is no member of this cluster"), ADD)
}

fn speaks_for_itself(caller: NodeId, node: NodeId) -> Result<(), Refusal> {
    if caller == node {
        return Ok(());
    }
    let problem = format!("node {node} cannot be spoken for by {}", Actor::node(caller));
    Err(Refusal::new(RefusalCode::WrongRole, "request.node", problem, "give the node of your own certificate"))
}

fn owns(state: &State, caller: NodeId, shard: ShardId) -> Result<(), Refusal> {
    placed(state.owner(shard) == Some(caller), caller, shard, "the owner")
}

fn has_replica(state: &State, caller: NodeId, shard: ShardId) -> Result<(), Refusal> {
    placed(state.placement(shard).is_some_and(|placement| placement.has(caller)), caller, shard, "a replica")
}

/// Whoever builds one part of a gallery asks for the people of all its parts: nobody may stand in two of them.
fn holds_gallery(state: &State, caller: NodeId, shard: ShardId) -> Result<(), Refusal> {
    let mut parts = state.galleries().shards(shard.gallery);
    let holds = parts.any(|(part, _)| state.placement(part).is_some_and(|p| p.holders().any(|node| node == caller)));
    placed(holds, caller, shard, "a holder")
}

/// This node's blueprint may be the older one: the caller is to ask again.
fn placed(is_placed: bool, caller: NodeId, shard: ShardId, what: &str) -> Result<(), Refusal> {
    if is_placed {
        return Ok(());
    }
    let problem = format!("the blueprint that is known here does not make node {caller} {what} of it");
    Err(Refusal::new(RefusalCode::Unavailable, format!("gallery {shard}"), problem, "ask again once it does"))
}

fn may_be_led(caller: NodeId, actor: &Actor, request: &operator::Request) -> Result<(), Refusal> {
    has_right(caller, actor, Ask::from(request))
}

/// By whom a command may come over the wire.
enum By<'a> {
    /// That node, of itself.
    Node(NodeId),
    /// The member that vouches for all of these records.
    Records(&'a [Record]),
    /// Any member, for somebody who may ask for this.
    Right(Ask),
    /// Nobody: the leader alone decides it.
    Leader,
}

fn by(command: &Command) -> By<'_> {
    match command {
        Command::Membership(command) => match command {
            membership::Command::Register(member) => By::Node(member.id),
            membership::Command::AnnounceStart { node, .. } => By::Node(*node),
            membership::Command::Remove(_) | membership::Command::Found(_) | membership::Command::Mark(_) => By::Leader,
            membership::Command::SetDraining { .. } => By::Right(Ask::Drain),
        },
        Command::Policy(policy::Command::Set(_)) => By::Right(Ask::PolicySet),
        Command::Journeys(command) => match command {
            journeys::Command::Open(_) | journeys::Command::OpenAll(_) => By::Right(Ask::SubmitManifest),
            journeys::Command::Build { early: true, .. } => By::Right(Ask::BuildJourney),
            journeys::Command::Close(_) => By::Right(Ask::CloseJourney),
            journeys::Command::Purge(_) => By::Right(Ask::PurgeJourney),
            journeys::Command::Build { early: false, .. }
            | journeys::Command::Forget(_)
            | journeys::Command::ForgetLines => By::Leader,
        },
        Command::Galleries(command) => match command {
            galleries::Command::Commit(commit) => By::Node(commit.node),
            // Which galleries stand is a rule of the cluster, as the policy is.
            galleries::Command::OpenStanding { .. } | galleries::Command::CloseStanding(_) => By::Right(Ask::PolicySet),
        },
        Command::Placement(_) => By::Leader,
        Command::Ledger(ledger::Command::Record(records)) => By::Records(records),
        Command::Ledger(ledger::Command::Seal { .. } | ledger::Command::Expire(_) | ledger::Command::Settle(_))
        | Command::Clock(_) => By::Leader,
        #[cfg(feature = "next")]
        Command::Ledger(ledger::Command::Amend(_)) => By::Right(Ask::Amend),
        Command::Retention(retention::Command::Receipt { node, .. }) => By::Node(*node),
        Command::Retention(retention::Command::Attest(_)) => By::Right(Ask::AttestDestruction),
        Command::Devices(devices::Command::Register(_)) => By::Right(Ask::DeviceAdd),
        Command::Devices(devices::Command::Retire(_)) => By::Right(Ask::DeviceRetire),
        Command::Devices(devices::Command::Forget) | Command::Revocations(revocations::Command::Forget) => By::Leader,
        Command::Revocations(revocations::Command::Revoke(_) | revocations::Command::Restore(_)) => {
            By::Right(Ask::Revoke)
        }
    }
}

/// Judges a command that the member `caller` hands on in the name of `actor`.
///
/// # Errors
/// `wrong-role`: it is another node's word, nobody's to propose, or more than the actor may ask for.
pub fn judge_command(caller: NodeId, actor: &Actor, command: &Command, canaries: Canaries) -> Result<(), Refusal> {
    if canaries.has(Canary::AnyNodeCommands) {
        return Ok(());
    }
    match by(command) {
        By::Node(node) => {
            speaks_for_itself(caller, node)?;
            in_its_own_name(caller, actor)
        }
        By::Records(records) => {
            records.iter().try_for_each(|record| speaks_for_itself(caller, record.entry))?;
            in_its_own_name(caller, actor)
        }
        By::Right(ask) => has_right(caller, actor, ask),
        By::Leader => {
            let (place, fix) = (format!("command of {actor}"), "leave it to the leader, which does it by itself");
            Err(Refusal::new(RefusalCode::WrongRole, place, "only the leader decides that", fix))
        }
    }
}

fn in_its_own_name(caller: NodeId, actor: &Actor) -> Result<(), Refusal> {
    let own = Actor::node(caller);
    if *actor == own {
        return Ok(());
    }
    let problem = format!("{actor} does not speak through {own}");
    let fix = Fix::with(format!("hand it on in the name of {own}"));
    Err(Refusal::new(RefusalCode::WrongRole, "request.actor", problem, fix))
}

fn has_right(caller: NodeId, actor: &Actor, ask: Ask) -> Result<(), Refusal> {
    match ask.right_of(actor.role) {
        // How far a right reaches, the member has judged by the certificate.
        Right::Yes | Right::OwnPort | Right::OwnJourneys => Ok(()),
        Right::No | Right::TwoPeople => {
            let problem = format!("{actor}, handed on by node {caller}, may not {}", ask.what());
            let fix = "hand on what somebody asked for who may";
            Err(Refusal::new(RefusalCode::WrongRole, "request.actor", problem, fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::{GalleryVersion, Incarnation, UnixMs};
    use cluster_config::policy::Policy;
    use coordinator_core::placement;

    use super::*;
    use crate::fixture;

    const PLAIN: fn() -> Canaries = Canaries::default;

    fn code(judged: Result<(), Refusal>) -> Option<RefusalCode> {
        judged.err().map(|refusal| refusal.code)
    }

    #[test]
    fn segments_and_people_go_to_those_whom_the_blueprint_names_and_come_from_the_owner() {
        let state = fixture::state(&fixture::placement(1, &[2], &[3]), 1);
        let shard = fixture::shard(0);
        let version_min = GalleryVersion(1);
        let fetch = peer::Request::FetchSegment { shard, version_min };
        let roster = peer::Request::FetchRoster { shard, version_min };
        let segment = cluster_config::gallery::Segment {
            shard,
            version: version_min,
            hash: Default::default(),
            bytes: Vec::new(),
        };
        let store = peer::Request::StoreSegment(segment);
        let may = |node, request| judge(&state, NodeId(node), true, request, PLAIN()).is_ok();
        assert_eq!([1, 2, 3, 4].map(|node| may(node, &fetch)), [true, true, false, false]);
        assert_eq!([1, 2, 3, 4].map(|node| may(node, &roster)), [true, true, true, false]);
        assert_eq!([1, 2, 3, 4].map(|node| may(node, &store)), [true, false, false, false]);
        let late = judge(&state, NodeId(4), true, &fetch, PLAIN());
        assert!(late.is_err_and(|refusal| refusal.code.retryable()), "this node's blueprint may be the older one");
    }

    #[test]
    fn a_node_speaks_for_itself_and_a_stranger_says_hello_alone() {
        let state = State::default();
        let hello = |node| peer::Request::Hello(fixture::hello(node));
        let report = |node| {
            let (node, incarnation) = (NodeId(node), Incarnation(1));
            peer::Request::Report(peer::Report {
                node,
                incarnation,
                revision: 1,
                held: Some(peer::Held::default()),
                open: 0,
                clock: UnixMs(0),
            })
        };
        let judged = |is_member, request: &peer::Request| code(judge(&state, NodeId(9), is_member, request, PLAIN()));
        assert_eq!(judged(false, &hello(9)), None);
        assert_eq!(judged(false, &hello(1)), Some(RefusalCode::WrongRole));
        assert_eq!(judged(false, &report(9)), Some(RefusalCode::NotMember));
        assert_eq!(judged(true, &report(9)), None);
        assert_eq!(judged(true, &report(1)), Some(RefusalCode::WrongRole));
        assert_eq!(judged(false, &peer::Request::ReadIndex), Some(RefusalCode::NotMember));
    }

    #[test]
    fn an_actor_is_believed_for_what_the_table_gives_them_and_the_leaders_part_for_nobody() {
        let operator: Actor = "tvs://operator/ada".parse().expect("an actor");
        let (me, other) = (Actor::node(NodeId(2)), Actor::node(NodeId(3)));
        let receipt = |node| retention::Command::Receipt { shard: fixture::shard(0), node: NodeId(node), keeps: false };
        let member = |id| {
            let hello = fixture::hello(id);
            let (node, version, past) = (hello.node(), hello.version, hello.past);
            membership::Command::AnnounceStart { node, incarnation: hello.incarnation, version, past }
        };
        let record = |entry| {
            let capture = fixture::capture();
            let device = "g".parse().expect("a name");
            let record = Record::waiting(capture.encounter, capture.journey, device, capture.captured_at);
            Record { entry: NodeId(entry), ..record }
        };
        let plan = placement::Command::Change { parent: Default::default(), changes: Vec::new() };
        let set: Command = policy::Command::Set(Policy::default()).into();
        let id = fixture::journey();
        let carrier: Actor = "tvs://carrier/desk".parse().expect("an actor");
        let cases: [(Actor, Command, bool); 19] = [
            (operator, set.clone(), true),
            (me, set.clone(), false),
            ("tvs://gate/g".parse().expect("an actor"), set, false),
            (me, receipt(2).into(), true),
            (me, receipt(3).into(), false),
            (other, receipt(2).into(), false),
            (me, member(2).into(), true),
            (me, member(1).into(), false),
            (operator, membership::Command::Remove(NodeId(1)).into(), false),
            (me, plan.into(), false),
            (other, Command::record(Vec::new()), false),
            (me, Command::record(vec![record(2), record(2)]), true),
            (me, Command::record(vec![record(2), record(3)]), false),
            (carrier, journeys::Command::Close(id).into(), true),
            (carrier, journeys::Command::Purge(id).into(), false),
            (operator, journeys::Command::Purge(id).into(), true),
            (operator, journeys::Command::Build { journey: id, early: true }.into(), true),
            (operator, journeys::Command::Build { journey: id, early: false }.into(), false),
            (operator, journeys::Command::Forget(id).into(), false),
        ];
        for (actor, command, may) in cases {
            let judged = code(judge_command(NodeId(2), &actor, &command, PLAIN()));
            assert_eq!(judged, (!may).then_some(RefusalCode::WrongRole), "{actor}: {command:?}");
        }
    }

    #[test]
    fn an_operators_request_is_handed_on_for_operators_alone() {
        let state = State::default();
        let request = |actor| peer::Request::ForLeader { actor, request: operator::Request::DrainStatus(NodeId(1)) };
        let judged = |actor| code(judge(&state, NodeId(2), true, &request(actor), PLAIN()));
        assert_eq!(judged("tvs://operator/ada".parse().expect("an actor")), None);
        assert_eq!(judged(Actor::node(NodeId(2))), Some(RefusalCode::WrongRole));
    }
}
