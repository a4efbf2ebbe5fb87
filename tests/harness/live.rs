//! The live target: real processes on loopback, on ports that are free, in a folder that is gone afterwards.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster_config::ids::{NodeId, PortCode};
use cluster_config::process::EngineChoice;
use cluster_config::wire::operator::{LedgerRecord, Request, Response};
use node_link::{GateClient, GateClientOptions, Identity};
use node_stage::Error;
use node_stage::local::{LocalCluster, Options};
use node_stage::operator::Operator;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::cables::Cables;
use crate::emulator::Emulator;
use crate::fault::Fault;
use crate::journal::Journal;
use crate::level::wait_for;
use crate::shim::{Control, Shim};
use crate::target::{LEVEL_DEADLINE, Target};
use crate::{binary, disk};

/// How long an operator's question may take; a manifest takes as long as its galleries.
const OPERATOR_TIMEOUT: Duration = Duration::from_secs(30);

/// Nodes that a cluster with an emulated network may come to have, newcomers included.
const FRONTS: usize = cluster_config::limits::NODES_MAX;

/// How a live cluster is made.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The name of the test target.
    pub story: &'static str,
    /// The command that a failure prints.
    pub again: String,
    /// Nodes to begin with.
    pub nodes: u64,
    /// `TVS_LOG` of the nodes.
    pub log: String,
    /// Seed of the people in the nodes' holdings and of the network's disturbances.
    pub seed: u64,
    /// Whether gates and nodes reach each other through relays that can disturb their links.
    pub network: bool,
    /// Whether the nodes' disks, clocks and GPUs can be made to misbehave. Needs a C compiler.
    pub machine: bool,
    /// What scores.
    pub engine: EngineChoice,
    /// Whether each node runs on a machine of its own; [`Cables::enter`] comes first.
    pub cables: bool,
}

impl Setting {
    /// A cluster without anything that disturbs, under the seed of this run.
    pub fn new(story: &'static str, nodes: u64) -> Self {
        let (log, seed) = ("info".to_owned(), crate::seed());
        let again = format!("TVS_SEED={seed} cargo test -p tests --test {story}");
        let engine = EngineChoice::Auto;
        Self { story, again, nodes, log, seed, network: false, machine: false, engine, cables: false }
    }
}

/// An address of this machine that nobody has: for a node that is to end before it would listen there.
///
/// # Panics
/// Where the system gives none.
pub fn free_address() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").to_string()
}

