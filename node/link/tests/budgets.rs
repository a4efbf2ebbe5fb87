//! What one certificate may take of a node over all of its connections (P9), and that another one does not notice.

mod harness;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster_config::actor::{Actor, Role};
use cluster_config::limits::GATE_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, FrameHeader, Refusal, codec, gate};
use harness::{Mood, Server, World, capture, start, until};
use node_link::client::ClientError;
use node_link::endpoint::SERVER_NAME;
use node_link::limits::{
    GATE_BODIES_BYTES_MAX, GATE_RECORDS_A_MINUTE_MAX, GATE_REQUESTS_A_MINUTE_MAX, GATE_REQUESTS_IN_FLIGHT_MAX,
};
use node_link::{Endpoint, GateClient, GateClientOptions, Identity, bind_client};
use quinn::Connection;
use tokio::task::JoinSet;

/// Many connections with one certificate.
struct Greedy {
    connections: Vec<Connection>,
    /// Keeps the socket alive.
    _endpoint: Endpoint,
}

async fn greedy(identity: &Identity, server: &Server, connections: usize) -> Greedy {
    let endpoint = bind_client(server.address, identity).expect("an endpoint");
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(endpoint.connect(server.address, SERVER_NAME).expect("an attempt").await.expect("connected"));
    }
    Greedy { connections: open, _endpoint: endpoint }
}

fn header(body_bytes: usize) -> [u8; FRAME_HEADER_BYTES] {
    FrameHeader { version: Version::CURRENT, channel: Channel::Gate, body_bytes: body_bytes as u32 }.encode()
}

fn frame(request: &gate::Request) -> Vec<u8> {
    let body = codec::encode(request, GATE_FRAME_BYTES_MAX).expect("encoded");
    [&header(body.len())[..], &body].concat()
}

