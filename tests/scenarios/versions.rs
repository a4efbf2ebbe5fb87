//! P13, P1, P3: two releases work together. A cluster goes from this version to the next, node by node and on the same
//! data folders, while gates of both board; nothing is lost or double, and after the last node it writes the new form.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::versions::Version;
use cluster_config::wire::gate::{Answer, Sample};
use cluster_config::wire::operator::Request;
use harness::binary;
use harness::fault::Fault;
use harness::invariants::{p1_exactly_once, p3_no_failed_request};
use harness::level::wait_for;
use harness::live::Live;
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_stage::boarding::Boarding;
use node_stage::oracle::{Asked, Entry, History, Kind, Outcome};
use serde_json::Value;

/// The version after this release's.
const NEXT: Version = Version(Version::CURRENT.0 + 1);

/// The capture at which the gate of the next version boards: a number that nobody else gives.
const ATTEMPT: u8 = 7;

/// Name of the gate of the next version.
const ITS_NAME: &str = "GATE-NEXT";

/// Pause between two of its travellers.
const ITS_PACE: Duration = Duration::from_millis(50);

/// Runs `tvs-next` with these words and a connection, to its end.
fn next(words: &[&str], connection: &[String]) -> Output {
    Command::new(binary::tvs_next()).args(words).args(connection).output().expect("tvs-next runs")
}

/// A gate of the next version boards the last flight of a bank, one process a traveller.
fn board_with_next(live: &Live, bank: Arc<Bank>) -> JoinHandle<History> {
    let addresses: Vec<SocketAddr> = live.cluster.addresses();
    let certs = live.cluster.certs().to_owned();
    let folder: PathBuf = live.cluster.folder().to_owned();
    std::thread::spawn(move || {
        let mut history = History::default();
        let flight = bank.flights.len() - 1;
        for (number, guest) in bank.flights[flight].guests.iter().enumerate() {
            let capture = bank.capture(flight, number, 1, ATTEMPT);
            let Sample::Template { values, .. } = &capture.sample;
            let template = folder.join(format!("{}.json", capture.journey));
            std::fs::write(&template, serde_json::to_vec(values).expect("numbers")).expect("written");
            let mut tvs = Command::new(binary::tvs_next());
            tvs.args(["gate", "board", "--json", "--as", ITS_NAME, "--attempt", &ATTEMPT.to_string()]);
            tvs.arg("--certs").arg(&certs).arg("--template").arg(&template);
            tvs.arg("--journey").arg(capture.journey.as_str()).arg("--encounter").arg(capture.encounter.to_string());
            for address in &addresses {
                tvs.arg("--node").arg(address.to_string());
            }
            let begun = Instant::now();
            let output = tvs.output().expect("tvs-next runs");
            let took = begun.elapsed();
            assert!(output.status.success(), "the new gate: {}", String::from_utf8_lossy(&output.stderr));
            let answer: Answer = serde_json::from_slice(&output.stdout).expect("an answer");
            let (journey, encounter, asked) = (capture.journey, capture.encounter, Asked::of("", &capture));
            let (kind, who, outcome) = (Kind::Board, Some(guest.clone()), Outcome::Answered(answer));
            history.add(Entry { kind, journey, who, encounter, asked, begun, took, outcome });
            std::thread::sleep(ITS_PACE);
        }
        history
    })
}

/// Boards a bank with gates of both versions: the last flight with the next one's, all others with this one's.
async fn begin(live: &Live, bank: &Arc<Bank>) -> (Boarding, JoinHandle<History>) {
    workload::submit(live, bank).await;
    let mut gates = workload::gates(live, bank).await;
    gates.pop();
    (workload::board(bank, gates, Duration::from_millis(80)), board_with_next(live, bank.clone()))
}

