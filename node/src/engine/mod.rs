//! The engine: scores what searches ask for.
//!
//! A small gallery is scored at once, on the thread that asks: handing it to another thread and back takes as long as
//! scoring it. Larger ones, and what a GPU is quicker with, go to the engine's thread. It takes the jobs of all shards,
//! hands whatever waits to the engine as one ragged batch, and answers each; the engine shares very large batches with
//! a helper for each further processor. It never waits for a batch to fill: alone, a job is scored at once; while one
//! batch is being scored, the next gathers, the most urgent first ([`Queue`]). What nobody waits for any more is not
//! scored. A GPU has two such threads: while it scores one's batch, the other uploads, reads back and answers.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cluster_config::ids::NodeId;
use cluster_config::limits::{CANDIDATES, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::process::EngineChoice;
use cluster_config::wire::peer::{ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Watchlist;
use node_core::queue::{Pushed, Queue, Taken};
use shaders::{Choice, Engine, Hit, Job};
use tokio::sync::oneshot;

use crate::gallery::segment::Loaded;
use crate::gallery::serving::Serving;

/// Jobs scored in one batch. More would make the first wait for the last: 256 jobs of a flight each are about a
/// millisecond of work.
const BATCH_JOBS_MAX: usize = 256;

/// Largest gallery that is scored on the asking thread, bytes of templates: a tenth of a millisecond of work, as long
/// as the network's threads may be kept from their connections.
const AT_ONCE_BYTES_MAX: usize = 2 << 20;

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for is not to be had on this machine.
    #[error("engine does not start; {}", .0.fix())]
    Engine(#[from] shaders::Error),
    /// The system gives no thread.
    #[error("the operating system gives no thread; raise its limits")]
    Thread(#[source] std::io::Error),
}

/// The answer to a search of one shard.
pub type Found = Result<ShardFound, Refusal>;

/// One probe to be scored against one shard's gallery.
struct ScoreJob {
    serving: Serving,
    search: ShardSearch,
    /// Where the answer goes. Nobody may be waiting any more: a hedge was quicker.
    reply: oneshot::Sender<Found>,
}

/// Where jobs wait for the engine's thread.
struct Desk {
    node: NodeId,
    opened: Instant,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// What scores, as it was last said in the log.
    scoring: Mutex<String>,
}

struct Waiting {
    jobs: Queue<ScoreJob>,
    closed: bool,
}

/// The askers' side of the desk. It closes when the last of them is gone.
struct Counter(Arc<Desk>);

/// Access to the engine. Its threads end when the last handle is dropped.
#[derive(Clone)]
pub struct EngineHandle {
    node: NodeId,
    engine: Arc<Engine>,
    counter: Arc<Counter>,
    scored: metrics::Counter,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Has a job wait. Where the engine's thread has ended, the job goes without an answer.
    fn push(&self, job: ScoreJob) {
        let deadline_us = self.now_us() + 1_000 * u64::from(job.search.wait_ms);
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        let pushed = waiting.jobs.push(job.search.priority, deadline_us, job);
        drop(waiting);
        self.changed.notify_one();
        if let Pushed::Displaced(job) | Pushed::Refused(job) = pushed {
            metrics::counter!("tvs_engine_refused_total").increment(1);
            let (place, fix) = (format!("node {}: engine", self.node), "try again in a moment, or ask another node");
            job.answer(Err(Refusal::new(RefusalCode::Busy, place, "its queue is full", fix)));
        }
    }

    /// The next jobs, as soon as there are any; none once the desk is closed.
    fn take(&self) -> Option<Taken<ScoreJob>> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        Some(waiting.jobs.take(BATCH_JOBS_MAX, self.now_us()))
    }

    /// Nothing waits here any more.
    fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.jobs = Queue::new(0);
        self.changed.notify_all();
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Closes the desk when a thread of the engine ends, by a panic too: nobody must wait for it.
struct Closing<'a>(&'a Desk);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl ScoreJob {
    /// Answers it. The asker may have gone: a hedge was quicker.
    fn answer(self, found: Found) {
        let _ = self.reply.send(found);
    }
}

impl EngineHandle {
    /// Starts the engine and its threads. What a device's driver compiles is kept in the data folder.
    ///
    /// # Errors
    /// Where the engine that was asked for is not to be had, or the system gives no thread.
    pub fn start(choice: EngineChoice, node: NodeId, data_dir: &Path, watch: &Watchlist) -> Result<Self, Error> {
        let choice = match choice {
            EngineChoice::Auto => Choice::Auto,
            EngineChoice::Gpu => Choice::Gpu,
            EngineChoice::Cpu => Choice::Cpu,
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let engine = Arc::new(Engine::start_in(choice, threads, Some(data_dir.join("pipelines")))?);
        tracing::info!(engine = %describe(&engine), "{}", engine.description().note);
        let waiting = Mutex::new(Waiting { jobs: Queue::new(SEARCHES_IN_FLIGHT_MAX), closed: false });
        let scoring = Mutex::new(describe(&engine));
        let desk = Arc::new(Desk { node, opened: Instant::now(), waiting, changed: Condvar::new(), scoring });
        let counter = Arc::new(Counter(desk.clone()));
        let batches_at_once = if engine.description().adapter.is_some() { 2 } else { 1 };
        for _ in 0..batches_at_once {
            let (scorer, desk, watched) = (engine.clone(), desk.clone(), watch.watch("engine"));
            std::thread::Builder::new()
                .name("engine".into())
                .spawn(move || {
                    run(&scorer, &desk);
                    // It ends by itself once no handle of it is left.
                    watched.asked_to_end();
                })
                .map_err(Error::Thread)?;
        }
        Ok(Self { node, engine, counter, scored: metrics::counter!("tvs_engine_jobs_total") })
    }

    /// What scores, in a word or two: `cpu avx512`, or `gpu` with the adapter's name.
    pub fn describe(&self) -> String {
        describe(&self.engine)
    }

    /// Searches a gallery that is better scored on the thread that asks; absent where it is not.
    pub fn search_at_once(&self, serving: &Serving, search: &ShardSearch) -> Option<Found> {
        let gallery = &serving.loaded.gallery;
        if gallery.rows_live() == 0 {
            // A journey of people without a photograph: nobody is found, which is no fault of the probe.
            return Some(found(self.node, serving, None));
        }
        if gallery.rows() * gallery.dims() * size_of::<f32>() > AT_ONCE_BYTES_MAX || self.engine.device_scores(gallery)
        {
            return None;
        }
        self.scored.increment(1);
        let result = self.engine.score(&[job(serving, search)]).pop();
        Some(found(self.node, serving, result))
    }

    /// Searches a gallery of this node.
    ///
    /// # Errors `busy` where too many wait that are as urgent, `unavailable` where its turn came too late, the engine's
    /// refusal of the probe, `internal` where its thread has ended.
    pub async fn search(&self, serving: Serving, search: ShardSearch) -> Found {
        if let Some(found) = self.search_at_once(&serving, &search) {
            return found;
        }
        let (reply, answer) = oneshot::channel();
        self.counter.0.push(ScoreJob { serving, search, reply });
        answer.await.unwrap_or_else(|_| {
            let (place, fix) = (format!("node {}: engine", self.node), "ask another node; restart this one");
            Err(Refusal::new(RefusalCode::Internal, place, "its thread has ended", fix))
        })
    }

    /// Memory of galleries on the device, bytes.
    pub fn device_memory_bytes(&self) -> u64 {
        self.engine.device_bytes_resident()
    }

    /// Forgets what the device holds of a gallery that is no longer served.
    pub fn release(&self, loaded: &Loaded) {
        self.engine.release(&loaded.gallery);
    }
}

fn describe(engine: &Engine) -> String {
    let description = engine.description();
    match &description.adapter {
        Some(adapter) => format!("{} ({adapter})", description.engine),
        None => format!("{} ({})", description.engine, description.kernel),
    }
}

fn run(engine: &Engine, desk: &Desk) {
    let _closing = Closing(desk);
    let batches = metrics::histogram!("tvs_engine_batch_jobs");
    let scored = metrics::counter!("tvs_engine_jobs_total");
    let late = metrics::counter!("tvs_engine_late_total");
    while let Some(Taken { mut due, late: too_late }) = desk.take() {
        late.increment(too_late.len() as u64);
        for job in too_late {
            let (place, problem) =
                (format!("node {}: engine", desk.node), "its turn came after the request's deadline");
            job.answer(Err(Refusal::new(RefusalCode::Unavailable, place, problem, "ask another node")));
        }
        due.retain(|job| !job.reply.is_closed());
        if due.is_empty() {
            continue;
        }
        let jobs: Vec<Job> = due.iter().map(|waiting| job(&waiting.serving, &waiting.search)).collect();
        batches.record(jobs.len() as f64);
        scored.increment(jobs.len() as u64);
        for (job, result) in due.into_iter().zip(engine.score(&jobs)) {
            let found = found(desk.node, &job.serving, Some(result));
            job.answer(found);
        }
        // A device is lost while it scores, and what it is back for comes here.
        let now = describe(engine);
        let mut scoring = desk.scoring.lock().unwrap_or_else(PoisonError::into_inner);
        if now != *scoring {
            metrics::counter!("tvs_engine_changes_total").increment(1);
            tracing::warn!(engine = %now, before = %scoring, "{}", engine.description().note);
            *scoring = now;
        }
    }
}

fn job(serving: &Serving, search: &ShardSearch) -> Job {
    let gallery = serving.loaded.gallery.clone();
    Job { gallery, probes: search.probe.clone(), k: CANDIDATES, floor: search.floor }
}

fn found(node: NodeId, serving: &Serving, result: Option<Result<Vec<Vec<Hit>>, shaders::Error>>) -> Found {
    let hits = match result {
        Some(Ok(hits)) => hits,
        Some(Err(error)) => {
            return Err(Refusal::new(RefusalCode::BadValue, "capture.sample", error.to_string(), error.fix()));
        }
        None => Vec::new(),
    };
    let loaded = &serving.loaded;
    Ok(ShardFound {
        node,
        epoch: serving.epoch,
        version: loaded.head.version,
        rows: loaded.head.rows(),
        candidates: hits.iter().flatten().filter_map(|hit| loaded.candidate(hit)).collect(),
    })
}
