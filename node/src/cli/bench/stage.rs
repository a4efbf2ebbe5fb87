//! What both benchmarks work on: a cluster of real processes, galleries, and captures made beforehand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use cluster_config::ids::{EncounterId, JourneyId};
use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::process::EngineChoice;
use cluster_config::wire::gate::{Capture, CaptureDetail, DeviceKind, ImageKind, Sample};
use cluster_config::wire::operator::{ClusterStatus, Request, Response};
use cluster_config::wire::peer::Person;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use node_link::{GateClient, Identity, OperatorClient};
use tokio::task::JoinSet;

use super::Failure;
use crate::demo::bank;
use crate::holdings::synthetic::{Population, model};
use crate::local::{self, LocalCluster};
use crate::observe::NODE_LOGS;
use crate::{clock, manifests};

/// How long the cluster may take to come up, or a manifest to become a gallery.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a level is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Manifests on their way at once: enough that nodes build while others flush.
const MANIFESTS_IN_FLIGHT: usize = 16;

/// What both benchmarks are told.
#[derive(Args)]
pub struct Options {
    /// People on each journey; they have about 1.8 photographs each, so that 222 make a gallery of 400 templates
    #[arg(long, default_value_t = 222, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    pub people: u64,
    /// Requests in flight, one level after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256], value_parser = in_flight)]
    pub in_flight: Vec<usize>,
    /// QUIC connections that the requests share
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Seed of people and galleries
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What computes scores: auto, gpu or cpu
    #[arg(long, default_value = "auto")]
    pub engine: EngineChoice,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn in_flight(text: &str) -> Result<usize, String> {
    // One connection takes 1,024 streams; more in flight would measure the waiting for one.
    text.parse().ok().filter(|count| (1..=1_024).contains(count)).ok_or_else(|| "give 1 to 1024".to_owned())
}

/// One journey and its people.
pub struct Flight {
    /// The journey.
    pub journey: JourneyId,
    /// Its people.
    pub people: Vec<Person>,
}

/// A running cluster with galleries; everything of it is gone when this is dropped.
pub struct Stage {
    /// The nodes.
    pub cluster: LocalCluster,
    /// The binary `tvs`.
    pub binary: PathBuf,
    /// The journeys.
    pub flights: Vec<Flight>,
    /// Templates in all galleries.
    pub templates: u64,
    /// What scores.
    pub engine: String,
    /// Seconds that building all galleries took.
    pub build_seconds: f64,
    bar: ProgressBar,
    folder: Folder,
}

/// A folder that is removed with all it holds. As a field behind the cluster it goes after the cluster's processes.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl Stage {
    /// Starts `nodes` nodes and builds `galleries` galleries.
    pub async fn set(options: &Options, nodes: u64, galleries: usize) -> Result<Self, Failure> {
        let binary = std::env::current_exe().map_err(|error| Failure::failure_of(&error))?;
        let number = clock::random_u128().map_err(|error| Failure::failure_of(&error))? as u32;
        let folder = std::env::temp_dir().join(format!("tvs-bench-{number:08x}"));
        let cluster = LocalCluster::start(local::Options {
            nodes,
            folder: folder.clone(),
            binary: binary.clone(),
            engine: options.engine,
            seed: options.seed,
            log: NODE_LOGS.to_owned(),
            fronts: Vec::new(),
            hosts: Vec::new(),
        })
        .map_err(|error| Failure::failure_of(&error))?;
        let mut stage = Self {
            cluster,
            binary,
            flights: Vec::new(),
            templates: 0,
            engine: String::new(),
            build_seconds: 0.0,
            bar: bar(),
            folder: Folder(folder),
        };
        let status = stage.wait_for("a leader and all members", |s| s.members.len() as u64 == nodes).await?;
        stage.engine = status.engine;
        stage.build(options, galleries).await?;
        let whole = |s: &ClusterStatus| s.shards_replicated == Some(s.shards) && s.shards > 0;
        stage.wait_for("galleries with all replicas", whole).await?;
        Ok(stage)
    }

