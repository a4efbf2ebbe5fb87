//! P1, P4, P10, P12, P14: once each, and all or nothing. Whoever repeats an encounter's id is told nothing, nobody
//! boards twice, a file of several journeys is taken whole, a node that was removed lets nobody through and ends, and a
//! node one of whose loops has ended does not go on without it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::{Directive, Reason, Recording};
use cluster_config::ids::{ContentHash, NodeId, SubjectId, UnixMs};
use cluster_config::journey::Listing;
use cluster_config::person::Person;
use cluster_config::policy::Scope;
use cluster_config::wire::gate::{Answer, Capture};
use cluster_config::wire::operator::{Request, Response};
use cluster_config::wire::{Refusal, RefusalCode};
use harness::invariants::p10_clear_refusals;
use harness::level::wait_for;
use harness::live::Live;
use harness::planted;
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_core::roster::{self, Enrolled, Part, People, Question};
use node_intake::MessageKind;
use node_link::GateClient;
use node_link::client::ClientError;
use node_stage::Error;

async fn boards(gate: &GateClient, capture: Capture) -> Answer {
    gate.board(capture).await.expect("an answer")
}

async fn refused(gate: &GateClient, capture: Capture) -> Refusal {
    match gate.board(capture).await {
        Err(ClientError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The first guests whom a gate lets through, in scope or out of it.
async fn first_through(live: &Live, bank: &Bank, in_scope: bool) -> usize {
    let gate = live.gate(0).await;
    for (guest, known) in bank.flights[0].guests.iter().enumerate() {
        if known.known && known.in_scope == in_scope {
            let answer = gate.identify(bank.capture(0, guest, 1, 1)).await.expect("an answer");
            if answer.directive == Directive::Proceed {
                return guest;
            }
        }
    }
    panic!("nobody is let through")
}

/// F2 and F8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_entitles_nobody_and_people_out_of_scope_board_once() {
    let live = Live::start("once", 3).await;
    let bank = Bank::new(harness::seed(), 2, 60);
    workload::submit(&live, &bank).await;
    for in_scope in [true, false] {
        let guest = first_through(&live, &bank, in_scope).await;
        let capture = bank.capture(0, guest, 1, 1);
        let gate = live.gate(0).await;
        let first = boards(&gate, capture.clone()).await;
        assert_eq!((first.directive, first.recording), (Directive::Proceed, Recording::Committed));
        let retry = boards(&gate, capture.clone()).await;
        assert_eq!((retry.directive, retry.confirmed), (first.directive, first.confirmed), "a retry");

        let stranger = Capture { encounter: capture.encounter, ..bank.stranger(0, 7) };
        let elsewhere = Capture { journey: bank.flights[1].journey, ..capture.clone() };
        let nowhere = Capture { journey: "ZZ9-20270101-JFK".parse().expect("an id"), ..capture.clone() };
        let again = Capture { attempt: 2, ..capture.clone() };
        for node in live.running() {
            let other = live.gate_at(node).await;
            for (case, gate, capture) in [
                ("another gate", &other, capture.clone()),
                ("a stranger's picture", &gate, stranger.clone()),
                ("another journey", &gate, elsewhere.clone()),
                ("an unknown journey", &gate, nowhere.clone()),
                ("another attempt", &gate, again.clone()),
            ] {
                let refusal = refused(gate, capture).await;
                p10_clear_refusals::check(case, &refusal, RefusalCode::Conflict, "capture.encounter");
            }
        }
        for number in [2, 3] {
            let second = boards(&live.gate(number as usize).await, bank.capture(0, guest, number, 1)).await;
            let told = (second.directive, second.reason, second.confirmed);
            assert_eq!(told, (Directive::Wait, Reason::AlreadyBoarded, None), "in scope: {in_scope}");
        }
    }
    let gallery = live.gallery(NodeId(1), bank.flights[0].journey).await.expect("a gallery");
    assert_eq!(gallery.boarded, 2);
}

/// F13: the journeys of a file are opened side by side; before, those whose turn came first stayed open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_one_journey_that_is_refused_opens_none_of_the_others() {
    let live = Live::start("once", 3).await;
    let closed = Bank::new(harness::seed(), 1, 10);
    workload::submit(&live, &closed).await;
    live.ask(NodeId(1), Request::CloseJourney { journey: closed.flights[0].journey, purge: true })
        .await
        .expect("closed");
    for round in 0..8 {
        let others = Bank::numbered(harness::seed(), 10 + 10 * round, 4, 10);
        let mut file = Vec::new();
        for flight in others.flights[..2].iter().chain(&closed.flights).chain(&others.flights[2..]) {
            file.extend_from_slice(&flight.manifest);
        }
        let node = NodeId(1 + u64::from(round) % 3);
        match live.submit(node, &file).await {
            Err(Error::Refused(refusal)) => {
                p10_clear_refusals::check("one is closed", &refusal, RefusalCode::NotOpen, "journey");
            }
            other => panic!("{other:?}"),
        }
        let Ok(Response::Galleries(galleries)) = live.ask(node, Request::GalleryList).await else { panic!("a list") };
        assert_eq!(galleries.len(), 1, "half of a file is open in round {round}");
    }
    let others = Bank::numbered(harness::seed(), 500, 4, 10);
    let file: Vec<u8> = others.flights.iter().flat_map(|flight| flight.manifest.clone()).collect();
    let submitted = live.submit(NodeId(2), &file).await.expect("all of it");
    assert_eq!((submitted.journeys.len(), submitted.unbuilt.len()), (4, 0), "{submitted:?}");
}

/// F5: it went on, and let a traveller through who had been taken off the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_lets_nobody_through_and_ends_with_a_word() {
    let mut live = Live::start("once", 3).await;
    let bank = Bank::new(harness::seed(), 1, 40);
    workload::submit(&live, &bank).await;
    live.replicated().await;
    let guest = first_through(&live, &bank, true).await;
    let removed = live.running().into_iter().find(|node| *node != NodeId(1)).expect("another node");
    let (left, gate) = (live.running().into_iter().find(|node| *node != removed), live.gate_at(removed).await);
    let left = left.expect("a node");
    live.ask(left, Request::RemoveMember { node: removed, i_know: false }).await.expect("removed");
    let number = bank.flights[0].guests[guest].person.manifest_ordinal;
    let cancellation = bank.flights[0].message(MessageKind::ReservationCancellation, number..=number);
    live.submit(left, &cancellation).await.expect("taken off");
    let told = gate.board(bank.capture(0, guest, 1, 1)).await;
    let through = told.as_ref().is_ok_and(|answer| answer.directive == Directive::Proceed);
    assert!(!through, "{told:?}");
    let status = wait_for("the removed node ends", LEVEL_DEADLINE, async || {
        live.cluster.ended(removed).expect("a node").ok_or_else(|| "it runs".to_owned())
    })
    .await;
    assert!(!status.success(), "{status}");
    let log = std::fs::read_to_string(&live.cluster.node(removed).expect("a node").log).expect("its log");
    let word = log.lines().rev().find(|line| line.starts_with("tvs: ")).expect("a word");
    assert!(word.contains("was removed from the cluster") && word.contains("under a new id"), "{word}");
    live.cluster.forget(removed).expect("a node");
    assert_eq!(live.ledger(left).await.expect("a ledger").iter().filter(|record| record.crossing).count(), 0);
}