/// Stops a node and starts it on the same folder as the next version.
async fn upgrade(live: &mut Live, node: NodeId) {
    live.strike(Fault::Stop(node)).await;
    live.cluster.node_mut(node).expect("a node").binary = binary::tvs_next();
    live.journal.write(format!("node {node} runs the next version"));
    live.strike(Fault::Start(node)).await;
    live.ready(3).await;
    wait_for("it has announced its version", LEVEL_DEADLINE, async || {
        let status = live.status(node).await.map_err(|failure| failure.to_string())?;
        let member = status.members.into_iter().find(|member| member.member.id == node).ok_or("not a member")?;
        if member.version == Some(NEXT) { Ok(()) } else { Err(format!("{:?}", member.version)) }
    })
    .await;
    live.replicated().await;
}

/// Submits journeys until a node has built one: all others hold what it built.
async fn build_at(live: &Live, node: NodeId) {
    for number in 21..27 {
        // As many people as on the other journeys, so that each in turn goes to another owner.
        let bank = Bank::numbered(harness::seed(), number, 1, 120);
        workload::submit(live, &bank).await;
        if workload::first_owner(live, &bank).await == node {
            return;
        }
    }
    panic!("node {node} never became an owner");
}

/// Hands leadership to a node.
async fn lead(live: &Live, node: NodeId) {
    if live.leader().await != node {
        live.ask(node, Request::TransferLeader(node)).await.expect("handed over");
    }
    assert_eq!(live.leader().await, node);
}

/// The version that every node says the cluster writes.
async fn written(live: &Live) -> Version {
    wait_for("one version on all nodes", LEVEL_DEADLINE, async || {
        let mut versions = Vec::new();
        for node in live.running() {
            versions.push(live.status(node).await.map_err(|failure| failure.to_string())?.version);
        }
        if versions.iter().all(|version| *version == versions[0]) {
            Ok(versions[0])
        } else {
            Err(format!("{versions:?}"))
        }
    })
    .await
}

