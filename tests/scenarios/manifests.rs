//! R34, R35; P10: a manifest is taken whole or not at all, and the same one again changes nothing.

use std::path::Path;

use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::NodeId;
use cluster_config::wire::gate::Answer;
use cluster_config::wire::operator::{Gallery, Request, Response};
use cluster_config::wire::{Refusal, RefusalCode};
use harness::emulator::Party;
use harness::invariants::{p5_same_answer, p10_clear_refusals};
use harness::level::wait_for;
use harness::live::{Live, Setting};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_intake::{MessageKind, compose, parse};
use node_stage::Error;

async fn galleries(live: &Live) -> Vec<Gallery> {
    match live.ask(live.running()[0], Request::GalleryList).await {
        Ok(Response::Galleries(galleries)) => galleries,
        other => panic!("galleries answered by {other:?}"),
    }
}

/// What the refusal of a manifest says.
async fn refused(live: &Live, node: NodeId, manifest: &[u8]) -> Refusal {
    match live.submit(node, manifest).await {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("a manifest that has to be refused: {other:?}"),
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
    workload::submit(&live, &bank).await;
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
        p10_clear_refusals::check(case, &refused(&live, node, bytes).await, RefusalCode::BadValue, "");
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
    workload::submit(&live, &bank).await;
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

/// What every node tells of a guest of the first flight, which has to be the same.
async fn told(live: &Live, bank: &Bank, guest: usize) -> Answer {
    let mut answers = Vec::new();
    for node in live.running() {
        let answer = live.gate_at(node).await.identify(bank.capture(0, guest, 9, 1)).await.expect("an answer");
        answers.push((node, answer));
    }
    p5_same_answer::check(&answers);
    answers.remove(0).1
}

/// R43, P1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_taken_off_is_not_found_and_who_comes_back_is_the_same_person() {
    let live = Live::start("manifests", 3).await;
    let bank = Bank::new(harness::seed(), 1, 40);
    workload::submit(&live, &bank).await;
    let nodes = live.running();
    let flight = &bank.flights[0];
    let mut sure = Vec::new();
    for guest in (0..40).filter(|guest| flight.guests[*guest].known && flight.guests[*guest].in_scope) {
        sure.extend(told(&live, &bank, guest).await.confirmed.map(|confirmed| (guest, confirmed)));
    }
    let [(boards, boarder), (goes, goer), (stays, stayer)] = sure[..3] else { panic!("three guests are told apart") };
    assert_eq!(
        live.gate(0).await.board(bank.capture(0, boards, 1, 1)).await.expect("an answer").reason,
        Reason::Matched
    );

    let off = boarder.manifest_ordinal..=goer.manifest_ordinal;
    let left = 40 - off.clone().count() as u32;
    let cancellation = flight.message(MessageKind::ReservationCancellation, off.clone());
    let submitted = live.submit(nodes[1], &cancellation).await.expect("taken");
    assert_eq!((submitted.journeys[0].people, submitted.journeys[0].duplicate), (left, false), "{submitted:?}");
    live.replicated().await;
    let again = live.submit(nodes[2], &cancellation).await.expect("taken");
    assert_eq!((again.journeys[0].people, again.journeys[0].duplicate), (left, true), "{again:?}");
    for guest in [boards, goes] {
        let told = told(&live, &bank, guest).await;
        assert!(told.confirmed.is_none() && told.directive != Directive::Proceed, "{told:?}");
    }
    assert_eq!(told(&live, &bank, stays).await.confirmed, Some(stayer));

    // They come back: by a change, and by a whole list after one without them.
    let turns = [
        vec![flight.message(MessageKind::PassengerChange, off)],
        vec![flight.message(MessageKind::PassengerList, stayer.manifest_ordinal..), flight.manifest.clone()],
    ];
    for (number, manifests) in (2..).zip(turns) {
        for manifest in &manifests {
            live.submit(nodes[0], manifest).await.expect("taken");
        }
        live.replicated().await;
        assert_eq!(told(&live, &bank, goes).await.confirmed, Some(goer));
        let second = live.gate(1).await.board(bank.capture(0, boards, number, 1)).await.expect("an answer");
        assert_eq!((second.reason, second.confirmed), (Reason::AlreadyBoarded, None), "{second:?}");
        assert_eq!(told(&live, &bank, stays).await.confirmed, Some(stayer));
    }
}

/// R43, P10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_cannot_be_followed_is_refused_and_changes_nothing() {
    let live = Live::start("manifests", 1).await;
    let node = live.running()[0];
    let bank = Bank::new(harness::seed(), 1, 30);
    workload::submit(&live, &bank).await;
    let before = galleries(&live).await;
    let list = &bank.flights[0].manifest;
    let unknown = Bank::numbered(harness::seed(), 2, 1, 30);
    let cancellation = unknown.flights[0].message(MessageKind::ReservationCancellation, ..=1);
    let refusal = refused(&live, node, &cancellation).await;
    let journey = unknown.flights[0].journey.to_string();
    p10_clear_refusals::check("no such journey", &refusal, RefusalCode::NotFound, &journey);
    assert_eq!(galleries(&live).await, before, "no journey is opened by it");

    // Two of one name, and no document by which to tell them: nobody is taken off.
    let text = String::from_utf8(list.clone()).expect("text");
    let parsed = parse(list).expect("a manifest").messages.remove(0).manifest;
    let [first, second] = [0, 1].map(|index| parsed.travellers[index].family_name.clone());
    let namesakes = text.replace(&second, &first).into_bytes();
    live.submit(node, &namesakes).await.expect("taken");
    let before = galleries(&live).await;
    let mut ambiguous = parsed.clone();
    ambiguous.kind = MessageKind::PartyReduction;
    ambiguous.travellers.truncate(1);
    ambiguous.travellers[0].documents.clear();
    ambiguous.travellers[0].date_of_birth = None;
    let refusal = refused(&live, node, &compose(&ambiguous)).await;
    p10_clear_refusals::check("namesakes", &refusal, RefusalCode::BadValue, "person 1");
    assert_eq!(galleries(&live).await, before, "nothing is half-applied");
    ambiguous.travellers[0].date_of_birth = parsed.travellers[0].date_of_birth;
    let submitted = live.submit(node, &compose(&ambiguous)).await.expect("taken");
    assert_eq!(submitted.journeys[0].people, 29, "{submitted:?}");
}

/// R43, P10: a node that lags behind must not say that a journey is unknown: the sender would ask nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_at_a_node_that_lags_behind_is_not_refused_for_good() {
    let live = Live::start_as(Setting { network: true, ..Setting::new("manifests", 3) }).await;
    let leader = live.leader().await;
    let deaf = live.running().into_iter().find(|node| *node != leader).expect("another node");
    for node in live.running().into_iter().filter(|node| *node != deaf) {
        live.emulator().cut(Party::Node(node), Party::Node(deaf));
    }
    let bank = Bank::new(harness::seed(), 1, 20);
    let flight = &bank.flights[0];
    live.submit(leader, &flight.manifest).await.expect("taken by the others");
    let cancellation = flight.message(MessageKind::ReservationCancellation, ..=1);
    let refusal = refused(&live, deaf, &cancellation).await;
    assert!(refusal.code.retryable(), "{refusal}");
    live.emulator().heal();
    wait_for("the node has caught up", LEVEL_DEADLINE, async || {
        let submitted = live.submit(deaf, &cancellation).await.map_err(|failure| failure.to_string())?;
        assert_eq!(submitted.journeys[0].people, 19, "{submitted:?}");
        Ok(())
    })
    .await;
}
