//! The one thread that writes the log: it drains everything that waits into one batch, makes it durable with one flush
//! and one `fdatasync`, raises the high-water mark, and only then answers (group commit).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::durable;
use crate::error::{Error, chain};
use crate::high_water::HighWater;
use crate::log::Shared;
use crate::log_store::{self, Anchor, Database, Writes};
use crate::raft::{Entry, LogId, TypeConfig, Vote};
use crate::record;

/// Orders taken into one batch: openraft sends at most 4,096 entries with each, so the bound is on latency, not memory.
const ORDERS_PER_BATCH_MAX: usize = 512;

/// Entries by which the noted end of what is committed may lag behind: after a restart the next leader's first commit
/// covers them all.
const COMMITTED_LAG_ENTRIES: u64 = 64;

/// Purged entries removed between two batches: some milliseconds, so that no append waits for a whole purge.
const PURGE_STEP_ENTRIES: usize = 256;

/// Batches between two looks at the free space.
const BATCHES_PER_SPACE_CHECK: u64 = 64;

/// Free space below which nothing more is written, bytes: sled needs room to tidy up, and a torn batch on a full disk
/// is worse than a stopped node. The node has refused proposals long before (`opening::DISK_FREE_BYTES_MIN`).
const DISK_FREE_BYTES_STOP: u64 = 64 << 20;

/// What the thread is asked to do, in order.
pub enum Order {
    /// Append entries that follow the last.
    Append(Vec<Entry>, IOFlushed<TypeConfig>),
    /// Keep the vote.
    Vote(Vote, oneshot::Sender<Result<(), String>>),
    /// Remove all entries after this index (all for none).
    Truncate(Option<u64>, oneshot::Sender<Result<(), String>>),
    /// Remove all entries up to this one.
    Purge(LogId),
}

enum Answer {
    Appended(IOFlushed<TypeConfig>),
    Voted(oneshot::Sender<Result<(), String>>),
}

/// The thread's state.
pub struct Writer {
    database: Arc<Database>,
    high_water: HighWater,
    shared: Arc<Shared>,
    vote: Option<Vote>,
    /// Last entry, or the anchor where there is none.
    last: Option<Anchor>,
    purged: Option<Anchor>,
    purging: bool,
    /// What the database says is committed.
    committed: Option<LogId>,
    batches: u64,
}

impl Writer {
    /// A writer that goes on after what was found.
    pub fn new(database: Arc<Database>, high_water: HighWater, shared: Arc<Shared>, found: &log_store::Found) -> Self {
        Self {
            database,
            high_water,
            shared,
            vote: found.vote,
            last: found.last.or(found.purged),
            purged: found.purged,
            // What a crash left of a purge is removed now.
            purging: found.purged.is_some(),
            committed: found.committed,
            batches: 0,
        }
    }

