//! P1, P3, P4: disks that are slow, full or broken, and clocks that are wrong, on one machine while the bank boards. A
//! node whose disk fails ends itself; the others board on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::member::Trouble;
use cluster_config::process::EngineChoice;
use cluster_config::wire::operator::Request;
use harness::disk::SmallDisk;
use harness::fault::Fault;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, true_answers};
use harness::level::wait_for;
use harness::live::{Live, Setting};
use harness::shim::{INPUT_OUTPUT, NO_SPACE, Struck, Troubles};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};

/// How long trouble lasts.
const LASTS: Duration = Duration::from_millis(1_500);

/// Boards a bank, makes the leader's machine misbehave, and holds what gates were told against the ledger. `ends` says
/// whether a node in such trouble has to end itself.
async fn trouble(troubles: Troubles, ends: bool, struck: impl Fn(Struck) -> u64) {
    let mut live = Live::start_as(Setting { machine: true, ..Setting::new("machines", 3) }).await;
    let (_, mut boarding) = workload::begin(&live, 6, 120, Duration::from_millis(40)).await;
    let mut owners = Owners::of(&live).await;
    boarding.reached(20).await;

    let victim = live.leader().await;
    let began = Instant::now();
    live.strike(Fault::Trouble(victim, troubles)).await;
    if ends {
        ended(&mut live, victim).await;
        assert!(struck(live.control(victim).struck()) > 0, "nothing was struck: {:?}", live.control(victim).struck());
    }
    tokio::time::sleep(LASTS).await;
    assert!(struck(live.control(victim).struck()) > 0, "nothing was struck: {:?}", live.control(victim).struck());
    live.strike(Fault::Trouble(victim, Troubles::default())).await;
    if ends {
        live.strike(Fault::Start(victim)).await;
    }
    live.ready(3).await;
    live.replicated().await;
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    owners.check(&live, &history).await;
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    let latencies = p3_no_failed_request::check_failover(&history, began);
    println!("{troubles}: {counts:?}; {}; {latencies}", true_answers::check(&history));
}

