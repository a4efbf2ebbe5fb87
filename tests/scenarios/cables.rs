//! P1, P3: each node runs on a machine of its own. While the bank boards, a cable is pulled, and a network card is
//! switched off.

use std::time::{Duration, Instant};

use harness::cables::Cables;
use harness::fault::Fault;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, true_answers};
use harness::live::{Live, Setting};
use harness::target::Target;
use harness::workload;

/// How long a machine is without its network.
const LASTS: Duration = Duration::from_millis(1_500);

#[test]
fn a_pulled_cable_and_a_dead_network_card_fail_nobody() {
    // A namespace is a thread's: what the runtime starts afterwards is in it.
    if let Err(reason) = Cables::enter() {
        println!("skipped, {reason}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(lose_networks());
}

async fn lose_networks() {
    let mut live = Live::start_as(Setting { cables: true, ..Setting::new("cables", 3) }).await;
    let (bank, mut boarding) = workload::begin(&live, 6, 120, Duration::from_millis(60)).await;
    let mut owners = Owners::of(&live).await;
    let mut struck = Vec::new();
    for (percent, leader) in [(15, true), (50, false)] {
        boarding.reached(percent).await;
        let victim = if leader { live.leader().await } else { workload::first_owner(&live, &bank).await };
        let (fault, end) = match leader {
            true => (Fault::Pull(victim, true), Fault::Pull(victim, false)),
            false => (Fault::SwitchOff(victim, true), Fault::SwitchOff(victim, false)),
        };
        struck.push((fault, Instant::now()));
        live.strike(fault).await;
        tokio::time::sleep(LASTS).await;
        live.strike(end).await;
        live.ready(3).await;
        live.replicated().await;
        owners.look(&live).await;
    }
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    owners.check(&live, &history).await;
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    for (fault, at) in struck {
        println!("{fault}: {}", p3_no_failed_request::check_failover(&history, at));
    }
    println!("{counts:?}; {}", true_answers::check(&history));
}
