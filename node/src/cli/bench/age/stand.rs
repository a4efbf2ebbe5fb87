//! A cluster of three nodes with galleries that board, and what can be seen of its processes from outside.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::policy::{Policy, Retention};
use cluster_config::process::EngineChoice;
use cluster_config::wire::operator::{ClusterStatus, Request, Response};
use node_link::{GateClient, GateClientOptions, Identity, OperatorClient};
use node_stage::bank::Bank;
use node_stage::flight::Flight;
use node_stage::local::{self, LocalCluster};
use node_stage::operator::Operator;
use node_stage::{Error, clock};
use tokio::task::JoinSet;

use crate::observe::NODE_LOGS;

/// Nodes at the beginning.
pub const NODES: u64 = 3;

/// Gates, and the flights that they board, one each.
pub const GATES: u32 = 20;

/// People on each flight: a gallery of some 220 templates.
const PEOPLE: u32 = 120;

/// How long a step of an operator may take.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Manifests on their way at once.
const MANIFESTS_IN_FLIGHT: usize = 16;

/// See the module. Its processes and files go when it is dropped, the processes first.
pub struct Stand {
    pub cluster: LocalCluster,
    pub operator: Operator,
    pub bank: Arc<Bank>,
    gates: Vec<Identity>,
    _folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl Stand {
    /// Starts the nodes and builds the galleries that board. What has ended is settled at once there.
    ///
    /// # Errors
    /// Where they do not come up.
    pub async fn start(seed: u64) -> Result<Self, Error> {
        let number = clock::random_u128().map_err(Error::failed)? as u32;
        let folder = std::env::temp_dir().join(format!("tvs-bench-age-{number:08x}"));
        let cluster = LocalCluster::start(local::Options {
            nodes: NODES,
            folder: folder.clone(),
            binary: std::env::current_exe().map_err(Error::failed)?,
            engine: EngineChoice::Auto,
            seed,
            log: NODE_LOGS.to_owned(),
            fronts: Vec::new(),
            hosts: Vec::new(),
        })?;
        let operator = Operator::new(cluster.addresses(), cluster.operator()?, STEP_TIMEOUT);
        let bank = Arc::new(Bank::national(seed, GATES, PEOPLE, clock::now()));
        let mut stand = Self { cluster, operator, bank, gates: Vec::new(), _folder: Folder(folder) };
        let all = |status: &ClusterStatus| status.members.len() as u64 == NODES;
        stand.operator.wait_for("a leader and all members", STEP_TIMEOUT, all).await?;
        stand.settle_at_once().await?;
        stand.submit(&stand.bank.flights).await?;
        stand.register_gates().await?;
        Ok(stand)
    }

    /// No retry comes later than at once: an hour of the product's time passes in none of this measurement's.
    async fn settle_at_once(&self) -> Result<(), Error> {
        let Response::Policy(policy) = self.operator.insist(&Request::PolicyShow).await? else {
            return Err(Error::OutOfTurn);
        };
        let retention = Retention { ledger_seal_after_minutes: 0, ..policy.retention };
        let policy = Policy { version: policy.version + 1, retention, ..policy };
        self.operator.insist(&Request::PolicySet(policy)).await.map(|_| ())
    }

    async fn register_gates(&mut self) -> Result<(), Error> {
        let port = self.bank.flights[0].port;
        let names = (1..=GATES).map(|number| format!("GATE-{number:02}"));
        self.gates = names.map(|name| self.cluster.gate(&name, port)).collect::<Result<_, _>>()?;
        self.operator.register_gates(self.gates.iter().map(|gate| gate.caller().actor().name), port).await
    }

    /// An operator's connection to any node.
    ///
    /// # Errors
    /// Where none answers.
    pub async fn client(&self) -> Result<OperatorClient, Error> {
        Ok(OperatorClient::connect(self.cluster.addresses(), self.operator.identity()).await?)
    }

    /// Submits the manifests of these flights and waits for their galleries.
    ///
    /// # Errors
    /// Where one is not built.
    pub async fn submit(&self, flights: &[Flight]) -> Result<(), Error> {
        let client = self.client().await?;
        let mut submitting = JoinSet::new();
        let mut waiting = flights.iter();
        loop {
            while submitting.len() < MANIFESTS_IN_FLIGHT
                && let Some(flight) = waiting.next()
            {
                let (client, request) = (client.clone(), Request::SubmitManifest(flight.manifest.clone()));
                submitting.spawn(async move { client.call(&request, STEP_TIMEOUT).await });
            }
            let Some(answer) = submitting.join_next().await else { return Ok(()) };
            match answer.map_err(Error::failed)?? {
                Response::Submitted(submitted) => {
                    if let Some(unbuilt) = submitted.unbuilt.into_iter().next() {
                        return Err(unbuilt.refusal.into());
                    }
                }
                Response::Refused(refusal) => return Err(refusal.into()),
                _ => return Err(Error::OutOfTurn),
            }
        }
    }

    /// The gates' connections, each to the nodes in another order.
    ///
    /// # Errors
    /// Where no node answers.
    pub async fn connect(&self) -> Result<Vec<GateClient>, Error> {
        let mut clients = Vec::new();
        for (number, gate) in self.gates.iter().enumerate() {
            let mut addresses = self.cluster.addresses();
            let turn = number % addresses.len();
            addresses.rotate_left(turn);
            clients.push(GateClient::connect(GateClientOptions::new(addresses, gate.clone())).await?);
        }
        Ok(clients)
    }

    /// Waits until a node answers an identification.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn serves(&self, node: SocketAddr) -> Result<(), Error> {
        let gate = self.gates.first().ok_or(Error::OutOfTurn)?;
        let served = node_stage::level::wait_for("the node answers a gate", STEP_TIMEOUT, async || {
            let second = Duration::from_secs(1);
            let connecting = GateClient::connect_to_one(node, gate.clone(), second);
            let client = connecting.await.map_err(|error| error.to_string())?;
            client.identify(self.bank.capture(0, 0, 1, 1)).await.map(|_| ()).map_err(|error| error.to_string())
        });
        Ok(served.await?)
    }

