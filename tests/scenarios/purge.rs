//! R3, R35; P6 as far as it exists: nothing personal ever stands in the clear outside of memory, and when a journey
//! closes its galleries are destroyed on every node that held one.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_config::journey::JourneyStatus;
use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::{Request, Response};
use harness::fault::Fault;
use harness::invariants::{p1_exactly_once, p3_no_failed_request};
use harness::level::wait_for;
use harness::live::Live;
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_link::client::ClientError;

/// Files below `folder` that contain one of `words`, with the word; and how many files were read.
fn find(folder: &Path, words: &[String]) -> (Vec<(PathBuf, String)>, usize) {
    let mut found = Vec::new();
    let mut read = 0;
    harness::binary::visit(folder, &mut |path| {
        // A node may replace a file while its folder is read.
        let Ok(bytes) = std::fs::read(path) else { return };
        read += 1;
        found.extend(words_in(&bytes, words).into_iter().map(|word| (path.to_owned(), word)));
    });
    (found, read)
}

/// Those of `words` that stand in `bytes`, as often as they do.
fn words_in(bytes: &[u8], words: &[String]) -> Vec<String> {
    // Every word begins with one of two marks that are nowhere else, so that most bytes are looked at only twice.
    let marks = [b"ZWQ", b"QX0"];
    let marked = bytes.windows(3).enumerate().filter(|(_, window)| marks.iter().any(|mark| window == mark));
    let word_at = |(place, _)| words.iter().find(|word| bytes[place..].starts_with(word.as_bytes()));
    marked.filter_map(word_at).cloned().collect()
}

/// Those of `words` that stand in the memory that a process can write to.
fn in_memory(process: u32, words: &[String]) -> std::io::Result<Vec<String>> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
    let memory = std::fs::File::open(format!("/proc/{process}/mem"))?;
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-')).expect("a range");
        let [begin, end] = [range.0, range.1].map(|bound| u64::from_str_radix(bound, 16).expect("an address"));
        let mut bytes = vec![0; (end - begin) as usize];
        // A device's memory cannot be read this way.
        if memory.read_exact_at(&mut bytes, begin).is_ok() {
            found.extend(words_in(&bytes, words));
        }
    }
    Ok(found)
}

