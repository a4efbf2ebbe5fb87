//! The demonstration's course.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::policy::Policy;
use cluster_config::process::EngineChoice;
use cluster_config::wire::operator::{ClusterStatus, JourneyStatus, LedgerRecord, Request, Response};
use cluster_config::wire::peer::Listing;
use node_core::roster::scope::in_scope;
use node_link::OperatorClient;
use tokio::task::JoinSet;

use super::bank;
use super::gates::{Event, Gate, Kind};
use super::oracle;
use super::report::{Flight, Kill, Latency, Report, latencies};
use crate::cli::Failure;
use crate::clock;
use crate::holdings::synthetic::Population;
use crate::local::{self, LocalCluster};
use crate::manifests::{self, Announcement};
use crate::observe::NODE_LOGS;

/// How long any one step may take before the demonstration gives up.
const STEP_TIMEOUT: Duration = Duration::from_secs(45);

/// How often a level is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long the boarding is stretched over: long enough to kill two nodes in its course, short enough for a visitor.
const BOARDING: Duration = Duration::from_secs(24);

/// How long a killed node stays dead.
const DOWN: Duration = Duration::from_secs(4);

/// What to show.
pub struct Options {
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Flights of the bank.
    pub flights: usize,
    /// Travellers on each.
    pub travellers: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Manifests in place of a made-up bank: name and bytes.
    pub manifests: Vec<(String, Vec<u8>)>,
    /// Whether nodes are killed.
    pub kills: bool,
    /// What computes scores.
    pub engine: EngineChoice,
    /// The folder of everything.
    pub folder: PathBuf,
    /// The binary `tvs`.
    pub binary: PathBuf,
}

/// Where the course is shown while it runs.
pub trait Show: Sync {
    /// A step begins or has ended.
    fn step(&self, text: &str);
    /// So many of all travellers have been at their gate.
    fn boarded(&self, done: u64, all: u64, text: &str);
}

/// A moment from which on latencies are counted under another name.
struct Phase {
    name: String,
    from: Instant,
}

/// Runs the demonstration.
///
/// # Errors
/// Where it cannot be carried through; a promise that did not hold is in the report instead.
pub async fn demonstrate(options: Options, show: &impl Show) -> Result<Report, Failure> {
    let started = Instant::now();
    let cluster = LocalCluster::start(local::Options {
        nodes: options.nodes,
        folder: options.folder.clone(),
        binary: options.binary.clone(),
        engine: options.engine,
        seed: options.seed,
        log: std::env::var("TVS_LOG").unwrap_or_else(|_| NODE_LOGS.to_owned()),
        fronts: Vec::new(),
        hosts: Vec::new(),
    })
    .map_err(|error| Failure::failure_of(&error))?;
    show.step(&format!("{} nodes started, each a process of its own", options.nodes));
    let mut stage = Stage { cluster, phases: Vec::new(), kills: Vec::new() };
    let status = stage.wait_for("a leader and all members", |s| s.members.len() as u64 == options.nodes).await?;
    show.step(&format!("node {} leads; engine {}", status.leader.unwrap_or_default(), status.engine));

    let manifests = if options.manifests.is_empty() {
        let made = bank::manifests(options.seed, options.flights, options.travellers, clock::now());
        made.into_iter().map(|bytes| ("made-up flight".to_owned(), bytes)).collect()
    } else {
        options.manifests.clone()
    };
    let building = Instant::now();
    let flights = stage.submit(manifests, show).await?;
    stage.wait_for("galleries with all replicas", |s| s.shards_replicated == Some(s.shards) && s.shards > 0).await?;
    let galleries_built_ms = millis(building.elapsed());
    let people: usize = flights.iter().map(|flight| flight.people.len()).sum();
    show.step(&format!("{} galleries for {people} travellers built in {galleries_built_ms} ms", flights.len()));

    let events = stage.board(&options, &flights, show).await?;
    show.step("boarding is over; the ledger is compared with what the gates were told");
    let ledger = stage.ledger().await?;
    let policy = Policy::default();
    let scope: BTreeMap<(JourneyId, u32), bool> = flights
        .iter()
        .flat_map(|flight| flight.people.iter().map(move |person| (flight, person)))
        .map(|(flight, person)| {
            let scope = in_scope(&policy, flight.plan.departs_at, person);
            ((flight.plan.id, person.manifest_ordinal), scope)
        })
        .collect();
    let in_scope = |journey, ordinal| scope.get(&(journey, ordinal)).copied().unwrap_or(true);
    let crossings = oracle::crossings(&events, &ledger, &in_scope);

    let closing = Instant::now();
    stage.close_all().await?;
    let destroyed_ms = millis(closing.elapsed());
    let mut report = Report {
        nodes: options.nodes,
        seed: options.seed,
        engine: status.engine,
        galleries_built_ms,
        flights: flights.iter().map(|flight| summary(flight, &events)).collect(),
        latencies: stage.latencies(&events),
        kills: std::mem::take(&mut stage.kills),
        crossings,
        destroyed_ms,
        seconds: started.elapsed().as_secs_f64(),
        broken: Vec::new(),
    };
    report.judge();
    Ok(report)
}

