//! Who gets no connection, and that it is counted under its reason.

mod harness;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use cluster_config::actor::Role;
use cluster_config::ids::ClusterId;
use cluster_config::ids::NodeId;
use cluster_config::versions::Version;
use cluster_config::wire::peer::{RaftCall, Request};
use harness::{World, capture, start, until};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use node_link::certificates::Validity;
use node_link::client::ClientError;
use node_link::endpoint::SERVER_NAME;
use node_link::error::LinkError;
use node_link::{GateClient, GateClientOptions, Identity, Lane, PeerLinks, bind_client};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Remembers counters, under their name and labels.
#[derive(Default, Clone)]
struct Counters(Arc<Mutex<HashMap<String, Arc<AtomicU64>>>>);

impl Counters {
    fn get(&self, key: &str) -> u64 {
        self.0.lock().expect("counters").get(key).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Counter::from_arc(self.0.lock().expect("counters").entry(name).or_default().clone())
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    let counters = Counters::default();
    metrics::set_global_recorder(counters.clone()).expect("the only recorder");
    counters
});

/// Checks that `stranger` gets nowhere, that this is counted, and that a proper gate is not disturbed.
async fn refused(world: &World, stranger: Identity, reason: &str) {
    let counters = COUNTERS.clone();
    let key = format!("tvs_link_handshake_failures_total {reason}");
    let before = counters.get(&key);
    let server = start(world, 1);
    let mut options = GateClientOptions::new(vec![server.address], stranger);
    options.deadline = Duration::from_millis(1_500);
    let error = GateClient::connect(options).await.expect_err("no connection");
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
    until(&key, || counters.get(&key) > before).await;
    still_serves(world, &server).await;
}

async fn still_serves(world: &World, server: &harness::Server) {
    let gate = GateClient::connect(GateClientOptions::new(vec![server.address], world.identity(Role::Gate, "proper")));
    gate.await.expect("a proper gate connects").identify(capture(1)).await.expect("an answer");
}

#[tokio::test]
async fn a_certificate_of_another_authority() {
    let (world, foreign) = (World::new(), World::new());
    let issued = foreign.authority.issue(Role::Gate, "gate-1", Validity::Days(1)).expect("a certificate");
    // It trusts our nodes, but our nodes have no reason to trust it.
    let stranger =
        Identity::load(&world.authority.certificate(), &issued.certificate, &issued.key).expect("an identity");
    refused(&world, stranger, "unknown_authority").await;
}

#[tokio::test]
async fn an_expired_certificate() {
    let world = World::new();
    let now = SystemTime::now();
    let validity =
        Validity::Between { from: now - Duration::from_secs(7_200), until: now - Duration::from_secs(3_600) };
    let stranger = world.identity_valid(Role::Gate, "gate-1", validity);
    assert!(stranger.expires_at() < now);
    refused(&world, stranger, "certificate_expired").await;
}

#[tokio::test]
async fn no_certificate_and_the_wrong_protocol_name() {
    let world = World::new();
    let server = start(&world, 1);
    let counters = COUNTERS.clone();
    let read = |path: &std::path::Path| std::fs::read(path).expect("a file");
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&read(&world.authority.certificate())).expect("a certificate");
    roots.add(authority).expect("an authority");
    let builder = || {
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots.clone())
    };
    let mut anonymous = builder().with_no_client_auth();
    anonymous.alpn_protocols = vec![Version::CURRENT.alpn()];
    let issued = world.authority.issue(Role::Gate, "gate-1", Validity::Days(1)).expect("a certificate");
    let chain = vec![CertificateDer::from_pem_slice(&read(&issued.certificate)).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(&read(&issued.key)).expect("a key");
    let mut other_protocol = builder().with_client_auth_cert(chain, key).expect("a pair");
    other_protocol.alpn_protocols = vec![b"h3".to_vec()];
    for (config, reason) in [(anonymous, "certificate_required"), (other_protocol, "application_protocol")] {
        let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("an endpoint");
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("QUIC")));
        let connecting = endpoint.connect_with(config, server.address, SERVER_NAME).expect("an attempt");
        // In TLS 1.3 the connecting side may be done before the other side objects.
        if let Ok(connection) = connecting.await {
            connection.closed().await;
        }
        let key = format!("tvs_link_handshake_failures_total {reason}");
        until(&key, || counters.get(&key) > 0).await;
    }
    still_serves(&world, &server).await;
}

