//! The state machine: the replicated state in memory, built from the last snapshot and the log behind it.
//!
//! openraft calls it on the raft thread, where nothing may take longer as the state grows. So a snapshot is encoded,
//! written, read back and decoded on a thread that may block, and so is a state that is replaced let go.

pub mod snapshot;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use cluster_config::canary::{Canaries, Canary, planted};
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::codec;
use coordinator_core::{Command, Outcome, State, ledger};
use futures::{Stream, StreamExt as _};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;

use crate::chunks::Chunks;
use crate::error::{Error, chain};
use crate::group::raft::{LogId, Peer, SNAPSHOT_AFTER_ENTRIES, SnapshotMeta, StoredMembership, TypeConfig};
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
    /// Records of the ledger that the newest snapshot covers.
    snapshot_records: AtomicU64,
    /// See [`SharedState::address`].
    addresses: RwLock<BTreeMap<u64, String>>,
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

    /// How many records the ledger has beyond those that the newest snapshot covers.
    pub fn unsnapshot_records(&self) -> u64 {
        let records = self.read().applied.state.ledger().len();
        records.saturating_sub(self.snapshot_records.load(Ordering::Relaxed))
    }

    fn snapshot_covers(&self, state: &State) {
        self.snapshot_records.store(state.ledger().len(), Ordering::Relaxed);
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

    /// Where a member is reached by now: openraft goes on with the address that it knew when its connection was made.
    pub fn address(&self, node: u64) -> Option<String> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    fn learn_addresses(&self, membership: &StoredMembership) {
        let addresses = membership.nodes().map(|(id, peer)| (*id, peer.address.clone())).collect();
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
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
    chunks: Chunks,
    /// No snapshot is made before this entry: the last one could not be kept.
    deferred_until: Arc<AtomicU64>,
}

impl Machine {
    /// A machine that goes on from `restored`, or from nothing, and keeps its snapshots in `snapshots`. openraft
    /// replays the log, whose newest entries are of version `written`.
    pub fn new(
        snapshots: Snapshots,
        chunks: Chunks,
        restored: Option<(SnapshotMeta, State)>,
        written: Option<Version>,
    ) -> Self {
        let shared = Arc::new(SharedState::default());
        shared.raise_version(written);
        if let Some((meta, state)) = restored {
            shared.raise_version(state.version());
            shared.snapshot_covers(&state);
            shared.learn_addresses(&meta.last_membership);
            *shared.write() = Applied { state, last: meta.last_log_id, membership: meta.last_membership };
        }
        Self { shared, snapshots, chunks, deferred_until: Arc::default() }
    }

    /// Applies an entry. The records of a chunk that leaves the state wait to be written.
    fn apply_one(&self, state: &mut State, entry: &coordinator_core::Entry, canaries: Canaries) -> Outcome {
        let sealed = match &entry.command {
            Command::Ledger(ledger::Command::Seal { chunk, .. }) => {
                state.ledger().full(*chunk).map(|full| (*chunk, full))
            }
            _ => None,
        };
        let outcome = state.apply(entry, canaries);
        if let Some((chunk, full)) = sealed
            && let Some(line) = state.ledger().line(chunk)
        {
            self.chunks.sealed(chunk, full, *line);
        }
        outcome
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

/// Reads the state of a snapshot.
///
/// # Errors
/// [`Error::Message`], [`Error::Version`].
pub(crate) fn read_state(data: &[u8]) -> Result<State, Error> {
    let (state, _) = codec::decode_stamped(data, PEER_FRAME_BYTES_MAX)?;
    Ok(state)
}

/// A copy of the state to make a snapshot of, while the state itself goes on.
#[derive(Debug)]
pub struct Frozen {
    state: Option<State>,
    /// The version that every member understands: it may be sent to each of them.
    version: Version,
    meta: SnapshotMeta,
    snapshots: Snapshots,
    chunks: Chunks,
    deferred_until: Arc<AtomicU64>,
}

/// Encodes the state and keeps it, once what was written has been read back and decodes. The log behind it goes only
/// then.
fn keep(state: State, version: Version, meta: SnapshotMeta, snapshots: &Snapshots) -> Result<Stored, Error> {
    let begun = Instant::now();
    let mut data = codec::encode_stamped(&state, version, PEER_FRAME_BYTES_MAX)?;
    drop(state);
    let is_planted = planted(Canary::UndecodableSnapshot);
    if is_planted {
        data.pop();
    }
    let stored = Stored { meta, data: Arc::new(data) };
    snapshots.save(&stored, |written| if is_planted { Ok(()) } else { read_state(written).map(drop) })?;
    metrics::gauge!("tvs_snapshot_bytes").set(stored.data.len() as f64);
    metrics::gauge!("tvs_snapshot_seconds").set(begun.elapsed().as_secs_f64());
    Ok(stored)
}

impl RaftSnapshotBuilder<TypeConfig> for Frozen {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let state = self.state.take().ok_or_else(|| io::Error::other("a snapshot builder is used once"))?;
        let (meta, version, snapshots) = (self.meta.clone(), self.version, self.snapshots.clone());
        let (chunks, deferred_until) = (self.chunks.clone(), self.deferred_until.clone());
        let stored = blocking(move || {
            // What has left the state is in files before a snapshot is without it.
            chunks.flush()?;
            let index = meta.last_log_id.map_or(0, |id| id.index);
            match keep(state, version, meta, &snapshots) {
                // What a disk holds that fails is unknown: the node ends.
                Err(error @ Error::Disk { .. }) => Err(error),
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(
                        error,
                        index,
                        "a snapshot does not decode and is not kept; the log stays as it is, and the disk fills: \
                         report this to who maintains the nodes"
                    );
                    deferred_until.store(index + SNAPSHOT_AFTER_ENTRIES, Ordering::Relaxed);
                    // openraft takes a snapshot of nothing for no snapshot.
                    Ok(Stored { meta: SnapshotMeta::default(), data: Arc::default() })
                }
                kept => kept,
            }
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
                        if !proposal.0.command.leaves_galleries() {
                            changed = Some(log_id.index);
                        }
                        written = Some(proposal.0.version);
                        Some(self.apply_one(&mut applied.state, &proposal.0, canaries))
                    }
                    EntryPayload::Membership(membership) => {
                        applied.membership = StoredMembership::new(Some(log_id), membership.clone());
                        self.shared.learn_addresses(&applied.membership);
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

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Frozen> {
        let is_deferred = self.shared.applied_index() < Some(self.deferred_until.load(Ordering::Relaxed));
        if is_deferred && !force { None } else { Some(self.get_snapshot_builder().await) }
    }

    async fn get_snapshot_builder(&mut self) -> Frozen {
        let guard = self.shared.read();
        let applied = &guard.applied;
        self.shared.snapshot_covers(&applied.state);
        Frozen {
            state: Some(applied.state.freeze()),
            version: self.shared.version(),
            meta: SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() },
            snapshots: self.snapshots.clone(),
            chunks: self.chunks.clone(),
            deferred_until: self.deferred_until.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let snapshots = self.snapshots.clone();
        let stored = Stored { meta: meta.clone(), data: snapshot };
        let state = blocking(move || {
            let state = read_state(&stored.data)?;
            snapshots.save(&stored, |_| Ok(()))?;
            Ok(state)
        })
        .await?;
        self.shared.raise_version(state.version());
        self.shared.snapshot_covers(&state);
        self.shared.learn_addresses(&meta.last_membership);
        let next = Applied { state, last: meta.last_log_id, membership: meta.last_membership.clone() };
        let before = std::mem::replace(&mut *self.shared.write(), next);
        blocking(move || {
            drop(before);
            Ok(())
        })
        .await?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.shared.changes.send_replace(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let snapshots = self.snapshots.clone();
        let newest = blocking(move || snapshots.newest(|_| Ok(()))).await?;
        for (_, problem) in newest.problems {
            tracing::error!(problem, "a snapshot cannot be read; an older one is used");
        }
        Ok(newest.found.map(|(stored, ())| Snapshot { meta: stored.meta, snapshot: stored.data }))
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
