//! The state machine: the replicated state in memory, built from the last snapshot and the log behind it.

pub mod snapshot;

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cluster_config::canary::Canaries;
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::codec;
use coordinator_core::State;
use futures::{Stream, StreamExt as _};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use crate::error::Error;
use crate::group::raft::{LogId, Peer, SnapshotMeta, StoredMembership, TypeConfig};
use crate::machine::snapshot::{Snapshots, Stored};

/// The handle of openraft.
pub type Raft = openraft::Raft<TypeConfig, Machine>;

/// The encoded state, as a snapshot holds it.
pub type SnapshotData = Arc<Vec<u8>>;

/// A snapshot as openraft passes it.
pub type RaftSnapshot =
    Snapshot<openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>, u64, Peer, SnapshotData>;

/// The state, and the last entry that was applied to it.
#[derive(Debug, Default)]
struct Applied {
    state: State,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// What readers share with the state machine.
#[derive(Debug, Default)]
pub struct SharedState {
    applied: RwLock<Applied>,
    changes: watch::Sender<u64>,
    /// See [`SharedState::version`]; 0 while nothing is known.
    version: AtomicU8,
}

/// A read lock on the state. Hold it briefly and never across an await: applying entries waits for it. A thread may
/// hold only one. If an entry were to be applied between two locks of one thread, the thread and the entry would wait
/// for each other for ever. So the second lock panics.
pub struct StateGuard<'a> {
    applied: RwLockReadGuard<'a, Applied>,
    _turn: Turn,
}

impl std::ops::Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.applied.state
    }
}

thread_local! {
    static READS_THE_STATE: Cell<bool> = const { Cell::new(false) };
}

/// Panics if this thread reads the state. It must not wait for another lock then: the holder of that lock may wait for
/// the state.
pub(crate) fn assert_state_is_free() {
    assert!(!READS_THE_STATE.get(), "this thread holds the state and asks for a lock that may never come");
}

/// A thread's turn to read the state.
struct Turn;

impl Turn {
    fn take() -> Self {
        assert_state_is_free();
        READS_THE_STATE.set(true);
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        READS_THE_STATE.set(false);
    }
}

impl SharedState {
    fn read(&self) -> StateGuard<'_> {
        let _turn = Turn::take();
        StateGuard { applied: self.applied.read().unwrap_or_else(PoisonError::into_inner), _turn }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Applied> {
        assert_state_is_free();
        self.applied.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as applied so far.
    pub fn state(&self) -> StateGuard<'_> {
        self.read()
    }

    /// Index of the last applied entry.
    pub fn applied_index(&self) -> Option<u64> {
        self.read().applied.last.map(|id| id.index)
    }

    /// The version in which this node writes what more than two nodes see: the cluster's, or, before this node has
    /// applied anything, that of the entries in its log. A node with an empty folder founds a cluster in its own
    /// version, or is told that of the cluster before it says anything.
    pub fn version(&self) -> Version {
        match self.version.load(Ordering::Relaxed) {
            0 => Version::CURRENT,
            known => Version(known),
        }
    }

    fn raise_version(&self, known: Option<Version>) {
        self.version.fetch_max(known.map_or(0, |version| version.0), Ordering::Relaxed);
    }

    /// The index of the last entry that changed more than the ledger.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// The state machine that openraft drives.
#[derive(Debug, Clone)]
pub struct Machine {
    shared: Arc<SharedState>,
    snapshots: Snapshots,
}

impl Machine {
    /// An empty machine that keeps its snapshots in `snapshots`. openraft installs the last one and replays the log,
    /// whose newest entries are of version `written`.
    pub fn new(snapshots: Snapshots, written: Option<Version>) -> Self {
        let shared = Arc::new(SharedState::default());
        shared.raise_version(written);
        Self { shared, snapshots }
    }

    /// The part that readers use.
    pub fn shared(&self) -> Arc<SharedState> {
        self.shared.clone()
    }
}

/// Runs work that blocks on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?.map_err(io::Error::from)
}

/// A copy of the state to make a snapshot of, while the state itself goes on.
#[derive(Debug)]
pub struct Frozen {
    state: Option<State>,
    /// The version that every member understands: it may be sent to each of them.
    version: Version,
    meta: SnapshotMeta,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Frozen {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let state = self.state.take().ok_or_else(|| io::Error::other("a snapshot builder is used once"))?;
        let snapshots = self.snapshots.clone();
        let (meta, version) = (self.meta.clone(), self.version);
        let stored = blocking(move || {
            let data = Arc::new(codec::encode_stamped(&state, version, PEER_FRAME_BYTES_MAX)?);
            let stored = Stored { meta, data };
            snapshots.save(&stored)?;
            Ok(stored)
        })
        .await?;
        Ok(Snapshot { meta: stored.meta, snapshot: stored.data })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Frozen;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let guard = self.shared.read();
        let applied = &guard.applied;
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        // The whole batch is read first: the lock must not be held across an await.
        let mut batch = Vec::new();
        while let Some(entry) = entries.next().await {
            batch.push(entry?);
        }
        let mut answers = Vec::with_capacity(batch.len());
        let mut changed = None;
        let canaries = Canaries::of_process();
        {
            let mut applied = self.shared.write();
            for (entry, responder) in batch {
                let log_id = entry.log_id();
                let mut written = None;
                let outcome = match &entry.payload {
                    EntryPayload::Blank => None,
                    EntryPayload::Normal(proposal) => {
                        if !proposal.0.command.is_ledger() {
                            changed = Some(log_id.index);
                        }
                        written = Some(proposal.0.version);
                        Some(applied.state.apply(&proposal.0, canaries))
                    }
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(log_id), membership.clone());
                        changed = Some(log_id.index);
                        None
                    }
                };
                applied.last = Some(log_id);
                self.shared.raise_version(written.max(applied.state.version()));
                answers.extend(responder.map(|responder| (responder, outcome)));
            }
        }
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        if let Some(index) = changed {
            self.shared.changes.send_replace(index);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Frozen {
        let guard = self.shared.read();
        let applied = &guard.applied;
        Frozen {
            state: Some(applied.state.freeze()),
            version: self.shared.version(),
            meta: SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() },
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let snapshots = self.snapshots.clone();
        let stored = Stored { meta: meta.clone(), data: snapshot };
        let state: State = blocking(move || {
            let (state, _) = codec::decode_stamped(&stored.data, PEER_FRAME_BYTES_MAX)?;
            // At a start openraft installs the snapshot that it has just read from the disk.
            let known = snapshots.newest()?.0;
            if known.is_none_or(|known| known.meta != stored.meta) {
                snapshots.save(&stored)?;
            }
            Ok(state)
        })
        .await?;
        self.shared.raise_version(state.version());
        *self.shared.write() = Applied { state, last: meta.last_log_id, membership: meta.last_membership.clone() };
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.shared.changes.send_replace(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let snapshots = self.snapshots.clone();
        let (stored, problems) = blocking(move || snapshots.newest()).await?;
        for problem in problems {
            tracing::error!(problem, "a snapshot cannot be read; an older one is used");
        }
        Ok(stored.map(|stored| Snapshot { meta: stored.meta, snapshot: stored.data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_reads_the_state_cannot_come_to_wait_for_itself() {
        let state = SharedState::default();
        let again = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(state.read())));
        let guard = state.state();
        assert!(again().is_err(), "an entry applied in between would hold both for ever");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| state.applied_index());
            assert_eq!(other.join().expect("another thread may read"), None);
        });
        drop(guard);
        assert!(again().is_ok());
    }
}
