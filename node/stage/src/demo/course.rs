//! The demonstration's course.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::operator::{ClusterStatus, Request, Response};
use node_link::{GateClient, GateClientOptions};

use super::announcing;
use super::options::Options;
use super::report::{self, Kill, Latency, Report, latencies};
use crate::Error;
use crate::bank::Bank;
use crate::boarding::board_paced;
use crate::flight::Flight;
use crate::level::wait_for;
use crate::local::{self, LocalCluster};
use crate::operator::Operator;
use crate::oracle::{Decisions, Entry, History, Kind, ledger};
use crate::show::Show;

/// How long any one step may take before the demonstration gives up.
const STEP_TIMEOUT: Duration = Duration::from_secs(45);

/// How often the display is brought up to date.
const SHOW_INTERVAL: Duration = Duration::from_millis(20);

/// How long the boarding is stretched over: long enough to kill two nodes in its course, short enough for a visitor.
const BOARDING: Duration = Duration::from_secs(24);

/// How long a killed node stays dead.
const DOWN: Duration = Duration::from_secs(4);

/// A moment from which on latencies are counted under another name.
struct Phase {
    name: String,
    from: Instant,
}

/// The cluster and what has happened to it.
struct Course {
    cluster: LocalCluster,
    operator: Operator,
    phases: Vec<Phase>,
    kills: Vec<Kill>,
}

/// Runs the demonstration.
///
/// # Errors
/// Where it cannot be carried through; a promise that did not hold is in the report instead.
pub async fn demonstrate(options: Options, show: &impl Show) -> Result<Report, Error> {
    let started = Instant::now();
    let mut course = Course::start(&options)?;
    show.step(&format!("{} nodes started, each a process of its own", options.nodes));
    let all_members = |status: &ClusterStatus| status.members.len() as u64 == options.nodes;
    let status = course.wait_for("a leader and all members", all_members).await?;
    show.step(&format!("node {} leads; engine {}", status.leader.unwrap_or_default(), status.engine));

    let building = Instant::now();
    let bank = Arc::new(announcing::bank(&options, &course.cluster, &course.operator, show).await?);
    let whole = |status: &ClusterStatus| status.shards_replicated == Some(status.shards) && status.shards > 0;
    course.wait_for("galleries with all replicas", whole).await?;
    let galleries_built_ms = millis(building.elapsed());
    let people: usize = bank.flights.iter().map(|flight| flight.guests.len()).sum();
    show.step(&format!("{} galleries for {people} travellers built in {galleries_built_ms} ms", bank.flights.len()));

    let history = course.board(&options, &bank, show).await?;
    show.step("boarding is over; the ledger is compared with what the gates were told");
    let crossings = course.crossings(&bank, &history).await?;

    let closing = Instant::now();
    course.close_all().await?;
    let destroyed_ms = millis(closing.elapsed());
    let mut report = Report {
        nodes: options.nodes,
        seed: options.seed,
        engine: status.engine,
        galleries_built_ms,
        flights: bank.flights.iter().map(|flight| summary(flight, &history)).collect(),
        latencies: course.latencies(&history),
        kills: std::mem::take(&mut course.kills),
        crossings,
        destroyed_ms,
        seconds: started.elapsed().as_secs_f64(),
        broken: Vec::new(),
    };
    report.judge();
    Ok(report)
}

fn summary(flight: &Flight, history: &History) -> report::Flight {
    let own = || history.entries().iter().filter(|entry| entry.journey == flight.journey);
    let mut decisions = Decisions::default();
    own().filter(|entry| entry.kind == Kind::Board).for_each(|entry| decisions.count(entry));
    report::Flight {
        journey: flight.journey.to_string(),
        travellers: flight.guests.len() as u64,
        encounters: own().filter(|entry| entry.kind == Kind::Board).count() as u64,
        decisions,
        failed: own().filter(|entry| entry.outcome.answer().is_none()).count() as u64,
    }
}

impl Course {
    fn start(options: &Options) -> Result<Self, Error> {
        let cluster = LocalCluster::start(local::Options {
            nodes: options.nodes,
            folder: options.folder.clone(),
            binary: options.binary.clone(),
            engine: options.engine,
            seed: options.seed,
            log: options.log.clone(),
            fronts: Vec::new(),
            hosts: Vec::new(),
        })?;
        let operator = Operator::new(cluster.addresses(), cluster.operator()?, STEP_TIMEOUT);
        Ok(Self { cluster, operator, phases: Vec::new(), kills: Vec::new() })
    }

    /// Waits until the leader's status is as wanted.
    async fn wait_for(&self, level: &str, wanted: impl Fn(&ClusterStatus) -> bool) -> Result<ClusterStatus, Error> {
        let reached = self.operator.wait_for(level, STEP_TIMEOUT, wanted).await;
        let logs = self.cluster.folder().display();
        reached.map_err(|error| Error::Failed(format!("{error}; see the nodes' logs in {logs}")))
    }

