//! What a faulty or hostile client may do, each followed by the proof that another client still works.

mod harness;

use std::sync::atomic::Ordering;
use std::time::Duration;

use cluster_config::actor::Role;
use cluster_config::limits::GATE_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, FrameHeader, codec, gate};
use harness::{Server, World, capture, start, until};
use node_link::endpoint::SERVER_NAME;
use node_link::{GateClient, GateClientOptions, bind_client};
use quinn::{Connection, ConnectionError, Endpoint, VarInt};

struct Hostile {
    connection: Connection,
    /// Keeps the socket alive.
    _endpoint: Endpoint,
}

async fn hostile(world: &World, server: &Server, name: &str) -> Hostile {
    let endpoint = bind_client(server.address, &world.identity(Role::Gate, name)).expect("an endpoint");
    let connection = endpoint.connect(server.address, SERVER_NAME).expect("an attempt").await.expect("connected");
    Hostile { connection, _endpoint: endpoint }
}

impl Hostile {
    /// Sends bytes and the stream's end; gives the refusal that comes back.
    async fn sends(&self, bytes: &[u8]) -> String {
        let (mut send, mut receive) = self.connection.open_bi().await.expect("a stream");
        // The server may refuse before it has read everything.
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        refusal(&receive.read_to_end(1 << 20).await.expect("an answer"))
    }
}

