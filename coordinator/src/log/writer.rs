//! The one thread that writes the log. It takes everything that waits into one batch, makes the batch durable in the
//! journal with one `fdatasync`, answers (group commit), and applies it to the database.
//!
//! The thread raises the high-water mark a moment later, when nothing waits. A start finds damage in all frames of the
//! journal but the last, because a torn last frame is as if it had never been. The mark shows that the last frame is
//! missing, and that a store has lost its end altogether.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster_config::canary::{Canary, planted};
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::error::{Error, chain};
use crate::group::raft::{Entry, LogId, TypeConfig, Vote};
use crate::log::archive::Archive;
use crate::log::durable;
use crate::log::high_water::HighWater;
use crate::log::journal::{Journal, Room, Write};
use crate::log::keys::entry_key;
use crate::log::record;
use crate::log::store::{self, Anchor, Database, Writes};
use crate::log::view::Shared;

/// Orders in one batch at most. openraft appends at most 4,096 entries with each, so this bounds latency, not memory.
const ORDERS_PER_BATCH_MAX: usize = 512;

/// Entries that may be committed before the noted commit is written again. After a restart the next leader's first
/// commit covers them.
const COMMITTED_LAG_ENTRIES: u64 = 64;

/// Batches after which the mark is raised although more waits to be written.
const MARK_LAG_BATCHES: u64 = 64;

/// How long nothing has to wait before the mark is raised.
const MARK_IDLE: Duration = Duration::from_millis(20);

/// Purged entries that are removed between two batches. It takes some milliseconds, so that no append waits for a whole
/// purge.
const PURGE_STEP_ENTRIES: usize = 256;

/// Batches between two looks at the free space.
const BATCHES_PER_SPACE_CHECK: u64 = 64;

/// Free space below which the writer stops, bytes. sled needs room to tidy up, and a torn batch on a full disk is worse
/// than a stopped node. The node refuses proposals long before (`group::opening::DISK_FREE_BYTES_MIN`).
const DISK_FREE_BYTES_STOP: u64 = 64 << 20;

/// What the thread is asked to do, in order.
pub enum Order {
    /// Append entries that follow the last.
    Append(Vec<Entry>, IOFlushed<TypeConfig>),
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
    journal: Journal,
    archive: Arc<Archive>,
    /// The last frame of the journal that the archive has.
    checkpoint: u64,
    /// The thread that brings the frames up to this one into the archive.
    archiving: Option<(u64, JoinHandle<Result<(), Error>>)>,
    high_water: HighWater,
    /// Batches since the mark was raised.
    unmarked: u64,
    shared: Arc<Shared>,
    vote: Option<Vote>,
    /// The last entry, or the last purged one if the log is empty.
    last: Option<Anchor>,
    purged: Option<Anchor>,
    purging: bool,
    /// The commit that was noted last.
    committed: Option<LogId>,
    batches: u64,
    /// How long it takes to make a batch durable. An operator looks at this first when boardings are slow.
    seconds: metrics::Histogram,
}

impl Writer {
    /// A writer that goes on where `found` ends.
    pub fn new(
        database: Arc<Database>,
        journal: Journal,
        archive: Arc<Archive>,
        high_water: HighWater,
        shared: Arc<Shared>,
        found: &store::Found,
    ) -> Self {
        Self {
            database,
            checkpoint: journal.sequence(),
            journal,
            archive,
            archiving: None,
            high_water,
            unmarked: 0,
            shared,
            vote: found.vote,
            last: found.last.or(found.purged),
            purged: found.purged,
            // A crash may have interrupted a purge: it goes on.
            purging: found.purged.is_some(),
            committed: found.committed,
            batches: 0,
            seconds: metrics::histogram!("tvs_log_write_seconds"),
        }
    }

