//! R92; P1, P3: a node that was killed comes back and catches up, and a cluster that was killed whole has lost nothing.

use std::sync::Arc;
use std::time::Duration;

use harness::fault::Fault;
use harness::invariants::{p1_exactly_once, p3_no_failed_request};
use harness::live::Live;
use harness::target::Target;
use harness::workload::{self, Bank};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_comes_back_with_its_replicas_and_the_whole_ledger() {
    let mut live = Live::start("restart", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 3, 80));
    workload::submit(&live, &bank).await;
    let owner = workload::first_owner(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let mut boarding = workload::board(&bank, gates, Duration::from_millis(20));
    boarding.reached(25).await;
    live.strike(Fault::Kill(owner)).await;
    boarding.reached(60).await;
    live.strike(Fault::Start(owner)).await;
    let history = boarding.finish().await;
    live.ready(3).await;
    live.replicated().await;
    p3_no_failed_request::check(&history);
    p1_exactly_once::check(&history, &live.same_ledger().await);
    // The node that came back searches again, with what it has itself.
    let answer = live.gate_at(owner).await.identify(bank.capture(0, 0, 9, 1)).await.expect("an answer");
    assert_eq!(answer.searched_by, owner);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_killed_whole_has_lost_nothing() {
    let mut live = Live::start("restart", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 3, 60));
    workload::submit(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let history = workload::board(&bank, gates, Duration::from_millis(10)).finish().await;
    let before = live.same_ledger().await;
    for node in live.running() {
        live.strike(Fault::Kill(node)).await;
    }
    for node in live.cluster.ids() {
        live.strike(Fault::Start(node)).await;
    }
    live.ready(3).await;
    live.replicated().await;
    let after = live.same_ledger().await;
    assert_eq!(after, before);
    p1_exactly_once::check(&history, &after);
    for node in live.running() {
        let answer = live.gate_at(node).await.identify(bank.capture(1, 1, 9, 1)).await.expect("an answer");
        assert_eq!(answer.searched_by, node, "its own replica is back");
    }
}

/// F37: whichever part an idle node plays, the leader's and that of the last one too, it stops at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_stops_within_half_a_second() {
    const BOUND: Duration = Duration::from_millis(500);
    let mut best = Duration::MAX;
    // Other work on the machine may take its time in one of them.
    for _ in 0..4 {
        let mut live = Live::start("restart", 3).await;
        live.ready(3).await;
        let _gate = live.gate(0).await;
        let mut slowest = Duration::ZERO;
        for node in live.running() {
            let asked = std::time::Instant::now();
            live.strike(Fault::Stop(node)).await;
            slowest = slowest.max(asked.elapsed());
        }
        best = best.min(slowest);
        if best < BOUND {
            return;
        }
    }
    panic!("the slowest of three took {best:?} at best");
}