#[test]
fn the_search_for_personal_data_finds_what_is_there() {
    let bank = Bank::new(harness::seed(), 1, 3);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("leak"), &bank.flights[0].manifest).expect("a file");
    let words = bank.personal_data();
    let found: BTreeSet<String> = find(folder.path(), &words).0.into_iter().map(|(_, word)| word).collect();
    assert_eq!(found, words.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_journey_leaves_nothing_and_nothing_personal_was_ever_in_the_clear() {
    let mut live = Live::start_logging("purge", 3, "debug", harness::seed()).await;
    let bank = Arc::new(Bank::new(harness::seed(), 3, 60));
    let words = bank.personal_data();
    workload::submit(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let history = workload::board(&bank, gates, Duration::from_millis(5)).finish().await;
    p3_no_failed_request::check(&history);
    let journey = bank.flights[0].journey;
    let node = live.running()[0];

    // Data folders and logs, with all galleries in place.
    let (found, read) = find(live.cluster.folder(), &words);
    assert!(found.is_empty(), "personal data in the clear: {found:?}");
    assert!(read > 30, "{read} files");
    assert_eq!(
        files_of(&live, &journey.to_string()).len(),
        9,
        "a segment and the halves of a key on each of three nodes"
    );

    let (gate, asked) = (live.gate(0).await, bank.capture(0, 5, 98, 1));
    let answered = gate.board(asked.clone()).await.expect("an answer");
    live.ask(node, Request::CloseJourney { journey, purge: true }).await.expect("closed");
    wait_for("the journey is purged", LEVEL_DEADLINE, async || {
        let gallery = live.gallery(node, journey).await.map_err(|failure| failure.to_string())?;
        if gallery.status == JourneyStatus::Purged { Ok(()) } else { Err(format!("{gallery:?}")) }
    })
    .await;
    let gallery = live.gallery(node, journey).await.expect("a gallery");
    let receipts: BTreeSet<_> = gallery.shards[0].receipts.iter().map(|receipt| receipt.node).collect();
    assert_eq!(receipts, live.running().into_iter().collect(), "every holder has answered with its receipt");
    assert!(gallery.shards[0].holders.is_empty());
    assert_eq!(files_of(&live, &journey.to_string()), Vec::<PathBuf>::new());
    assert_eq!(files_of(&live, &bank.flights[1].journey.to_string()).len(), 9, "the other flights keep theirs");

    // Nor does the memory of a node have anything of its people any more.
    let people = bank.flights[0].personal_data();
    for node in live.running() {
        let process = live.cluster.process_id(node).expect("it runs");
        match in_memory(process, &words) {
            Ok(found) => assert!(!found.is_empty(), "the other flights' people are searched"),
            Err(error) => {
                println!("skipped: the memory of node {node} cannot be read ({error}); run this as root");
                break;
            }
        }
        wait_for("nobody of a purged journey stands in memory", LEVEL_DEADLINE, async || {
            let left = in_memory(process, &people).map_err(|error| error.to_string())?;
            if left.is_empty() { Ok(()) } else { Err(format!("node {node}: {} words, {:?}", left.len(), left.first())) }
        })
        .await;
    }

    // Nobody boards a closed journey; a retry of what was answered before is answered the same.
    match gate.board(bank.capture(0, 5, 99, 1)).await {
        Err(ClientError::Refused { refusal, .. }) => assert_eq!(refusal.code, RefusalCode::NotOpen, "{refusal}"),
        other => panic!("{other:?}"),
    }
    let again = gate.board(asked.clone()).await.expect("an answer");
    assert_eq!((again.directive, again.reason), (answered.directive, answered.reason));

    // A restart brings nothing back, and what a stop writes is in the clear no more than the rest.
    for node in live.running() {
        live.strike(Fault::Stop(node)).await;
    }
    for node in live.cluster.ids() {
        live.strike(Fault::Start(node)).await;
    }
    live.ready(3).await;
    live.replicated().await;
    assert_eq!(files_of(&live, &journey.to_string()), Vec::<PathBuf>::new());
    let (found, _) = find(live.cluster.folder(), &words);
    assert!(found.is_empty(), "personal data in the clear: {found:?}");
    // The oracle was not told of the one that was asked for here.
    let mut ledger = live.same_ledger().await;
    ledger.retain(|record| record.encounter != asked.encounter);
    p1_exactly_once::check(&history, &ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_does_not_wait_for_a_disk_that_an_operator_says_is_destroyed() {
    let mut live = Live::start("purge", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 1, 40));
    workload::submit(&live, &bank).await;
    let journey = bank.flights[0].journey;
    let owner = workload::first_owner(&live, &bank).await;
    live.strike(Fault::Kill(owner)).await;
    let asked = live.connection(live.leader().await, "operator");
    let id = owner.to_string();
    let words = ["cluster", "attest-destruction", &id].into_iter().chain(asked.iter().map(String::as_str));
    let words: Vec<&str> = words.collect();
    let too_early = live.tvs(&words);
    let said = String::from_utf8_lossy(&too_early.stderr).into_owned();
    assert!(!too_early.status.success() && said.contains("take it out with `tvs cluster remove` first"), "{said}");
    live.remove(owner).await;
    live.ask(live.leader().await, Request::CloseJourney { journey, purge: true }).await.expect("it is closed");

    let shown = async || match live.ask(live.leader().await, Request::GalleryShow(journey)).await {
        Ok(Response::Gallery(gallery)) => Ok(gallery),
        other => Err(format!("{other:?}")),
    };
    wait_for("only the lost node's receipt is missing", LEVEL_DEADLINE, async || {
        let gallery = shown().await?;
        if gallery.shards[0].holders == [owner] { Ok(()) } else { Err(format!("{gallery:?}")) }
    })
    .await;
    assert_eq!(shown().await.expect("the journey").status, JourneyStatus::Purging);
    let attested = live.tvs(&words);
    assert!(attested.status.success(), "{}", String::from_utf8_lossy(&attested.stderr));
    let gallery = shown().await.expect("the journey");
    assert_eq!(gallery.status, JourneyStatus::Purged);
    for receipt in &gallery.shards[0].receipts {
        assert_eq!(receipt.attested, receipt.node == owner, "{receipt:?}");
    }
}

fn files_of(live: &Live, journey: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for node in live.cluster.ids() {
        let folder = live.cluster.node(node).expect("a node").data_dir.parent().expect("the folder of the node");
        harness::binary::visit(folder, &mut |path| {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(journey)) {
                found.push(path.to_owned());
            }
        });
    }
    found
}
