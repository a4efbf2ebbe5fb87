//! P6, P13, R36, R116, R117: a journey is announced, built in its time, closed and searched no more, kept in part,
//! destroyed, and a line of it is left; on live nodes, by what operators type.

use std::path::PathBuf;

use cluster_config::decision::Directive;
use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::journey::{Ended, JourneyStatus};
use cluster_config::policy::{Policy, Retention};
use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::{Gallery, Request, Response};
use harness::level::wait_for;
use harness::live::Live;
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::Bank;
use node_link::GateClient;
use node_link::client::ClientError;
use node_population::{Population, TEMPLATE_DIMS};
use node_stage::flight::{Flight, Itinerary};

const DAY_S: i64 = 24 * 60 * 60;

/// Flights that leave in three days.
fn bank() -> Bank {
    let (seed, population) = (harness::seed(), Population::new(harness::seed(), TEMPLATE_DIMS));
    let departs_at_s = node_stage::clock::now().0 as i64 / 1_000 + 3 * DAY_S;
    let flight = |number: u32| {
        let (carrier, from, to) = ("ZT".to_owned(), "JFK".to_owned(), "VIE".to_owned());
        let (travellers_before, travellers) = (number * 1_000, 12);
        Flight::new(&population, &Itinerary { carrier, number, from, to, departs_at_s, travellers_before, travellers })
    };
    Bank::of(seed, vec![flight(201), flight(202)])
}

/// Runs `tvs gallery` with these words, and gives what it prints.
async fn gallery(live: &Live, words: &[&str]) -> String {
    let asked = live.connection(live.leader().await, "operator");
    let words: Vec<&str> = ["gallery"].iter().chain(words).copied().chain(asked.iter().map(String::as_str)).collect();
    let done = live.tvs(&words);
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{words:?}: {printed}{}", String::from_utf8_lossy(&done.stderr));
    printed
}

async fn shown(live: &Live, journey: JourneyId) -> Gallery {
    live.gallery(live.leader().await, journey).await.expect("a gallery")
}

async fn reaches(live: &Live, journey: JourneyId, status: JourneyStatus) {
    wait_for(&format!("{journey} is {}", status.as_str()), LEVEL_DEADLINE, async || {
        for node in live.running() {
            let gallery = live.gallery(node, journey).await.map_err(|error| error.to_string())?;
            if gallery.status != status {
                return Err(format!("{gallery:?}"));
            }
        }
        Ok(())
    })
    .await;
}