fn summary(flight: &Announcement, events: &[Event]) -> Flight {
    let own = || events.iter().filter(|event| event.journey == flight.plan.id);
    Flight {
        journey: flight.plan.id.to_string(),
        travellers: flight.people.len() as u64,
        encounters: own().filter(|event| event.kind == Kind::Board).count() as u64,
        decisions: oracle::decisions(own()),
        failed: own().filter(|event| event.answer.is_err()).count() as u64,
    }
}

/// The cluster and what has happened to it.
struct Stage {
    cluster: LocalCluster,
    phases: Vec<Phase>,
    kills: Vec<Kill>,
}

impl Stage {
    /// Asks the nodes, one after the other, until one answers.
    async fn ask(&self, request: &Request) -> Result<Response, Failure> {
        self.ask_at(self.cluster.addresses(), request).await
    }

    async fn ask_at(&self, addresses: Vec<SocketAddr>, request: &Request) -> Result<Response, Failure> {
        let identity = self.cluster.operator().map_err(|error| Failure::failure_of(&error))?;
        let client = OperatorClient::connect(addresses, &identity).await?;
        match client.call(request, STEP_TIMEOUT).await? {
            Response::Refused(refusal) => Err(refusal.into()),
            response => Ok(response),
        }
    }

    /// The status as the leader sees it, as soon as there is one that answers.
    async fn leaders_status(&self) -> Option<ClusterStatus> {
        for address in self.cluster.addresses() {
            let Ok(Response::ClusterStatus(status)) = self.ask_at(vec![address], &Request::ClusterStatus).await else {
                continue;
            };
            if status.leader == Some(status.node) {
                return Some(status);
            }
        }
        None
    }

    /// Waits until the leader's status is as wanted.
    async fn wait_for(&self, what: &str, wanted: impl Fn(&ClusterStatus) -> bool) -> Result<ClusterStatus, Failure> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.leaders_status().await
                && wanted(&status)
            {
                return Ok(status);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let logs = self.cluster.folder().display();
        Err(Failure::failed(format!("waited in vain for {what}; see the node's logs in {logs}")))
    }

    /// Submits every manifest to another node, and gives the journeys with their people.
    async fn submit(&self, files: Vec<(String, Vec<u8>)>, show: &impl Show) -> Result<Vec<Announcement>, Failure> {
        let mut flights: Vec<Announcement> = Vec::new();
        let mut addresses = self.cluster.addresses();
        for (name, bytes) in files {
            let announced = match manifests::read(&bytes) {
                Ok(announced) => announced,
                Err(refusal) => {
                    show.step(&format!("{name} is set aside: {refusal}"));
                    continue;
                }
            };
            if announced.journeys.iter().any(|announcement| announcement.listing == Listing::Removed) {
                show.step(&format!("{name} is set aside: it takes people off, and here everybody is boarded"));
                continue;
            }
            addresses.rotate_left(1);
            self.ask_at(addresses.clone(), &Request::SubmitManifest(bytes)).await?;
            for announcement in announced.journeys {
                let known = flights.iter().any(|flight| flight.plan.id == announcement.plan.id);
                if !known && !announcement.people.is_empty() {
                    flights.push(announcement);
                }
            }
        }
        if flights.is_empty() {
            return Err(Failure::usage("no manifest announces a journey with people; see `tvs manifest check FILE`"));
        }
        Ok(flights)
    }

