//! The planner's loop, on the leader alone: inventory in, plan, check, propose.
//!
//! It has a thread of its own, because planning a national schedule takes longer than a heartbeat.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::cluster::Founding;
use cluster_config::ids::UnixMs;
use cluster_config::limits::REPORT_INTERVAL_MS;
use cluster_config::member::Member;
use cluster_config::wire::peer::Report;
use coordinator_core::placement::{Group, Heard, Inventory, Planning, Round};
use coordinator_core::{Command, Outcome};
use tokio::sync::{Notify, oneshot};

use crate::error::Error;
use crate::group::coordinator::Coordinator;
use crate::machine::assert_state_is_free;
use crate::watchlist::Watchlist;

struct Shared {
    coordinator: Coordinator,
    founding: Arc<OnceLock<Founding>>,
    /// When this node began to run.
    began: Instant,
    planning: Mutex<Planning>,
    wake: Notify,
}

impl Shared {
    /// The state may be read while this is held, but not the other way round.
    fn planning(&self) -> MutexGuard<'_, Planning> {
        assert_state_is_free();
        self.planning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds of the machine's steady clock.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The running loop. It ends when this is dropped.
pub struct Planner {
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Planner {
    /// Starts the loop; it works whenever `coordinator` leads. `founding` is known once the node belongs to a cluster.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the thread cannot be started.
    pub fn start(
        coordinator: Coordinator,
        founding: Arc<OnceLock<Founding>>,
        watch: &Watchlist,
    ) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Stopped(format!("planner thread: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let (began, planning, wake) = (Instant::now(), Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { coordinator, founding, began, planning, wake });
        let (stop, stopped) = oneshot::channel();
        let state = shared.clone();
        let watched = watch.watch("planner");
        std::thread::Builder::new()
            .name("planner".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = run(&state) => {}
                        _ = stopped => watched.asked_to_end(),
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self { shared, _stop: stop })
    }

    /// Takes a node's report. On a node that does not lead it is forgotten. False where the node has to say all that it
    /// holds.
    pub fn report(&self, report: Report) -> bool {
        let heard = self.shared.planning().report(self.shared.now_ms(), report);
        if heard == Heard::News {
            self.shared.wake.notify_one();
        }
        heard != Heard::Unknown
    }

    /// What the clocks of those show that report to this leader, its own among them.
    pub fn clocks(&self) -> Vec<UnixMs> {
        self.shared.planning().inventory(self.shared.now_ms()).clocks()
    }

    /// What this leader has heard so far.
    pub fn inventory(&self) -> Inventory {
        self.shared.planning().inventory(self.shared.now_ms()).clone()
    }
}

async fn run(shared: &Shared) {
    let mut leadership = shared.coordinator.leadership();
    let mut changes = shared.coordinator.changes();
    loop {
        let leads = *leadership.borrow_and_update();
        shared.planning().leads(shared.now_ms(), leads.is_leader.then_some(leads.term));
        if !leads.is_leader {
            if leadership.changed().await.is_err() {
                return;
            }
            continue;
        }
        let inventory = {
            let mut planning = shared.planning();
            shared.coordinator.with_state(|state| planning.look(shared.now_ms(), state))
        };
        if let Some(inventory) = inventory {
            round(shared, inventory).await;
            shared.planning().round_ended();
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                shared.planning().changed();
            }
            _ = leadership.changed() => {}
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(REPORT_INTERVAL_MS)) => {}
        }
    }
}

/// Proposes what a plan gives, in order, until one is not taken.
async fn round(shared: &Shared, inventory: Inventory) {
    let coordinator = &shared.coordinator;
    let (group, canaries) = (group(shared), Canaries::of_process());
    let mut round = coordinator.with_state(|state| {
        // No single clock decides what boards; only before the state knows the time there is but this one.
        let now = Some(state.clock().now()).filter(|now| *now != UnixMs::default());
        Round::new(state, inventory, &group, now.unwrap_or_else(|| coordinator.now()), canaries)
    });
    loop {
        let next = coordinator.with_state(|state| round.next(state)).unwrap_or_else(|violation| {
            tracing::error!(%violation, "the planner made a blueprint that breaks a rule; it is not proposed");
            None
        });
        let Some(command) = next else { return };
        if !propose(coordinator, command).await {
            return;
        }
    }
}

async fn propose(coordinator: &Coordinator, command: Command) -> bool {
    match coordinator.propose(Actor::node(coordinator.node_id()), command).await {
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

fn group(shared: &Shared) -> Group {
    let member = |id, address, zone: &str| zone.parse().ok().map(|zone| Member { id, address, zone });
    let members = shared.coordinator.members();
    let members = members.into_iter().map(|(id, peer)| (id, member(id, peer.address, &peer.zone))).collect();
    let (founding, acknowledged) = (shared.founding.get().cloned(), shared.coordinator.acknowledged());
    Group { founding, members, acknowledged }
}
