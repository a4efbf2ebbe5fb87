//! The real log, with a disk that takes as long as the simulation says.
//!
//! The log writes on a thread of its own, on real files. While it does, simulated time must not go on, or a write would
//! take as long as the next timer; once it has written, the simulated disk takes its own time to say so.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use coordinator::group::raft::{Entry, LogId, TypeConfig, Vote};
use coordinator::log::Log;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, RaftTypeConfig};

/// Keeps simulated time where it is: tokio does not skip to the next timer while a blocking task runs.
struct Standstill {
    _ends_when_dropped: mpsc::Sender<()>,
}

impl Standstill {
    fn begin() -> Self {
        let (sender, dropped) = mpsc::channel::<()>();
        // Nothing is ever sent: an error says that it is over.
        tokio::task::spawn_blocking(move || dropped.recv().is_err());
        Self { _ends_when_dropped: sender }
    }
}

/// A node's disk: how long it takes, in simulated time.
#[derive(Debug, Default)]
pub struct Disk {
    delay_us: AtomicU64,
    panics: AtomicBool,
}

impl Disk {
    /// From now on each write takes so long.
    pub fn takes(&self, delay: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// From now on the log's caller panics when it writes: openraft's core.
    pub fn panics(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    async fn wait(&self) {
        tokio::time::sleep(Duration::from_micros(self.delay_us.load(Ordering::Relaxed))).await;
    }
}

/// A handle of the log.
#[derive(Clone)]
pub struct SimulatedLog {
    log: Log,
    disk: Arc<Disk>,
    _open: Arc<()>,
}

impl SimulatedLog {
    /// The log on this disk, and what tells when its last handle is gone.
    pub fn new(log: Log, disk: Arc<Disk>) -> (Self, Weak<()>) {
        let open = Arc::new(());
        let closed = Arc::downgrade(&open);
        (Self { log, disk, _open: open }, closed)
    }
}

impl RaftLogReader<TypeConfig> for SimulatedLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.log.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.log.read_vote().await
    }
}

impl RaftLogStorage<TypeConfig> for SimulatedLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let standstill = Standstill::begin();
        self.log.save_vote(vote).await?;
        drop(standstill);
        self.disk.wait().await;
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.log.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.log.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        assert!(!self.disk.panics.load(Ordering::Relaxed), "a panic was planted here");
        let standstill = Standstill::begin();
        let (done, flushed) = TypeConfig::oneshot();
        self.log.append(entries, IOFlushed::signal(done)).await?;
        let disk = self.disk.clone();
        tokio::spawn(async move {
            let flushed = flushed.await;
            drop(standstill);
            disk.wait().await;
            callback.io_completed(flushed.unwrap_or_else(|_| Err(io::Error::other("the log has gone"))));
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let standstill = Standstill::begin();
        self.log.truncate_after(last_log_id).await?;
        drop(standstill);
        self.disk.wait().await;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.log.purge(log_id).await
    }
}
