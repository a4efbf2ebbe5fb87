//! P13: records whose journeys have ended leave the replicated state for files, and are read as before on every node.

use std::path::PathBuf;
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::policy::{Policy, Retention};
use cluster_config::wire::operator::{Request, Response};
use futures::future::join_all;
use harness::fault::Fault;
use harness::level::wait_for;
use harness::live::Live;
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};

/// Captures at each node: together they fill a chunk of the ledger, and one certificate may have so many a minute.
const CAPTURES: u64 = 1_500;

/// Captures under way at once.
const AT_ONCE: u64 = 50;

/// The files of sealed chunks in the folders of all nodes.
fn chunk_files(live: &Live) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![live.cluster.folder().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "chunk") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

async fn files_are(live: &Live, wanted: usize) -> Vec<PathBuf> {
    wait_for("each node has the file of the sealed chunk", LEVEL_DEADLINE, async || match chunk_files(live).len() {
        found if found == wanted => Ok(()),
        found => Err(format!("{found} files")),
    })
    .await;
    chunk_files(live)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_records_are_read_on_every_node_and_a_lost_or_damaged_file_is_fetched_again() {
    let mut live = Live::start("age", 3).await;
    let first = NodeId(1);
    let bank = Bank::new(harness::seed(), 1, 20);
    workload::submit(&live, &bank).await;
    let Ok(Response::Policy(policy)) = live.ask(first, Request::PolicyShow).await else { panic!("no policy") };
    let retention = Retention { ledger_seal_after_minutes: 0, ..policy.retention };
    let policy = Policy { version: policy.version + 1, retention, ..policy };
    live.ask(first, Request::PolicySet(policy)).await.expect("the policy is set");
    for node in live.running() {
        let gate = live.gate_at(node).await;
        for wave in (0..CAPTURES).step_by(AT_ONCE as usize) {
            let captures = (wave..wave + AT_ONCE).map(|number| bank.stranger(0, node.0 * CAPTURES + number));
            let answers = join_all(captures.map(|capture| gate.board(capture))).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
    }
    let before = live.same_ledger().await;
    assert_eq!(before.len() as u64, 3 * CAPTURES);
    live.ask(first, Request::CloseJourney { journey: bank.flights[0].journey, purge: true }).await.expect("closed");
    let files = files_are(&live, 3).await;
    assert!(live.same_ledger().await == before, "an export is the same as before");

    // One file is flipped, another one is cut short, and one is gone.
    for node in live.running() {
        live.strike(Fault::Kill(node)).await;
    }
    let whole = std::fs::read(&files[0]).expect("a file");
    let mut flipped = whole.clone();
    flipped[5_000] ^= 1;
    std::fs::write(&files[0], flipped).expect("written");
    std::fs::write(&files[1], &whole[..whole.len() - 1]).expect("written");
    for node in live.cluster.ids() {
        live.strike(Fault::Start(node)).await;
    }
    live.ready(3).await;
    assert!(live.same_ledger().await == before, "each node gives all of it again");
    wait_for("each file is whole again", LEVEL_DEADLINE, async || {
        let files = chunk_files(&live);
        let is_whole = |file: &PathBuf| std::fs::read(file).is_ok_and(|bytes| bytes == whole);
        let count = files.iter().filter(|file| is_whole(file)).count();
        if count == 3 { Ok(()) } else { Err(format!("{count} of {files:?}")) }
    })
    .await;
    std::fs::remove_file(&files[2]).expect("removed");
    assert!(live.same_ledger().await == before);
    files_are(&live, 3).await;

    let newcomer = live.cluster.prepare_newcomer().expect("a fourth node's files");
    live.strike(Fault::Start(newcomer.id)).await;
    wait_for("the fourth node listens", LEVEL_DEADLINE, async || {
        live.status(newcomer.id).await.map(|_| ()).map_err(|failure| failure.to_string())
    })
    .await;
    let asked = Request::AddMember { member: newcomer.clone(), voter: true };
    let leader = live.leader().await;
    live.ask(leader, asked).await.expect("added");
    files_are(&live, 4).await;
    assert!(live.ledger(newcomer.id).await.expect("its ledger") == before, "a newcomer has all of it");
    tokio::time::timeout(Duration::from_secs(30), live.ready(4)).await.expect("in time");
}