/// Waits until a node has ended by itself, and says so with an error.
async fn ended(live: &mut Live, node: NodeId) {
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = live.cluster.ended(node).expect("a node") {
            break status;
        }
        assert!(begun.elapsed() < LEVEL_DEADLINE, "a node with a broken disk goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(!status.success(), "{status}");
    let log = std::fs::read_to_string(&live.cluster.node(node).expect("a node").log).expect("its log");
    assert!(log.lines().rev().take(20).any(|line| line.contains("os error") || line.contains("disk")), "{log}");
    live.cluster.forget(node).expect("a node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_disk_is_slow() {
    let troubles = Troubles { sync_delay: Duration::from_millis(40), ..Troubles::default() };
    trouble(troubles, false, |struck| struck.syncs_delayed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_disk_refuses_to_sync() {
    trouble(Troubles { sync_error: INPUT_OUTPUT, ..Troubles::default() }, true, |struck| struck.syncs_failed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_disk_is_full() {
    trouble(Troubles { write_error: NO_SPACE, ..Troubles::default() }, true, |struck| struck.writes_failed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_clock_is_an_hour_ahead_and_then_right_again() {
    let troubles = Troubles { clock_shift_ms: 3_600_000, ..Troubles::default() };
    trouble(troubles, false, |struck| struck.clocks_shifted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_clock_is_a_day_behind() {
    let troubles = Troubles { clock_shift_ms: -86_400_000, ..Troubles::default() };
    trouble(troubles, false, |struck| struck.clocks_shifted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_of_a_stopped_nodes_disk_turns_over_and_nothing_wrong_is_served() {
    let mut live = Live::start_as(Setting { machine: true, ..Setting::new("machines", 3) }).await;
    let (_, mut boarding) = workload::begin(&live, 4, 120, Duration::from_millis(60)).await;
    for (round, percent) in [15, 45].into_iter().enumerate() {
        boarding.reached(percent).await;
        let victim = live.leader().await;
        live.strike(Fault::Kill(victim)).await;
        live.strike(Fault::Flip(victim, harness::seed() * 1_000_003 + round as u64)).await;
        live.strike(Fault::Start(victim)).await;
        live.settle(victim).await;
        live.replicated().await;
    }
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    println!("{counts:?}; {}", true_answers::check(&history));
    wait_for("three nodes again", LEVEL_DEADLINE, async || {
        let status = live.status(live.leader().await).await.map_err(|failure| failure.to_string())?;
        let voters = status.members.iter().filter(|member| member.voter).count();
        if voters == 3 { Ok(()) } else { Err(format!("{voters} voters")) }
    })
    .await;
}

/// Waits until a node says that it scores with this.
async fn scores_with(live: &Live, node: NodeId, engine: &str) {
    wait_for(&format!("node {node} scores with {engine}"), LEVEL_DEADLINE, async || {
        let scoring = live.status(node).await.map_err(|failure| failure.to_string())?.engine;
        if scoring.starts_with(engine) { Ok(()) } else { Err(scoring) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owners_gpu_vanishes_and_comes_back() {
    if !harness::gpu() {
        return;
    }
    let engine = EngineChoice::Gpu;
    let mut live = Live::start_as(Setting { machine: true, engine, ..Setting::new("machines", 3) }).await;
    let (bank, mut boarding) = workload::begin(&live, 3, 120, Duration::from_millis(100)).await;
    boarding.reached(10).await;
    let victim = workload::first_owner(&live, &bank).await;
    scores_with(&live, victim, "gpu").await;
    let began = Instant::now();
    live.strike(Fault::Trouble(victim, Troubles { device_lost: true, ..Troubles::default() })).await;
    scores_with(&live, victim, "cpu").await;
    // As long as it is gone, it cannot be opened again either.
    tokio::time::sleep(LASTS).await;
    assert!(live.control(victim).struck().devices_lost > 1, "{:?}", live.control(victim).struck());
    live.strike(Fault::Trouble(victim, Troubles::default())).await;
    scores_with(&live, victim, "gpu").await;
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    let latencies = p3_no_failed_request::check_failover(&history, began);
    println!("{counts:?}; {}; {latencies}", true_answers::check(&history));
}

/// MiB of the small disk, and of what fills it: a node stands down when less than 256 are free.
const SMALL_DISK: u64 = 512;
const FILLER: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stands_down_before_its_disk_is_full_and_takes_part_again_when_there_is_room() {
    let mut live = Live::prepare(&Setting::new("machines", 3));
    let small = NodeId(2);
    let folder = live.cluster.node(small).expect("a node").data_dir.clone();
    let disk = match SmallDisk::mount(&folder, SMALL_DISK) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no small disk can be mounted here: {reason}");
            return;
        }
    };
    for node in live.cluster.ids() {
        live.strike(Fault::Start(node)).await;
    }
    live.ready(3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 4, 120));
    workload::submit(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let led = live.leader().await;
    if led != small {
        live.ask(led, Request::TransferLeader(small)).await.expect("handed over");
    }
    let mut boarding = workload::board(&bank, gates, Duration::from_millis(60));
    boarding.reached(15).await;
    assert_eq!(live.leader().await, small);
    live.journal.write("the disk fills up");
    disk.fill(FILLER);
    wait_for("another leader", LEVEL_DEADLINE, async || {
        let leader = live.leader().await;
        if leader == small { Err("the node with the full disk leads".to_owned()) } else { Ok(()) }
    })
    .await;
    boarding.reached(60).await;
    disk.clear();
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    println!("{counts:?}; {}", true_answers::check(&history));
    wait_for("the node with room again takes the lead", LEVEL_DEADLINE, async || {
        let leader = live.leader().await;
        if leader == small {
            return Ok(());
        }
        live.ask(leader, Request::TransferLeader(small)).await.map_err(|failure| failure.to_string())?;
        Err(format!("node {leader} leads"))
    })
    .await;
    // The processes have to go before their disk.
    for node in live.running() {
        live.strike(Fault::Kill(node)).await;
    }
}

/// MiB of a small disk for galleries alone.
const SMALL_STORE: u64 = 64;

/// F29: a node that cannot keep galleries says so, and flights are built elsewhere within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_keep_galleries_is_given_none() {
    let mut live = Live::prepare(&Setting::new("machines", 4));
    let full = NodeId(2);
    let folder = live.cluster.node(full).expect("a node").data_dir.join("galleries");
    let disk = match SmallDisk::mount(&folder, SMALL_STORE) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no small disk can be mounted here: {reason}");
            return;
        }
    };
    for node in live.cluster.ids() {
        live.strike(Fault::Start(node)).await;
    }
    live.ready(4).await;
    let holds = async |live: &Live| {
        let status = live.status(live.leader().await).await.map_err(|failure| failure.to_string())?;
        status.members.into_iter().find(|member| member.member.id == full).ok_or("not a member".to_owned())
    };
    let told = async |live: &Live, wanted: &[Trouble]| {
        wait_for("the leader knows what the node cannot do", LEVEL_DEADLINE, async || {
            let member = holds(live).await?;
            if member.troubles == wanted { Ok(()) } else { Err(format!("{member:?}")) }
        })
        .await;
    };
    disk.fill_up();
    told(&live, &[Trouble::Store]).await;
    let leader = live.connection(live.leader().await, "operator");
    let words = ["cluster", "status"].into_iter().chain(leader.iter().map(String::as_str));
    let shown = live.tvs(&words.collect::<Vec<_>>());
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("node 2 cannot keep galleries; make room"), "{shown}");
    let bank = Arc::new(Bank::new(harness::seed(), 8, 40));
    workload::submit(&live, &bank).await;
    let member = holds(&live).await.expect("a member");
    assert_eq!((member.owner_of, member.standby_of), (0, 0), "{member:?}");

    disk.clear();
    told(&live, &[]).await;
    let later = Arc::new(Bank::numbered(harness::seed(), 20, 8, 40));
    workload::submit(&live, &later).await;
    let member = holds(&live).await.expect("a member");
    assert!(member.owner_of + member.standby_of > 0, "{member:?}");
    for node in live.running() {
        live.strike(Fault::Kill(node)).await;
    }
}