    /// Works until all senders are gone.
    pub fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let first = match self.next(orders) {
                Ok(first) => first,
                Err(()) => return self.end(),
            };
            let mut drained = Vec::new();
            if let Some(first) = first {
                drained.push(first);
                drained.extend(orders.try_iter().take(ORDERS_PER_BATCH_MAX - 1));
            }
            if let Err(error) = self.step(drained) {
                let reason = chain(&error);
                self.shared.fail(&reason);
                // Every later order is refused, so that nobody waits for an answer that never comes.
                orders.iter().for_each(|order| refuse(order, &reason));
                return;
            }
        }
    }

    /// The next order. None if the writer has something else to do meanwhile, an error if nobody can send orders any
    /// more.
    fn next(&self, orders: &Receiver<Order>) -> Result<Option<Order>, ()> {
        let patience = match (self.purging, self.unmarked > 0) {
            (true, _) => Duration::ZERO,
            (false, true) => MARK_IDLE,
            (false, false) => return orders.recv().map(Some).map_err(|_| ()),
        };
        match orders.recv_timeout(patience) {
            Ok(order) => Ok(Some(order)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    fn end(&mut self) {
        if let Err(error) = self.raise_mark().and_then(|()| self.archived()) {
            self.shared.fail(&chain(&error));
        }
    }

    fn step(&mut self, orders: Vec<Order>) -> Result<(), Error> {
        let idle = orders.is_empty();
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
        } else if idle || self.unmarked >= MARK_LAG_BATCHES {
            self.raise_mark()?;
        }
        Ok(())
    }

    fn raise_mark(&mut self) -> Result<(), Error> {
        self.unmarked = 0;
        self.high_water.write(self.vote, self.last)
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
                // The entry to keep is read from the database, so everything before must be in it.
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

    /// Makes writes durable, answers, and gives them to readers. The commit is noted now and then only: it makes a
    /// restart shorter, and is not worth a write for each entry.
    fn commit(&mut self, mut writes: Writes, answers: Vec<Answer>) -> Result<(), Error> {
        if answers.is_empty() {
            return Ok(());
        }
        let voted = answers.iter().any(|answer| matches!(answer, Answer::Voted(_)));
        let begun = Instant::now();
        let result = self.note_committed(&mut writes).and_then(|()| self.make_durable(&writes.0));
        let result = result.and_then(|()| if voted { self.raise_mark() } else { Ok(()) });
        self.seconds.record(begun.elapsed().as_secs_f64());
        let reason = result.as_ref().map_err(|error| chain(error)).copied();
        for answer in answers {
            answer.give(reason.as_ref().map_err(String::as_str).copied());
        }
        result?;
        // Readers have found the entries in the tail so far. From here on the tail may lose them.
        self.database.apply_all(&writes.0)?;
        self.shared.flushed(self.last.map(|(id, _)| id.index));
        Ok(())
    }

    /// Writes to the journal. When its half is full, the writer turns to the other half. The archive must have all of
    /// that one by then, and begins to take the full one in the background.
    fn make_durable(&mut self, writes: &[Write]) -> Result<(), Error> {
        self.unmarked += 1;
        if self.archiving.as_ref().is_some_and(|(_, archiving)| archiving.is_finished()) {
            self.archived()?;
        }
        while self.journal.append(writes, self.checkpoint)? == Room::HalfFull {
            if self.journal.at_start() {
                return self.make_durable_without_journal(writes);
            }
            self.archived()?;
            if self.checkpoint < self.journal.sequence() {
                self.start_archiving()?;
            }
            self.journal.turn();
        }
        Ok(())
    }

    fn start_archiving(&mut self) -> Result<(), Error> {
        let archive = self.archive.clone();
        let (last, meta) = (self.journal.sequence(), self.meta()?);
        let read = self.journal.reader(self.checkpoint + 1..=last);
        let work = move || {
            let writes = if planted(Canary::NoArchive) { Vec::new() } else { read()? };
            archive.keep(last, &[writes, meta].concat())
        };
        let archiving = std::thread::Builder::new().name("raft-log-archive".to_owned()).spawn(work);
        let archiving = archiving.map_err(Error::disk(self.database.folder(), "start the archive's thread"))?;
        self.archiving = Some((last, archiving));
        Ok(())
    }

    /// For a batch that is larger than half of the journal: it goes to the archive directly. An empty frame in the
    /// journal says so.
    fn make_durable_without_journal(&mut self, writes: &[Write]) -> Result<(), Error> {
        // This half is empty. So the archive has everything as soon as what is on its way has arrived.
        self.archived()?;
        let last = self.journal.skip();
        self.archive.keep(last, &[writes, &self.meta()?].concat())?;
        self.checkpoint = last;
        self.journal.append(&[], self.checkpoint).map(|_| ())
    }

    /// The writes that the newest file of the archive always has, because older files may be removed.
    fn meta(&self) -> Result<Vec<Write>, Error> {
        store::Found { vote: self.vote, purged: self.purged, committed: self.committed, ..Default::default() }.meta()
    }

    /// Waits for what is on its way to the archive.
    fn archived(&mut self) -> Result<(), Error> {
        if let Some((last, archiving)) = self.archiving.take() {
            let panicked = |_| Err(Error::corrupt(self.database.folder(), "the archive's thread panicked"));
            archiving.join().unwrap_or_else(panicked)?;
            self.checkpoint = last;
        }
        Ok(())
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

    /// Makes writes durable and applies them.
    fn store(&mut self, writes: &[Write]) -> Result<(), Error> {
        self.make_durable(writes)?;
        self.database.apply_all(writes)
    }

    /// Lowers the mark first. After a crash in between the log is longer than its mark, which does no harm.
    fn truncate(&mut self, after: Option<u64>) -> Result<(), Error> {
        let from = after.map_or(0, |index| index + 1);
        let kept = match after {
            Some(index) => self.database.entry(index)?.map(|(e, hash)| (e.log_id, hash)),
            None => None,
        };
        self.last = kept.or(self.purged);
        self.raise_mark()?;
        self.store(&[Write::RemoveFrom(from)])?;
        record::remove_files(self.database.folder(), |index| index >= from)
    }

    /// Notes where the log starts from now on. [`Self::purge_step`] removes the entries bit by bit.
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
        self.note_committed(&mut writes)?;
        self.store(&writes.0)?;
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
            batch.remove(&entry_key(*index));
        }
        self.database.apply(batch)?;
        if self.purging {
            return Ok(());
        }
        self.archive.forget(purged.index)?;
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