    /// Boards all flights at once, and kills nodes meanwhile.
    async fn board(
        &mut self,
        options: &Options,
        flights: &[Announcement],
        show: &impl Show,
    ) -> Result<Vec<Event>, Failure> {
        let progress = Arc::new(AtomicU64::new(0));
        let population = Population::new(options.seed, 512);
        let all: u64 = flights.iter().map(|flight| flight.people.len() as u64).sum();
        let mut gates = JoinSet::new();
        for (number, flight) in flights.iter().enumerate() {
            let mut nodes = self.cluster.addresses();
            nodes.rotate_left(number % options.nodes as usize);
            let name = format!("GATE-{:02}", number + 1);
            let gate = Gate {
                journey: flight.plan.id,
                people: flight.people.clone(),
                nodes,
                identity: self.cluster.gate(&name).map_err(|error| Failure::failure_of(&error))?,
                population: population.clone(),
                pace: BOARDING / u32::try_from(flight.people.len()).unwrap_or(u32::MAX).max(1),
                seed: options.seed.wrapping_add(number as u64),
            };
            let progress = progress.clone();
            gates.spawn(async move { gate.board(&progress).await });
        }
        self.phase("healthy");
        let show_progress = async {
            loop {
                show.boarded(progress.load(Ordering::Relaxed), all, "travellers at their gates");
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let first = flights[0].plan.id;
        let killing = self.kill_nodes(options, first, show);
        let boarding = async {
            let mut events = Vec::new();
            while let Some(gate) = gates.join_next().await {
                events.extend(gate.map_err(|error| Failure::failure_of(&error))??);
            }
            Ok::<_, Failure>(events)
        };
        tokio::select! {
            both = async { tokio::try_join!(boarding, killing) } => both.map(|(events, ())| events),
            () = show_progress => Err(Failure::failed("the progress display ended")),
        }
    }

    async fn kill_nodes(&mut self, options: &Options, first: JourneyId, show: &impl Show) -> Result<(), Failure> {
        if !options.kills || options.nodes < 3 {
            return Ok(());
        }
        tokio::time::sleep(BOARDING / 6).await;
        let Response::Gallery(gallery) = self.ask(&Request::GalleryShow(first)).await? else {
            return Err(Failure::failed("a node answered out of turn"));
        };
        let owner = gallery.shards.first().and_then(|shard| shard.owner);
        let owner = owner.ok_or_else(|| Failure::failed(format!("{first} has no owner")))?;
        self.kill("owner", owner, show).await?;
        tokio::time::sleep(BOARDING / 12).await;
        let status = self.wait_for("a leader", |_| true).await?;
        self.kill("leader", status.node, show).await
    }

    async fn kill(&mut self, role: &'static str, node: NodeId, show: &impl Show) -> Result<(), Failure> {
        let killed = Instant::now();
        self.cluster.kill(node).map_err(|error| Failure::failure_of(&error))?;
        self.phase(&format!("{role} killed"));
        show.step(&format!("node {node} is killed: it is the {role}"));
        tokio::time::sleep(DOWN).await;
        self.cluster.restart(node).map_err(|error| Failure::failure_of(&error))?;
        let down_ms = millis(killed.elapsed());
        self.phase(&format!("{role} back"));
        let whole = |status: &ClusterStatus| {
            let silent = status.members.iter().any(|m| m.silent_ms.is_none_or(|ms| ms > 500));
            status.shards_replicated == Some(status.shards) && !silent
        };
        self.wait_for("all replicas after the kill", whole).await?;
        let replicas_back_ms = millis(killed.elapsed());
        show.step(&format!("node {node} is back, every shard has its replicas again after {replicas_back_ms} ms"));
        self.kills.push(Kill { role, node: node.0, down_ms, replicas_back_ms });
        Ok(())
    }

    fn phase(&mut self, name: &str) {
        self.phases.push(Phase { name: name.to_owned(), from: Instant::now() });
    }

    fn latencies(&self, events: &[Event]) -> Vec<Latency> {
        let mut all = Vec::new();
        for (number, phase) in self.phases.iter().enumerate() {
            let until = self.phases.get(number + 1).map(|next| next.from);
            let within = |event: &&Event| {
                let begun = event.asked + event.took >= phase.from || number == 0;
                begun && until.is_none_or(|until| event.asked + event.took < until)
            };
            all.extend(latencies(&phase.name, events.iter().filter(within)));
        }
        all
    }

    async fn ledger(&self) -> Result<Vec<LedgerRecord>, Failure> {
        // The leader has applied everything that was answered; another node may lag by a moment.
        let status = self.wait_for("a leader", |_| true).await?;
        let address = self.cluster.node(status.node).map_err(|error| Failure::failure_of(&error))?.address;
        let mut records = Vec::new();
        let mut from = Some(0);
        while let Some(position) = from {
            let request = Request::LedgerPage { from: position, limit: 10_000 };
            let Response::LedgerPage(page) = self.ask_at(vec![address], &request).await? else {
                return Err(Failure::failed("a node answered out of turn"));
            };
            records.extend(page.records);
            from = page.next;
        }
        Ok(records)
    }

    /// Closes all journeys, those that nobody boards as well, and waits until every node has confirmed that its
    /// galleries are destroyed.
    async fn close_all(&self) -> Result<(), Failure> {
        let Response::Galleries(galleries) = self.ask(&Request::GalleryList).await? else {
            return Err(Failure::failed("a node answered out of turn"));
        };
        for gallery in galleries {
            self.ask(&Request::CloseJourney(gallery.journey)).await?;
        }
        let deadline = Instant::now() + STEP_TIMEOUT;
        while Instant::now() < deadline {
            let Response::Galleries(galleries) = self.ask(&Request::GalleryList).await? else {
                return Err(Failure::failed("a node answered out of turn"));
            };
            if galleries.iter().all(|gallery| gallery.status == JourneyStatus::Purged) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(Failure::failed("not every node confirmed that its galleries are destroyed"))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
