//! The raft group for real in simulated time: openraft, the log on sled, the snapshots and the batcher as nodes run
//! them, several members in one thread over a simulated network.
//!
//! The seed decides the faults, the clients and the network; openraft draws the lengths of its election waits by
//! itself, so that a seed run again is the same story, not the same trace.

mod faults;
mod judge;
pub mod log;
pub mod network;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::cluster::ClusterSettings;
use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, NodeId, SubjectId, UnixMs};
use cluster_config::journey::JourneyPlan;
use cluster_config::member::Member;
use coordinator::{Coordinator, Options, ProposeError, Watchlist};
use coordinator_core::{Outcome, Record, RecordOutcome, journeys};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use log::{Disk, SimulatedLog};
use network::{Link, Network};

/// Members at the beginning, and at most.
const FOUNDERS: u64 = 3;
/// See [`FOUNDERS`].
const MEMBERS_MAX: usize = 5;

/// Clients, each of which records one encounter after the other.
const CLIENTS: u64 = 6;

/// How long the group may take to be one again once all is well. An election takes one second at most, a lost log of
/// this size a few round trips.
const HEALING: Duration = Duration::from_secs(60);

/// How long one command of an operator is waited for.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

const JOURNEY: &str = "AA100-20261124-JFK";

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// Records that clients were promised, terms that had a leader, and the like.
    pub counts: BTreeMap<String, u64>,
    /// Simulated time.
    pub simulated: Duration,
    /// What was done, line by line.
    pub story: Vec<String>,
    /// What did not hold.
    pub failures: Vec<String>,
}

/// One record as its client saw it.
struct Seen {
    record: Record,
    asked: Instant,
    answered: Option<Instant>,
}

struct Place {
    disk: Arc<Disk>,
    /// Gone once the last handle of the last start's log is.
    log_open: Weak<()>,
}

struct Group {
    folder: tempfile::TempDir,
    began: Instant,
    network: Arc<Network>,
    /// Everyone who belongs to the group, whether running or not.
    members: RefCell<BTreeMap<NodeId, Place>>,
    next: Cell<u64>,
    /// Who has led in each term, in the order in which they did.
    leaders: Arc<Mutex<BTreeMap<u64, Vec<NodeId>>>>,
    storage_faults: Arc<Mutex<Vec<String>>>,
    report: RefCell<Report>,
    seen: RefCell<BTreeMap<u64, Seen>>,
    over: Cell<bool>,
}

/// Runs the story of a seed: so many seconds under faults, then healing, then the judgement.
///
/// # Panics
/// Where a store cannot be opened.
pub fn run(seed: u64, seconds: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let group = Rc::new(Group::new(seed));
        group.found().await;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                tokio::task::spawn_local(
                    group.clone().record_on_and_on(Dice::new(seed, &format!("client {number}")), number),
                )
            })
            .collect();
        group.strike(&mut Dice::new(seed, "faults"), Duration::from_secs(seconds)).await;
        group.over.set(true);
        group.heal();
        for client in clients {
            let _ = client.await;
        }
        group.judge().await;
        for node in group.network.nodes() {
            node.shutdown().await;
        }
        let mut report = group.report.take();
        report.simulated = group.began.elapsed();
        report
    })
}

fn member(id: NodeId) -> Member {
    Member { id, address: format!("127.0.0.1:{}", 7_000 + id.0), zone: format!("zone-{id}").parse().expect("a zone") }
}

pub(crate) fn settings() -> ClusterSettings {
    ClusterSettings {
        name: "group".to_owned(),
        model: "synthetic-1".parse().expect("a model"),
        template_dims: 512,
        heartbeat_ms: 50,
        election_ms_min: 200,
        election_ms_max: 400,
        members: Vec::new(),
    }
}

fn journey() -> journeys::Command {
    journeys::Command::Open(JourneyPlan {
        id: JOURNEY.parse().expect("a journey"),
        carrier: "AA".to_owned(),
        number: "100".to_owned(),
        departure_port: "JFK".parse().expect("a port"),
        arrival_port: "LHR".parse().expect("a port"),
        departs_at: UnixMs(1_795_500_000_000),
        people: 300,
        parts: 1,
        manifest: Default::default(),
        model: "synthetic-1".parse().expect("a model"),
    })
}

fn record(number: u64) -> Record {
    Record {
        directive: Directive::Proceed,
        reason: Reason::Matched,
        subject: Some(SubjectId(number)),
        manifest_ordinal: Some(1),
        epoch: Epoch(1),
        gallery_version: GalleryVersion(1),
        ..Record::waiting(
            EncounterId(u128::from(number)),
            JOURNEY.parse().expect("a journey"),
            "JFK-T4-B32-1".parse().expect("a device"),
            UnixMs(1_795_500_000_000 + number),
        )
    }
}

