//! Paths that change or fall silent between a gate and its nodes (F35).

mod harness;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use cluster_config::actor::Role;
use harness::relay::{Relay, everything};
use harness::{World, capture, start, until};
use node_link::{GateClient, GateClientOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_whose_port_changes_goes_on_over_the_same_connection() {
    let world = World::new();
    let server = start(&world, 1);
    let relay = Relay::start(server.address, Ipv4Addr::LOCALHOST, everything).await;
    let gate = world.identity(Role::Gate, "gate-1");
    let gate = GateClient::connect_to_one(relay.address, gate, Duration::from_secs(2)).await.expect("connected");
    let mut slowest = Duration::ZERO;
    for encounter in 1..=400 {
        if encounter % 80 == 0 {
            relay.rebind();
        }
        let asked = Instant::now();
        gate.board(capture(encounter)).await.expect("an answer");
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A lost answer costs three round trips as assumed before one was measured; the deadline is 2 s.
    assert!(slowest < Duration::from_millis(700), "{slowest:?}");
    assert_eq!(gate.statistics().connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_no_sign_of_life_is_asked_last() {
    let world = World::new();
    let (one, two) = (start(&world, 1), start(&world, 2));
    let relay = Relay::start(one.address, Ipv4Addr::LOCALHOST, everything).await;
    let identity = world.identity(Role::Gate, "gate-1");
    let gate = GateClient::connect(GateClientOptions::new(vec![relay.address, two.address], identity)).await;
    let gate = gate.expect("connected");
    until("both are warm", || gate.statistics().warm == [relay.address, two.address]).await;
    relay.mute();
    // Nobody asks meanwhile, so no request shows it. The connection itself lasts for two seconds more.
    until("the silent one is second", || gate.statistics().warm == [two.address, relay.address]).await;
    gate.board(capture(1)).await.expect("an answer");
    assert_eq!(gate.statistics().hedges, 0);
}
