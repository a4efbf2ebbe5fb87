//! The store against openraft's own suite, and against what disks do: lose, shorten, flip and tear.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_config::actor::Actor;
use cluster_config::cluster::ClusterSettings;
use cluster_config::decision::{Directive, Reason};
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, NodeId, UnixMs};
use cluster_config::versions::Version;
use coordinator::Chunks;
use coordinator::error::chain;
use coordinator::group::raft::{Entry, LogId, Proposal, SnapshotMeta, TypeConfig, Vote};
use coordinator::log::Log;
use coordinator::machine::Machine;
use coordinator::machine::snapshot::{Snapshots, Stored};
use coordinator::{Coordinator, Error, OnFault, Options, Transport, TransportError, Watchlist};
use coordinator_core::{Command, Record};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};
use tempfile::TempDir;

fn no_fault() -> OnFault {
    Arc::new(|reason| panic!("storage fault: {reason}"))
}

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = Log::open(&folder.path().join("log"), 1, no_fault()).expect("open log");
        let snapshots = Snapshots::open(&folder.path().join("snapshots")).expect("open snapshots");
        let chunks = Chunks::open(&folder.path().join("ledger")).expect("open chunks");
        Ok((folder, log, Machine::new(snapshots, chunks, None, None)))
    }
}

#[tokio::test]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.expect("openraft's suite");
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(Vote::new(term, 1).leader_id, index)
}

fn record(number: u64) -> Record {
    Record {
        directive: Directive::Proceed,
        reason: Reason::Matched,
        epoch: Epoch(1),
        gallery_version: GalleryVersion(1),
        ..Record::waiting(
            EncounterId(u128::from(number)),
            "AA100-20261124-JFK".parse().expect("journey"),
            "JFK-T4-B32-1".parse().expect("device"),
            UnixMs(number),
        )
    }
}

fn entry(term: u64, index: u64, records: u64) -> Entry {
    let records = (0..records).map(|n| record(index * 10_000 + n)).collect();
    let stamped = coordinator_core::Entry::new(Actor::node(NodeId(1)), UnixMs(index), Command::record(records));
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Proposal(Arc::new(stamped))) }
}

/// A log of 40 entries; every tenth is too large for the database.
async fn filled(folder: &Path) -> Vec<Entry> {
    let mut log = Log::open(folder, 1, no_fault()).expect("open");
    log.save_vote(&Vote::new_committed(3, 1)).await.expect("vote");
    let entries: Vec<Entry> = (0..40).map(|index| entry(3, index, if index % 10 == 9 { 1_500 } else { 3 })).collect();
    for chunk in entries.chunks(7) {
        log.blocking_append(chunk.to_vec()).await.expect("append");
    }
    entries
}

async fn content(log: &mut Log) -> Vec<Entry> {
    log.try_get_log_entries(..).await.expect("read")
}

#[tokio::test]
async fn reopening_keeps_vote_entries_commit_truncation_and_purge() {
    let folder = tempfile::tempdir().expect("folder");
    let mut entries = filled(folder.path()).await;
    {
        let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
        assert_eq!(content(&mut log).await, entries);
        assert_eq!(log.read_vote().await.expect("vote"), Some(Vote::new_committed(3, 1)));
        log.truncate_after(Some(log_id(3, 34))).await.expect("truncate");
        entries.truncate(35);
        entries.push(entry(4, 35, 2_000));
        log.blocking_append(entries[35..].to_vec()).await.expect("append");
        log.save_committed(Some(log_id(4, 35))).await.expect("commit");
        log.purge(log_id(3, 19)).await.expect("purge");
        assert_eq!(content(&mut log).await, entries[20..]);
    }
    let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
    assert_eq!(content(&mut log).await, entries[20..]);
    assert_eq!(log.read_committed().await.expect("committed"), Some(log_id(4, 35)));
    let state = log.get_log_state().await.expect("state");
    assert_eq!(state.last_purged_log_id, Some(log_id(3, 19)));
    assert_eq!(state.last_log_id, Some(log_id(4, 35)));
    drop(log);
    let kept: BTreeSet<String> = fs::read_dir(folder.path().join("entries"))
        .expect("entries")
        .map(|file| file.expect("file").file_name().to_string_lossy().into_owned())
        .collect();
    let wanted = [29, 35].map(|index| format!("{index:020}.entry"));
    assert_eq!(kept, BTreeSet::from(wanted), "files of gone entries are gone");
}

