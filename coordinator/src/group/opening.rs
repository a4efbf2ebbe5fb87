//! From the folder to a running member of the group, and the two tasks that watch it: who leads, and the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_config::ids::NodeId;
use coordinator_core::State;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::storage::RaftLogStorage;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Now;
use crate::chunks::Chunks;
use crate::error::Error;
use crate::group::lost::{self, Losses};
use crate::group::options::Options;
use crate::group::raft::{self, SnapshotMeta, TypeConfig};
use crate::group::transport::{Network, Transport};
use crate::log::durable;
use crate::log::{Durable, Log};
use crate::machine::snapshot::Snapshots;
use crate::machine::{Machine, Raft, SharedState, read_state};
use crate::proposing::batcher::LedgerBatcher;
use crate::watchlist::{Watched, Watchlist};

/// Free space below which this node takes no proposals and does not lead, bytes: room for a snapshot, its successor
/// and an hour of log at the design's peak.
pub const DISK_FREE_BYTES_MIN: u64 = 256 << 20;

/// How often the free space is looked at, milliseconds.
const DISK_CHECK_INTERVAL_MS: u64 = 1_000;

/// Who leads, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The current term.
    pub term: u64,
    /// The leader of that term, once it is known.
    pub leader: Option<NodeId>,
    /// Whether this node is the leader.
    pub is_leader: bool,
}

/// The parts of a running member.
pub struct Parts {
    pub node_id: NodeId,
    pub raft: Raft,
    /// How far this node's log is durable.
    pub durable: Durable,
    /// The wall clock.
    pub now: Now,
    /// The state that readers share.
    pub shared: Arc<SharedState>,
    /// What has left the ledger.
    pub chunks: Chunks,
    /// Where single records go.
    pub batcher: LedgerBatcher,
    /// What has to go on.
    pub watch: Watchlist,
    /// Set while the disk is nearly full.
    pub disk_full: Arc<AtomicBool>,
    pub leader: watch::Receiver<Leadership>,
    /// The task that watches the disk; it does not end by itself.
    pub disk_watch: AbortHandle,
}

/// Opens the store, checks it and starts openraft on what `wrap` makes of the log. openraft and the tasks that watch it
/// run on the current runtime.
///
/// # Errors
/// See [`crate::Coordinator::start`].
pub async fn open<L: RaftLogStorage<TypeConfig>>(
    options: &Options,
    transport: Arc<dyn Transport>,
    wrap: impl FnOnce(Log) -> L,
) -> Result<Parts, Error> {
    let config = raft::config(&options.settings)?;
    durable::create_folder(&options.data_dir)?;
    let node_id = options.node_id;
    let log_folder = options.data_dir.join("log");
    let watch = options.watch.clone();
    let told = watch.clone();
    let log = Log::open(&log_folder, node_id.0, Arc::new(move |reason| told.fault(reason)))?;
    let snapshots = Snapshots::open(&options.data_dir.join("snapshots"))?;
    let restored = restore(&log, &snapshots)?;
    let chunks = Chunks::open(&options.data_dir.join("ledger"))?;
    let machine = Machine::new(snapshots, chunks.clone(), restored, log.version());
    let (shared, durable) = (machine.shared(), log.durable());
    let (losses, lost) = Losses::new();
    let network = Network::new(transport, shared.clone(), losses);
    let raft = Raft::new(node_id.0, Arc::new(config), network, wrap(log), machine)
        .await
        .map_err(|fatal| Error::Stopped(fatal.to_string()))?;
    if raft.is_initialized().await.map_err(|fatal| Error::Stopped(fatal.to_string()))? {
        // Before openraft has published its first metrics, a member of a group looks like a new node.
        raft.wait(None)
            .metrics(|metrics| metrics.membership_config.nodes().next().is_some(), "members read from the store")
            .await
            .map_err(|error| Error::Stopped(error.to_string()))?;
    }
    let disk_full = Arc::new(AtomicBool::new(false));
    let disk_watch =
        tokio::spawn(watch_disk(raft.clone(), options.data_dir.clone(), disk_full.clone(), watch.watch("disk watch")));
    tokio::spawn(lost::take_out(raft.clone(), lost));
    let (sender, leader) = watch::channel(Leadership::default());
    tokio::spawn(watch_leader(raft.clone(), sender, watch.clone(), watch.watch("raft core")));
    let now = options.now.clone();
    let batcher = LedgerBatcher::start(raft.clone(), now.clone(), shared.clone(), &watch);
    let disk_watch = disk_watch.abort_handle();
    Ok(Parts { node_id, now, chunks, watch, batcher, raft, durable, shared, disk_full, leader, disk_watch })
}