/// Sends these bytes, without the stream's end where `open`, and gives the refusal that comes back, if it is one.
async fn send(connection: Connection, bytes: Vec<u8>, open: bool) -> Option<Refusal> {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    // The server may refuse before it has read everything.
    let _ = send.write_all(&bytes).await;
    if !open {
        let _ = send.finish();
    }
    let answer = receive.read_to_end(1 << 20).await.expect("an answer");
    match codec::decode(&answer[FRAME_HEADER_BYTES..], 1 << 20).expect("a response") {
        gate::Response::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

async fn proper(world: &World, server: &Server) -> GateClient {
    let options = GateClientOptions::new(vec![server.address], world.identity(Role::Gate, "proper"));
    GateClient::connect(options).await.expect("a proper gate connects")
}

async fn another_works(gate: &GateClient) {
    for encounter in 1..=20 {
        gate.board(capture(encounter)).await.expect("another gate's answer");
    }
}

/// Waits for so many refusals, and checks that each names the budget and the fix.
async fn refusals(requests: &mut JoinSet<Option<Refusal>>, count: usize, budget: &str) {
    for number in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(20), requests.join_next()).await;
        let next = next.unwrap_or_else(|_| panic!("{number} of {count} were refused, the others were taken"));
        let refusal = next.expect("a request").expect("no panic").expect("a refusal").to_string();
        assert!(refusal.contains("(busy)") && refusal.contains(budget), "{refusal}");
        assert!(refusal.contains("tvs://gate/greedy"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_bodies_of_24_connections_have_one_share() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let greedy = greedy(&world.identity(Role::Gate, "greedy"), &server, 24).await;
    let mut requests = JoinSet::new();
    for connection in greedy.connections.iter().cycle().take(96) {
        let bytes = [&header(GATE_FRAME_BYTES_MAX)[..], &[0; 1000]].concat();
        requests.spawn(send(connection.clone(), bytes, true));
    }
    refusals(&mut requests, 96 - GATE_BODIES_BYTES_MAX / GATE_FRAME_BYTES_MAX, "budget bodies_bytes").await;
    another_works(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_64_connections_have_one_share() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    server.handler.set(Mood::Silent);
    let greedy = greedy(&world.identity(Role::Gate, "greedy"), &server, 64).await;
    let mut requests = JoinSet::new();
    for connection in greedy.connections.iter().cycle().take(2 * GATE_REQUESTS_IN_FLIGHT_MAX) {
        requests.spawn(send(connection.clone(), frame(&gate::Request::Identify(capture(1))), false));
    }
    refusals(&mut requests, GATE_REQUESTS_IN_FLIGHT_MAX, "budget requests_in_flight").await;
    let taken = GATE_REQUESTS_IN_FLIGHT_MAX as u64;
    until("its share is under way", || server.handler.captures.load(Ordering::SeqCst) == taken).await;
    server.handler.set(Mood::Answers);
    another_works(&gate).await;
    assert_eq!(server.handler.captures.load(Ordering::SeqCst), taken + 20);
}

/// Asks until a refusal comes; gives the number of answers before it.
async fn until_refused(greedy: &Greedy, request: &gate::Request, budget: &str) -> u32 {
    let mut answered = 0;
    let mut requests = JoinSet::new();
    let mut connections = greedy.connections.iter().cycle();
    loop {
        while requests.len() < GATE_REQUESTS_IN_FLIGHT_MAX / 2 {
            let connection = connections.next().expect("a connection").clone();
            requests.spawn(send(connection, frame(request), false));
        }
        match requests.join_next().await.expect("a request").expect("no panic") {
            None => answered += 1,
            Some(refusal) => {
                let refusal = refusal.to_string();
                assert!(refusal.contains("(busy)") && refusal.contains(budget), "{refusal}");
                while let Some(rest) = requests.join_next().await {
                    answered += u32::from(rest.expect("no panic").is_none());
                }
                return answered;
            }
        }
        assert!(answered < 3 * GATE_REQUESTS_A_MINUTE_MAX, "nothing bounds it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_requests_and_of_records_is_bounded_whoever_comes_back() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let identity = world.identity(Role::Gate, "greedy");
    let begun = Instant::now();
    let board = gate::Request::Board(capture(1));
    let boarded = until_refused(&greedy(&identity, &server, 24).await, &board, "budget records_a_minute").await;
    // One more for the part of a second that has begun.
    let earned = |a_minute: u32| a_minute / 60 * (begun.elapsed().as_secs() as u32 + 1);
    assert!(boarded >= GATE_RECORDS_A_MINUTE_MAX, "{boarded}");
    assert!(boarded <= GATE_RECORDS_A_MINUTE_MAX + earned(GATE_RECORDS_A_MINUTE_MAX), "{boarded}");
    another_works(&gate).await;
    // The connections before are gone, not what they took.
    let again = greedy(&identity, &server, 24).await;
    assert!(until_refused(&again, &board, "budget records_a_minute").await <= earned(GATE_RECORDS_A_MINUTE_MAX));
    let asked = until_refused(&again, &gate::Request::Hello, "budget requests_a_minute").await;
    assert!(asked + boarded <= GATE_REQUESTS_A_MINUTE_MAX + earned(GATE_REQUESTS_A_MINUTE_MAX), "{asked} + {boarded}");
    another_works(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_identity_are_closed_at_once_and_kept_away() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let identity = world.identity(Role::Gate, "greedy");
    let greedy = greedy(&identity, &server, 3).await;
    until("all are entered", || format!("{:?}", server.connections) == "Connections(4)").await;
    server.handler.turned_away.lock().expect("names").push("greedy".to_owned());
    let actor: Actor = "tvs://gate/greedy".parse().expect("an identity");
    assert_eq!(server.connections.close_of(&actor, "the certificate is revoked"), 3);
    for connection in &greedy.connections {
        let reason = connection.closed().await.to_string();
        assert!(reason.contains("revoked"), "{reason}");
    }
    let error = GateClient::connect(GateClientOptions::new(vec![server.address], identity)).await;
    let error = error.expect_err("a revoked certificate");
    assert!(matches!(error, ClientError::Certificate { .. }) && error.to_string().contains("revoked"), "{error}");
    another_works(&gate).await;
}
