//! A connection lasts no longer than its certificates; who renews them in time loses no answer (F32).

mod harness;

use std::path::Path;
use std::time::{Duration, SystemTime};

use cluster_config::actor::Role;
use cluster_config::ids::NodeId;
use cluster_config::wire::peer::{RaftCall, Request, Response};
use harness::{Echo, World, capture, start, start_at, until};
use node_link::certificates::{Error, Validity};
use node_link::client::ClientError;
use node_link::endpoint::SERVER_NAME;
use node_link::identity;
use node_link::{GateClient, GateClientOptions, Identity, Lane, PeerLinks, bind_client};
use quinn::ConnectionError;
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};

const HOUR: Duration = Duration::from_secs(3_600);

fn valid_for(seconds: u64) -> Validity {
    let now = SystemTime::now();
    Validity::Between { from: now - HOUR, until: now + Duration::from_secs(seconds) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_ends_a_connection_with_the_clients_certificate() {
    let world = World::new();
    let server = start(&world, 1);
    let identity = world.identity_valid(Role::Gate, "gate-1", valid_for(3));
    let endpoint = bind_client(server.address, &identity).expect("an endpoint");
    let connection = endpoint.connect(server.address, SERVER_NAME).expect("an attempt").await.expect("connected");
    let gate = GateClient::connect(GateClientOptions::new(vec![server.address], identity.clone())).await;
    let gate = gate.expect("a gate connects");
    gate.identify(capture(1)).await.expect("an answer while the certificate is valid");

    let closed = tokio::time::timeout(Duration::from_secs(6), connection.closed()).await.expect("it is closed");
    assert!(SystemTime::now() >= identity.expires_at());
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("{closed}") };
    assert_eq!(close.reason, "the certificate has expired");
    until("the gate has lost its connection", || gate.statistics().warm.is_empty()).await;
    // TLS takes a certificate until its last second has gone, so one more connection may have begun and ended.
    let mut outcome = gate.identify(capture(2)).await;
    for encounter in 3..6 {
        if !matches!(outcome, Err(ClientError::Certificate { .. })) {
            outcome = gate.identify(capture(encounter)).await;
        }
    }
    let error = outcome.expect_err("no answer with an expired certificate");
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_ends_a_connection_with_the_servers_certificate() {
    let world = World::new();
    let identity = world.identity_valid(Role::Node, "node-1", valid_for(3));
    let server = start_at(([127, 0, 0, 1], 0).into(), &identity, Echo::new(1));
    let gate = world.identity(Role::Gate, "gate-1");
    let gate = GateClient::connect(GateClientOptions::new(vec![server.address], gate)).await.expect("connected");
    let node = world.identity(Role::Node, "node-2");
    let links = PeerLinks::new(bind_client(server.address, &node).expect("an endpoint"), node);
    let append = Request::Raft { cluster: cluster_config::ids::ClusterId(1), call: RaftCall::Append, body: vec![7] };
    let call = || links.call((NodeId(1), server.address), Lane::Raft, &append, Duration::from_secs(1));
    gate.identify(capture(1)).await.expect("an answer while the certificate is valid");
    call().await.expect("an answer while the certificate is valid");

    until("it has expired", || SystemTime::now() >= identity.expires_at()).await;
    until("the gate has ended its connection", || gate.statistics().warm.is_empty()).await;
    gate.identify(capture(2)).await.expect_err("no answer of a node with an expired certificate");
    call().await.expect_err("no answer of a node with an expired certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_files_are_used_without_a_restart_or_a_lost_answer() {
    let world = World::new();
    let nodes = ["node-1", "node-2"].map(|name| world.identity_valid(Role::Node, name, valid_for(5)));
    let gate = world.identity_valid(Role::Gate, "gate-1", valid_for(5));
    let ends_at = gate.expires_at();
    let server = start_at(([127, 0, 0, 1], 0).into(), &nodes[0], Echo::new(1));
    let client = GateClient::connect(GateClientOptions::new(vec![server.address], gate.clone())).await;
    let client = client.expect("a gate connects");
    let links = PeerLinks::new(bind_client(server.address, &nodes[1]).expect("an endpoint"), nodes[1].clone());
    let append = Request::Raft { cluster: cluster_config::ids::ClusterId(1), call: RaftCall::Append, body: vec![7] };
    let mut asked = 0;
    let mut renewed = false;
    while SystemTime::now() < ends_at + Duration::from_secs(2) {
        asked += 1;
        client.board(capture(asked)).await.expect("an answer at any time");
        let answer = links.call((NodeId(1), server.address), Lane::Raft, &append, Duration::from_secs(1)).await;
        assert_eq!(answer.expect("an answer at any time"), Response::Raft(vec![7]));
        tokio::time::sleep(Duration::from_millis(5)).await;
        if !renewed && asked > 50 {
            renewed = true;
            for name in ["node-1", "node-2", "gate-1"] {
                world.authority.renew(name, Validity::Days(1)).expect("renewed");
            }
        }
    }
    let statistics = client.statistics();
    assert_eq!((statistics.hedges, statistics.retries), (0, 0), "{statistics:?}");
    assert!((2..10).contains(&statistics.connections), "{statistics:?}");
    for identity in [&nodes[0], &nodes[1], &gate] {
        assert!(identity.expires_at() > ends_at + HOUR);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_leave_the_old_certificate_in_use() {
    let world = World::new();
    let server = start(&world, 1);
    let gate = world.identity(Role::Gate, "gate-1");
    let ends_at = gate.expires_at();
    let other = world.authority.issue(Role::Gate, "gate-2", Validity::Days(2)).expect("issued");
    let file = world.folder.path().join("gate-1.pem");
    let garbage = world.folder.path().join("garbage");
    std::fs::write(&garbage, "half a certifi").expect("written");
    for replacement in [&garbage, &other.certificate] {
        std::fs::copy(replacement, &file).expect("copied");
        // Long enough for a second look at files that may have been half-written.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(600)).await;
            assert_eq!(gate.expires_at(), ends_at);
        }
        GateClient::connect(GateClientOptions::new(vec![server.address], gate.clone())).await.expect("connected");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let issued = world.authority.issue(Role::Gate, "gate-1", Validity::Days(1)).expect("issued");
    let load = || Identity::load(&world.authority.certificate(), &issued.certificate, &issued.key);
    for mode in [0o604, 0o640, 0o666] {
        std::fs::set_permissions(&issued.key, PermissionsExt::from_mode(mode)).expect("changed");
        let error = load().expect_err("others can read it");
        assert!(matches!(error, identity::Error::Exposed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", issued.key.display())), "{error}");
    }
    std::fs::set_permissions(&issued.key, PermissionsExt::from_mode(0o600)).expect("changed");
    load().expect("an identity");
    let ca_key = world.folder.path().join("ca.key");
    std::fs::set_permissions(&ca_key, PermissionsExt::from_mode(0o644)).expect("changed");
    let error = node_link::certificates::Authority::load(world.folder.path()).expect_err("others can read it");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

/// A certificate of this authority as the product does not issue it.
fn issue_for_ever(folder: &Path) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let ca_key = KeyPair::from_pem(&read("ca.key")).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2999, 1, 1);
    params.subject_alt_names = vec![
        SanType::URI("tvs://node/node-1".try_into().expect("a name")),
        SanType::DnsName(SERVER_NAME.try_into().expect("a name")),
    ];
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    std::fs::write(folder.join("ever.pem"), certificate.pem()).expect("written");
    std::fs::write(folder.join("ever.key"), key.serialize_pem()).expect("written");
    #[cfg(unix)]
    std::fs::set_permissions(folder.join("ever.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("changed");
}

#[tokio::test]
async fn a_certificate_for_ever_is_neither_made_nor_used_nor_accepted() {
    let world = World::new();
    for (role, days_max) in [(Role::Gate, 398), (Role::Node, 398), (Role::Operator, 100)] {
        let name = format!("{role}-long");
        let error = world.authority.issue(role, &name, Validity::Days(days_max + 1)).expect_err("too long");
        assert!(matches!(error, Error::TooLong { .. }) && error.to_string().contains(&days_max.to_string()), "{error}");
        let issued = world.authority.issue(role, &name, Validity::Days(days_max)).expect("issued");
        Identity::load(&world.authority.certificate(), &issued.certificate, &issued.key).expect("an identity");
    }
    let folder = world.folder.path();
    issue_for_ever(folder);
    let error = Identity::load(&folder.join("ca.pem"), &folder.join("ever.pem"), &folder.join("ever.key"));
    let error = error.expect_err("too long").to_string();
    assert!(error.contains("398 at most") && error.contains("tvs certs issue"), "{error}");

    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
    use rustls::pki_types::pem::PemObject;
    let chain = vec![rustls::pki_types::CertificateDer::from_pem_slice(&read("ever.pem")).expect("a certificate")];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&read("ever.key")).expect("a key");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    config.alpn_protocols = vec![cluster_config::versions::Version::CURRENT.alpn()];
    let config = quinn::crypto::rustls::QuicServerConfig::try_from(config).expect("QUIC");
    let config = quinn::ServerConfig::with_crypto(std::sync::Arc::new(config));
    let server = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).expect("an endpoint");
    let address = server.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            // It is closed by who connects.
            tokio::spawn(async move { incoming.await.expect("connected").closed().await });
        }
    });
    let gate = world.identity(Role::Gate, "gate-1");
    let error = GateClient::connect(GateClientOptions::new(vec![address], gate)).await.expect_err("no such node");
    assert!(matches!(error, ClientError::Certificate { .. }) && error.to_string().contains("398"), "{error}");
}
