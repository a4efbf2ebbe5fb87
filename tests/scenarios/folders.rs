//! P13: every release opens the data folders of the releases before it. Of each version one is kept in
//! `tests/fixtures/folders`, packed, with what stood in it in words.
//!
//! `TVS_KEEP=1` makes the folder of this version, which is done when a release is made. A kept folder is never made
//! anew after that: a release that cannot open it cannot be put in the place of the release that wrote it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cluster_config::decision::{Directive, Reason};
use cluster_config::file::Configuration;
use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::journey::JourneyStatus;
use cluster_config::policy::Policy;
use cluster_config::versions::Version;
use cluster_config::wire::operator::{Request, Response};
use coordinator::{Coordinator, Options, Transport, TransportError, Watchlist};
use futures::future::BoxFuture;
use harness::binary;
use harness::fault::Fault;
use harness::live::{Live, Setting};
use harness::target::Target;
use harness::workload::Bank;
use node_population::{Population, TEMPLATE_DIMS};
use node_stage::flight::{Flight, Itinerary};

/// The one node of the clusters whose folders are kept.
const NODE: NodeId = NodeId(1);

/// Whose photographs are in its holdings.
const SEED: u64 = 1;

/// When its journeys leave, seconds since 1970: nothing happens to them by time while anybody opens the folders.
const DEPARTS_AT_S: i64 = 4_000_000_000;

/// People on its two journeys. The first stays open, the second is closed and purged.
const PEOPLE: [u32; 2] = [16, 6];

/// Those of the first journey who have boarded, some before the snapshot and some after it.
const BOARDED: usize = 12;

fn folders() -> PathBuf {
    binary::workspace().join("tests/fixtures/folders")
}

/// What travels in the folder: the same whenever it is asked for.
fn bank() -> Bank {
    let population = Population::new(SEED, TEMPLATE_DIMS);
    let flights = [101, 102].into_iter().zip(PEOPLE).map(|(number, travellers)| {
        let (carrier, from, to) = ("ZT".to_owned(), "JFK".to_owned(), "VIE".to_owned());
        let travellers_before = number * 1_000;
        let departs_at_s = DEPARTS_AT_S;
        Flight::new(&population, &Itinerary { carrier, number, from, to, departs_at_s, travellers_before, travellers })
    });
    Bank::of(SEED, flights.collect())
}

fn setting() -> Setting {
    Setting { seed: SEED, ..Setting::new("folders", 1) }
}