    /// Says what is being done.
    pub fn say(&self, text: impl Into<String>) {
        let text = text.into();
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            self.bar.set_message(text);
        } else {
            eprintln!("{text}");
        }
    }

    /// The processes of all nodes.
    pub fn processes(&self) -> Vec<u32> {
        self.cluster.ids().into_iter().filter_map(|id| self.cluster.process_id(id)).collect()
    }

    async fn build(&mut self, options: &Options, galleries: usize) -> Result<(), Failure> {
        self.say(format!("building {galleries} galleries of {} people", options.people));
        self.bar.set_length(galleries as u64);
        let begun = Instant::now();
        let identity = self.cluster.operator().map_err(|error| Failure::failure_of(&error))?;
        let mut clients = Vec::new();
        for address in self.cluster.addresses() {
            clients.push(OperatorClient::connect(vec![address], &identity).await?);
        }
        let mut waiting = bank::manifests(options.seed, galleries, options.people as usize, clock::now()).into_iter();
        let mut submitting = JoinSet::new();
        let mut number = 0;
        loop {
            while submitting.len() < MANIFESTS_IN_FLIGHT
                && let Some(bytes) = waiting.next()
            {
                let client = clients[number % clients.len()].clone();
                number += 1;
                let announced = manifests::read(&bytes)?;
                submitting.spawn(async move {
                    let answer = client.call(&Request::SubmitManifest(bytes), STEP_TIMEOUT).await?;
                    Ok::<_, Failure>((announced, answer))
                });
            }
            let Some(done) = submitting.join_next().await else { break };
            let (announced, answer) = done.map_err(|error| Failure::failure_of(&error))??;
            let submitted = match answer {
                Response::Submitted(submitted) => submitted,
                Response::Refused(refusal) => return Err(refusal.into()),
                _ => return Err(crate::cli::connect::out_of_turn()),
            };
            self.templates += submitted.journeys.iter().map(|journey| u64::from(journey.templates)).sum::<u64>();
            let flights = announced.journeys.into_iter();
            self.flights.extend(flights.map(|one| Flight { journey: one.plan.id, people: one.people }));
            self.bar.inc(1);
        }
        self.build_seconds = begun.elapsed().as_secs_f64();
        Ok(())
    }

    async fn wait_for(&self, what: &str, wanted: impl Fn(&ClusterStatus) -> bool) -> Result<ClusterStatus, Failure> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let identity = self.cluster.operator().map_err(|error| Failure::failure_of(&error))?;
        while Instant::now() < deadline {
            for address in self.cluster.addresses() {
                let Ok(client) = OperatorClient::connect(vec![address], &identity).await else { continue };
                if let Ok(Response::ClusterStatus(status)) = client.call(&Request::ClusterStatus, STEP_TIMEOUT).await
                    && status.leader == Some(status.node)
                    && wanted(&status)
                {
                    return Ok(status);
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let logs = self.folder.0.display();
        Err(Failure::failed(format!("waited in vain for {what}; the nodes' logs were in {logs}")))
    }

    /// Gate clients, spread over the nodes, each with a connection of its own to one node.
    pub async fn clients(&self, gate: &Identity, count: u16) -> Result<Arc<Vec<GateClient>>, Failure> {
        let addresses = self.cluster.addresses();
        let deadline = Duration::from_millis(GATE_DEADLINE_MS);
        let mut clients = Vec::new();
        for number in 0..usize::from(count) {
            let address = addresses[number % addresses.len()];
            clients.push(GateClient::connect_to_one(address, gate.clone(), deadline).await?);
        }
        Ok(Arc::new(clients))
    }

    /// Captures of these people, each by its flight and place in it, made by all processors.
    pub async fn captures(&self, seed: u64, people: Vec<(usize, usize)>) -> Result<Vec<Capture>, Failure> {
        self.say(format!("taking {} captures", people.len()));
        let population = Population::new(seed, 512);
        let parts = std::thread::available_parallelism().map_or(1, usize::from);
        let mut making = Vec::new();
        for part in people.chunks(people.len().div_ceil(parts).max(1)) {
            let population = population.clone();
            let wanted: Vec<(JourneyId, Person)> = part
                .iter()
                .map(|(flight, place)| (self.flights[*flight].journey, self.flights[*flight].people[*place].clone()))
                .collect();
            making.push(tokio::task::spawn_blocking(move || {
                wanted.iter().map(|(journey, person)| capture(&population, *journey, person)).collect::<Vec<_>>()
            }));
        }
        let mut captures = Vec::with_capacity(people.len());
        for part in making {
            captures.extend(part.await.map_err(|error| Failure::failure_of(&error))?);
        }
        Ok(captures)
    }
}

fn capture(population: &Population, journey: JourneyId, person: &Person) -> Capture {
    Capture {
        encounter: EncounterId(0),
        journey,
        sample: Sample::Template { model: model(), values: population.capture(person, 1) },
        detail: CaptureDetail {
            device_kind: DeviceKind::GateCamera,
            image_kind: ImageKind::VisibleStill,
            quality: Some(80),
        },
        attempt: 1,
        captured_at: clock::now(),
        deadline_ms: GATE_DEADLINE_MS as u32,
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}
