//! Each channel carries its messages there and back, and only for the role that may use it.

mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::actor::Role;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::gallery::{GalleryId, Modality};
use cluster_config::ids::{ClusterId, ContentHash, EncounterId, GalleryVersion, NodeId};
use cluster_config::wire::peer::{RaftCall, Request, Response};
use cluster_config::wire::{RefusalCode, operator};
use harness::{World, capture, start, start_at, until};
use node_link::client::ClientError;
use node_link::error::LinkError;
use node_link::{GateClient, GateClientOptions, Lane, OperatorClient, PeerLinks, bind, bind_client};

const TIMEOUT: Duration = Duration::from_secs(5);

/// The node that listens.
const NODE: NodeId = NodeId(1);

fn propose(command: Vec<u8>) -> Request {
    Request::Propose { actor: Actor::node(NodeId(1)), command }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_channel_echoes() {
    let world = World::new();
    let server = start(&world, 1);

    let gate = GateClient::connect(GateClientOptions::new(vec![server.address], world.identity(Role::Gate, "gate-1")));
    let gate = gate.await.expect("a gate connects");
    for encounter in 1..=50 {
        let answer = gate.identify(capture(encounter)).await.expect("an answer");
        assert_eq!(answer.encounter, EncounterId(encounter));
        assert_eq!(gate.board(capture(encounter)).await.expect("an answer").encounter, EncounterId(encounter));
    }
    assert_eq!(gate.hello().await.expect("a welcome").node.0, 1);

    let identity = world.identity(Role::Node, "node-2");
    let links = PeerLinks::new(bind(([127, 0, 0, 1], 0).into(), &identity).expect("an endpoint"), identity);
    for lane in [Lane::Raft, Lane::Search, Lane::Bulk] {
        let request = Request::Raft { cluster: ClusterId(1), call: RaftCall::Append, body: vec![7; 300] };
        let response = links.call((NODE, server.address), lane, &request, TIMEOUT).await.expect("an answer");
        assert_eq!(response, Response::Raft(vec![7; 300]));
    }

    let client = OperatorClient::connect(vec![server.address], &world.identity(Role::Operator, "ada")).await;
    let response = client.expect("an operator connects").call(&operator::Request::Metrics, TIMEOUT).await;
    assert_eq!(response.expect("an answer"), operator::Response::Metrics("node 1".to_owned()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_segment_travels_and_delays_no_heartbeat() {
    let world = World::new();
    let server = start(&world, 1);
    let identity = world.identity(Role::Node, "node-2");
    let links = PeerLinks::new(bind_client(server.address, &identity).expect("an endpoint"), identity);
    let segment = Segment {
        shard: ShardId {
            gallery: GalleryId::passengers("AA100".parse().expect("a journey")),
            modality: Modality::Face,
            model: "model-1".parse().expect("a model"),
            part: 0,
        },
        version: GalleryVersion(1),
        hash: ContentHash::default(),
        bytes: vec![9; 48 << 20],
    };
    let bulk = tokio::spawn({
        let (links, address, segment) = (links.clone(), server.address, segment.clone());
        async move {
            let request = Request::StoreSegment(segment);
            links.call((NODE, address), Lane::Bulk, &request, Duration::from_secs(60)).await
        }
    });
    let mut slowest = Duration::ZERO;
    let mut heartbeats = 0;
    while !bulk.is_finished() {
        let begun = std::time::Instant::now();
        let request = Request::Raft { cluster: ClusterId(1), call: RaftCall::Append, body: vec![1; 100] };
        links.call((NODE, server.address), Lane::Raft, &request, TIMEOUT).await.expect("a heartbeat");
        slowest = slowest.max(begun.elapsed());
        heartbeats += 1;
    }
    assert_eq!(bulk.await.expect("a task").expect("an answer"), Response::Segment(segment));
    assert!(heartbeats > 0);
    // Generous for a busy machine; behind the segment on one stream of data it would be its whole transfer.
    assert!(slowest < Duration::from_millis(1_000), "a heartbeat took {slowest:?}");
}

#[tokio::test]
async fn the_wrong_role_is_refused_in_the_type_it_used() {
    let world = World::new();
    let server = start(&world, 1);

    let operator = world.identity(Role::Operator, "ada");
    let error = GateClient::connect(GateClientOptions::new(vec![server.address], operator)).await;
    let error = error.expect_err("an operator is no gate");
    let refused = matches!(&error, ClientError::Refused { refusal, .. } if refusal.code == RefusalCode::WrongRole);
    assert!(refused, "it is told at once, and not after the deadline: {error}");

    let gate = world.identity(Role::Gate, "gate-1");
    let client = OperatorClient::connect(vec![server.address], &gate).await.expect("connected");
    let response = client.call(&operator::Request::Metrics, TIMEOUT).await.expect("an answer");
    assert!(
        matches!(&response, operator::Response::Refused(refusal)
            if refusal.code.as_str() == "wrong_role" && refusal.place.contains("tvs://gate/gate-1")),
        "{response:?}"
    );

    let links = PeerLinks::new(bind_client(server.address, &gate).expect("an endpoint"), gate);
    // Long enough that a peer's frame would be allocated, were the role not looked at before.
    let request = propose(vec![0; 1 << 20]);
    let response = links.call((NODE, server.address), Lane::Raft, &request, TIMEOUT).await.expect("an answer");
    assert!(matches!(&response, Response::Refused(refusal) if refusal.code.as_str() == "wrong_role"), "{response:?}");
}

#[tokio::test]
async fn who_answers_must_be_a_node() {
    let world = World::new();
    let impostor = world.identity(Role::Gate, "gate-1");
    let server = start_at(([127, 0, 0, 1], 0).into(), &impostor, harness::Echo::new(1));
    let node = world.identity(Role::Node, "node-2");
    let links = PeerLinks::new(bind_client(server.address, &node).expect("an endpoint"), node);
    let error = links.call((NODE, server.address), Lane::Raft, &propose(vec![]), TIMEOUT).await;
    assert!(matches!(error, Err(LinkError::NotANode { .. })), "{error:?}");
    let error = GateClient::connect(GateClientOptions::new(vec![server.address], world.identity(Role::Gate, "gate-2")));
    let error = error.await.expect_err("no node");
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
}

/// F3: a request for one node is not told to another one that answers at its address.
#[tokio::test]
async fn who_answers_must_be_the_node_that_is_meant() {
    let world = World::new();
    let server = start(&world, 1);
    let node = world.identity(Role::Node, "node-2");
    let links = PeerLinks::new(bind_client(server.address, &node).expect("an endpoint"), node.clone());
    let error = links.call((NodeId(3), server.address), Lane::Raft, &propose(vec![1]), TIMEOUT).await;
    let error = error.expect_err("node 1 is not node 3");
    assert!(matches!(&error, LinkError::OtherNode { wanted: NodeId(3), .. }) && error.nothing_done(), "{error:?}");
    assert!(error.to_string().contains("tvs://node/node-1"), "{error}");
    let fresh = PeerLinks::new(bind_client(server.address, &node).expect("an endpoint"), node);
    let greeted = fresh.greet(server.address, &propose(vec![1]), TIMEOUT).await;
    assert_eq!(greeted.expect("a greeting is for whoever is there"), Response::Raft(vec![1]));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let world = World::new();
    let server = start(&world, 1);
    let error = bind(server.address, &world.identity(Role::Node, "node-2")).expect_err("the port is taken");
    assert!(error.to_string().contains(&server.address.port().to_string()), "{error}");
    assert!(matches!(error, node_link::endpoint::Error::PortTaken(address) if address == server.address));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_lets_requests_finish_and_refuses_new_ones() {
    let world = World::new();
    let server = start(&world, 1);
    let operator = world.identity(Role::Operator, "ada");
    *server.handler.operator_delay.lock().expect("delay") = Duration::from_millis(300);
    let client = OperatorClient::connect(vec![server.address], &operator).await.expect("connected");
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { client.call(&operator::Request::Metrics, TIMEOUT).await }
    });
    let gate = GateClient::connect_to_one(server.address, world.identity(Role::Gate, "gate-1"), TIMEOUT);
    let gate = gate.await.expect("connected");
    let handler = server.handler.clone();
    until("the request has begun", || handler.begun.load(Ordering::SeqCst) == 1).await;
    let stopping = tokio::spawn(server.stop());
    let answer = under_way.await.expect("a task").expect("an answer");
    assert_eq!(answer, operator::Response::Metrics("node 1".to_owned()));
    assert_eq!(handler.finished.load(Ordering::SeqCst), 1);
    stopping.await.expect("stopped");
    until("the gate has noticed", || gate.statistics().warm.is_empty()).await;
}

/// F37: connections on which nobody asks anything hold nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_server_stops_at_once() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = GateClient::connect_to_one(server.address, world.identity(Role::Gate, "gate-1"), TIMEOUT);
    let gate = gate.await.expect("connected");
    gate.identify(capture(1)).await.expect("an answer");
    let begun = std::time::Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}
