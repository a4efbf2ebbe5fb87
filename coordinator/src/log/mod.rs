//! The log of the raft group, as openraft wants it. Journal and archive make it durable; a database on sled is read.
//!
//! `append` puts the entries into a tail in memory and returns. openraft can so send them to followers while this
//! node's disk is still writing. The writer thread acknowledges them when they are durable.

mod archive;
pub(crate) mod durable;
mod high_water;
mod journal;
mod keys;
mod record;
mod store;
mod view;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use cluster_config::versions::Version;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use tokio::sync::oneshot;

use crate::OnFault;
use crate::error::Error;
use crate::group::raft::{Entry, LogId, TypeConfig, Vote};
use crate::log::archive::Archive;
use crate::log::high_water::HighWater;
use crate::log::journal::Journal;
use crate::log::store::Database;
pub use crate::log::view::Durable;
use crate::log::view::{Shared, View};
use crate::log::writer::{Order, Writer};

/// Owns the writer thread. When the last handle of the log is dropped, it waits until the thread has written
/// everything.
struct WriterThread {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // The thread has reported its panic itself.
            let _ = thread.join();
        }
    }
}

/// A handle of the log; clones are the same log.
#[derive(Clone)]
pub struct Log {
    database: Arc<Database>,
    shared: Arc<Shared>,
    writer: Arc<WriterThread>,
    version: Option<Version>,
}

impl Log {
    /// Opens the log in `folder` and checks all of it. Blocks for as long as reading the log takes.
    ///
    /// # Errors
    /// [`Error::StoreShortened`], [`Error::Corrupt`], [`Error::WrongNode`], [`Error::Disk`].
    pub fn open(folder: &Path, node_id: u64, on_fault: OnFault) -> Result<Self, Error> {
        durable::create_folder(folder)?;
        let files = folder.join(record::FOLDER_NAME);
        durable::create_folder(&files)?;
        durable::remove_temporaries(folder)?;
        durable::remove_temporaries(&files)?;
        let exists = archive::exists(folder);
        let high_water = HighWater::open(folder, node_id, exists)?;
        let (journal, unfinished) = Journal::open(folder, exists)?;
        let archive = Archive::open(folder, journal.sequence())?;
        let database = Database::create(folder)?;
        archive.replay(|writes| database.apply_all(writes))?;
        database.apply_all(&unfinished)?;
        let found = database.check(&high_water)?;
        if !unfinished.is_empty() {
            // From now on the journal's frames are not needed any more.
            archive.keep(journal.sequence(), &[unfinished, found.meta()?].concat())?;
        }
        let (database, archive) = (Arc::new(database), Arc::new(archive));
        let end = found.last.or(found.purged).map(|(id, _)| id);
        record::remove_files(folder, |index| end.is_none_or(|id| index > id.index))?;
        let purged = found.purged.map(|(id, _)| id);
        let view = View {
            first: found.first.unwrap_or(purged.map_or(0, |id| id.index + 1)),
            purged,
            last: end,
            vote: found.vote,
            committed: found.committed,
            tail: BTreeMap::new(),
            flushed: end.map(|id| id.index),
        };
        let shared = Arc::new(Shared::new(view, on_fault));
        let (orders, inbox) = channel();
        let writer = Writer::new(database.clone(), journal, archive, high_water, shared.clone(), &found);
        let thread = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn({
                let shared = shared.clone();
                move || {
                    // sled panics on some kinds of damage, and nobody would notice that the log is not written any
                    // more.
                    let run = AssertUnwindSafe(|| writer.run(&inbox));
                    if catch_unwind(run).is_err() {
                        shared.fail("the log's writer thread panicked");
                    }
                }
            })
            .map_err(Error::disk(folder, "start the log's writer thread"))?;
        let writer = Arc::new(WriterThread { orders: Some(orders), thread: Some(thread) });
        Ok(Self { database, shared, writer, version: found.version })
    }

    pub fn durable(&self) -> Durable {
        Durable(self.shared.clone())
    }

