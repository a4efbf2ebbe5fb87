//! What the log's readers and its writer thread share: how far the log goes at this moment, and its newest entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::OnFault;
use crate::group::raft::{Entry, LogId, Vote};

/// Durable entries that stay in memory, for followers that are a little behind. With batches of 256 records each that
/// is 64 MiB at most.
const TAIL_ENTRIES_MAX: usize = 1_024;

/// The log at this moment, with the entries that are not yet durable.
#[derive(Debug)]
pub struct View {
    /// Index of the first entry that may be read.
    pub first: u64,
    /// The last purged entry.
    pub purged: Option<LogId>,
    /// The last entry, or the last purged one.
    pub last: Option<LogId>,
    /// The last durable vote.
    pub vote: Option<Vote>,
    /// The last entry that is known to be committed.
    pub committed: Option<LogId>,
    /// The newest entries without a gap up to `last`.
    pub tail: BTreeMap<u64, Entry>,
    /// The last durable entry.
    pub flushed: Option<u64>,
}

/// Tells how far a log is durable, without keeping it open.
#[derive(Clone)]
pub struct Durable(pub(super) Arc<Shared>);

impl Durable {
    /// The index of the last durable entry.
    pub fn index(&self) -> Option<u64> {
        self.0.view().flushed
    }
}

/// What the writer thread and the readers share.
pub struct Shared {
    view: Mutex<View>,
    failed: Mutex<Option<String>>,
    on_fault: OnFault,
}

impl Shared {
    /// `on_fault` is called once, with the first failure.
    pub fn new(view: View, on_fault: OnFault) -> Self {
        Self { view: Mutex::new(view), failed: Mutex::new(None), on_fault }
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        // After a panic under the lock the view is at worst older than the disk.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last id that is known to be committed.
    pub fn committed(&self) -> Option<LogId> {
        self.view().committed
    }

    /// Everything up to this index is durable now. Old entries leave the tail.
    pub fn flushed(&self, upto: Option<u64>) {
        let mut view = self.view();
        view.flushed = upto;
        while view.tail.len() > TAIL_ENTRIES_MAX
            && let Some((&index, _)) = view.tail.first_key_value()
            && upto.is_some_and(|upto| index <= upto)
        {
            view.tail.remove(&index);
        }
    }

    /// Tells the node, once, that the storage has failed.
    pub fn fail(&self, reason: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() {
            *failed = Some(reason.to_owned());
            (self.on_fault)(reason.to_owned());
        }
    }
}
