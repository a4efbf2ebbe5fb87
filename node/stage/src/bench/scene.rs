//! What both benchmarks work on: a cluster of real processes, galleries, and captures made beforehand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::process::EngineChoice;
use cluster_config::wire::gate::Capture;
use cluster_config::wire::operator::{ClusterStatus, Request, Response};
use node_link::{GateClient, Identity, OperatorClient};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::bank::Bank;
use crate::local::{self, LocalCluster};
use crate::operator::Operator;
use crate::show::Show;
use crate::{Error, clock};

/// How long the cluster may take to come up, or a manifest to become a gallery.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Manifests on their way at once: enough that nodes build while others flush.
const MANIFESTS_IN_FLIGHT: usize = 16;

/// Gates, and what each asks before the next one's turn: at 25,000 requests a second the first one's turn comes again
/// when its 1,000 are earned back ([`node_link::limits::GATE_REQUESTS_A_MINUTE_MAX`]).
const GATES: usize = 256;
/// See [`GATES`].
const TURN: usize = 1_000;

/// What both benchmarks are told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary `tvs`.
    pub binary: PathBuf,
    /// What the nodes log (`TVS_LOG`).
    pub log: String,
    /// People on each journey; they have about 1.8 photographs each.
    pub people: u32,
    /// Requests in flight, one level after the other.
    pub in_flight: Vec<usize>,
    /// QUIC connections that the requests share.
    pub connections: u16,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// Seed of people and galleries.
    pub seed: u64,
    /// What computes scores.
    pub engine: EngineChoice,
}

/// What is measured on, as every report says.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    nodes: u64,
    galleries: usize,
    /// Templates in all galleries.
    templates: u64,
    engine: String,
    /// Seconds that building all galleries took.
    build_seconds: f64,
    connections: u16,
}

impl Setting {
    /// Nodes of the cluster.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// The setting as a person reads it.
    pub fn describe(&self) -> String {
        format!(
            "{} node(s), engine {}; {} galleries of {} templates on average, built in {:.1} s; {} connections",
            self.nodes,
            self.engine,
            self.galleries,
            self.templates / self.galleries.max(1) as u64,
            self.build_seconds,
            self.connections,
        )
    }
}

/// A running cluster with galleries; everything of it is gone when this is dropped.
pub struct Scene {
    /// The nodes.
    pub cluster: LocalCluster,
    /// The binary `tvs`.
    pub binary: PathBuf,
    /// The journeys and their people.
    pub bank: Arc<Bank>,
    /// What a report says of it.
    pub setting: Setting,
    /// Behind the cluster, so that it goes after the cluster's processes.
    _folder: Folder,
}

