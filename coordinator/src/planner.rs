//! The planner's loop, on the leader alone: inventory in, plan, check, propose.
//!
//! It has a thread of its own, because planning a national schedule takes longer than a heartbeat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::limits::REPORT_INTERVAL_MS;
use cluster_config::wire::peer::{Member, Report};
use coordinator_core::inventory::Inventory;
use coordinator_core::plan::plan;
use coordinator_core::{Command, Outcome, State, check};
use tokio::sync::{Notify, oneshot};

use crate::error::Error;
use crate::group::coordinator::Coordinator;
use crate::machine::assert_state_is_free;

/// Longest time between two plans, where neither state nor reports have changed: departure times come nearer all the
/// while.
const PLAN_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// The wall clock: by it journeys depart. Silence is measured by the machine's steady clock.
pub type Now = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// What the reports said, and whether any of it is news.
#[derive(Debug)]
struct Reports {
    /// When this node began to lead, or to run.
    began: Instant,
    inventory: Inventory,
    /// The last report of each node, for telling news from repetition.
    last: BTreeMap<NodeId, Report>,
    news: bool,
}

impl Reports {
    fn new() -> Self {
        Self { began: Instant::now(), inventory: Inventory::default(), last: BTreeMap::new(), news: false }
    }

    fn pass_time(&mut self) {
        let elapsed_ms = self.began.elapsed().as_millis();
        self.inventory.pass(u64::try_from(elapsed_ms).unwrap_or(u64::MAX));
    }
}

struct Shared {
    coordinator: Coordinator,
    now: Now,
    reports: Mutex<Reports>,
    wake: Notify,
}

impl Shared {
    /// The state may be read while this is held, but not the other way round.
    fn reports(&self) -> MutexGuard<'_, Reports> {
        assert_state_is_free();
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running loop. It ends when this is dropped.
pub struct Planner {
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Planner {
    /// Starts the loop; it works whenever `coordinator` leads.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the thread cannot be started.
    pub fn start(coordinator: Coordinator, now: Now) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Stopped(format!("planner thread: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let shared = Arc::new(Shared { coordinator, now, reports: Mutex::new(Reports::new()), wake: Notify::new() });
        let (stop, stopped) = oneshot::channel();
        let state = shared.clone();
        std::thread::Builder::new()
            .name("planner".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = run(&state) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self { shared, _stop: stop })
    }

    /// Takes a node's report. On a node that does not lead it is forgotten.
    pub fn report(&self, report: Report) {
        let mut reports = self.shared.reports();
        reports.pass_time();
        if reports.last.get(&report.node) != Some(&report) {
            reports.news = true;
            reports.last.insert(report.node, report.clone());
            self.shared.wake.notify_one();
        }
        reports.inventory.take(report);
    }

    /// What this leader has heard so far.
    pub fn inventory(&self) -> Inventory {
        let mut reports = self.shared.reports();
        reports.pass_time();
        reports.inventory.clone()
    }
}

/// How alive a node is: heard of, lost, gone.
type Liveness = Vec<(NodeId, bool, bool, bool)>;

async fn run(shared: &Shared) {
    let mut leadership = shared.coordinator.leadership();
    let mut changes = shared.coordinator.changes();
    let mut led_term = None;
    let mut liveness = Liveness::new();
    let mut planned_at: Option<Instant> = None;
    loop {
        let leads = *leadership.borrow_and_update();
        if !leads.is_leader {
            led_term = None;
            if leadership.changed().await.is_err() {
                return;
            }
            continue;
        }
        let new_leader = led_term != Some(leads.term);
        if new_leader {
            // Silence counts from here, so that nobody is taken for dead who could not have reported yet.
            *shared.reports() = Reports::new();
            led_term = Some(leads.term);
        }
        let inventory = {
            let mut reports = shared.reports();
            reports.pass_time();
            let seen = shared.coordinator.with_state(|state| liveness_of(state, &reports.inventory));
            let changed = changes.has_changed().unwrap_or(false);
            let due = planned_at.is_none_or(|at| at.elapsed() >= PLAN_INTERVAL_MAX);
            let needed = new_leader || changed || due || reports.news || seen != liveness;
            liveness = seen;
            reports.news = false;
            needed.then(|| reports.inventory.clone())
        };
        if let Some(inventory) = inventory {
            changes.mark_unchanged();
            planned_at = Some(Instant::now());
            step(&shared.coordinator, &inventory, (shared.now)()).await;
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // The loop looks at this itself.
                changes.mark_changed();
            }
            _ = leadership.changed() => {}
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(REPORT_INTERVAL_MS)) => {}
        }
    }
}

fn liveness_of(state: &State, inventory: &Inventory) -> Liveness {
    let nodes = state.members.keys();
    nodes.map(|&node| (node, inventory.is_alive(node), inventory.is_lost(node), inventory.is_gone(node))).collect()
}

/// Plans once and proposes what comes out, in order, until one is not taken: the rest builds on it.
async fn step(coordinator: &Coordinator, inventory: &Inventory, now: UnixMs) {
    let members = member_commands(coordinator, inventory);
    for command in members {
        if !propose(coordinator, command).await {
            return;
        }
    }
    let commands = coordinator.with_state(|state| plan(state, inventory, now));
    for command in commands {
        if let Command::ChangeBlueprint { changes, .. } = &command {
            let judged = coordinator.with_state(|state| check::changes(state, changes));
            if let Err(violation) = judged {
                tracing::error!(%violation, "the planner made a blueprint that breaks a rule; it is not proposed");
                return;
            }
        }
        if !propose(coordinator, command).await {
            return;
        }
    }
}

async fn propose(coordinator: &Coordinator, command: Command) -> bool {
    match coordinator.propose(command).await {
        Ok(Outcome::Refused(refusal)) => {
            // The state has moved on since the plan; the next one starts from there.
            tracing::debug!(?refusal, "a planned command was refused");
            false
        }
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "a planned command was not committed");
            false
        }
    }
}

/// Keeps the replicated state's members in step with the raft group's: the founding members are announced, and who
/// left the group and is silent is forgotten.
fn member_commands(coordinator: &Coordinator, inventory: &Inventory) -> Vec<Command> {
    let group = coordinator.members();
    let state = coordinator.state();
    let announced = group.iter().filter_map(|(&id, peer)| {
        let member = Member { id, address: peer.address.clone(), zone: peer.zone.parse().ok()? };
        let known = state.members.get(&id).is_some_and(|m| m.member == member);
        (!known).then_some(Command::RegisterMember(member))
    });
    let forgotten = state
        .members
        .keys()
        .filter(|id| !group.contains_key(id) && inventory.is_gone(**id))
        .map(|id| Command::RemoveMember(*id));
    announced.chain(forgotten).collect()
}