fn refusal(answer: &[u8]) -> String {
    let response = codec::decode::<gate::Response>(&answer[FRAME_HEADER_BYTES..], 1 << 20).expect("a response");
    match response {
        gate::Response::Refused(refusal) => refusal.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn header(channel: Channel, body_bytes: u32) -> [u8; FRAME_HEADER_BYTES] {
    FrameHeader { version: Version::CURRENT, channel, body_bytes }.encode()
}

async fn others_work(gate: &GateClient) {
    gate.identify(capture(7)).await.expect("another client's answer");
}

async fn proper(world: &World, server: &Server) -> GateClient {
    let options = GateClientOptions::new(vec![server.address], world.identity(Role::Gate, "proper"));
    GateClient::connect(options).await.expect("a proper gate connects")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_cannot_be_read_are_refused_with_their_place() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let hostile = hostile(&world, &server, "hostile").await;

    let message = codec::encode(&gate::Request::Identify(capture(1)), 1 << 20).expect("encoded");
    let frame = [&header(Channel::Gate, message.len() as u32)[..], &message].concat();
    let changed = |place: usize, byte: u8| {
        let mut frame = frame.clone();
        frame[place] = byte;
        frame
    };
    let cases = [
        ("bad magic", changed(0, b'X'), "header byte 0"),
        ("wrong version", changed(2, 9), "header byte 2"),
        ("announced too long", header(Channel::Gate, GATE_FRAME_BYTES_MAX as u32 + 1).to_vec(), "header byte 4"),
        ("truncated header", frame[..6].to_vec(), "header byte 6"),
        ("truncated body", frame[..frame.len() - 1].to_vec(), &*format!("body byte {}", message.len() - 1)),
        ("nothing but a header", header(Channel::Gate, 100).to_vec(), "body byte 0"),
        ("a tail", [&frame[..], b"!"].concat(), "more bytes follow"),
        ("unknown variant", [&header(Channel::Gate, 1)[..], &[200]].concat(), "body byte 1 of 1: it does not decode"),
        ("body cut inside", [&header(Channel::Gate, 40)[..], &message[..40]].concat(), "does not decode"),
    ];
    for (case, bytes, place) in cases {
        let refusal = hostile.sends(&bytes).await;
        assert!(refusal.contains(place), "{case}: {refusal:?} does not name {place:?}");
        others_work(&gate).await;
    }
    // A hostile frame costs its own connection nothing either, as long as its channel is known.
    assert!(hostile.connection.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_channel_closes_the_connection_with_a_reason() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    for round in 0..20 {
        let hostile = hostile(&world, &server, &format!("hostile-{round}")).await;
        let mut bytes: Vec<u8> = (0..64 + round * 100).map(|_| noise()).collect();
        bytes[3] = 99;
        let (mut send, _receive) = hostile.connection.open_bi().await.expect("a stream");
        let _ = send.write_all(&bytes).await;
        match hostile.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                assert!(String::from_utf8_lossy(&close.reason).contains("frame header byte"), "{close}");
            }
            other => panic!("closed without a reason: {other}"),
        }
        others_work(&gate).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_frames_run_out_of_time_and_hold_nobody_up() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let hostile = hostile(&world, &server, "hostile").await;
    let mut streams = Vec::new();
    for place in 0..200_usize {
        let (mut send, receive) = hostile.connection.open_bi().await.expect("a stream");
        let start = [&header(Channel::Gate, 500)[..], &[0; 20]].concat();
        // Some stop inside the header, some inside the body.
        send.write_all(&start[..1 + place % start.len()]).await.expect("written");
        streams.push((send, receive));
    }
    for _ in 0..50 {
        others_work(&gate).await;
    }
    for (_send, mut receive) in streams {
        let refusal = refusal(&receive.read_to_end(1 << 20).await.expect("an answer"));
        assert!(refusal.contains("did not come in time"), "{refusal}");
    }
    others_work(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_frames_at_once_are_refused_as_busy() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let hostile = hostile(&world, &server, "hostile").await;
    // One more than there is room for. Streams arrive in any order: the last to come is refused, and the others wait
    // for their bodies.
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..=node_link::limits::GATE_BODIES_BYTES_MAX / GATE_FRAME_BYTES_MAX {
        let (mut send, mut receive) = hostile.connection.open_bi().await.expect("a stream");
        send.write_all(&header(Channel::Gate, GATE_FRAME_BYTES_MAX as u32)).await.expect("written");
        streams.spawn(async move {
            let answer = receive.read_to_end(1 << 20).await;
            (answer, send)
        });
    }
    let first = tokio::time::timeout(Duration::from_secs(5), streams.join_next()).await.expect("one is refused");
    let (answer, _) = first.expect("a stream").expect("no panic");
    let refusal = refusal(&answer.expect("an answer"));
    assert!(refusal.contains("(busy)"), "{refusal}");
    others_work(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_abandoned_streams_stays_bounded() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    server.handler.set(harness::Mood::Silent);
    let hostile = hostile(&world, &server, "hostile").await;
    let message = codec::encode(&gate::Request::Identify(capture(1)), 1 << 20).expect("encoded");
    let frame = [&header(Channel::Gate, message.len() as u32)[..], &message].concat();
    let connection = hostile.connection.clone();
    // Each request is given up at once: its stream is free again, the work behind it is not.
    let flood = tokio::spawn(async move {
        loop {
            let Ok((mut send, mut receive)) = connection.open_bi().await else { return };
            let _ = send.write_all(&frame).await;
            let _ = send.finish();
            let _ = receive.stop(VarInt::from_u32(0));
        }
    });
    let most = node_link::limits::GATE_REQUESTS_IN_FLIGHT_MAX as u64;
    let handler = server.handler.clone();
    until("the certificate's share is used up", || handler.captures.load(Ordering::SeqCst) == most).await;
    // Another gate's request gets through the flood, and the flood through no further.
    server.handler.set(harness::Mood::Answers);
    for _ in 0..50 {
        others_work(&gate).await;
    }
    assert_eq!(server.handler.captures.load(Ordering::SeqCst), most + 50);
    flood.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_certificate_gets_its_share_of_connections_alone() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let endpoint = bind_client(server.address, &world.identity(Role::Gate, "hostile")).expect("an endpoint");
    let mut connections = Vec::new();
    let mut refused = 0;
    for _ in 0..node_link::limits::CONNECTIONS_PER_IDENTITY_MAX + 8 {
        match endpoint.connect(server.address, SERVER_NAME).expect("an attempt").await {
            Ok(connection) => connections.push(connection),
            Err(_) => refused += 1,
        }
    }
    until("the surplus is closed", || {
        refused + connections.iter().filter(|connection| connection.close_reason().is_some()).count() >= 8
    })
    .await;
    others_work(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_handler_costs_its_request_alone() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    server.handler.set(harness::Mood::Panics);
    let mut bad = capture(1);
    bad.deadline_ms = 200;
    gate.identify(bad).await.expect_err("nobody answers");
    server.handler.set(harness::Mood::Answers);
    others_work(&gate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_that_are_not_quic_are_ignored() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = proper(&world, &server).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for round in 0..2_000_u32 {
        let bytes: Vec<u8> = (0..1_200_u32).map(|place| (place.wrapping_mul(round) >> 3) as u8).collect();
        // A full buffer drops it, which is as good.
        let _ = socket.send_to(&bytes, server.address);
    }
    others_work(&gate).await;
}