/// Runs a node that has to end by itself. It is killed where it does not, so that a failure leaves no process behind.
///
/// # Panics
/// Where it runs on.
pub async fn ends(config: &Path) -> Output {
    let node = Command::new(binary::tvs())
        .args(["node", "run", "--config"])
        .arg(config)
        .env("TVS_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut node = node.expect("tvs starts");
    let ended = tokio::time::timeout(LEVEL_DEADLINE, async {
        wait_for("the node has ended", 2 * LEVEL_DEADLINE, async || match node.try_wait().expect("a child") {
            Some(_) => Ok(()),
            None => Err("it runs".to_owned()),
        })
        .await;
    });
    let ended = ended.await;
    if ended.is_err() {
        node.kill().expect("a child can be killed");
    }
    let output = node.wait_with_output().expect("its output");
    assert!(ended.is_ok(), "{} runs: {}", config.display(), String::from_utf8_lossy(&output.stderr));
    output
}

/// A cluster of real processes. It kills them when it goes, and removes its folder unless the test failed.
pub struct Live {
    /// The processes.
    pub cluster: LocalCluster,
    /// What happened.
    pub journal: Arc<Journal>,
    /// The network, where it is emulated.
    pub emulator: Option<Emulator>,
    cables: Option<Cables>,
    again: String,
    operator: Operator,
    gates: AtomicUsize,
    shim: Option<Shim>,
    controls: BTreeMap<NodeId, Control>,
    folder: Option<TempDir>,
}

impl Live {
    /// Starts `nodes` nodes and waits until they are one cluster. `story` is the name of the test target.
    ///
    /// # Panics
    /// Where they do not become one.
    pub async fn start(story: &'static str, nodes: u64) -> Self {
        Self::start_logging(story, nodes, "info", crate::seed()).await
    }

    /// As [`Live::start`], with another `TVS_LOG` for the nodes, and with the seed of the people in their holdings.
    ///
    /// # Panics
    /// As [`Live::start`].
    pub async fn start_logging(story: &'static str, nodes: u64, log: &str, seed: u64) -> Self {
        Self::start_as(Setting { log: log.to_owned(), seed, ..Setting::new(story, nodes) }).await
    }

    /// Starts a cluster and waits until its nodes are one.
    ///
    /// # Panics
    /// As [`Live::start`], and where the setting asks for what this machine does not have.
    pub async fn start_as(setting: Setting) -> Self {
        let mut live = Self::prepare(&setting);
        for node in live.cluster.ids() {
            live.strike(Fault::Start(node)).await;
        }
        live.ready(setting.nodes as usize).await;
        live.journal.write("one cluster");
        live
    }

    /// As [`Live::start_as`], without starting any process.
    ///
    /// # Panics
    /// As [`Live::start_as`].
    pub fn prepare(setting: &Setting) -> Self {
        let Setting { story, nodes, seed, .. } = *setting;
        let folder = tempfile::Builder::new().prefix(&format!("tvs-{story}-")).tempdir().expect("a folder");
        let journal = Arc::new(Journal::begin(&folder.path().join("journal")));
        let cables = setting.cables.then(Cables::default);
        let here = if setting.cables { Cables::harness() } else { Ipv4Addr::LOCALHOST };
        let emulator = setting.network.then(|| Emulator::start(seed, FRONTS, here));
        let machines = cables.iter().flat_map(|_| (1..=FRONTS as u64).map(|id| Cables::host(NodeId(id))));
        let options = Options {
            nodes,
            folder: folder.path().join("cluster"),
            binary: binary::tvs(),
            engine: setting.engine,
            seed,
            log: setting.log.clone(),
            fronts: emulator.as_ref().map(Emulator::fronts).unwrap_or_default(),
            hosts: machines.collect(),
        };
        let cluster = LocalCluster::prepare(options).expect("the nodes' files");
        let identity = cluster.operator().expect("the operator's certificate");
        let operator = Operator::new(Vec::new(), identity, OPERATOR_TIMEOUT);
        let shim = setting.machine.then(|| Shim::compile(folder.path()));
        let mut live = Self {
            cluster,
            journal,
            emulator,
            cables,
            again: setting.again.clone(),
            operator,
            gates: AtomicUsize::new(0),
            shim,
            controls: BTreeMap::new(),
            folder: Some(folder),
        };
        live.journal.write(format!("{nodes} nodes, seed {seed}"));
        for node in live.cluster.ids() {
            live.equip(node);
        }
        live
    }

    /// Puts a node behind its relay, on its machine and before its preloaded library, where the cluster has them.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn equip(&mut self, id: NodeId) {
        let node = self.cluster.node_mut(id).expect("a node of this cluster");
        self.operator.learn(node.address);
        if let Some(emulator) = &self.emulator {
            emulator.attach(id, node.address, node.listen);
        }
        if let Some(cables) = &mut self.cables {
            node.launcher = cables.machine(id);
        }
        if let Some(shim) = &self.shim {
            let control = shim.control(&node.config.with_file_name("troubles"));
            node.environment = control.environment();
            self.controls.insert(id, control);
        }
    }

    /// The page by which a node's disk and clock are made to misbehave.
    ///
    /// # Panics
    /// Where the cluster was made without.
    pub fn control(&self, node: NodeId) -> &Control {
        self.controls.get(&node).expect("a cluster whose setting says `machine`")
    }

    /// The emulated network.
    ///
    /// # Panics
    /// Where the cluster was made without.
    pub fn emulator(&self) -> &Emulator {
        self.emulator.as_ref().expect("a cluster whose setting says `network`")
    }

    /// Runs `tvs` with these arguments, to its end.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn tvs(&self, arguments: &[&str]) -> Output {
        tvs(arguments)
    }

    /// Arguments that tell `tvs` where this cluster is and who asks: `--node … --certs … --as NAME`.
    pub fn connection(&self, node: NodeId, name: &str) -> Vec<String> {
        let certs = self.cluster.certs().display().to_string();
        let words = ["--node", &self.address(node).to_string(), "--certs", &certs, "--as", name];
        words.map(String::from).to_vec()
    }

    /// Where gates and other nodes reach a node.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn address(&self, node: NodeId) -> SocketAddr {
        self.cluster.node(node).expect("a node of this cluster").address
    }

    /// The identity of a new gate, registered where the flights of a bank board.
    ///
    /// # Panics
    /// Where it cannot be issued or registered.
    pub async fn gate_identity(&self) -> Identity {
        self.gate_identity_at(port()).await
    }

    async fn gate_identity_at(&self, port: PortCode) -> Identity {
        let number = self.gates.fetch_add(1, Ordering::Relaxed);
        let identity = self.cluster.gate(&format!("GATE-{number}"), port).expect("a gate's certificate");
        self.operator.register_gates([identity.caller().actor().name], port).await.expect("it is registered");
        identity
    }

    /// A new gate at a port that knows all nodes; the `nearest`th is its first choice.
    ///
    /// # Panics
    /// Where it cannot connect.
    pub async fn gate_of(&self, port: PortCode, nearest: usize) -> GateClient {
        let mut addresses = self.cluster.addresses();
        let count = addresses.len();
        addresses.rotate_left(nearest % count);
        let options = GateClientOptions::new(addresses, self.gate_identity_at(port).await);
        GateClient::connect(options).await.expect("a gate connects")
    }

    /// An operator who knows the members.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// A node's metrics.
    ///
    /// # Panics
    /// Where it does not answer.
    pub async fn metrics(&self, node: NodeId) -> Metrics {
        match self.ask(node, Request::Metrics).await {
            Ok(Response::Metrics(text)) => Metrics(text),
            other => panic!("metrics answered by {other:?}"),
        }
    }

    /// Where a node listens, past all disturbance: observers are not part of the experiment.
    fn listen(&self, node: NodeId) -> SocketAddr {
        self.cluster.node(node).expect("a node of this cluster").listen
    }

    fn cables(&self) -> &Cables {
        self.cables.as_ref().expect("a cluster whose setting says `cables`")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let kept = folder.keep();
            eprintln!("run it again: cargo build -p node --bin tvs && {}", self.again);
            eprintln!("logs, data and journal are kept in {}", kept.display());
        }
    }
}