    /// What the leader says of the cluster.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn status(&self) -> Result<ClusterStatus, Error> {
        self.operator.wait_for("a leader", STEP_TIMEOUT, |_| true).await
    }

    /// Memory of each node that runs, bytes.
    pub fn memory(&self) -> Vec<u64> {
        self.processes().into_iter().filter_map(resident_bytes).collect()
    }

    fn processes(&self) -> Vec<u32> {
        self.cluster.ids().into_iter().filter_map(|id| self.cluster.process_id(id)).collect()
    }

    /// A metric as each node shows it that has it.
    ///
    /// # Errors
    /// Where a node does not answer.
    pub async fn metric(&self, name: &str) -> Result<Vec<f64>, Error> {
        let mut found = Vec::new();
        for id in self.cluster.ids() {
            let address = self.cluster.node(id)?.address;
            let Response::Metrics(text) = self.operator.ask_at(vec![address], &Request::Metrics).await? else {
                return Err(Error::OutOfTurn);
            };
            let lines = text.lines().filter_map(|line| line.split_once(' ').filter(|(head, _)| *head == name));
            found.extend(lines.filter_map(|(_, value)| value.trim().parse::<f64>().ok()));
        }
        Ok(found)
    }

    /// A node that does not lead.
    ///
    /// # Errors
    /// Where there is no leader.
    pub async fn follower(&self) -> Result<NodeId, Error> {
        let leader = self.status().await?.leader;
        self.cluster.ids().into_iter().find(|id| Some(*id) != leader).ok_or(Error::OutOfTurn)
    }
}

/// Memory that a process has, by the system's own account (proc_pid_status(5)).
fn resident_bytes(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
}
