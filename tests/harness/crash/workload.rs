//! What the store is made to do while it is recorded: the steps of a seed, and the model of what they lead to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, NodeId, UnixMs};
use cluster_config::versions::Version;
use coordinator::group::raft::{Entry, LogId, Proposal, SnapshotMeta, Vote};
use coordinator::log::Log;
use coordinator::machine::snapshot::{Snapshots, Stored};
use coordinator_core::{Command, Record};
use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::below;

/// The node whose store it is.
pub const NODE: u64 = 1;

/// Longer than the silence after which the store writes its high-water mark.
const REST: Duration = Duration::from_millis(40);

/// One thing that the store is asked for.
#[derive(Debug, Clone)]
pub enum Step {
    Append(Vec<Entry>),
    /// Remove the entries behind an index.
    Truncate(u64),
    Vote(Vote),
    /// Keep a snapshot that ends at an entry.
    Snapshot(LogId),
    /// Forget the entries up to one that a snapshot has.
    Purge(LogId),
    /// Nothing, for a while.
    Rest,
    /// Close the store and open it again.
    Reopen,
}

/// What the store has after some steps.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Every entry that is or was there, the purged ones included.
    pub entries: BTreeMap<u64, Entry>,
    pub vote: Option<Vote>,
    /// Index up to which the log was purged.
    pub purged: Option<u64>,
    /// Index at which the newest snapshot ends.
    pub snapshot: Option<u64>,
}

impl Model {
    /// Takes a step.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(entries) => {
                self.entries.extend(entries.iter().map(|entry| (entry.log_id.index, entry.clone())))
            }
            Step::Truncate(kept) => {
                self.entries.split_off(&(kept + 1));
            }
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Snapshot(last) => self.snapshot = Some(last.index),
            Step::Purge(last) => self.purged = Some(last.index),
            Step::Rest | Step::Reopen => {}
        }
    }

    /// Index of the last entry.
    pub fn last(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(index, _)| *index)
    }
}

pub fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    // Some seeds fill the journal's halves again and again, others write small batches.
    let records_max = [4, 60, 600][(seed % 3) as usize];
    let (mut model, mut term) = (Model::default(), 1);
    let mut all = vec![Step::Vote(Vote::new(term, NODE))];
    model.apply(&all[0]);
    while all.len() < count {
        let last = model.last();
        let floor = model.snapshot.max(model.purged).map_or(0, |index| index + 1);
        let step = match (below(&mut dice, 20), last) {
            (0 | 1, Some(last)) if last > floor + 2 => {
                term += 1;
                let vote = Step::Vote(Vote::new(term, NODE));
                model.apply(&vote);
                all.push(vote);
                Step::Truncate(floor + below(&mut dice, last - floor))
            }
            (2 | 3, _) => {
                term += 1;
                Step::Vote(Vote::new(term, NODE))
            }
            (4, Some(last)) if last > floor => {
                let index = floor + below(&mut dice, last - floor);
                Step::Snapshot(model.entries[&index].log_id)
            }
            (5, _) if model.snapshot > model.purged => {
                let index = model.snapshot.unwrap_or_default();
                Step::Purge(model.entries[&index].log_id)
            }
            (6, _) => Step::Rest,
            (7, _) => Step::Reopen,
            _ => {
                let first = last.map_or(0, |last| last + 1);
                let entries = 1 + below(&mut dice, 6);
                Step::Append(
                    (first..first + entries).map(|index| entry(term, index, below(&mut dice, records_max))).collect(),
                )
            }
        };
        model.apply(&step);
        all.push(step);
    }
    all
}

fn entry(term: u64, index: u64, records: u64) -> Entry {
    let record = |number: u64| Record {
        directive: Directive::Proceed,
        reason: Reason::Matched,
        epoch: Epoch(term),
        gallery_version: GalleryVersion(1),
        ..Record::waiting(
            EncounterId(u128::from(index) << 64 | u128::from(number)),
            "AA100-20261124-JFK".parse().expect("a journey"),
            "JFK-T4-B32-1".parse().expect("a device"),
            UnixMs(number),
        )
    };
    let command = Command::record((0..=records).map(record).collect());
    let log_id = LogId::new(Vote::new(term, NODE).leader_id, index);
    let stamped = coordinator_core::Entry::new(Actor::node(NodeId(1)), UnixMs(index), command);
    Entry { log_id, payload: EntryPayload::Normal(Proposal(Arc::new(stamped))) }
}

/// Carries out the steps on a store in `folder`, and marks when each begins and when it is acknowledged.
///
/// # Panics
/// Where the store refuses anything.
pub fn write(folder: &Path, seed: u64, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut marks = File::create(folder.join("marks")).expect("the marks");
        let open = || {
            let on_fault = Arc::new(|reason: String| panic!("storage fault: {reason}"));
            Log::open(&folder.join("log"), NODE, on_fault).expect("a log that opens")
        };
        let mut log = open();
        let snapshots = Snapshots::open(&folder.join("snapshots")).expect("a new folder");
        for (number, step) in steps(seed, count).into_iter().enumerate() {
            marks.write_all(format!("issued {number}\n").as_bytes()).expect("a mark");
            match step {
                Step::Reopen => {
                    // The database's lock goes with the last handle.
                    drop(log);
                    log = open();
                }
                Step::Append(entries) => log.blocking_append(entries).await.expect("appended"),
                Step::Truncate(kept) => {
                    let entries = log.bounds().1.expect("entries");
                    let kept = LogId::new(entries.leader_id, kept);
                    log.truncate_after(Some(kept)).await.expect("truncated");
                }
                Step::Vote(vote) => log.save_vote(&vote).await.expect("voted"),
                Step::Snapshot(last) => {
                    let meta = SnapshotMeta { last_log_id: Some(last), ..SnapshotMeta::default() };
                    // A state begins with the version in which it is written.
                    let data = Arc::new([vec![Version::CURRENT.0], last.index.to_le_bytes().repeat(2_000)].concat());
                    snapshots.save(&Stored { meta, data }, |_| Ok(())).expect("saved");
                }
                Step::Purge(last) => log.purge(last).await.expect("purged"),
                Step::Rest => tokio::time::sleep(REST).await,
            }
            marks.write_all(format!("done {number}\n").as_bytes()).expect("a mark");
        }
    });
}
