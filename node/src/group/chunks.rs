//! The files of the ledger's sealed chunks at this node: what it lacks is fetched from another node by its hash, what
//! is damaged is found, and what is over is removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::{ContentHash, NodeId};
use cluster_config::wire::{Fix, Refusal, RefusalCode, peer};
use coordinator::{Chunks, Coordinator, chunks};
use coordinator_core::Record;
use coordinator_core::ledger::{CHUNK_RECORDS, Line, Place};
use node_link::Lane;

use crate::peers::links::Links;

/// Between two looks at what is missing.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a node may take for one file of some 400 KiB.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Files that one look fetches at most.
const FETCHED_MAX: usize = 64;

/// See the module.
pub struct ChunkFiles {
    coordinator: Coordinator,
    links: Links,
}

impl ChunkFiles {
    /// The files of the node that `coordinator` is.
    pub fn new(coordinator: Coordinator, links: Links) -> Self {
        Self { coordinator, links }
    }

    /// The content of a file, for a node that lacks it.
    ///
    /// # Errors
    /// `not found` where this node has no such file either, `internal` where the disk fails.
    pub async fn serve(&self, hash: ContentHash) -> Result<Vec<u8>, Refusal> {
        let found = self.on_disk(move |chunks| chunks.bytes(hash)).await?;
        found.ok_or_else(|| {
            let place = format!("node {}: ledger file {hash}", self.coordinator.node_id());
            Refusal::new(RefusalCode::NotFound, place, "it is not here", "ask another node")
        })
    }

    /// The records of a sealed chunk, fetched first where this node lacks its file.
    ///
    /// # Errors
    /// `unavailable` where no node that can be reached has it, `internal` where the disk fails.
    pub async fn records(&self, chunk: u64, line: Line) -> Result<Vec<Record>, Refusal> {
        if let Some(records) = self.on_disk(move |chunks| chunks.records(chunk, &line)).await? {
            return Ok(records);
        }
        self.fetch(chunk, line.hash).await?;
        let records = self.on_disk(move |chunks| chunks.records(chunk, &line)).await?;
        records.ok_or_else(|| self.missing(chunk))
    }

    /// The record at a position of the ledger, from a file where it is in one.
    ///
    /// # Errors
    /// As [`ChunkFiles::records`], and `not found` where there is none, or none any more.
    pub async fn record(&self, position: u64) -> Result<Record, Refusal> {
        let absent = || {
            let place = format!("record {position} of the ledger");
            Refusal::new(RefusalCode::NotFound, place, "it is not there, or not any more", "see `tvs ledger export`")
        };
        let sealed = self.coordinator.with_state(|state| match state.ledger().place(position) {
            Some(Place::Here(record)) => Ok(Err(record.clone())),
            Some(Place::Sealed(chunk, line)) if !line.is_removed => Ok(Ok((chunk, line))),
            Some(Place::Sealed(..)) | None => Err(absent()),
        });
        let (chunk, line) = match sealed? {
            Ok(sealed) => sealed,
            Err(record) => return Ok(record),
        };
        let records = self.records(chunk, line).await?;
        records.into_iter().nth(position as usize % CHUNK_RECORDS).ok_or_else(absent)
    }

    /// Looks again and again, for as long as the node runs. Each look reads one file from end to end besides, so that
    /// one that is damaged is found before it is needed.
    pub async fn keep_complete(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut read, mut said) = (None, None);
        loop {
            ticks.tick().await;
            let told = match self.look(&mut read).await {
                Ok(0) => None,
                Ok(missing) => Some(format!("{missing} files of the ledger are missing and cannot be fetched yet")),
                Err(refusal) => Some(refusal.to_string()),
            };
            if let Some(problem) = told.as_ref().filter(|_| said != told) {
                tracing::warn!(problem, "the ledger's files are not complete; it is tried again");
            }
            said = told;
        }
    }

    /// One look; gives how many files are missing after it. `read` is the last file that was read for damage.
    async fn look(&self, read: &mut Option<ContentHash>) -> Result<usize, Refusal> {
        let here = self.on_disk(Chunks::hashes).await?;
        let lines: Vec<(u64, Line)> =
            self.coordinator.with_state(|state| state.ledger().lines().map(|(chunk, line)| (chunk, *line)).collect());
        for (_, line) in lines.iter().filter(|(_, line)| line.is_removed && here.contains(&line.hash)) {
            let hash = line.hash;
            self.on_disk(move |chunks| chunks.remove(hash)).await?;
        }
        let next = next_after(*read, &here);
        *read = next;
        let is_whole = match next {
            Some(hash) => self.on_disk(move |chunks| chunks.bytes(hash)).await?.is_some(),
            None => true,
        };
        let damaged = next.filter(|_| !is_whole);
        let is_missing = |line: &Line| !line.is_removed && (!here.contains(&line.hash) || damaged == Some(line.hash));
        // What this node has sealed itself a moment ago is being written.
        let missing: Vec<&(u64, Line)> = lines
            .iter()
            .filter(|(chunk, line)| is_missing(line) && !self.coordinator.chunks().is_pending(*chunk))
            .collect();
        let mut left = missing.len();
        for (chunk, line) in missing.into_iter().take(FETCHED_MAX) {
            if self.fetch(*chunk, line.hash).await.is_ok() {
                left -= 1;
            }
        }
        Ok(left)
    }

    /// Fetches a file from the first node that has it.
    async fn fetch(&self, chunk: u64, hash: ContentHash) -> Result<(), Refusal> {
        let me = self.coordinator.node_id();
        let others: Vec<NodeId> =
            self.coordinator.with_state(|state| state.members().ids().filter(|id| *id != me).collect());
        let request = peer::Request::FetchChunk(hash);
        for other in others {
            let Ok(peer::Response::Chunk(bytes)) = self.links.ask(other, Lane::Bulk, &request, FETCH_TIMEOUT).await
            else {
                continue;
            };
            if chunks::hash(&bytes) != hash {
                tracing::warn!(node = %other, chunk, "a node gave another file than the one that was asked for");
                continue;
            }
            self.on_disk(move |chunks| chunks.keep(&bytes)).await?;
            tracing::info!(node = %other, chunk, "fetched a file of the ledger");
            return Ok(());
        }
        Err(self.missing(chunk))
    }

    fn missing(&self, chunk: u64) -> Refusal {
        let place = format!("node {}: chunk {chunk} of the ledger", self.coordinator.node_id());
        let fix = "start the nodes that have it, then ask again";
        Refusal::new(RefusalCode::Unavailable, place, "its file is not here, and no node that answers has it", fix)
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chunks) -> Result<T, coordinator::Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (chunks, me) = (self.coordinator.chunks().clone(), self.coordinator.node_id());
        let done = tokio::task::spawn_blocking(move || work(&chunks)).await;
        let place = || format!("node {me}: the ledger's files");
        let internal = |problem: String, fix: Fix| Refusal::new(RefusalCode::Internal, place(), problem, fix);
        match done {
            Ok(done) => done.map_err(|error| internal(error.problem(), Fix::with(error.fix().to_owned()))),
            Err(error) => Err(internal(error.to_string(), "ask another node".into())),
        }
    }
}

/// The file after `last` in the order of their names, the first one again after the last.
fn next_after(last: Option<ContentHash>, here: &BTreeSet<ContentHash>) -> Option<ContentHash> {
    let after = last.and_then(|last| here.range(last..).find(|hash| **hash != last));
    after.or(here.first()).copied()
}