    /// A gate for each flight, each with another node as its first choice and as fast as boarding is stretched.
    async fn gates(&self, flights: &[Flight]) -> Result<Vec<(GateClient, Duration)>, Error> {
        let mut gates = Vec::new();
        for (number, flight) in flights.iter().enumerate() {
            let mut nodes = self.cluster.addresses();
            let count = nodes.len();
            nodes.rotate_left(number % count);
            let identity = self.cluster.gate(&format!("GATE-{:02}", number + 1), flight.port)?;
            self.operator.register_gates([identity.caller().actor().name], flight.port).await?;
            let client = GateClient::connect(GateClientOptions::new(nodes, identity)).await?;
            gates.push((client, BOARDING / u32::try_from(flight.guests.len()).unwrap_or(u32::MAX).max(1)));
        }
        Ok(gates)
    }

    /// Boards all flights at once, and kills nodes meanwhile.
    async fn board(&mut self, options: &Options, bank: &Arc<Bank>, show: &impl Show) -> Result<History, Error> {
        let all: u64 = bank.flights.iter().map(|flight| flight.guests.len() as u64).sum();
        let boarding = board_paced(bank, self.gates(&bank.flights).await?);
        let done = boarding.progress();
        self.phase("healthy");
        let show_progress = async {
            loop {
                show.progress(*done.borrow() as u64, all, "travellers at their gates");
                tokio::time::sleep(SHOW_INTERVAL).await;
            }
        };
        let killing = self.kill_nodes(options, bank.flights[0].journey, show);
        let boarding = async { Ok::<_, Error>(boarding.finish().await) };
        tokio::select! {
            both = async { tokio::try_join!(boarding, killing) } => both.map(|(history, ())| history),
            () = show_progress => Err(Error::Failed("the progress display ended".to_owned())),
        }
    }

    async fn kill_nodes(&mut self, options: &Options, first: JourneyId, show: &impl Show) -> Result<(), Error> {
        if !options.kills || options.nodes < 3 {
            return Ok(());
        }
        tokio::time::sleep(BOARDING / 6).await;
        let Response::Gallery(gallery) = self.operator.ask(&Request::GalleryShow(first)).await? else {
            return Err(Error::OutOfTurn);
        };
        let owner = gallery.shards.first().and_then(|shard| shard.owner);
        let owner = owner.ok_or_else(|| Error::Failed(format!("{first} has no owner")))?;
        self.kill("owner", owner, show).await?;
        tokio::time::sleep(BOARDING / 12).await;
        let status = self.wait_for("a leader", |_| true).await?;
        self.kill("leader", status.node, show).await
    }

    async fn kill(&mut self, role: &'static str, node: NodeId, show: &impl Show) -> Result<(), Error> {
        let killed = Instant::now();
        self.cluster.kill(node)?;
        self.phase(&format!("{role} killed"));
        show.step(&format!("node {node} is killed: it is the {role}"));
        tokio::time::sleep(DOWN).await;
        self.cluster.restart(node)?;
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

    fn latencies(&self, history: &History) -> Vec<Latency> {
        let mut all = Vec::new();
        for (number, phase) in self.phases.iter().enumerate() {
            let until = self.phases.get(number + 1).map(|next| next.from);
            let within = |entry: &&Entry| {
                let begun = entry.begun + entry.took >= phase.from || number == 0;
                begun && until.is_none_or(|until| entry.begun + entry.took < until)
            };
            all.extend(latencies(&phase.name, history.entries().iter().filter(within)));
        }
        all
    }

    /// The crossings that gates were promised, held against the ledger of the leader: it has applied everything that
    /// was answered, and another node may lag by a moment.
    async fn crossings(&self, bank: &Bank, history: &History) -> Result<ledger::Crossings, Error> {
        let status = self.wait_for("a leader", |_| true).await?;
        let records = self.operator.ledger_at(self.cluster.node(status.node)?.address).await?;
        let scope: BTreeMap<(JourneyId, u32), bool> = bank
            .flights
            .iter()
            .flat_map(|flight| flight.guests.iter().map(move |guest| (flight.journey, guest)))
            .map(|(journey, guest)| ((journey, guest.person.manifest_ordinal), guest.in_scope))
            .collect();
        let in_scope = |journey, ordinal| scope.get(&(journey, ordinal)).copied().unwrap_or(true);
        Ok(ledger::crossings(history, &records, &in_scope))
    }

    /// Closes all journeys, those that nobody boards as well, and waits until every node has confirmed that its
    /// galleries are destroyed.
    async fn close_all(&self) -> Result<(), Error> {
        let Response::Galleries(galleries) = self.operator.ask(&Request::GalleryList).await? else {
            return Err(Error::OutOfTurn);
        };
        for gallery in galleries {
            self.operator.ask(&Request::CloseJourney { journey: gallery.journey, purge: true }).await?;
        }
        let purged =
            wait_for("every node confirms that its galleries are destroyed", STEP_TIMEOUT, async || {
                match self.operator.ask(&Request::GalleryList).await {
                    Ok(Response::Galleries(galleries)) => {
                        let open = galleries.iter().filter(|gallery| gallery.status != JourneyStatus::Purged).count();
                        if open == 0 { Ok(()) } else { Err(format!("{open} journeys are not purged")) }
                    }
                    Ok(_) => Err(Error::OutOfTurn.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            });
        Ok(purged.await?)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