/// Runs `tar` with these words, to its end.
fn tar(words: &[&str], folder: &Path) {
    let output = Command::new("tar").args(words).current_dir(folder).output().expect("tar is installed");
    assert!(output.status.success(), "tar {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Boards guests of the bank's first journey, or of another, and gives how many were let through.
async fn board(live: &Live, bank: &Bank, flight: usize, guests: std::ops::Range<usize>) -> usize {
    let gate = live.gate_at(NODE).await;
    let mut proceeded = 0;
    for guest in guests {
        let answer = gate.board(bank.capture(flight, guest, 1, 1)).await.expect("an answer");
        proceeded += usize::from(answer.directive == Directive::Proceed);
    }
    proceeded
}

/// What stands in the folder, in words that no release changes.
async fn facts(live: &Live) -> String {
    let mut facts = String::new();
    let mut say = |line: String| facts.extend([line.as_str(), "\n"]);
    let status = live.status(NODE).await.expect("a status");
    for member in &status.members {
        say(format!("member {} in zone {}, voter {}", member.member.id, member.member.zone, member.voter));
    }
    let Ok(Response::Policy(policy)) = live.ask(NODE, Request::PolicyShow).await else { panic!("no policy") };
    say(format!("policy version {}, margin {}", policy.version, policy.matching.ambiguity_margin));
    let Ok(Response::Galleries(galleries)) = live.ask(NODE, Request::GalleryList).await else { panic!("no galleries") };
    for gallery in &galleries {
        let (journey, status) = (gallery.journey, gallery.status);
        say(format!("journey {journey}: {status:?}, {} people, {} boarded", gallery.people, gallery.boarded));
        for shard in &gallery.shards {
            let (version, epoch, hash) = (shard.version, shard.epoch, shard.hash);
            say(format!("shard {}: version {version}, epoch {epoch}, {hash}", shard.shard));
            say(format!("  {} people, {} templates, {} without", shard.people, shard.rows, shard.without_photo));
            let receipts = shard.receipts.iter().map(|receipt| receipt.node).collect::<Vec<_>>();
            say(format!("  holders {:?}, receipts of {receipts:?}", shard.holders));
        }
    }
    for record in live.ledger(NODE).await.expect("a ledger") {
        let who = (record.subject, record.manifest_ordinal, record.crossing);
        let place = (record.position, record.encounter, record.journey, record.device);
        let said = (record.directive, record.reason, record.epoch, record.gallery_version);
        say(format!("record {place:?} at {}: {said:?} {who:?}", record.at.0));
    }
    facts
}

/// A network without anybody.
struct Nowhere;

impl Transport for Nowhere {
    fn call(
        &self,
        target: NodeId,
        _: &str,
        _: cluster_config::wire::peer::RaftCall,
        _: Vec<u8>,
        _: std::time::Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>> {
        Box::pin(async move { Err(TransportError::Unreachable(target)) })
    }
}

/// Makes a snapshot in the folder of a node that does not run: by itself a node makes its first one after 20,000
/// entries.
async fn snapshot(live: &Live) {
    let data_dir = live.cluster.node(NODE).expect("the node").data_dir.join("raft");
    let configuration =
        Configuration::load(&live.cluster.node(NODE).expect("the node").config).expect("a configuration");
    let (settings, now) = (configuration.cluster, Arc::new(|| UnixMs(0)));
    let watch = Watchlist::new(Arc::new(|reason| panic!("{reason}")));
    let options = Options { node_id: NODE, data_dir, settings, now, watch };
    let coordinator = Coordinator::start(options, Arc::new(Nowhere)).expect("it opens");
    harness::level::wait_for("everything applied", harness::target::LEVEL_DEADLINE, async || {
        coordinator.read_barrier().await.map_err(|error| error.to_string())
    })
    .await;
    coordinator.make_snapshot().await.expect("a snapshot");
    coordinator.shutdown().await;
}

/// Makes the folder of this version.
async fn keep() {
    let mut live = Live::start_as(setting()).await;
    let bank = bank();
    for flight in &bank.flights {
        live.submit(NODE, &flight.manifest).await.expect("submitted");
        // They depart in the year 2096.
        live.ask(NODE, Request::BuildJourney(flight.journey)).await.expect("it is to be built");
        harness::level::wait_for("it is built", harness::target::LEVEL_DEADLINE, async || {
            let gallery = live.gallery(NODE, flight.journey).await.map_err(|error| error.to_string())?;
            if gallery.status == JourneyStatus::Ready { Ok(()) } else { Err(format!("{gallery:?}")) }
        })
        .await;
    }
    let policy = Policy { version: Policy::default().version + 1, ..Policy::default() };
    live.ask(NODE, Request::PolicySet(policy)).await.expect("a policy");
    board(&live, &bank, 0, 0..BOARDED / 2).await;
    board(&live, &bank, 1, 0..PEOPLE[1] as usize).await;
    live.strike(Fault::Stop(NODE)).await;
    snapshot(&live).await;
    live.strike(Fault::Start(NODE)).await;
    live.ready(1).await;
    live.ask(NODE, Request::CloseJourney { journey: bank.flights[1].journey, purge: true }).await.expect("closed");
    board(&live, &bank, 0, BOARDED / 2..BOARDED).await;
    live.replicated().await;
    harness::level::wait_for("the purge ends", harness::target::LEVEL_DEADLINE, async || {
        let gallery = live.gallery(NODE, bank.flights[1].journey).await.map_err(|error| error.to_string())?;
        if gallery.shards.iter().all(|shard| shard.holders.is_empty()) { Ok(()) } else { Err(format!("{gallery:?}")) }
    })
    .await;
    let facts = facts(&live).await;
    live.strike(Fault::Stop(NODE)).await;
    let version = Version::CURRENT;
    let packed = folders().join(format!("{version}.tar.gz"));
    assert!(!packed.exists(), "{} is kept; remove it first if its version was never released", packed.display());
    let packed = packed.display().to_string();
    let data_dir = &live.cluster.node(NODE).expect("the node").data_dir;
    std::fs::create_dir_all(folders()).expect("a folder");
    // What each start makes anew is left out. The key that wraps those of the galleries lies beside the data.
    let place = data_dir.parent().expect("a folder around it");
    tar(&["--exclude=data/lock", "--exclude=data/raft/log/database", "-czf", &packed, "data", "data.keys"], place);
    std::fs::write(folders().join(format!("{version}.txt")), facts).expect("written");
}

/// Opens a copy of a kept folder with a binary, and looks at everything in it.
async fn open(version: Version, tvs: PathBuf) {
    let mut live = Live::prepare(&setting());
    let node = live.cluster.node_mut(NODE).expect("the node");
    node.binary = tvs;
    let data_dir = node.data_dir.clone();
    let packed = folders().join(format!("{version}.tar.gz"));
    tar(&["-xzf", &packed.display().to_string()], data_dir.parent().expect("a folder around it"));
    assert!(data_dir.join("raft/snapshots").read_dir().expect("a folder").next().is_some(), "no snapshot is kept");
    // The start reads the whole log and follows the chain of its hashes.
    live.strike(Fault::Start(NODE)).await;
    live.ready(1).await;
    live.replicated().await;
    let wanted = std::fs::read_to_string(folders().join(format!("{version}.txt"))).expect("what stands in it");
    assert_eq!(facts(&live).await, wanted, "the folder of version {version}");

    // Galleries are searched as they were kept, and what was recorded counts.
    let bank = bank();
    let gate = live.gate_at(NODE).await;
    let mut found = 0;
    for (number, guest) in bank.flights[0].guests.iter().enumerate() {
        let answer = gate.identify(bank.capture(0, number, 9, 1)).await.expect("an answer");
        let ordinal = answer.confirmed.map(|who| who.manifest_ordinal);
        assert!(ordinal.is_none_or(|ordinal| ordinal == guest.person.manifest_ordinal), "{answer:?}");
        found += usize::from(ordinal.is_some());
    }
    assert!(found * 2 > bank.flights[0].guests.len(), "only {found} are found");
    let before = live.ledger(NODE).await.expect("a ledger");
    let boarded = before.iter().find(|record| record.crossing).expect("a crossing");
    let ordinal = boarded.manifest_ordinal.expect("a number");
    let again = gate.board(bank.capture(0, ordinal as usize - 1, 10, 1)).await.expect("an answer");
    assert_ne!(again.directive, Directive::Proceed, "somebody boards twice: {:?} ({:?})", again.reason, ordinal);
    assert_eq!(again.reason, Reason::AlreadyBoarded);
    let more = board(&live, &bank, 0, BOARDED..PEOPLE[0] as usize).await;
    assert!(more > 0, "nobody else can board");
    let after = live.ledger(NODE).await.expect("a ledger");
    assert_eq!(after[..before.len()], before, "what was written stays");

    // What is written now is read again together with what was kept.
    live.strike(Fault::Kill(NODE)).await;
    live.strike(Fault::Start(NODE)).await;
    live.ready(1).await;
    assert_eq!(live.ledger(NODE).await.expect("a ledger"), after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kept_folder_opens_in_this_release_and_in_the_next() {
    if std::env::var_os("TVS_KEEP").is_some() {
        keep().await;
    }
    for version in Version::understood() {
        for tvs in [binary::tvs(), binary::tvs_next()] {
            open(version, tvs).await;
        }
    }
}