/// P13: releases that are too far from each other have no version in common, and the error says so.
#[tokio::test]
async fn a_node_of_a_release_too_far_away() {
    let world = World::new();
    let read = |path: &std::path::Path| std::fs::read(path).expect("a file");
    let issued = world.authority.issue(Role::Node, "node-9", Validity::Days(1)).expect("a certificate");
    let chain = vec![CertificateDer::from_pem_slice(&read(&issued.certificate)).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(&read(&issued.key)).expect("a key");
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let mut later = builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    later.alpn_protocols = [2, 1].map(|further| Version(Version::CURRENT.0 + further).alpn()).to_vec();
    let later = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(later).expect("QUIC")));
    let server = quinn::Endpoint::server(later, ([127, 0, 0, 1], 0).into()).expect("an endpoint");
    let address = server.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            // It fails; whoever connects is told why.
            let _ = incoming.await;
        }
    });
    let mut options = GateClientOptions::new(vec![address], world.identity(Role::Gate, "gate-1"));
    options.deadline = Duration::from_millis(300);
    let error = GateClient::connect(options).await.expect_err("no version in common").to_string();
    assert!(error.contains("no version of the protocol is understood on both sides"), "{error}");
    assert!(error.contains("run releases that are next to each other"), "{error}");
}

/// Keeps the messages of all events of its thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn count(&self, part: &str) -> usize {
        self.0.lock().expect("lines").iter().filter(|line| line.contains(part)).count()
    }
}

impl tracing::field::Visit for Lines {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().expect("lines").push(format!("{value:?}"));
        }
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("node_link") && *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// F33: a node whose certificate is refused was tried 125 times a second, each with a line in the log.
#[tokio::test]
async fn a_refused_peer_is_tried_ever_more_rarely_and_logged_once() {
    let lines = Lines::default();
    let _lines = tracing::subscriber::set_default(lines.clone());
    let (world, foreign) = (World::new(), World::new());
    let server = start(&world, 1);
    let issued = foreign.authority.issue(Role::Node, "node-2", Validity::Days(1)).expect("a certificate");
    let stranger =
        Identity::load(&world.authority.certificate(), &issued.certificate, &issued.key).expect("an identity");
    let endpoint = bind_client(server.address, &stranger).expect("an endpoint");
    let connects = || endpoint.stats().outgoing_handshakes;
    let links = PeerLinks::new(endpoint.clone(), stranger);
    let begun = std::time::Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let append =
            Request::Raft { cluster: cluster_config::ids::ClusterId(1), call: RaftCall::Append, body: vec![7] };
        let error = links.call((NodeId(1), server.address), Lane::Raft, &append, Duration::from_millis(500)).await;
        let error = error.expect_err("refused");
        assert!(matches!(error, LinkError::Certificate { .. }), "{error}");
        assert!(error.to_string().contains("the other side does not accept this one"), "{error}");
        calls += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(calls > 100, "{calls}");
    assert!((3..=12).contains(&connects()), "tried {} times in 3 s", connects());
    assert_eq!(lines.count("no link to a node"), 1);
    assert!((1..=2).contains(&lines.count("handshakes failed")), "{:?}", lines.0);
}

/// F37: who waits for a node is told whether it is not there, foreign, or refuses.
#[tokio::test]
async fn what_keeps_a_link_from_a_node_is_told_apart_and_logged_once() {
    let lines = Lines::default();
    let _lines = tracing::subscriber::set_default(lines.clone());
    let (world, foreign) = (World::new(), World::new());
    let hole = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (server, other, no_node) = (start(&world, 1), start(&foreign, 1), world.identity(Role::Gate, "gate-1"));
    let no_node = harness::start_at(([127, 0, 0, 1], 0).into(), &no_node, harness::Echo::new(3));
    let mine = world.identity(Role::Node, "node-2");
    let links = PeerLinks::new(bind_client(server.address, &mine).expect("an endpoint"), mine);
    server.handler.turned_away.lock().expect("names").push("node-2".to_owned());
    let cases = [
        (hole.local_addr().expect("an address"), "unreachable", "no handshake within 500 ms"),
        (other.address, "certificate", "this side does not accept the other"),
        (no_node.address, "not_a_node", "answered by tvs://gate/gate-1"),
        (server.address, "certificate", "the certificate is revoked"),
    ];
    for (number, (address, kind, words)) in (1..).zip(cases) {
        for _ in 0..3 {
            let append = Request::Raft { call: RaftCall::Append, cluster: ClusterId(1), body: vec![7] };
            let error = links.call((NodeId(1), address), Lane::Raft, &append, Duration::from_secs(2)).await;
            let error = error.expect_err("no link");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(lines.count("no link to a node"), number);
    }
}
