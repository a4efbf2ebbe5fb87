//! Strangers without a certificate: what one address may take, and that newcomers from elsewhere get in (P9).

mod harness;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use cluster_config::actor::Role;
use harness::relay::{Relay, everything};
use harness::{Server, World, capture, start};
use node_link::endpoint::SERVER_NAME;
use node_link::{Endpoint, GateClient, GateClientOptions, Identity, bind_client};
use tokio::task::JoinSet;

/// Handshakes that one address leaves unfinished at a time.
const UNFINISHED: usize = 800;

/// Newcomers that want in meanwhile.
const NEWCOMERS: u8 = 39;

/// How long a newcomer tries: a gate whose node is lost has no more.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// A stateless retry (RFC 9000, section 17.2.5), with which a stranger proves its address.
fn is_retry(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| byte & 0xf0 == 0xf0)
}

/// Leaves handshakes unfinished, each begun anew when it is refused or out of time.
struct Stalling {
    _relay: Relay,
    _endpoint: Endpoint,
    attempts: JoinSet<()>,
}

async fn stall(server: &Server, identity: &Identity, from: Ipv4Addr) -> Stalling {
    let relay = Relay::start(server.address, from, is_retry).await;
    let endpoint = bind_client(relay.address, identity).expect("an endpoint");
    let mut attempts = JoinSet::new();
    for _ in 0..UNFINISHED {
        let (endpoint, address) = (endpoint.clone(), relay.address);
        attempts.spawn(async move {
            while let Ok(connecting) = endpoint.connect(address, SERVER_NAME) {
                // Nothing but retries comes back, so this lasts until it is out of time.
                let _ = connecting.await;
            }
        });
    }
    Stalling { _relay: relay, _endpoint: endpoint, attempts }
}

async fn get_in(server: &Server, identity: Identity, from: Ipv4Addr) -> Result<Duration, String> {
    let begun = Instant::now();
    let relay = Relay::start(server.address, from, everything).await;
    let options = GateClientOptions { deadline: PATIENCE, ..GateClientOptions::new(vec![relay.address], identity) };
    let gate = GateClient::connect(options).await.map_err(|error| error.to_string())?;
    gate.identify(capture(1)).await.map_err(|error| error.to_string())?;
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_handshakes_of_one_address_shut_nobody_out() {
    let world = World::new();
    let server = start(&world, 1);
    let stranger = world.identity(Role::Gate, "stranger");
    let stalling = stall(&server, &stranger, Ipv4Addr::LOCALHOST).await;
    let newcomers: Vec<_> =
        (0..NEWCOMERS).map(|number| world.identity(Role::Gate, &format!("newcomer-{number}"))).collect();
    // They come one after the other for longer than a handshake may take.
    let mut failed = Vec::new();
    for (number, identity) in (2..).zip(newcomers) {
        if let Err(error) = get_in(&server, identity, Ipv4Addr::new(127, 0, 0, number)).await {
            failed.push(error);
        }
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    assert!(failed.is_empty(), "{} of {NEWCOMERS} were shut out, such as {}", failed.len(), failed[0]);
    assert_eq!(stalling.attempts.len(), UNFINISHED);
}