    /// Works until all senders are gone.
    pub fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let first = if self.purging {
                match orders.try_recv() {
                    Ok(order) => Some(order),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match orders.recv() {
                    Ok(order) => Some(order),
                    Err(RecvError) => return,
                }
            };
            let mut drained = Vec::new();
            if let Some(first) = first {
                drained.push(first);
                drained.extend(orders.try_iter().take(ORDERS_PER_BATCH_MAX - 1));
            }
            if let Err(error) = self.step(drained) {
                let reason = chain(&error);
                self.shared.fail(&reason);
                // From here on every order is refused, so that nobody waits for an answer that never comes.
                orders.iter().for_each(|order| refuse(order, &reason));
                return;
            }
        }
    }

    fn step(&mut self, orders: Vec<Order>) -> Result<(), Error> {
        if self.batches.is_multiple_of(BATCHES_PER_SPACE_CHECK) {
            self.check_space()?;
        }
        self.batches += 1;
        let mut writes = Writes::default();
        let mut answers = Vec::new();
        let mut orders = orders.into_iter();
        while let Some(order) = orders.next() {
            let result = self.take(order, &mut writes, &mut answers);
            if let Err(error) = result {
                let reason = chain(&error);
                answers.drain(..).for_each(|answer| answer.give(Err(&reason)));
                orders.for_each(|order| refuse(order, &reason));
                return Err(error);
            }
        }
        self.commit(writes, answers)?;
        if self.purging {
            self.purge_step()?;
        }
        Ok(())
    }

    fn take(&mut self, order: Order, writes: &mut Writes, answers: &mut Vec<Answer>) -> Result<(), Error> {
        match order {
            Order::Append(entries, callback) => {
                let result = entries.iter().try_for_each(|entry| self.append(entry, writes));
                answers.push(Answer::Appended(callback));
                result
            }
            Order::Vote(vote, done) => {
                self.vote = Some(vote);
                answers.push(Answer::Voted(done));
                writes.vote(&vote)
            }
            Order::Truncate(after, done) => {
                // What came before must be in the database, since the chain goes on from there.
                self.commit(std::mem::take(writes), std::mem::take(answers))?;
                let result = self.truncate(after);
                let _ = done.send(result.as_ref().map_err(|e| chain(e)).copied());
                result
            }
            Order::Purge(upto) => {
                self.commit(std::mem::take(writes), std::mem::take(answers))?;
                self.purge(upto)
            }
        }
    }

    fn append(&mut self, entry: &Entry, writes: &mut Writes) -> Result<(), Error> {
        let previous = self.last.map_or([0; 32], |(_, hash)| hash);
        let sealed = record::seal(self.database.folder(), entry, &previous)?;
        writes.record(entry.log_id.index, sealed.bytes);
        self.last = Some((entry.log_id, sealed.hash));
        Ok(())
    }

    /// Applies writes. Without answers nobody waits for them, and the next flush will do. What is committed goes along
    /// now and then: it only shortens a restart, and is not worth a write of its own for each entry.
    fn commit(&mut self, mut writes: Writes, answers: Vec<Answer>) -> Result<(), Error> {
        let result = self.note_committed(&mut writes).and_then(|()| self.database.put(writes)).and_then(|()| {
            if answers.is_empty() {
                return Ok(());
            }
            self.database.sync()?;
            self.high_water.write(self.vote, self.last)
        });
        if result.is_ok() && !answers.is_empty() {
            self.shared.flushed(self.last.map(|(id, _)| id.index));
        }
        let reason = result.as_ref().map_err(|error| chain(error)).copied();
        for answer in answers {
            answer.give(reason.as_ref().map_err(String::as_str).copied());
        }
        result
    }

    fn note_committed(&mut self, writes: &mut Writes) -> Result<(), Error> {
        match self.shared.committed() {
            Some(committed) if self.committed.is_none_or(|c| c.index + COMMITTED_LAG_ENTRIES <= committed.index) => {
                self.committed = Some(committed);
                writes.committed(&committed)
            }
            _ => Ok(()),
        }
    }

    /// The mark is lowered first: a crash in between then leaves a log longer than its mark, which is harmless.
    fn truncate(&mut self, after: Option<u64>) -> Result<(), Error> {
        let from = after.map_or(0, |index| index + 1);
        let kept = match after {
            Some(index) => self.database.entry(index)?.map(|(e, hash)| (e.log_id, hash)),
            None => None,
        };
        self.last = kept.or(self.purged);
        self.high_water.write(self.vote, self.last)?;
        let mut batch = sled::Batch::default();
        for index in self.database.stored(from..=u64::MAX, usize::MAX)? {
            batch.remove(&log_store::entry_key(index));
        }
        self.database.apply(batch)?;
        self.database.sync()?;
        record::remove_files(self.database.folder(), |index| index >= from)
    }

    /// Notes where the log starts from now on; the entries themselves go bit by bit.
    fn purge(&mut self, upto: LogId) -> Result<(), Error> {
        let hash = self.database.entry(upto.index)?.map(|(_, hash)| hash);
        let anchor = (upto, hash.unwrap_or([0; 32]));
        self.purged = Some(anchor);
        let beyond = self.last.is_none_or(|(last, _)| last.index < upto.index);
        if beyond {
            self.last = Some(anchor);
        }
        let mut writes = Writes::default();
        writes.purged(&anchor)?;
        self.database.put(writes)?;
        if beyond {
            self.database.sync()?;
            self.high_water.write(self.vote, self.last)?;
        }
        self.purging = true;
        Ok(())
    }

    fn purge_step(&mut self) -> Result<(), Error> {
        let Some((purged, _)) = self.purged else {
            self.purging = false;
            return Ok(());
        };
        let indexes = self.database.stored(0..=purged.index, PURGE_STEP_ENTRIES)?;
        if indexes.len() < PURGE_STEP_ENTRIES {
            self.purging = false;
        }
        let mut batch = sled::Batch::default();
        for index in &indexes {
            batch.remove(&log_store::entry_key(*index));
        }
        self.database.apply(batch)?;
        if self.purging {
            return Ok(());
        }
        record::remove_files(self.database.folder(), |index| index <= purged.index)
    }

    fn check_space(&self) -> Result<(), Error> {
        let folder = self.database.folder();
        if durable::free_bytes(folder)? < DISK_FREE_BYTES_STOP {
            return Err(Error::disk(folder, "write safely on a disk that is full")(
                std::io::ErrorKind::StorageFull.into(),
            ));
        }
        Ok(())
    }
}

impl Answer {
    fn give(self, result: Result<(), &str>) {
        match self {
            Self::Appended(callback) => {
                callback.io_completed(result.map_err(|reason| std::io::Error::other(reason.to_owned())));
            }
            Self::Voted(done) => {
                // The asker may have been cancelled; the vote is kept all the same.
                let _ = done.send(result.map_err(str::to_owned));
            }
        }
    }
}

fn refuse(order: Order, reason: &str) {
    match order {
        Order::Append(_, callback) => Answer::Appended(callback).give(Err(reason)),
        Order::Vote(_, done) | Order::Truncate(_, done) => Answer::Voted(done).give(Err(reason)),
        Order::Purge(_) => {}
    }
}
