//! R48, R49, R92; P5: three nodes become one cluster by themselves, and any of them answers alike.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::decision::{Directive, Recording};
use cluster_config::ids::NodeId;
use harness::emulator::Conditions;
use harness::fault::Fault;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, p5_same_answer, true_answers};
use harness::level::wait_for;
use harness::live::{Live, Setting};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_link::GateClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_one_cluster_and_every_one_of_them_answers_alike() {
    let live = Live::start("bootstrap", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 3, 40));
    workload::submit(&live, &bank).await;

    let mut gates = Vec::new();
    for node in live.running() {
        gates.push((node, live.gate_at(node).await));
    }
    for guest in 0..40 {
        let capture = bank.capture(0, guest, 0, 1);
        let mut answers = Vec::new();
        for (node, gate) in &gates {
            let answer = gate.identify(capture.clone()).await.expect("an answer");
            assert_eq!(answer.recording, Recording::NotRequired);
            answers.push((*node, answer));
        }
        p5_same_answer::check(&answers);
    }

    // A boarding repeated at every node is one boarding, and each node tells the same.
    let capture = (0..40)
        .map(|guest| (guest, bank.capture(1, guest, 1, 1)))
        .find(|(guest, _)| bank.flights[1].guests[*guest].known && bank.flights[1].guests[*guest].in_scope)
        .map(|(_, capture)| capture)
        .expect("somebody in scope");
    let mut answers = Vec::new();
    let device = live.gate_identity().await;
    for (node, _) in &gates {
        let connected = GateClient::connect_to_one(live.address(*node), device.clone(), Duration::from_secs(2)).await;
        let gate = connected.expect("the same gate connects to another node");
        answers.push((*node, gate.board(capture.clone()).await.expect("an answer")));
    }
    p5_same_answer::check(&answers);
    assert_eq!(answers[0].1.directive, Directive::Proceed);
    let ledger = live.same_ledger().await;
    assert_eq!(ledger.iter().filter(|record| record.encounter == capture.encounter).count(), 1);
    let told = answers[0].1.confirmed.expect("who it is");
    assert_eq!(ledger[0].manifest_ordinal, Some(told.manifest_ordinal));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_boards_and_the_ledger_has_what_the_gates_were_told() {
    let live = Live::start("bootstrap", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 4, 80));
    workload::submit(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let history = workload::board(&bank, gates, Duration::from_millis(10)).finish().await;
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    live.journal.write(format!("{counts:?}; {}", true_answers::check(&history)));
    p3_no_failed_request::check(&history);
    assert_eq!(counts.unknown, 0);
    assert!(counts.crossings > 100, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_on_a_slow_line_does_not_take_its_disk_for_a_wiped_one() {
    let mut live = Live::prepare(&Setting { network: true, ..Setting::new("bootstrap", 3) });
    // The others found the cluster, and have it as a voter, before the answers reach it by which it knows of that.
    let slow = Conditions { delay: Duration::from_millis(60), ..Conditions::default() };
    live.strike(Fault::Worsen(NodeId(1), slow)).await;
    for node in [2, 3].map(NodeId) {
        live.strike(Fault::Start(node)).await;
        wait_for("a founder listens", LEVEL_DEADLINE, async || {
            live.status(node).await.map(|_| ()).map_err(|failure| failure.to_string())
        })
        .await;
    }
    live.strike(Fault::Start(NodeId(1))).await;
    live.ready(3).await;
}
