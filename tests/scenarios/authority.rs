//! R23, R97; P11: a node acts only as itself and only while it is a member. What a stranger, a node that was taken out
//! and a member that forges ask for on a live cluster is refused, and changes nothing.

use std::time::{Duration, Instant};

use cluster_config::actor::{Revoked, Role};
use cluster_config::ids::NodeId;
use cluster_config::wire::operator::{Request, Response};
use cluster_config::wire::{Channel, RefusalCode, gate, peer};
use harness::invariants::{p10_clear_refusals, p11_authority};
use harness::level::wait_for;
use harness::live::Live;
use harness::raw::{Raw, frame};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_link::certificates::Validity;
use node_link::endpoint::SERVER_NAME;
use node_link::{Identity, bind_client};

/// Sends a request with this certificate to a node; it has to be refused, clearly.
async fn refused(live: &Live, node: NodeId, who: &Identity, name: &str, request: &peer::Request) -> RefusalCode {
    let raw = Raw::new(live.address(node), who);
    let refusal = raw.refusal(Channel::Peer, &frame(Channel::Peer, request)).await.expect("a refusal");
    assert_eq!(p10_clear_refusals::unclear(&refusal), None, "{name}: {refusal:?}");
    refusal.code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_stranger_nor_a_removed_node_nor_a_forging_member_is_obeyed() {
    let mut live = Live::start("authority", 3).await;
    let bank = Bank::new(harness::seed(), 1, 20);
    workload::submit(&live, &bank).await;
    let issued = live.cluster.authority().issue(Role::Node, "node-9", Validity::Days(1)).expect("issued");
    let stranger =
        Identity::load(&live.cluster.authority().certificate(), &issued.certificate, &issued.key).expect("an identity");
    let fourth = live.join().await;
    live.ready(4).await;
    let removed = live.cluster.identity("node-4").expect("its certificate");
    live.leave(fourth).await;
    live.ready(3).await;
    live.replicated().await;

    let gallery = live.gallery(live.leader().await, bank.flights[0].journey).await.expect("a gallery");
    let shard = gallery.shards[0].shard;
    let policy = live.ask(NodeId(1), Request::PolicyShow).await.expect("a policy");
    let requests: Vec<(String, peer::Request)> =
        p11_authority::forged(NodeId(1), shard).into_iter().chain(p11_authority::members_only(shard)).collect();
    let mut count = 0;
    for node in live.running() {
        // A follower hears of the removal a moment later.
        wait_for("the removed node is no member anywhere", LEVEL_DEADLINE, async || {
            let raw = Raw::new(live.address(node), &removed);
            let told = raw.refused(Channel::Peer, &frame(Channel::Peer, &report(fourth))).await?;
            let is_refused = told.as_ref().is_some_and(|refusal| refusal.code == RefusalCode::NotMember);
            if is_refused { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
        for (who, identity) in [("a stranger", &stranger), ("a removed node", &removed)] {
            for (name, request) in &requests {
                let name = format!("{who} at node {node}: {name}");
                let code = refused(&live, node, identity, &name, request).await;
                let wanted = if matches!(request, peer::Request::Hello(_)) {
                    RefusalCode::WrongRole
                } else {
                    RefusalCode::NotMember
                };
                assert_eq!(code, wanted, "{name}");
                count += 1;
            }
        }
    }
    // A member that holds the gallery is given it; so the forger is whoever only keeps nothing of it.
    let holds = |node: &NodeId| {
        let shard = &gallery.shards[0];
        shard.owner == Some(*node) || shard.standbys.contains(node) || shard.rosters.contains(node)
    };
    let leader = live.leader().await;
    for forger in live.running().into_iter().filter(|node| *node != NodeId(1)) {
        let identity = live.cluster.identity(&format!("node-{forger}")).expect("its certificate");
        for (name, request) in p11_authority::forged(NodeId(1), shard) {
            let is_given = matches!(request, peer::Request::FetchSegment { .. } | peer::Request::FetchRoster { .. });
            let is_owners = matches!(request, peer::Request::StoreSegment(_));
            if is_given && holds(&forger) || is_owners && gallery.shards[0].owner == Some(forger) {
                continue;
            }
            refused(&live, leader, &identity, &format!("node {forger}: {name}"), &request).await;
            count += 1;
        }
    }
    println!("{count} requests refused");
    assert_eq!(live.ask(NodeId(1), Request::PolicyShow).await.expect("a policy"), policy);
    let status = live.status(live.leader().await).await.expect("a status");
    assert_eq!(status.members.len(), 3);
    for member in &status.members {
        assert!(!member.draining && member.silent_ms.is_some_and(|ms| ms < 800), "{member:?}");
    }
    let Response::Galleries(galleries) = live.ask(NodeId(1), Request::GalleryList).await.expect("galleries") else {
        panic!("galleries answered by something else");
    };
    assert_eq!(galleries.len(), 1);
}

/// How long a connection of who is revoked may live on.
const CUT_OFF: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_cut_off_by_every_node_and_nobody_else_is() {
    let live = Live::start("authority", 3).await;
    let bank = Bank::new(harness::seed(), 1, 20);
    workload::submit(&live, &bank).await;
    let [by_name, by_certificate, other] =
        [live.gate_identity().await, live.gate_identity().await, live.gate_identity().await];
    let connect = async |identity: &Identity| {
        let mut connections = Vec::new();
        for node in live.running() {
            let address = live.address(node);
            let endpoint = bind_client(address, identity).expect("an endpoint");
            let connection = endpoint.connect(address, SERVER_NAME).expect("an attempt").await.expect("a connection");
            connections.push((node, endpoint, connection));
        }
        connections
    };
    let (named, certified, others) = (connect(&by_name).await, connect(&by_certificate).await, connect(&other).await);
    // Whoever has asked once is known to be served.
    let hello = frame(Channel::Gate, &gate::Request::Hello);
    for node in live.running() {
        for identity in [&by_name, &by_certificate, &other] {
            Raw::new(live.address(node), identity).send(&hello).await.expect("it is served");
        }
    }
    let begun = Instant::now();
    let what = [Revoked::Name(*by_name.caller().actor()), Revoked::Certificate(by_certificate.caller().certificate)];
    for what in what {
        live.ask(NodeId(2), Request::Revoke { what, revoked: true }).await.expect("revoked");
    }
    for (node, _, connection) in named.iter().chain(&certified) {
        let closed = tokio::time::timeout(CUT_OFF, connection.closed()).await;
        let closed = closed.unwrap_or_else(|_| panic!("node {node} still serves what is revoked"));
        assert!(closed.to_string().contains("the certificate is revoked"), "{closed}");
    }
    println!("cut off by all nodes after {:?}", begun.elapsed());
    for node in live.running() {
        for identity in [&by_name, &by_certificate] {
            let refused = Raw::new(live.address(node), identity).send(&hello).await.expect_err("it is cut off");
            assert!(refused.contains("it is revoked"), "{refused}");
        }
        Raw::new(live.address(node), &other).send(&hello).await.expect("another gate is served");
    }
    assert!(others.iter().all(|(_, _, connection)| connection.close_reason().is_none()), "another gate is cut off");
    live.ask(NodeId(1), Request::Revoke { what: what[0], revoked: false }).await.expect("taken back");
    wait_for("it is served again", LEVEL_DEADLINE, async || {
        Raw::new(live.address(NodeId(1)), &by_name).send(&hello).await.map(|_| ())
    })
    .await;
}

fn report(node: NodeId) -> peer::Request {
    peer::Request::Report(peer::Report {
        node,
        incarnation: Default::default(),
        revision: 1,
        held: Some(peer::Held::default()),
        open: 0,
        clock: Default::default(),
    })
}