/// Where the flights of a bank board.
pub fn port() -> PortCode {
    node_stage::bank::PORT.parse().expect("a port")
}

/// Runs `tvs` with these arguments, to its end.
///
/// # Panics
/// Where it does not start.
pub fn tvs(arguments: &[&str]) -> Output {
    Command::new(binary::tvs()).args(arguments).output().expect("tvs runs")
}

/// A node's metrics in the Prometheus text format.
pub struct Metrics(pub String);

impl Metrics {
    /// The value of a metric whose line begins so, 0 where there is none yet.
    pub fn value(&self, series: &str) -> f64 {
        let found = self.0.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        found.unwrap_or(0.0)
    }
}

impl Target for Live {
    fn running(&self) -> Vec<NodeId> {
        self.cluster.ids().into_iter().filter(|id| self.cluster.process_id(*id).is_some()).collect()
    }

    async fn gate(&self, nearest: usize) -> GateClient {
        self.gate_of(port(), nearest).await
    }

    async fn gate_at(&self, node: NodeId) -> GateClient {
        let (address, deadline) = (self.address(node), Duration::from_secs(2));
        let connected = GateClient::connect_to_one(address, self.gate_identity().await, deadline).await;
        connected.expect("a gate connects")
    }

    async fn ask(&self, node: NodeId, request: Request) -> Result<Response, Error> {
        self.operator.ask_at(vec![self.listen(node)], &request).await
    }

    async fn ledger(&self, node: NodeId) -> Result<Vec<LedgerRecord>, Error> {
        self.operator.ledger_at(self.listen(node)).await
    }

    async fn strike(&mut self, fault: Fault) {
        self.journal.write(fault);
        let nodes = self.cluster.ids();
        match fault {
            Fault::Kill(node) => self.cluster.kill(node),
            Fault::Stop(node) => self.cluster.stop(node),
            Fault::Start(node) => self.cluster.restart(node),
            Fault::Pause(node) => self.cluster.signal(node, Signal::STOP),
            Fault::Resume(node) => self.cluster.signal(node, Signal::CONT),
            Fault::Cut(shape) => {
                self.emulator().cut_all(shape, &nodes);
                Ok(())
            }
            Fault::Worsen(node, conditions) => {
                self.emulator().worsen(node, &nodes, conditions);
                Ok(())
            }
            Fault::Heal => {
                self.emulator().heal();
                Ok(())
            }
            Fault::Pull(node, pulled) => {
                self.cables().pull(node, pulled);
                Ok(())
            }
            Fault::SwitchOff(node, off) => {
                self.cables().switch_off(node, off);
                Ok(())
            }
            Fault::Trouble(node, troubles) => {
                self.control(node).set(troubles);
                Ok(())
            }
            Fault::Flip(node, choice) => {
                let flipped = disk::flip(&self.cluster.node(node).expect("a node").data_dir, choice);
                self.journal.write(flipped);
                Ok(())
            }
        }
        .unwrap_or_else(|error| panic!("{fault}: {error}"));
    }
}
