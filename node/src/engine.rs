//! The engine thread: takes the score jobs of all shards, hands whatever waits to the engine as one ragged batch, and
//! answers each. It never waits for a batch to fill: alone, a job is scored at once; while one batch is being scored,
//! the next gathers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use cluster_config::ids::{Epoch, NodeId};
use cluster_config::limits::{CANDIDATES, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::process::EngineChoice;
use cluster_config::wire::peer::ShardFound;
use cluster_config::wire::{Refusal, RefusalCode};
use shaders::{Choice, Engine, Hit, Job};
use tokio::sync::oneshot;

use crate::segment::Loaded;

/// Jobs scored in one batch. More would make the first wait for the last: 256 jobs of a flight each are about a
/// millisecond of work.
const BATCH_JOBS_MAX: usize = 256;

/// The answer to a search of one shard.
pub type Found = Result<ShardFound, Refusal>;

/// One probe to be scored against one shard's gallery.
pub struct ScoreJob {
    /// The gallery.
    pub loaded: Arc<Loaded>,
    /// Generation of ownership, for the answer.
    pub epoch: Epoch,
    /// Unit-norm probe of the gallery's dimensions.
    pub probe: Vec<f32>,
    /// Where the answer goes. Nobody may be waiting any more: a hedge was quicker.
    pub reply: oneshot::Sender<Found>,
}

/// Access to the engine thread. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct EngineHandle {
    node: NodeId,
    engine: Arc<Engine>,
    jobs: SyncSender<ScoreJob>,
}

impl EngineHandle {
    /// Starts the engine and its thread.
    ///
    /// # Errors
    /// Where the engine that was asked for is not to be had, or the system gives no thread.
    pub fn start(choice: EngineChoice, node: NodeId) -> Result<Self, crate::process::Error> {
        let choice = match choice {
            EngineChoice::Auto => Choice::Auto,
            EngineChoice::Gpu => Choice::Gpu,
            EngineChoice::Cpu => Choice::Cpu,
        };
        let engine = Arc::new(Engine::start(choice).map_err(crate::process::Error::Engine)?);
        tracing::info!(engine = %describe(&engine), "{}", engine.description().note);
        let (jobs, queue) = sync_channel(SEARCHES_IN_FLIGHT_MAX);
        let scorer = engine.clone();
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || run(&scorer, node, &queue))
            .map_err(crate::process::Error::Thread)?;
        Ok(Self { node, engine, jobs })
    }

    /// What scores, in a word or two: `cpu avx512`, or `gpu` with the adapter's name.
    pub fn describe(&self) -> String {
        describe(&self.engine)
    }

    /// Hands in a job, or answers it with `busy` where too many wait.
    pub fn submit(&self, job: ScoreJob) {
        let Err(error) = self.jobs.try_send(job) else { return };
        let (job, code, place, fix) = match error {
            TrySendError::Full(job) => {
                (job, RefusalCode::Busy, "engine queue is full", "try again in a moment, or ask another node")
            }
            TrySendError::Disconnected(job) => {
                (job, RefusalCode::Internal, "engine thread has ended", "ask another node; restart this one")
            }
        };
        metrics::counter!("tvs_engine_refused_total").increment(1);
        let place = format!("node {}: {place}", self.node);
        // The asker may have gone; then nobody needs the refusal.
        let _ = job.reply.send(Err(Refusal::new(code, place, fix)));
    }

    /// Forgets what the device holds of a gallery that is no longer served.
    pub fn release(&self, loaded: &Loaded) {
        self.engine.release(loaded.gallery.id());
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
        let jobs: Vec<Job> = waiting
            .iter_mut()
            .map(|job| Job {
                gallery: job.loaded.gallery.clone(),
                probes: std::mem::take(&mut job.probe),
                k: CANDIDATES,
            })
            .collect();
        batches.record(jobs.len() as f64);
        scored.increment(jobs.len() as u64);
        for (job, result) in waiting.into_iter().zip(engine.score(&jobs)) {
            let found = match result {
                Ok(hits) => Ok(found(node, &job, hits.first().map_or(&[], Vec::as_slice))),
                Err(error) => Err(Refusal::new(RefusalCode::BadValue, "capture.sample", error.to_string())),
            };
            // The asker may have gone: a hedge was quicker.
            let _ = job.reply.send(found);
        }
    }
}

fn found(node: NodeId, job: &ScoreJob, hits: &[Hit]) -> ShardFound {
    ShardFound {
        node,
        epoch: job.epoch,
        version: job.loaded.head.version,
        rows: job.loaded.gallery.rows() as u32,
        candidates: hits.iter().filter_map(|hit| job.loaded.candidate(hit)).collect(),
    }
}
