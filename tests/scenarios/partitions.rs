//! R92; P1, P3, P4, P5: while the bank boards, links are cut: those of the leader, of an owner, of the node that gates
//! ask first. All links of the node are cut, those with peers alone, those with gates alone, or one direction alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use harness::emulator::{Conditions, Shape, swizzle};
use harness::fault::Fault;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, true_answers};
use harness::live::{Live, Setting};
use harness::target::Target;
use harness::workload::{self, Bank};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// How long links stay cut: longer than a connection lives without a packet, and than a node counts as present.
const CUT: Duration = Duration::from_millis(2_500);

async fn start(nodes: u64) -> Live {
    Live::start_as(Setting { network: true, ..Setting::new("partitions", nodes) }).await
}

/// Cuts links of the leader, then of an owner, then of a node that is neither, while the bank boards.
async fn cut_each(shape: impl Fn(NodeId) -> Shape) {
    let mut live = start(3).await;
    let (bank, mut boarding) = workload::begin(&live, 6, 300, Duration::from_millis(60)).await;
    let mut owners = Owners::of(&live).await;
    boarding.reached(5).await;
    let mut struck = Vec::new();
    for role in ["leader", "owner", "other"] {
        let leader = live.leader().await;
        let owner = workload::first_owner(&live, &bank).await;
        let victim = match role {
            "leader" => leader,
            "owner" => owner,
            _ => live.running().into_iter().find(|node| ![leader, owner].contains(node)).unwrap_or(owner),
        };
        let began = Instant::now();
        live.strike(Fault::Cut(shape(victim))).await;
        tokio::time::sleep(CUT).await;
        let healed = Instant::now();
        live.strike(Fault::Heal).await;
        live.ready(3).await;
        live.replicated().await;
        owners.look(&live).await;
        struck.push((role, began, healed));
    }
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    owners.check(&live, &history).await;
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    println!("{counts:?}; {}", true_answers::check(&history));
    for (role, began, healed) in struck {
        println!("{role} struck: {}", p3_no_failed_request::check_failover(&history, began));
        println!("{role} back: {}", p3_no_failed_request::check_failover(&history, healed));
    }
    assert_eq!(counts.unknown, 0);
    assert!(live.emulator().counts().cut > 100, "{:?}", live.emulator().counts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_everybody() {
    cut_each(Shape::Alone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_its_peers_and_gates_still_reach_it() {
    cut_each(Shape::WithoutPeers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_the_gates_and_its_peers_still_reach_it() {
    cut_each(Shape::WithoutGates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_its_peers_and_is_not_heard() {
    cut_each(Shape::Mute).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_heard_by_its_peers_and_hears_none() {
    cut_each(Shape::Deaf).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flight_announced_while_a_node_is_cut_off_from_its_peers_boards_at_gates_that_ask_it_first() {
    let mut live = start(3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 2, 60));
    let leader = live.leader().await;
    let nodes = live.running();
    let victim = nodes.iter().position(|node| *node != leader).expect("another node");
    let gates = [live.gate(victim).await, live.gate(victim).await];
    live.strike(Fault::Cut(Shape::WithoutPeers(nodes[victim]))).await;
    for flight in &bank.flights {
        live.submit(leader, &flight.manifest).await.expect("a manifest is taken by those who see each other");
    }
    let history = workload::board(&bank, gates.to_vec(), Duration::from_millis(30)).finish().await;
    p3_no_failed_request::check(&history);
    live.strike(Fault::Heal).await;
    live.ready(3).await;
    p1_exactly_once::check(&history, &live.same_ledger().await);
}

/// Boards a bank while `strike` damages the network, heals it, and checks everything but answers in time: more than one
/// node is struck.
async fn survive(nodes: u64, strike: impl AsyncFnOnce(&mut Live)) {
    let mut live = start(nodes).await;
    let (bank, mut boarding) = workload::begin(&live, 6, 120, Duration::from_millis(60)).await;
    let mut owners = Owners::of(&live).await;
    boarding.reached(10).await;
    strike(&mut live).await;
    live.strike(Fault::Heal).await;
    live.ready(nodes as usize).await;
    live.replicated().await;
    owners.look(&live).await;
    let history = boarding.finish().await;
    owners.check(&live, &history).await;
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    println!("{counts:?}; {}", true_answers::check(&history));
    let everybody: usize = bank.flights.iter().map(|flight| flight.guests.len()).sum();
    assert!(counts.promised >= everybody, "everybody is answered in the end: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_the_only_bridge_between_two_halves() {
    survive(5, async |live| {
        let leader = live.leader().await;
        let middle = live.running().into_iter().find(|node| *node != leader).expect("another node");
        live.strike(Fault::Cut(Shape::Bridge(middle))).await;
        tokio::time::sleep(CUT).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_cut_off_one_by_one_and_come_back_in_another_order() {
    survive(3, async |live| {
        let mut generator = ChaCha8Rng::seed_from_u64(harness::seed());
        for _ in 0..3 {
            let nodes = live.running();
            let (out, mut back) = swizzle(&nodes, &mut generator);
            for node in out {
                live.strike(Fault::Cut(Shape::Alone(node))).await;
                tokio::time::sleep(CUT / 8).await;
            }
            while !back.is_empty() {
                live.strike(Fault::Heal).await;
                back.remove(0);
                for node in &back {
                    live.strike(Fault::Cut(Shape::Alone(*node))).await;
                }
                tokio::time::sleep(CUT / 8).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_loses_repeats_and_reorders_packets_on_long_lines() {
    let rough = Conditions {
        delay: Duration::from_millis(4),
        jitter: Duration::from_millis(4),
        lost_per_mille: 20,
        repeated_per_mille: 20,
        overtaken_per_mille: 20,
        ..Conditions::default()
    };
    survive(3, async |live| {
        for node in live.running() {
            live.strike(Fault::Worsen(node, rough)).await;
        }
        tokio::time::sleep(2 * CUT).await;
        let counts = live.emulator().counts();
        assert!(counts.lost.min(counts.repeated).min(counts.overtaken) > 10, "{counts:?}");
    })
    .await;
}
