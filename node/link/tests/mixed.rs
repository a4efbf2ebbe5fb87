//! Nodes of two versions: what cannot be said to one of them does not disturb what another one is doing.
#![cfg(feature = "next")]

mod harness;

use std::sync::Arc;

use cluster_config::actor::Role;
use cluster_config::ids::UnixMs;
use cluster_config::limits::GATE_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::codec;
use cluster_config::wire::gate::{Capture, Request, Sample};
use harness::{Echo, Mood, World, capture, start, until};
use node_link::certificates::Validity;
use node_link::{Connections, GateClient, GateClientOptions, serve};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An endpoint of a node that understands the oldest version alone.
fn old_endpoint(world: &World) -> quinn::Endpoint {
    let issued = world.authority.issue(Role::Node, "node-1", Validity::Days(1)).expect("a certificate");
    let read = |path: &std::path::Path| std::fs::read(path).expect("a file");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&read(&world.authority.certificate())).expect("a certificate");
    roots.add(authority).expect("an authority");
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let chain = vec![CertificateDer::from_pem_slice(&read(&issued.certificate)).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(&read(&issued.key)).expect("a key");
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let builder = builder.with_client_cert_verifier(verifier.expect("a verifier"));
    let mut config = builder.with_single_cert(chain, key).expect("a pair");
    config.alpn_protocols = vec![Version::OLDEST.alpn()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(config).expect("QUIC")));
    quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).expect("an endpoint")
}

/// A capture that the newest version just holds, and the oldest one, which says more of it, does not.
fn largest() -> Capture {
    let of = |values: usize| Capture {
        captured_at: UnixMs(u64::MAX),
        deadline_ms: 2_000,
        sample: Sample::Template { model: "synthetic-1".parse().expect("a model"), values: vec![0.5; values] },
        ..capture(1)
    };
    let bytes = |version: Version, values: usize| {
        let encoded = codec::encode_as(&Request::Identify(of(values)), version, 2 * GATE_FRAME_BYTES_MAX);
        encoded.expect("encoded").len()
    };
    let values = 1_000_000 + (GATE_FRAME_BYTES_MAX - bytes(Version::CURRENT, 1_000_000)) / size_of::<f32>();
    assert!(bytes(Version::CURRENT, values) <= GATE_FRAME_BYTES_MAX);
    assert!(bytes(Version::OLDEST, values) > GATE_FRAME_BYTES_MAX);
    of(values)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hedge_that_cannot_be_said_leaves_the_first_request_alone() {
    let world = World::new();
    let old = old_endpoint(&world);
    let old_address = old.local_addr().expect("an address");
    tokio::spawn(serve(old, Echo::new(1), Connections::default(), std::future::pending()));
    let new = start(&world, 2);
    new.handler.set(Mood::Slow);
    let gate = world.identity(Role::Gate, "gate-1");
    let gate = GateClient::connect(GateClientOptions::new(vec![new.address, old_address], gate)).await;
    let gate = gate.expect("connected");
    until("both are warm", || gate.statistics().warm == [new.address, old_address]).await;
    let answer = gate.identify(largest()).await.expect("the answer of the node that was asked first");
    assert_eq!(answer.searched_by.0, 2);
}
