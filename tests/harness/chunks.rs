//! A ledger that outgrows its state, on the real store of one node: records are sealed into a file, and the node starts
//! again on what is then on its disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::cluster::ClusterSettings;
use cluster_config::ids::{EncounterId, JourneyId, NodeId, UnixMs};
use cluster_config::journey::JourneyPlan;
use cluster_config::limits::LEDGER_BATCH_RECORDS_MAX;
use cluster_config::member::Member;
use cluster_config::wire::peer::RaftCall;
use coordinator::{Coordinator, Options, Transport, TransportError, Watchlist, upkeep};
use coordinator_core::ledger::CHUNK_RECORDS;
use coordinator_core::{Command, Record, RecordOutcome, journeys};
use futures::future::BoxFuture;

/// The node.
const NODE: NodeId = NodeId(1);

/// When it begins, by the wall clock.
const BEGIN_MS: u64 = 1_795_490_000_000;

/// Longest wait for anything.
const WAIT: Duration = Duration::from_secs(60);

/// There is nobody else.
struct Nobody;

impl Transport for Nobody {
    fn call(
        &self,
        target: NodeId,
        _: &str,
        _: RaftCall,
        _: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>> {
        Box::pin(async move { Err(TransportError::Unreachable(target)) })
    }
}

/// Fills a chunk, seals it, starts the node again, and says what is wrong with the file.
///
/// # Panics
/// Where the node does not start or does not take a command.
pub fn run() -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(WAIT, sealed_and_started_again()).await.expect("in time") })
}

async fn sealed_and_started_again() -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(AtomicU64::new(BEGIN_MS));
    let node = start(folder.path(), &clock);
    let member = Member { id: NODE, address: "127.0.0.1:7001".to_owned(), zone: "a".parse().expect("a zone") };
    node.initialise(&[member]).await.expect("founded");
    let plan = plan();
    propose(&node, journeys::Command::Open(plan.clone())).await;
    let records: Vec<Record> = (0..CHUNK_RECORDS as u128).map(|number| record(plan.id, number)).collect();
    for batch in records.chunks(LEDGER_BATCH_RECORDS_MAX) {
        node.record_batch(batch.to_vec()).await.expect("recorded");
    }
    upkeep::round(&node, Some(node.now())).await.expect("the chunk is sealed");
    node.make_snapshot().await.expect("a snapshot");
    node.shutdown().await;
    drop(node);
    let node = start(folder.path(), &clock);
    let line = node.with_state(|state| state.ledger().line(0).copied());
    let Some(line) = line else { return vec!["P13: a chunk that is full is not sealed".to_owned()] };
    let found = node.chunks().records(0, &line);
    let again = again(&node, records[7].clone()).await;
    node.shutdown().await;
    if again != RecordOutcome::Sealed(7) {
        return vec![format!("P12: a retry of a record that is in a file came to {again:?}")];
    }
    match found {
        Ok(Some(found)) if found == records => Vec::new(),
        Ok(Some(_)) => vec!["P1: the file of a sealed chunk has other records".to_owned()],
        Ok(None) => vec!["P1: a sealed chunk of the ledger has no file".to_owned()],
        Err(error) => vec![format!("P13: {error}")],
    }
}

/// What becomes of a record that is handed in once more.
async fn again(node: &Coordinator, record: Record) -> RecordOutcome {
    loop {
        match node.record_batch(vec![record.clone()]).await {
            Ok(mut outcomes) => return outcomes.remove(0),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

fn start(folder: &std::path::Path, clock: &Arc<AtomicU64>) -> Coordinator {
    let clock = clock.clone();
    let options = Options {
        node_id: NODE,
        data_dir: folder.to_owned(),
        settings: ClusterSettings {
            name: "chunks".to_owned(),
            model: "synthetic-1".parse().expect("a model"),
            template_dims: 512,
            heartbeat_ms: 25,
            election_ms_min: 100,
            election_ms_max: 200,
            members: Vec::new(),
        },
        now: Arc::new(move || UnixMs(clock.load(Ordering::SeqCst))),
        watch: Watchlist::new(Arc::new(|reason| panic!("fault: {reason}"))),
    };
    Coordinator::start(options, Arc::new(Nobody)).expect("the node starts")
}

async fn propose(node: &Coordinator, command: impl Into<Command>) {
    let command = command.into();
    while node.propose(Actor::node(NODE), command.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn plan() -> JourneyPlan {
    JourneyPlan {
        id: "AA100-20261124-JFK".parse().expect("a journey"),
        carrier: "AA".to_owned(),
        number: "100".to_owned(),
        departure_port: "JFK".parse().expect("a port"),
        arrival_port: "LHR".parse().expect("a port"),
        departs_at: UnixMs(BEGIN_MS),
        people: 300,
        parts: 1,
        manifest: Default::default(),
        model: "synthetic-1".parse().expect("a model"),
    }
}

fn record(journey: JourneyId, number: u128) -> Record {
    let device = "JFK-T4-B32-1".parse().expect("a device");
    Record::waiting(EncounterId(number + 1), journey, device, UnixMs(BEGIN_MS))
}
