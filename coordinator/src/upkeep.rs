//! What is done once a second by the time, on a thread of its own: the leader proposes what is due and seals chunks of
//! the ledger; every node writes the files of what was sealed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::ids::UnixMs;
use coordinator_core::clock::Agreement;
use coordinator_core::{Command, Outcome, ledger, upkeep};
use tokio::sync::oneshot;

use crate::chunks;
use crate::error::{Error, chain};
use crate::group::coordinator::Coordinator;
use crate::planner::Planner;
use crate::watchlist::Watchlist;

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(1);

/// Chunks that one round seals at most: each is a file to be written by every node. So many are 65,000 records a
/// second.
const SEALED_MAX: usize = 16;

/// How often one round goes on with what the ledger forgets: of each gallery it forgets as much as one round seals.
const SETTLING_TURNS_MAX: usize = 8;

/// The running loop. It ends when this is dropped.
pub struct Upkeep {
    _stop: oneshot::Sender<()>,
}

impl Upkeep {
    /// Starts the loop.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the thread cannot be started.
    pub fn start(coordinator: Coordinator, planner: Arc<Planner>, watch: &Watchlist) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Stopped(format!("upkeep thread: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let watched = watch.watch("ledger's upkeep");
        std::thread::Builder::new()
            .name("upkeep".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = run(&coordinator, &planner) => {}
                        _ = stopped => watched.asked_to_end(),
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self { _stop: stop })
    }
}

async fn run(coordinator: &Coordinator, planner: &Planner) {
    let (began, mut agreement, mut led) = (Instant::now(), Agreement::default(), false);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !std::mem::replace(&mut led, coordinator.is_leader()) {
            agreement = Agreement::default();
        }
        let clocks = planner.clocks();
        let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let time =
            coordinator.with_state(|state| agreement.look(now_ms, state.clock().now(), &clocks, state.members().len()));
        if let Err(error) = round(coordinator, time).await {
            let error = chain(&error);
            tracing::error!(error, "chunks of the ledger are not sealed or not written; it is tried again");
        }
    }
}

/// One round; `time` is what clocks agree on, where the state is to be told.
///
/// # Errors
/// [`Error::Disk`], [`Error::Corrupt`], [`Error::Message`]: the chunk stays where it is.
pub async fn round(coordinator: &Coordinator, time: Option<UnixMs>) -> Result<(), Error> {
    coordinator.chunks().flush()?;
    metrics::gauge!("tvs_ledger_remembered").set(coordinator.with_state(|s| s.ledger().remembered()) as f64);
    coordinator.snapshot_where_grown().await?;
    if !coordinator.is_leader() {
        return Ok(());
    }
    let mut due = coordinator.with_state(|state| upkeep::due(state, time, Canaries::of_process()));
    for _ in 0..SETTLING_TURNS_MAX {
        for command in due {
            if !propose(coordinator, command).await {
                return Ok(());
            }
        }
        due = coordinator.with_state(upkeep::settled);
        if due.is_empty() {
            break;
        }
    }
    let mut from = 0;
    for _ in 0..SEALED_MAX {
        let Some((chunk, full)) = coordinator.with_state(|state| state.ledger().first_full(from)) else { break };
        let version = coordinator.version();
        let hash = coordinator.chunks().keep(&chunks::encode(chunk, &full.records, version)?)?;
        if !propose(coordinator, ledger::Command::Seal { chunk, hash, version }.into()).await {
            break;
        }
        from = chunk + 1;
    }
    coordinator.chunks().flush()
}

async fn propose(coordinator: &Coordinator, command: Command) -> bool {
    match coordinator.propose(Actor::node(coordinator.node_id()), command).await {
        Ok(Outcome::Refused(refusal)) => {
            // The state has moved on meanwhile; the next round starts from there.
            tracing::debug!(?refusal, "what was due was refused");
            false
        }
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "what was due was not committed");
            false
        }
    }
}
