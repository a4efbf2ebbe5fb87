//! The engine: scores what searches ask for.
//!
//! A small gallery is scored at once, on the thread that asks: handing it to another thread and back takes as long as
//! scoring it. Larger ones, and what a GPU is quicker with, go to the engine's thread. It takes the jobs of
//! all shards, hands whatever waits to the engine as one ragged batch, and answers each; the engine shares very large
//! batches with a helper for each further processor. It never waits for a batch to fill: alone, a job is scored at once;
//! while one batch is being scored, the next gathers.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use cluster_config::ids::NodeId;
use cluster_config::limits::{CANDIDATES, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::process::EngineChoice;
use cluster_config::wire::peer::{ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use shaders::{Choice, Engine, Hit, Job};
use tokio::sync::oneshot;

use crate::directory::Serving;
use crate::segment::Loaded;

/// Jobs scored in one batch. More would make the first wait for the last: 256 jobs of a flight each are about a
/// millisecond of work.
const BATCH_JOBS_MAX: usize = 256;

/// Largest gallery that is scored on the asking thread, bytes of templates: a tenth of a millisecond of work, as long
/// as the network's threads may be kept from their connections.
const AT_ONCE_BYTES_MAX: usize = 2 << 20;

/// The answer to a search of one shard.
pub type Found = Result<ShardFound, Refusal>;

/// One probe to be scored against one shard's gallery.
struct ScoreJob {
    serving: Serving,
    search: ShardSearch,
    /// Where the answer goes. Nobody may be waiting any more: a hedge was quicker.
    reply: oneshot::Sender<Found>,
}

/// Access to the engine. Its thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct EngineHandle {
    node: NodeId,
    engine: Arc<Engine>,
    jobs: SyncSender<ScoreJob>,
    scored: metrics::Counter,
}

impl EngineHandle {
    /// Starts the engine and its thread. What a device's driver compiles is kept in the data folder.
    ///
    /// # Errors
    /// Where the engine that was asked for is not to be had, or the system gives no thread.
    pub fn start(choice: EngineChoice, node: NodeId, data_dir: &Path) -> Result<Self, crate::process::Error> {
        let choice = match choice {
            EngineChoice::Auto => Choice::Auto,
            EngineChoice::Gpu => Choice::Gpu,
            EngineChoice::Cpu => Choice::Cpu,
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let engine = Arc::new(
            Engine::start_in(choice, threads, Some(data_dir.join("pipelines")))
                .map_err(crate::process::Error::Engine)?,
        );
        tracing::info!(engine = %describe(&engine), "{}", engine.description().note);
        let (jobs, queue) = sync_channel(SEARCHES_IN_FLIGHT_MAX);
        let scorer = engine.clone();
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || run(&scorer, node, &queue))
            .map_err(crate::process::Error::Thread)?;
        Ok(Self { node, engine, jobs, scored: metrics::counter!("tvs_engine_jobs_total") })
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
    /// # Errors
    /// `busy` where too many wait, the engine's refusal of the probe, `internal` where its thread has ended.
    pub async fn search(&self, serving: Serving, search: ShardSearch) -> Found {
        if let Some(found) = self.search_at_once(&serving, &search) {
            return found;
        }
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(ScoreJob { serving, search, reply }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.refuse_ended())),
            Err(TrySendError::Disconnected(_)) => Err(self.refuse_ended()),
            Err(TrySendError::Full(_)) => {
                metrics::counter!("tvs_engine_refused_total").increment(1);
                let place = format!("node {}: engine queue is full", self.node);
                Err(Refusal::new(RefusalCode::Busy, place, "try again in a moment, or ask another node"))
            }
        }
    }

    fn refuse_ended(&self) -> Refusal {
        let place = format!("node {}: engine thread has ended", self.node);
        Refusal::new(RefusalCode::Internal, place, "ask another node; restart this one")
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

fn run(engine: &Engine, node: NodeId, queue: &Receiver<ScoreJob>) {
    let batches = metrics::histogram!("tvs_engine_batch_jobs");
    let scored = metrics::counter!("tvs_engine_jobs_total");
    while let Ok(first) = queue.recv() {
        let mut waiting = vec![first];
        waiting.extend(queue.try_iter().take(BATCH_JOBS_MAX - 1));
        let jobs: Vec<Job> = waiting.iter().map(|waiting| job(&waiting.serving, &waiting.search)).collect();
        batches.record(jobs.len() as f64);
        scored.increment(jobs.len() as u64);
        for (job, result) in waiting.into_iter().zip(engine.score(&jobs)) {
            // The asker may have gone: a hedge was quicker.
            let _ = job.reply.send(found(node, &job.serving, Some(result)));
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
        Some(Err(error)) => return Err(Refusal::new(RefusalCode::BadValue, "capture.sample", error.to_string())),
        None => Vec::new(),
    };
    let loaded = &serving.loaded;
    Ok(ShardFound {
        node,
        epoch: serving.epoch,
        version: loaded.head.version,
        rows: loaded.gallery.rows() as u32,
        candidates: hits.iter().flatten().filter_map(|hit| loaded.candidate(hit)).collect(),
    })
}
