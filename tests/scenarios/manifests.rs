//! R34, R35; P10: a manifest is taken whole or not at all, and the same one again changes nothing.

use std::path::Path;

use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::{Gallery, Request, Response};
use harness::invariants::p10_clear_refusals;
use harness::live::Live;
use harness::target::{Failure, Gate, Target};
use harness::workload::Bank;

async fn galleries(live: &Live) -> Vec<Gallery> {
    match live.ask(live.running()[0], Request::GalleryList).await {
        Ok(Response::Galleries(galleries)) => galleries,
        other => panic!("galleries answered by {other:?}"),
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_manifest_is_refused_with_its_place_and_nothing_is_half_applied() {
    let live = Live::start("manifests", 1).await;
    let node = live.running()[0];
    let bank = Bank::new(harness::seed(), 2, 30);
    bank.submit(&live).await;
    let before = galleries(&live).await;
    let status = live.status(node).await.expect("a status");
    let good = String::from_utf8(Bank::new(harness::seed() + 1, 1, 30).flights[0].manifest.clone()).expect("text");

    let half = good.len() / 2;
    let segment = good[..half].rfind("'\r\n").expect("a segment") + 3;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("cut in the middle of a segment", good.as_bytes()[..segment + 5].to_vec()),
        ("cut between two segments", good.as_bytes()[..segment].to_vec()),
        ("without its end", good.split("UNT+").next().expect("a head").as_bytes().to_vec()),
        ("empty", Vec::new()),
        ("no manifest at all", b"hello, world".to_vec()),
        ("noise", (0..2_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        ("json with an unknown field", br#"{"schema": "tvs-manifest/1", "colour": 7}"#.to_vec()),
        ("json cut short", br#"{"schema": "tvs-manifest/1", "carrier": "EX", "#.to_vec()),
        ("a crew list", good.replace("BGM+745", "BGM+250").into_bytes()),
        ("another message", good.replace("PAXLST", "CUSRES").into_bytes()),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (case, bytes) in &cases {
        match live.submit(node, bytes).await {
            Err(Failure::Refused(refusal)) => p10_clear_refusals::check(case, &refusal, RefusalCode::BadValue, ""),
            other => panic!("{case}: {other:?}"),
        }
        let file = write(folder.path(), "bad", bytes);
        let mut arguments = vec!["manifest", "submit", &file];
        let connection = live.connection(node, "operator");
        arguments.extend(connection.iter().map(String::as_str));
        p10_clear_refusals::check_command(case, &live.tvs(&arguments), "");
    }
    // A cut is named with its line, before anything is sent.
    let file = write(folder.path(), "cut", &cases[0].1);
    p10_clear_refusals::check_command("check", &live.tvs(&["manifest", "check", &file]), "line ");
    assert_eq!(galleries(&live).await, before, "nothing is half-applied");
    let after = live.status(node).await.expect("a status");
    assert_eq!((after.journeys, after.shards, after.generation), (status.journeys, status.shards, status.generation));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_manifest_again_changes_nothing_whichever_node_gets_it() {
    let live = Live::start("manifests", 3).await;
    let bank = Bank::new(harness::seed(), 2, 50);
    bank.submit(&live).await;
    let before = galleries(&live).await;
    let capture = bank.capture(0, 1, 1, 1);
    let answer = live.gate(0).await.identify(capture.clone()).await.expect("an answer");
    for node in live.running() {
        for flight in &bank.flights {
            let submitted = live.submit(node, &flight.manifest).await.expect("taken");
            assert!(submitted.journeys[0].duplicate, "{submitted:?}");
        }
    }
    assert_eq!(galleries(&live).await, before);
    let again = live.gate(0).await.identify(capture).await.expect("an answer");
    assert_eq!((again.confirmed, again.gallery_version), (answer.confirmed, answer.gallery_version));
}
