//! R92; P1, P3, P4, P5: a node is killed or stands still while the bank boards: the owner of a flight, then the leader.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::operator::{Request, Response};
use harness::binary;
use harness::fault::Fault;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, p5_same_answer, true_answers};
use harness::level::wait_for;
use harness::live::Live;
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_stage::oracle::{Asked, Entry, History, Kind, Outcome};

/// How long a paused node stands still.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    Pause,
}

/// Boards a bank, strikes a node when a quarter has boarded, and holds what gates were told against the ledger.
async fn strike_while_boarding(blow: Blow, victim: impl AsyncFnOnce(&Live, &Bank) -> NodeId) {
    let mut live = Live::start("losses", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 6, 120));
    workload::submit(&live, &bank).await;
    let victim = victim(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let mut owners = Owners::default();
    owners.look(&live).await;

    let mut boarding = workload::board(&bank, gates, Duration::from_millis(30));
    boarding.reached(25).await;
    let struck = Instant::now();
    match blow {
        Blow::Kill => live.strike(Fault::Kill(victim)).await,
        Blow::Pause => {
            live.strike(Fault::Pause(victim)).await;
            tokio::time::sleep(PAUSE).await;
            live.strike(Fault::Resume(victim)).await;
        }
    }
    owners.look(&live).await;
    let history = boarding.finish().await;

    p3_no_failed_request::check(&history);
    owners.check(&live, &history).await;
    let counts = p1_exactly_once::check(&history, &live.same_ledger().await);
    let decisions = true_answers::check(&history);
    let latencies = p3_no_failed_request::check_failover(&history, struck);
    // Shown where the runner shows the output of what passed.
    println!("{blow:?} node {victim}: {counts:?}; {decisions}; {latencies}");
    assert_eq!(counts.unknown, 0);
}

async fn owner(live: &Live, bank: &Bank) -> NodeId {
    workload::first_owner(live, bank).await
}