/// The state of the newest snapshot that can be used. The log must go on where it ends. Newer ones are set aside.
fn restore(log: &Log, snapshots: &Snapshots) -> Result<Option<(SnapshotMeta, State)>, Error> {
    let newest = snapshots.newest(read_state)?;
    let covered = newest.found.as_ref().and_then(|(snapshot, _)| snapshot.meta.last_log_id);
    let next = covered.map_or(0, |id| id.index + 1);
    if log.bounds().0 > next {
        let mut problem = match covered {
            Some(id) => format!("the newest snapshot that can be used ends at entry {id}"),
            None => "no snapshot can be used".to_owned(),
        };
        for (_, detail) in newest.problems {
            problem.push_str("; ");
            problem.push_str(&detail);
        }
        return Err(Error::SnapshotsLost { path: snapshots.folder().to_owned(), problem });
    }
    for (path, problem) in newest.problems {
        tracing::error!(problem, "a snapshot cannot be used and is set aside; the state is made of what is before it");
        snapshots.set_aside(&path)?;
    }
    Ok(newest.found.map(|(stored, state)| (stored.meta, state)))
}

/// Tells who leads, and reports when openraft has stopped because of an error. `_core` stands for openraft's own core
/// task: where that panics, nothing is told any more but the end of its metrics.
async fn watch_leader(raft: Raft, sender: watch::Sender<Leadership>, list: Watchlist, _core: Watched) {
    let mut metrics = raft.metrics();
    loop {
        let (now, running) = {
            let metrics = metrics.borrow_watched();
            let now = Leadership {
                term: metrics.current_term,
                leader: metrics.current_leader.map(NodeId),
                is_leader: metrics.state == ServerState::Leader,
            };
            (now, metrics.running_state.clone())
        };
        sender.send_if_modified(|before| std::mem::replace(before, now) != now);
        match running {
            Ok(()) => {}
            Err(openraft::errors::Fatal::Stopped) => return,
            Err(fatal) => {
                list.fault(fatal.to_string());
                return;
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Stands down before the disk is full, and takes part again once there is room.
async fn watch_disk(raft: Raft, folder: PathBuf, disk_full: Arc<AtomicBool>, _watched: Watched) {
    let mut interval = tokio::time::interval(Duration::from_millis(DISK_CHECK_INTERVAL_MS));
    loop {
        interval.tick().await;
        // If the disk cannot be asked, the writer finds that out and ends the node.
        let full = durable::free_bytes(&folder).is_ok_and(|bytes| bytes < DISK_FREE_BYTES_MIN);
        if disk_full.swap(full, Ordering::Relaxed) != full {
            tracing::warn!(full, folder = %folder.display(), "free disk space crossed the limit");
            raft.runtime_config().elect(!full);
        }
        let successor = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let leads = full && metrics.state == ServerState::Leader;
            let replication = metrics.replication.iter().flatten();
            replication
                .filter(|(id, _)| leads && **id != metrics.id)
                .filter(|(id, _)| metrics.membership_config.voter_ids().any(|voter| voter == **id))
                .max_by_key(|(_, matched)| matched.as_ref().map(|id| id.index))
                .map(|(id, _)| *id)
        };
        if let Some(successor) = successor {
            // An error means that openraft has stopped.
            let _ = raft.trigger().transfer_leader(successor).await;
        }
    }
}