/// F12, with a panic that is planted in the loop that reports to the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_one_of_whose_loops_panics_ends_with_its_name() {
    let said = planted::end_of_node(Canary::LoopPanics).await.expect("its process ends, and not as if all were well");
    assert!(said.contains("the reporting loop has panicked"), "{said}");
}

/// F20: a cancellation costs as much more as it names people. One that looks at everybody of the part for each of
/// 60,000 names, all of them namesakes of everybody there, takes a minute.
#[test]
fn a_cancellation_is_linear_in_its_names() {
    let namesake = |number: u32| Person {
        manifest_ordinal: number,
        given_names: "ANA".to_owned(),
        ..node_population::people::person(number, number)
    };
    let enrolled = |number: u32| Enrolled {
        subject: SubjectId(number.into()),
        person: namesake(number),
        in_scope: true,
        is_unsure: false,
    };
    let people = People { people: (1..=8_000).map(enrolled).collect(), ..People::default() };
    let (parts, scope, boarded) = ([Part::Known(people)], Scope::default(), BTreeMap::new());
    let took = |count: u32| {
        let cancelled: Vec<Person> = (1..=count).map(|number| namesake(20_000 + number)).collect();
        let question = Question {
            part: 0,
            parts: &parts,
            manifest: ContentHash([9; 32]),
            people: &cancelled,
            listing: Listing::Removed,
            boarded: &boarded,
            has_lost: false,
            has_boarded: false,
            has_unnamed_boarded: false,
            scope: &scope,
            departs_at: UnixMs(1_800_000_000_000),
            canaries: Canaries::default(),
        };
        let begun = Instant::now();
        let next = roster::next(&question, &mut || 0).expect("it is followed");
        assert!(next.people.len() + next.left.len() == 8_000);
        begun.elapsed()
    };
    let (few, many) = (took(6_000), took(60_000));
    assert!(many < 40 * few + Duration::from_millis(500), "{few:?} for 6,000, {many:?} for 60,000");
}