#[tokio::test]
async fn a_log_purged_beyond_its_end_goes_on_from_there() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path()).await;
    {
        let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
        log.purge(log_id(5, 99)).await.expect("purge");
        assert_eq!(content(&mut log).await, []);
        log.blocking_append([entry(5, 100, 1)]).await.expect("append");
    }
    let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
    assert_eq!(content(&mut log).await, [entry(5, 100, 1)]);
    assert_eq!(log.bounds(), (100, Some(log_id(5, 100))));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make folder");
    for item in fs::read_dir(from).expect("list") {
        let path = item.expect("item").path();
        if path.ends_with("database") {
            // Every opening makes its own.
            continue;
        }
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy");
        }
    }
}

fn refusal(folder: &Path, node_id: u64) -> Error {
    match Log::open(folder, node_id, no_fault()) {
        Ok(_) => panic!("the store was accepted"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_store_that_comes_back_shorter_does_not_vote_again() {
    let root = tempfile::tempdir().expect("folder");
    let [store, earlier] = ["store", "earlier"].map(|name| root.path().join(name));
    filled(&store).await;
    copy(&store, &earlier);
    {
        let mut log = Log::open(&store, 1, no_fault()).expect("open");
        log.blocking_append([entry(3, 40, 1)]).await.expect("append");
    }
    fs::copy(store.join("high-water"), earlier.join("high-water")).expect("copy");
    let error = refusal(&earlier, 1);
    assert!(matches!(error, Error::StoreShortened { .. }), "{error:?}");
    assert!(error.to_string().contains("rejoin under a new id"), "{error}");
    {
        let mut log = Log::open(&store, 1, no_fault()).expect("open");
        log.truncate_after(Some(log_id(3, 39))).await.expect("truncate");
        log.save_vote(&Vote::new(9, 1)).await.expect("vote");
    }
    fs::copy(store.join("high-water"), earlier.join("high-water")).expect("copy");
    let error = refusal(&earlier, 1);
    assert!(matches!(error, Error::StoreShortened { .. }), "an older vote: {error:?}");
}

#[tokio::test]
async fn the_wrong_node_and_a_missing_high_water_file_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path()).await;
    assert!(matches!(refusal(folder.path(), 2), Error::WrongNode { found: 1, wanted: 2, .. }));
    fs::remove_file(folder.path().join("high-water")).expect("remove");
    assert!(matches!(refusal(folder.path(), 1), Error::Corrupt { .. }));
}

fn flip(path: &Path, position: usize) {
    let mut bytes = fs::read(path).expect("read");
    bytes[position] ^= 0x10;
    fs::write(path, bytes).expect("write");
}

/// The files of the archive, and the last of them.
fn archived(store: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(store.join("archive")).expect("list").map(|file| file.expect("file").path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_flipped_bit_is_found_or_harmless_but_never_silent() {
    let root = tempfile::tempdir().expect("folder");
    let store = root.path().join("store");
    let mut entries = filled(&store).await;
    {
        // From here on the journal relies on the archive for what came before.
        let mut log = Log::open(&store, 1, no_fault()).expect("open");
        entries.push(entry(3, 40, 3));
        log.blocking_append([entries[40].clone()]).await.expect("append");
    }
    let archive = archived(&store);
    let archive = archive[0].strip_prefix(&store).expect("below").to_str().expect("a name");
    let mut problems = Vec::new();
    for (file, trials) in [(archive, 48), ("journal", 24), ("high-water", 12)] {
        let bytes = fs::read(store.join(file)).expect("read");
        let used: Vec<usize> = (0..bytes.len()).filter(|position| bytes[*position] != 0).collect();
        let mut found = 0;
        for trial in 0..trials {
            let damaged = root.path().join("damaged");
            copy(&store, &damaged);
            // Up to the very last frame and entry.
            flip(&damaged.join(file), used[(trial + 1) * used.len() / trials - 1]);
            match Log::open(&damaged, 1, Arc::new(|_| {})) {
                Err(_) => found += 1,
                Ok(mut log) => {
                    let whole = content(&mut log).await == entries;
                    if !whole || log.read_vote().await.expect("vote") != Some(Vote::new_committed(3, 1)) {
                        problems.push(format!("{file}: trial {trial} lost data silently"));
                    }
                }
            }
            fs::remove_dir_all(damaged).expect("removed");
        }
        if file == archive && found < trials {
            problems.push(format!("only {found} of {trials} flips in the archive were found"));
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[tokio::test]
async fn the_database_is_made_anew_and_a_lost_frame_is_missed() {
    let root = tempfile::tempdir().expect("folder");
    let [store, torn] = ["store", "torn"].map(|name| root.path().join(name));
    let mut entries = filled(&store).await;
    {
        let mut log = Log::open(&store, 1, no_fault()).expect("open");
        log.truncate_after(Some(log_id(3, 30))).await.expect("truncate");
        entries.truncate(31);
        entries.extend((31..60).map(|index| entry(5, index, 200)));
        for entry in &entries[31..] {
            log.blocking_append([entry.clone()]).await.expect("append");
        }
        log.save_vote(&Vote::new_committed(5, 2)).await.expect("vote");
    }
    copy(&store, &torn);
    let journal = fs::read(torn.join("journal")).expect("read");
    let last_frame = journal.iter().rposition(|byte| *byte != 0).expect("a frame");
    flip(&torn.join("journal"), last_frame);
    assert!(matches!(refusal(&torn, 1), Error::StoreShortened { .. }), "the mark knows of the last frame too");
    for _ in 0..2 {
        fs::create_dir_all(store.join("database")).expect("made");
        fs::write(store.join("database/db"), b"what a crash has left").expect("written");
        let mut log = Log::open(&store, 1, no_fault()).expect("open");
        assert_eq!(content(&mut log).await, entries);
        assert_eq!(log.read_vote().await.expect("vote"), Some(Vote::new_committed(5, 2)));
    }
}

#[tokio::test]
async fn a_purged_log_leaves_the_archive_and_keeps_its_vote() {
    let folder = tempfile::tempdir().expect("folder");
    let mut entries = filled(folder.path()).await;
    for round in 0..4 {
        let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
        let first = 40 + round * 40;
        let more: Vec<Entry> = (first..first + 40).map(|index| entry(3, index, 200)).collect();
        log.blocking_append(more.clone()).await.expect("append");
        entries.extend(more);
        log.purge(log_id(3, first + 9)).await.expect("purge");
        // The next order waits for the purge's first step.
        log.save_vote(&Vote::new_committed(3, 1)).await.expect("vote");
    }
    let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
    assert_eq!(content(&mut log).await, entries[170..]);
    assert_eq!(log.read_vote().await.expect("vote"), Some(Vote::new_committed(3, 1)));
    drop(log);
    assert!(archived(folder.path()).len() <= 3, "{:?}", archived(folder.path()));
}

#[tokio::test]
async fn a_log_that_fills_the_journal_many_times_comes_back_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
    let entries: Vec<Entry> = (0..600).map(|index| entry(1, index, 250)).collect();
    for chunk in entries.chunks(20) {
        log.blocking_append(chunk.to_vec()).await.expect("append");
    }
    // One batch that half of the journal does not hold.
    let more: Vec<Entry> = (600..800).map(|index| entry(1, index, 250)).collect();
    log.blocking_append(more.clone()).await.expect("append");
    log.truncate_after(Some(log_id(1, 790))).await.expect("truncate");
    drop(log);
    let mut log = Log::open(folder.path(), 1, no_fault()).expect("open");
    assert_eq!(content(&mut log).await, [&entries[..], &more[..191]].concat());
}

#[tokio::test]
async fn a_damaged_entry_file_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path()).await;
    let file = folder.path().join("entries").join(format!("{:020}.entry", 19));
    flip(&file, 100);
    let error = refusal(folder.path(), 1);
    assert!(chain(&error).contains(&file.display().to_string()), "{error}");
    fs::remove_file(&file).expect("remove");
    let error = refusal(folder.path(), 1);
    assert!(chain(&error).contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn one_torn_slot_of_the_high_water_file_leaves_the_other() {
    let folder = tempfile::tempdir().expect("folder");
    let entries = filled(folder.path()).await;
    let path = folder.path().join("high-water");
    let whole = fs::read(&path).expect("read");
    for slot in 0..2 {
        fs::write(&path, &whole).expect("write");
        flip(&path, slot * 4_096 + 9);
        let mut log = Log::open(folder.path(), 1, no_fault()).expect("one slot is enough");
        assert_eq!(content(&mut log).await, entries);
    }
    fs::write(&path, &whole).expect("write");
    flip(&path, 9);
    flip(&path, 4_096 + 9);
    assert!(matches!(refusal(folder.path(), 1), Error::Corrupt { .. }));
}

fn snapshot(index: u64) -> Stored {
    Stored {
        meta: SnapshotMeta { last_log_id: Some(log_id(1, index)), ..SnapshotMeta::default() },
        data: Arc::new([vec![Version::CURRENT.0], vec![index as u8; 999]].concat()),
    }
}

fn snapshot_file(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("{index:020}.snapshot"))
}

#[test]
fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let folder = tempfile::tempdir().expect("folder");
    let snapshots = Snapshots::open(folder.path()).expect("open");
    for index in [10, 20, 30] {
        snapshots.save(&snapshot(index), |_| Ok(())).expect("save");
    }
    assert!(!snapshot_file(folder.path(), 10).exists(), "two are kept");
    let newest = |snapshots: &Snapshots| {
        let newest = snapshots.newest(|_| Ok(())).expect("list");
        (newest.found.and_then(|(s, ())| s.meta.last_log_id).map(|id| id.index), newest.problems.len())
    };
    assert_eq!(newest(&snapshots), (Some(30), 0));
    let file = snapshot_file(folder.path(), 30);
    let whole = fs::read(&file).expect("read");
    for length in [0, 5, 100, whole.len() - 1] {
        fs::write(&file, &whole[..length]).expect("tear");
        assert_eq!(newest(&snapshots), (Some(20), 1), "torn at {length}");
    }
    for position in [3, 20, 500, whole.len() - 2] {
        fs::write(&file, &whole).expect("restore");
        flip(&file, position);
        assert_eq!(newest(&snapshots), (Some(20), 1), "flipped at {position}");
    }
    flip(&snapshot_file(folder.path(), 20), 50);
    assert_eq!(newest(&snapshots), (None, 2));
    fs::write(folder.path().join("00000000000000000040.snapshot.tmp"), b"half").expect("write");
    Snapshots::open(folder.path()).expect("open");
    assert!(!folder.path().join("00000000000000000040.snapshot.tmp").exists());
}

struct Nowhere;

impl Transport for Nowhere {
    fn call(
        &self,
        target: NodeId,
        _: &str,
        _: cluster_config::wire::peer::RaftCall,
        _: Vec<u8>,
        _: std::time::Duration,
    ) -> futures::future::BoxFuture<'static, Result<Vec<u8>, TransportError>> {
        Box::pin(async move { Err(TransportError::Unreachable(target)) })
    }
}

#[tokio::test]
async fn a_purged_log_without_a_readable_snapshot_is_refused_with_the_fix() {
    let folder = tempfile::tempdir().expect("folder");
    filled(&folder.path().join("log")).await;
    {
        let mut log = Log::open(&folder.path().join("log"), 1, no_fault()).expect("open");
        log.purge(log_id(3, 19)).await.expect("purge");
    }
    let snapshots = Snapshots::open(&folder.path().join("snapshots")).expect("open");
    snapshots.save(&snapshot(25), |_| Ok(())).expect("save");
    flip(&snapshot_file(&folder.path().join("snapshots"), 25), 60);
    let options = Options {
        node_id: NodeId(1),
        data_dir: folder.path().to_owned(),
        settings: ClusterSettings {
            name: "test".to_owned(),
            model: "test-model".parse().expect("model"),
            template_dims: 512,
            heartbeat_ms: 25,
            election_ms_min: 100,
            election_ms_max: 200,
            members: Vec::new(),
        },
        now: Arc::new(|| UnixMs(0)),
        watch: Watchlist::new(no_fault()),
    };
    let error = match Coordinator::start(options, Arc::new(Nowhere)) {
        Ok(_) => panic!("a state with a hole was accepted"),
        Err(error) => error,
    };
    assert!(matches!(error, Error::SnapshotsLost { .. }), "{error:?}");
    assert!(error.to_string().contains("rejoin under a new id"), "{error}");
}