/// Corrects a record at a node with the next version's command; the words of the refusal where it is refused.
fn amend(live: &Live, node: NodeId, encounter: &str, attempt: u8) -> Result<(), String> {
    let attempt = attempt.to_string();
    let words = ["ledger", "amend", "--encounter", encounter, "--attempt", &attempt];
    let output = next(&words, &live.connection(node, "operator"));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Encounter and capture of every record, as a node tells it in the next version.
fn attempts(live: &Live, node: NodeId) -> Vec<(String, u64)> {
    let output = next(&["ledger", "export", "--encounters", "--json"], &live.connection(node, "operator"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records: Vec<Value> = serde_json::from_slice(&output.stdout).expect("records");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    records.iter().map(|record| (text(&record["encounter"]), record["attempt"].as_u64().expect("a number"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_to_the_next_version_node_by_node_while_gates_of_both_board() {
    let mut live = Live::start("versions", 3).await;
    live.cluster.gate(ITS_NAME, harness::live::port()).expect("a certificate");
    live.operator()
        .register_gates([ITS_NAME.parse().expect("a name")], harness::live::port())
        .await
        .expect("registered");
    let bank = Arc::new(Bank::new(harness::seed(), 4, 120));
    let (mut boarding, its_gate) = begin(&live, &bank).await;
    boarding.reached(10).await;
    let first = live.leader().await;
    let [second, last] = [1, 2].map(|step| NodeId((first.0 - 1 + step) % 3 + 1));
    let early = live.ledger(first).await.expect("a ledger")[0].encounter.to_string();

    upgrade(&mut live, second).await;
    lead(&live, second).await;
    assert_eq!(written(&live).await, Version::CURRENT, "two nodes do not understand the next version");
    for (node, fix) in [(second, "see `tvs cluster status`"), (last, "once every node runs the new release")] {
        let refused = amend(&live, node, &early, ATTEMPT).expect_err("not every node understands it");
        assert!(refused.contains("version 1 is spoken here") && refused.contains(fix), "node {node}: {refused}");
    }
    build_at(&live, second).await;
    upgrade(&mut live, first).await;
    lead(&live, last).await;
    assert_eq!(written(&live).await, Version::CURRENT, "the leader does not understand the next version");
    upgrade(&mut live, last).await;
    assert_eq!(written(&live).await, NEXT, "every node understands it");
    let later = Arc::new(Bank::numbered(harness::seed(), 11, 2, 20));
    let (later_boarding, its_later_gate) = begin(&live, &later).await;

    let mut history = boarding.finish().await;
    for other in [
        later_boarding.finish().await,
        its_gate.join().expect("the gate of the next version"),
        its_later_gate.join().expect("the gate of the next version"),
    ] {
        other.entries().iter().for_each(|entry| history.add(entry.clone()));
    }
    p3_no_failed_request::check(&history);
    let ledger = live.same_ledger().await;
    p1_exactly_once::check(&history, &ledger);

    // A capture's number is kept from the moment in which every node understands it, and on every node alike.
    let kept = attempts(&live, first);
    let old = kept.iter().position(|(_, attempt)| *attempt > 0).expect("the new form is written");
    assert!(old > 0 && kept[old..].iter().all(|(_, attempt)| *attempt > 0), "{kept:?}");
    for attempt in [1, u64::from(ATTEMPT)] {
        assert!(kept.iter().any(|(_, kept)| *kept == attempt), "the gate that says {attempt}: {kept:?}");
    }
    for node in [second, last] {
        assert_eq!(attempts(&live, node), kept, "node {node}");
    }
    amend(&live, second, &early, 9).expect("every node understands it");
    wait_for("the correction on every node", LEVEL_DEADLINE, async || {
        let all = live.running().into_iter().map(|node| attempts(&live, node)[0].1);
        let all: Vec<u64> = all.collect();
        if all == [9, 9, 9] { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    let corrected = attempts(&live, first);

    // A newcomer that could not read the log is told so.
    let newcomer = live.cluster.prepare_newcomer().expect("a fourth node's files");
    live.strike(Fault::Start(newcomer.id)).await;
    wait_for("the newcomer listens", LEVEL_DEADLINE, async || {
        live.status(newcomer.id).await.map(|_| ()).map_err(|failure| failure.to_string())
    })
    .await;
    let added = live.ask(first, Request::AddMember { member: newcomer.clone(), voter: true }).await;
    let refused = added.expect_err("it cannot read the log").to_string();
    assert!(refused.contains("it understands version 1; the cluster writes version 2"), "{refused}");
    live.strike(Fault::Stop(newcomer.id)).await;

    // The logs hold entries of both versions, and are read again.
    for node in live.running() {
        live.strike(Fault::Kill(node)).await;
    }
    for node in [first, second, last] {
        live.strike(Fault::Start(node)).await;
    }
    live.ready(3).await;
    assert_eq!(live.same_ledger().await, ledger);
    assert_eq!(attempts(&live, last), corrected);

    // There is no way back: a node of this version says so, and changes nothing.
    live.strike(Fault::Stop(last)).await;
    live.cluster.node_mut(last).expect("a node").binary = binary::tvs();
    live.strike(Fault::Start(last)).await;
    let ended = wait_for("the older release ends", LEVEL_DEADLINE, async || {
        live.cluster.ended(last).map_err(|error| error.to_string())?.ok_or("it runs".to_owned())
    })
    .await;
    assert!(!ended.success());
    let log = std::fs::read_to_string(&live.cluster.node(last).expect("a node").log).expect("a log");
    let wanted = [&format!("version {NEXT} is not understood here, where versions 1 to 1 are"), "run a release that"];
    assert!(wanted.iter().all(|words| log.contains(*words)), "{}", log.lines().last().unwrap_or_default());
    live.cluster.forget(last).expect("a node");
    live.cluster.node_mut(last).expect("a node").binary = binary::tvs_next();
    live.strike(Fault::Start(last)).await;
    live.ready(3).await;
    assert_eq!(live.same_ledger().await, ledger);
}