impl Group {
    fn new(seed: u64) -> Self {
        // Not the disk is what is tried here: memory does where there is some.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self {
            folder: folder.expect("a folder"),
            began: Instant::now(),
            network: Network::new(seed),
            members: RefCell::default(),
            next: Cell::new(1),
            leaders: Arc::default(),
            storage_faults: Arc::default(),
            report: RefCell::default(),
            seen: RefCell::default(),
            over: Cell::new(false),
        }
    }

    fn tell(&self, line: String) {
        let at = self.began.elapsed().as_secs_f64();
        self.report.borrow_mut().story.push(format!("{at:8.3} {line}"));
    }

    fn struck(&self, fault: &str) {
        *self.report.borrow_mut().faults.entry(fault.to_owned()).or_default() += 1;
    }

    async fn start(&self, id: NodeId) -> Coordinator {
        let faults = self.storage_faults.clone();
        let options = Options {
            node_id: id,
            data_dir: self.folder.path().join(id.to_string()),
            settings: settings(),
            now: Arc::new(|| UnixMs(1_795_500_000_000)),
            watch: Watchlist::new(Arc::new(move |reason: String| {
                faults.lock().unwrap_or_else(PoisonError::into_inner).push(format!("node {id}: {reason}"));
            })),
        };
        let link = Link { network: self.network.clone(), from: id };
        let disk = self.members.borrow().get(&id).map(|member| member.disk.clone()).unwrap_or_default();
        let mut log_open = Weak::new();
        let wrap = |log| {
            let (log, open) = SimulatedLog::new(log, disk.clone());
            log_open = open;
            log
        };
        let node = Coordinator::start_within(options, Arc::new(link), wrap).await.expect("a node starts");
        self.members.borrow_mut().insert(id, Place { disk, log_open });
        self.network.add(node.clone());
        let (leaders, mut leadership) = (self.leaders.clone(), node.leadership());
        tokio::spawn(async move {
            loop {
                let now = *leadership.borrow_and_update();
                if now.is_leader {
                    let mut leaders = leaders.lock().unwrap_or_else(PoisonError::into_inner);
                    let of_term = leaders.entry(now.term).or_default();
                    if of_term.last() != Some(&id) {
                        of_term.push(id);
                    }
                }
                if leadership.changed().await.is_err() {
                    return;
                }
            }
        });
        node
    }

    async fn found(&self) {
        let founders: Vec<Member> = (1..=FOUNDERS).map(|id| member(NodeId(id))).collect();
        for founder in &founders {
            self.start(founder.id).await;
        }
        self.next.set(FOUNDERS + 1);
        let first = self.network.node(founders[0].id).expect("it runs");
        first.initialise(&founders).await.expect("a group is founded");
        loop {
            if let Some(leader) = self.leader()
                && matches!(
                    leader.propose(Actor::node(leader.node_id()), journey()).await,
                    Ok(Outcome::Done | Outcome::KnownManifest)
                )
            {
                return;
            }
            assert!(self.began.elapsed() < HEALING, "nobody leads the group that was founded");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn leader(&self) -> Option<Coordinator> {
        self.network.nodes().into_iter().filter(Coordinator::is_leader).max_by_key(Coordinator::term)
    }

    /// Records one encounter after the other until it is over; each is asked for until it is promised.
    async fn record_on_and_on(self: Rc<Self>, mut dice: Dice, client: u64) {
        let mut number = client + 1;
        while !self.over.get() {
            let record = record(number);
            let asked = Instant::now();
            self.seen.borrow_mut().insert(number, Seen { record: record.clone(), asked, answered: None });
            let mut to = None;
            while !self.over.get() {
                let nodes = self.network.nodes();
                let node = to.take().and_then(|id| self.network.node(id)).or_else(|| {
                    let place = dice.between(0, nodes.len() as u64) as usize;
                    nodes.get(place).cloned()
                });
                let Some(node) = node else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                match node.record(record.clone()).await {
                    Ok(RecordOutcome::Stored(stored)) => {
                        if stored != record {
                            self.fail(format!("encounter {number} was answered with another record"));
                        }
                        if let Some(seen) = self.seen.borrow_mut().get_mut(&number) {
                            seen.answered = Some(Instant::now());
                        }
                        break;
                    }
                    Ok(other) => {
                        self.fail(format!("encounter {number} was answered with {other:?}"));
                        break;
                    }
                    Err(ProposeError::NotLeader(leader)) => to = leader,
                    Err(_) => {}
                }
                sleep(Duration::from_millis(dice.between(5, 60))).await;
            }
            number += CLIENTS;
            sleep(Duration::from_millis(dice.between(10, 120))).await;
        }
    }

    fn fail(&self, what: String) {
        self.report.borrow_mut().failures.push(what);
    }
}