async fn is_refused(gates: &[GateClient], bank: &Bank, flight: usize) {
    for (number, gate) in (0..).zip(gates) {
        match gate.identify(bank.capture(flight, 0, 50 + number, 1)).await {
            Err(ClientError::Refused { refusal, .. }) => {
                assert_eq!(refusal.code, RefusalCode::NotOpen, "{refusal}");
                assert!(!refusal.place.is_empty() && !refusal.fix.to_string().is_empty(), "{refusal}");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn set_retention(live: &Live, change: impl Fn(Retention) -> Retention) {
    let leader = live.leader().await;
    let Ok(Response::Policy(policy)) = live.ask(leader, Request::PolicyShow).await else { panic!("no policy") };
    let retention = change(policy.retention.clone());
    let policy = Policy { version: policy.version + 1, retention, ..policy };
    live.ask(leader, Request::PolicySet(policy)).await.expect("the policy is set");
}

/// The files of a journey on all nodes whose names say that they are, or are not, what is kept of it.
fn files(live: &Live, journey: JourneyId, are_kept: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for node in live.cluster.ids() {
        let folder = live.cluster.node(node).expect("a node").data_dir.parent().expect("the folder of the node");
        harness::binary::visit(folder, &mut |path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let is_kept = name.starts_with(&format!("{journey}+kept+"));
            if name.starts_with(&format!("{journey}+")) && is_kept == are_kept {
                found.push(path.to_owned());
            }
        });
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_is_built_in_its_time_closed_kept_in_part_and_at_last_a_line() {
    let live = Live::start("life", 3).await;
    let bank = bank();
    let [first, second] = [0, 1].map(|flight| bank.flights[flight].journey);
    wait_for("the state knows the time", LEVEL_DEADLINE, async || {
        let status = live.status(live.leader().await).await.map_err(|error| error.to_string())?;
        if status.time.0 > 0 { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
    let mut gates = Vec::new();
    for nearest in 0..3 {
        gates.push(live.gate(nearest).await);
    }

    // Announced: its people are there, and no template.
    for flight in &bank.flights {
        let submitted = live.submit(NodeId(1), &flight.manifest).await.expect("submitted").journeys.remove(0);
        assert_eq!((submitted.status, submitted.templates, submitted.people), (JourneyStatus::Announced, 0, 12));
        assert_eq!(submitted.next.map(|next| next.status), Some(JourneyStatus::Building));
        reaches(&live, flight.journey, JourneyStatus::Announced).await;
    }
    is_refused(&gates, &bank, 0).await;
    let printed = gallery(&live, &["list"]).await;
    assert!(printed.contains("announced") && printed.contains("building 20"), "{printed}");

    // Built: the one because somebody wants it, the other because the policy says that it is time.
    gallery(&live, &["build", &first.to_string()]).await;
    reaches(&live, first, JourneyStatus::Ready).await;
    assert!(shown(&live, first).await.shards[0].rows > 0);
    assert_eq!(shown(&live, second).await.status, JourneyStatus::Announced);
    set_retention(&live, |retention| Retention { build_ahead_hours_max: 96, ..retention }).await;
    reaches(&live, second, JourneyStatus::Ready).await;
    let known = bank.flights[1].guests.iter().position(|guest| guest.known).expect("somebody has a photograph");
    let boarded = gates[0].board(bank.capture(1, known, 1, 1)).await.expect("an answer");
    assert_eq!(boarded.directive, Directive::Proceed);

    // Closed: nobody is searched, citizens are destroyed, and the others are kept on disks.
    gallery(&live, &["close", &second.to_string()]).await;
    reaches(&live, second, JourneyStatus::Closed).await;
    is_refused(&gates, &bank, 1).await;
    wait_for("every holder has given its receipt", LEVEL_DEADLINE, async || {
        let shard = shown(&live, second).await.shards.remove(0);
        let is_done = shard.holders.is_empty() && shard.receipts.len() == 3 && !shard.keepers.is_empty();
        if is_done { Ok(()) } else { Err(format!("{shard:?}")) }
    })
    .await;
    assert_eq!(files(&live, second, false), Vec::<PathBuf>::new());
    let keepers = shown(&live, second).await.shards[0].keepers.len();
    assert_eq!(files(&live, second, true).len(), 3 * keepers, "a segment and the halves of a key at each");
    let printed = gallery(&live, &["show", &second.to_string()]).await;
    assert!(printed.contains("closed") && printed.contains("purging 20"), "{printed}");

    // Destroyed before the policy's time, and then only a line is left, also where nobody has seen the receipts.
    gallery(&live, &["close", &second.to_string(), "--purge"]).await;
    reaches(&live, second, JourneyStatus::Purged).await;
    assert_eq!(files(&live, second, true), Vec::<PathBuf>::new());
    set_retention(&live, |retention| Retention { ledger_seal_after_minutes: 0, ..retention }).await;
    wait_for("a line is left", LEVEL_DEADLINE, async || {
        match live.ask(live.leader().await, Request::GalleryShow(second)).await {
            Ok(Response::Ended(Ended { people: 12, boarded: 1, receipts: 3, attested: 0, .. })) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let printed = gallery(&live, &["show", &second.to_string()]).await;
    assert!(printed.contains("12 people, of whom 1 boarded"), "{printed}");
    assert!(!gallery(&live, &["list"]).await.contains(&second.to_string()));
    is_refused(&gates, &bank, 1).await;
}
