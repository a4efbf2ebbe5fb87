//! A group of coordinators in one process, over a network made of function calls that can be cut.

#![allow(dead_code, reason = "each test and bench uses its own part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::cluster::ClusterSettings;
use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, NodeId, SubjectId, UnixMs};
use cluster_config::journey::JourneyPlan;
use cluster_config::member::Member;
use cluster_config::wire::peer::RaftCall;
use coordinator::{Coordinator, Options, ProposeError, Transport, TransportError, Watchlist};
use coordinator_core::{Command, Outcome, Record, journeys};
use futures::future::BoxFuture;

/// Longest wait for anything; the machine may be busy with other builds.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Network {
    nodes: Mutex<BTreeMap<NodeId, Coordinator>>,
    cut: Mutex<BTreeSet<NodeId>>,
    /// Length of each message that was part of a snapshot, bytes.
    pub snapshot_messages: Mutex<Vec<usize>>,
}

struct Link {
    network: Arc<Network>,
    from: NodeId,
}

impl Network {
    pub fn cut(&self, node: NodeId) {
        self.cut.lock().expect("lock").insert(node);
    }

    pub fn heal(&self) {
        self.cut.lock().expect("lock").clear();
    }
}

impl Transport for Link {
    fn call(
        &self,
        target: NodeId,
        _address: &str,
        call: RaftCall,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>> {
        if call == RaftCall::Snapshot {
            self.network.snapshot_messages.lock().expect("lock").push(body.len());
        }
        let cut = self.network.cut.lock().expect("lock").clone();
        let node = self.network.nodes.lock().expect("lock").get(&target).cloned();
        let from = self.from;
        let reachable = !cut.contains(&target) && !cut.contains(&self.from);
        Box::pin(async move {
            let node = node.filter(|_| reachable).ok_or(TransportError::Unreachable(target))?;
            match tokio::time::timeout(timeout, node.handle(from, call, &body)).await {
                Err(_) => Err(TransportError::Timeout(target)),
                Ok(Err(error)) => Err(TransportError::Refused(target, error.to_string())),
                Ok(Ok(answer)) => Ok(answer),
            }
        })
    }
}

pub struct Group {
    folder: tempfile::TempDir,
    pub network: Arc<Network>,
    pub settings: ClusterSettings,
    /// The wall clock of all nodes, milliseconds.
    pub clock: Arc<AtomicU64>,
}

pub fn member(id: u64) -> Member {
    Member {
        id: NodeId(id),
        address: format!("127.0.0.1:{}", 7_000 + id),
        zone: format!("zone-{id}").parse().expect("zone"),
    }
}

impl Group {
    /// Elections take 300 to 600 ms, so that a busy machine is not taken for a dead leader.
    pub fn new() -> Self {
        Self::with_timing(50, 300, 600)
    }

    pub fn with_timing(heartbeat_ms: u64, election_ms_min: u64, election_ms_max: u64) -> Self {
        Self {
            folder: tempfile::tempdir().expect("folder"),
            network: Arc::default(),
            clock: Arc::new(AtomicU64::new(1_795_490_000_000)),
            settings: ClusterSettings {
                name: "test".to_owned(),
                model: "test-model".parse().expect("model"),
                template_dims: 512,
                heartbeat_ms,
                election_ms_min,
                election_ms_max,
                members: Vec::new(),
            },
        }
    }

    pub fn start(&self, id: u64) -> Coordinator {
        let clock = self.clock.clone();
        let options = Options {
            node_id: NodeId(id),
            data_dir: self.folder.path().join(id.to_string()),
            settings: self.settings.clone(),
            now: Arc::new(move || UnixMs(clock.load(Ordering::SeqCst))),
            watch: Watchlist::new(Arc::new(|reason| panic!("fault: {reason}"))),
        };
        let link = Link { network: self.network.clone(), from: NodeId(id) };
        let node = Coordinator::start(options, Arc::new(link)).expect("start");
        let mut nodes = self.network.nodes.lock().expect("lock");
        nodes.insert(NodeId(id), node.clone());
        node
    }

    /// The folder of a node's log.
    pub fn data_dir(&self, id: u64) -> std::path::PathBuf {
        self.folder.path().join(id.to_string())
    }

    /// Starts nodes 1 to `count`, founds the group, and waits for its first leader.
    pub async fn found(&self, count: u64) -> Vec<Coordinator> {
        let nodes: Vec<Coordinator> = (1..=count).map(|id| self.start(id)).collect();
        let members: Vec<Member> = (1..=count).map(member).collect();
        nodes[0].initialise(&members).await.expect("initialise");
        leader(&nodes).await;
        nodes
    }

    /// Ends a node; what it had not made durable is as if it had never been.
    pub async fn kill(&self, node: &Coordinator) {
        self.network.nodes.lock().expect("lock").remove(&node.node_id());
        node.shutdown().await;
    }
}

/// Waits until `reached` holds. It asks for a level again and again, so nothing is missed between two looks.
pub async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The node that leads and that a barrier confirms.
pub async fn leader(nodes: &[Coordinator]) -> Coordinator {
    let deadline = Instant::now() + WAIT;
    loop {
        for node in nodes {
            if node.is_leader() && node.read_barrier().await.is_ok() {
                return node.clone();
            }
        }
        assert!(Instant::now() < deadline, "no leader was elected");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Who proposes here.
pub fn actor() -> Actor {
    Actor::node(NodeId(1))
}

/// Proposes on whoever leads until it is committed, as a node does.
pub async fn commit(nodes: &[Coordinator], command: impl Into<Command>) -> Outcome {
    let command = command.into();
    loop {
        match leader(nodes).await.propose(actor(), command.clone()).await {
            Ok(outcome) => return outcome,
            Err(ProposeError::NotLeader(_) | ProposeError::Unavailable) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub async fn applied_everywhere(nodes: &[Coordinator], index: Option<u64>) {
    for node in nodes {
        until(&format!("node {} applies {index:?}", node.node_id()), || node.applied_index() >= index).await;
    }
}

pub fn journey() -> journeys::Command {
    journeys::Command::Open(JourneyPlan {
        id: "AA100-20261124-JFK".parse().expect("journey"),
        carrier: "AA".to_owned(),
        number: "100".to_owned(),
        departure_port: "JFK".parse().expect("port"),
        arrival_port: "LHR".parse().expect("port"),
        departs_at: UnixMs(1_795_500_000_000),
        people: 300,
        parts: 1,
        manifest: Default::default(),
        model: "test-model".parse().expect("a model"),
    })
}

pub fn record(number: u64) -> Record {
    Record {
        directive: Directive::Proceed,
        reason: Reason::Matched,
        subject: Some(SubjectId(number + 1)),
        manifest_ordinal: Some(1),
        epoch: Epoch(1),
        gallery_version: GalleryVersion(1),
        ..Record::waiting(
            EncounterId(u128::from(number) + 1),
            "AA100-20261124-JFK".parse().expect("journey"),
            "JFK-T4-B32-1".parse().expect("device"),
            UnixMs(1_795_500_000_000 + number),
        )
    }
}