async fn leader(live: &Live, _: &Bank) -> NodeId {
    live.leader().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_boarding_flight_is_killed() {
    strike_while_boarding(Blow::Kill, owner).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    strike_while_boarding(Blow::Kill, leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_a_boarding_flight_stands_still_for_a_second() {
    strike_while_boarding(Blow::Pause, owner).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_stands_still_for_a_second() {
    strike_while_boarding(Blow::Pause, leader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_node_without_a_replica_asks_another_when_the_owner_stands_still() {
    let mut live = Live::start("losses", 5).await;
    let bank = Bank::new(harness::seed(), 1, 60);
    workload::submit(&live, &bank).await;
    let gallery = live.gallery(live.leader().await, bank.flights[0].journey).await.expect("a gallery");
    let shard = &gallery.shards[0];
    let owner = shard.owner.expect("an owner");
    let outsider = live.running().into_iter().find(|node| *node != owner && !shard.standbys.contains(node));
    // A gate that knows this one node alone cannot make up for it by asking another.
    let gate = live.gate_at(outsider.expect("a node without a replica")).await;
    let mut calm = Vec::new();
    for guest in 0..60 {
        calm.push(gate.identify(bank.capture(0, guest, 1, 1)).await.expect("an answer"));
    }
    assert!(calm.iter().any(|answer| answer.searched_by == owner), "the owner is asked first");
    live.strike(Fault::Pause(owner)).await;
    let mut history = History::default();
    for (guest, mut before) in calm.into_iter().enumerate() {
        let capture = bank.capture(0, guest, 1, 1);
        let (journey, encounter, asked) = (capture.journey, capture.encounter, Asked::of("", &capture));
        let begun = Instant::now();
        let answer = gate.identify(capture).await.expect("an answer");
        // A node that is silent for long loses its shards to another, under a new epoch.
        before.epoch = answer.epoch.max(before.epoch);
        p5_same_answer::check(&[(owner, before), (answer.searched_by, answer.clone())]);
        let outcome = Outcome::Answered(answer);
        let (kind, who, took) = (Kind::Identify, None, begun.elapsed());
        history.add(Entry { kind, journey, who, encounter, asked, begun, took, outcome });
    }
    println!("{}", p3_no_failed_request::check_identifications(&history));
    live.strike(Fault::Resume(owner)).await;
}

/// The files of a node's data folder whose names end like this.
fn files(live: &Live, node: NodeId, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    binary::visit(&live.cluster.node(node).expect("a node").data_dir, &mut |path| {
        if path.to_string_lossy().ends_with(ending) {
            found.push(path.to_owned());
        }
    });
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gallery_whose_every_replica_is_lost_is_built_again_out_of_the_people_on_the_third_node() {
    let mut live = Live::start("losses", 3).await;
    let leader = live.leader().await;
    let Ok(Response::Policy(mut policy)) = live.ask(leader, Request::PolicyShow).await else { panic!("no policy") };
    // So that one node has no replica.
    (policy.version, policy.placement.replicas_boarding) = (policy.version + 1, 2);
    live.ask(leader, Request::PolicySet(policy)).await.expect("a policy");
    let bank = Bank::new(harness::seed(), 1, 40);
    workload::submit(&live, &bank).await;
    let journey = bank.flights[0].journey;
    let placed = live.gallery(leader, journey).await.expect("a gallery").shards.remove(0);
    let [third] = placed.rosters[..] else { panic!("{placed:?}") };
    wait_for("the third node keeps the people", LEVEL_DEADLINE, async || {
        let kept = files(&live, third, ".roster.sealed").len();
        if kept == 1 { Ok(()) } else { Err(format!("{kept} rosters")) }
    })
    .await;
    assert_eq!(files(&live, third, ".segment.sealed"), Vec::<PathBuf>::new());

    let gate = live.gate(0).await;
    let mut before = Vec::new();
    for guest in 0..40 {
        before.push(gate.identify(bank.capture(0, guest, 1, 1)).await.expect("an answer"));
    }
    let boarded = before.iter().position(|answer| answer.directive == Directive::Proceed).expect("somebody matches");
    let first = gate.board(bank.capture(0, boarded, 2, 1)).await.expect("an answer");
    assert_eq!(first.directive, Directive::Proceed);

    let replicas: Vec<NodeId> = placed.owner.into_iter().chain(placed.standbys).collect();
    for node in &replicas {
        live.strike(Fault::Stop(*node)).await;
        let segments = files(&live, *node, ".segment.sealed");
        assert_eq!(segments.len(), 1, "{segments:?}");
        std::fs::remove_file(&segments[0]).expect("removed");
    }
    for node in &replicas {
        live.strike(Fault::Start(*node)).await;
    }
    live.ready(3).await;
    wait_for("the next version", LEVEL_DEADLINE, async || {
        let gallery = live.gallery(third, journey).await.map_err(|failure| failure.to_string())?;
        let version = gallery.shards[0].version;
        if version > GalleryVersion(1) { Ok(()) } else { Err(format!("version {version}")) }
    })
    .await;
    live.replicated().await;

    let gate = live.gate(1).await;
    for (guest, mut answered) in before.into_iter().enumerate() {
        let again = gate.identify(bank.capture(0, guest, 1, 1)).await.expect("an answer");
        (answered.epoch, answered.gallery_version) = (again.epoch, again.gallery_version);
        p5_same_answer::check(&[(third, answered), (third, again)]);
    }
    let twice = gate.board(bank.capture(0, boarded, 3, 1)).await.expect("an answer");
    assert_eq!(twice.reason, Reason::AlreadyBoarded, "whoever has boarded is still the same person");

    live.ask(third, Request::CloseJourney { journey, purge: true }).await.expect("closed");
    wait_for("the journey is purged", LEVEL_DEADLINE, async || {
        let gallery = live.gallery(third, journey).await.map_err(|failure| failure.to_string())?;
        if gallery.status == JourneyStatus::Purged { Ok(()) } else { Err(format!("{gallery:?}")) }
    })
    .await;
    let gallery = live.gallery(third, journey).await.expect("a gallery");
    assert_eq!(gallery.shards[0].receipts.len(), 3, "the roster's holder gives its receipt as well");
    assert_eq!(files(&live, third, ".sealed"), Vec::<PathBuf>::new());
}