/// A folder that is removed with all it holds.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl Scene {
    /// Starts `nodes` nodes and builds `galleries` galleries.
    ///
    /// # Errors
    /// Where they do not come up.
    pub async fn set(options: &Options, nodes: u64, galleries: u32, show: &impl Show) -> Result<Self, Error> {
        let number = clock::random_u128().map_err(Error::failed)? as u32;
        let folder = std::env::temp_dir().join(format!("tvs-bench-{number:08x}"));
        let cluster = LocalCluster::start(local::Options {
            nodes,
            folder: folder.clone(),
            binary: options.binary.clone(),
            engine: options.engine,
            seed: options.seed,
            log: options.log.clone(),
            fronts: Vec::new(),
            hosts: Vec::new(),
        })?;
        let operator = Operator::new(cluster.addresses(), cluster.operator()?, STEP_TIMEOUT);
        let bank = Arc::new(Bank::national(options.seed, galleries, options.people, clock::now()));
        let setting = Setting {
            nodes,
            galleries: bank.flights.len(),
            templates: 0,
            engine: String::new(),
            build_seconds: 0.0,
            connections: options.connections,
        };
        let mut scene = Self { cluster, binary: options.binary.clone(), bank, setting, _folder: Folder(folder) };
        let all_members = |status: &ClusterStatus| status.members.len() as u64 == nodes;
        scene.setting.engine = operator.wait_for("a leader and all members", STEP_TIMEOUT, all_members).await?.engine;
        show.step(&format!("building {galleries} galleries of {} people", options.people));
        scene.build(&operator, show).await?;
        let whole = |status: &ClusterStatus| status.shards_replicated == Some(status.shards) && status.shards > 0;
        operator.wait_for("galleries with all replicas", STEP_TIMEOUT, whole).await?;
        Ok(scene)
    }

    /// The processes of all nodes.
    pub fn processes(&self) -> Vec<u32> {
        self.cluster.ids().into_iter().filter_map(|id| self.cluster.process_id(id)).collect()
    }

    async fn build(&mut self, operator: &Operator, show: &impl Show) -> Result<(), Error> {
        let begun = Instant::now();
        let mut clients = Vec::new();
        for address in self.cluster.addresses() {
            clients.push(OperatorClient::connect(vec![address], operator.identity()).await?);
        }
        let all = self.bank.flights.len() as u64;
        let mut waiting = self.bank.flights.iter().map(|flight| flight.manifest.clone());
        let mut submitting = JoinSet::new();
        let (mut number, mut done) = (0, 0);
        loop {
            while submitting.len() < MANIFESTS_IN_FLIGHT
                && let Some(manifest) = waiting.next()
            {
                let client = clients[number % clients.len()].clone();
                number += 1;
                submitting.spawn(async move { client.call(&Request::SubmitManifest(manifest), STEP_TIMEOUT).await });
            }
            let Some(answer) = submitting.join_next().await else { break };
            match answer.map_err(Error::failed)?? {
                Response::Submitted(submitted) => {
                    if let Some(unbuilt) = submitted.unbuilt.into_iter().next() {
                        return Err(unbuilt.refusal.into());
                    }
                    self.setting.templates +=
                        submitted.journeys.iter().map(|journey| u64::from(journey.templates)).sum::<u64>();
                }
                Response::Refused(refusal) => return Err(refusal.into()),
                _ => return Err(Error::OutOfTurn),
            }
            done += 1;
            show.progress(done, all, "galleries");
        }
        self.setting.build_seconds = begun.elapsed().as_secs_f64();
        Ok(())
    }

    /// Registered gates of these names, where all flights board.
    ///
    /// # Errors
    /// Where they cannot be issued or registered.
    pub async fn identities(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<Identity>, Error> {
        let port = self.bank.flights[0].port;
        let gates = names.into_iter().map(|name| self.cluster.gate(&name, port)).collect::<Result<Vec<_>, _>>()?;
        let operator = Operator::new(self.cluster.addresses(), self.cluster.operator()?, STEP_TIMEOUT);
        operator.register_gates(gates.iter().map(|gate| gate.caller().actor().name), port).await?;
        Ok(gates)
    }

    /// Gates, spread over the nodes, each with a certificate of its own and a connection to one node.
    ///
    /// # Errors
    /// Where a node does not answer.
    pub async fn gates(&self) -> Result<Arc<Gates>, Error> {
        let addresses = self.cluster.addresses();
        let deadline = Duration::from_millis(GATE_DEADLINE_MS);
        let mut clients = Vec::new();
        let gates = self.identities((1..=GATES).map(|number| format!("GATE-{number:03}"))).await?;
        for (number, gate) in gates.into_iter().enumerate() {
            clients.push(GateClient::connect_to_one(addresses[number % addresses.len()], gate, deadline).await?);
        }
        Ok(Arc::new(Gates { clients, at_a_time: usize::from(self.setting.connections) }))
    }

    /// Captures of these people, each by its flight and place in it, made by all processors.
    ///
    /// # Errors
    /// Where one of the making threads panics.
    pub async fn captures(&self, people: Vec<(usize, usize)>) -> Result<Vec<Capture>, Error> {
        let parts = std::thread::available_parallelism().map_or(1, usize::from);
        let mut making = Vec::new();
        for part in people.chunks(people.len().div_ceil(parts).max(1)) {
            let (bank, part) = (self.bank.clone(), part.to_vec());
            making.push(tokio::task::spawn_blocking(move || {
                part.into_iter().map(|(flight, guest)| bank.capture(flight, guest, 1, 1)).collect::<Vec<_>>()
            }));
        }
        let mut captures = Vec::with_capacity(people.len());
        for part in making {
            captures.extend(part.await.map_err(Error::failed)?);
        }
        Ok(captures)
    }
}

/// Gates that ask in turns: as many at a time as the setting has connections, since a node bounds what one certificate
/// may ask for within a minute.
pub struct Gates {
    clients: Vec<GateClient>,
    at_a_time: usize,
}

impl Gates {
    /// The gate that asks next in loop `number`, where `asked` is what all have asked so far.
    pub fn next(&self, number: usize, asked: u64) -> GateClient {
        let turn = asked as usize / (TURN * self.at_a_time);
        self.clients[(turn * self.at_a_time + number % self.at_a_time) % self.clients.len()].clone()
    }
}