    /// The newest version of an entry that was in the log when it was opened.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The index of the first entry in the log, and the id of the last one, even if it is purged.
    pub fn bounds(&self) -> (u64, Option<LogId>) {
        let view = self.shared.view();
        (view.first, view.last)
    }

    fn send(&self, order: Order) -> io::Result<()> {
        self.writer.orders.as_ref().and_then(|orders| orders.send(order).ok()).ok_or_else(stopped)
    }

    fn read(&self, start: u64, end: Option<u64>) -> io::Result<Vec<Entry>> {
        let (stored, tail) = {
            let view = self.shared.view();
            let Some(last) = view.last else {
                return Ok(Vec::new());
            };
            let end = end.map_or(last.index, |end| end.min(last.index));
            let start = start.max(view.first);
            if start > end {
                return Ok(Vec::new());
            }
            let tail: Vec<Entry> = view.tail.range(start..=end).map(|(_, e)| e.clone()).collect();
            let tail_start = tail.first().map_or(end + 1, |entry| entry.log_id.index);
            (start..tail_start, tail)
        };
        let mut entries = Vec::with_capacity(tail.len());
        for index in stored {
            match self.database.entry(index).map_err(|e| self.fault(e))? {
                Some((entry, _)) => entries.push(entry),
                // Purged or truncated while we read.
                None if index < self.shared.view().first => {}
                None if self.shared.view().last.is_none_or(|last| index > last.index) => {
                    return Ok(entries);
                }
                None => {
                    let problem = format!("entry {index} is missing");
                    return Err(self.fault(Error::corrupt(self.database.folder(), problem)));
                }
            }
        }
        entries.extend(tail);
        Ok(entries)
    }

    fn fault(&self, error: Error) -> io::Error {
        let error = io::Error::from(error);
        self.shared.fail(&error.to_string());
        error
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log's writer has stopped after an earlier error")
}

async fn answer(done: oneshot::Receiver<Result<(), String>>) -> io::Result<()> {
    done.await.map_err(|_| stopped())?.map_err(io::Error::other)
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => Some(*index),
            Bound::Excluded(0) => return Ok(Vec::new()),
            Bound::Excluded(index) => Some(index - 1),
            Bound::Unbounded => None,
        };
        self.read(start, end)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.view().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let view = self.shared.view();
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, wait) = oneshot::channel();
        self.send(Order::Vote(*vote, done))?;
        answer(wait).await?;
        // A vote is shown only when it is durable: who reads it acts on it.
        self.shared.view().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared.view().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.view().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut view = self.shared.view();
            for entry in &entries {
                let index = entry.log_id.index;
                let was_empty = view.last == view.purged;
                if !was_empty && view.last.is_some_and(|last| last.index + 1 != index) {
                    let message = format!("entry {index} does not follow the log's end; a fault of ours");
                    return Err(io::Error::other(message));
                }
                if was_empty {
                    view.first = index;
                }
                view.last = Some(entry.log_id);
                view.tail.insert(index, entry.clone());
            }
        }
        self.send(Order::Append(entries, callback))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let after = last_log_id.map(|id| id.index);
        if self.bounds().1.map(|last| last.index) <= after {
            return Ok(());
        }
        let (done, wait) = oneshot::channel();
        self.send(Order::Truncate(after, done))?;
        {
            let mut view = self.shared.view();
            view.tail.split_off(&after.map_or(0, |index| index + 1));
            view.last = last_log_id.max(view.purged);
            view.flushed = view.flushed.min(view.last.map(|last| last.index));
        }
        answer(wait).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        {
            let mut view = self.shared.view();
            view.purged = Some(log_id);
            view.tail = view.tail.split_off(&(log_id.index + 1));
            view.first = view.first.max(log_id.index + 1);
            if view.last.is_none_or(|last| last.index <= log_id.index) {
                view.last = Some(log_id);
                view.tail.clear();
            }
        }
        self.send(Order::Purge(log_id))
    }
}
