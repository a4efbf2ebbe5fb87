//! P1, on one disk: a store that opens after a crash has what was acknowledged, and nothing that was never asked for.

use std::path::Path;
use std::sync::Arc;

use coordinator::error::chain;
use coordinator::log::Log;
use coordinator::machine::snapshot::Snapshots;
use openraft::storage::RaftLogReader as _;

use super::workload::{Model, NODE};

/// Opens the store of an image. `done` is what was acknowledged before the cut; `issued` is one step further, where one
/// was under way.
///
/// # Errors
/// What is wrong.
pub fn judge(image: &Path, done: &Model, issued: &Model) -> Result<(), String> {
    let folder = image.join("log");
    if !folder.exists() && done.last().is_none() && done.vote.is_none() {
        return Ok(());
    }
    // Opened twice: what an opening writes must not lose anything either.
    for time in ["first", "second"] {
        opened(&folder, image, done, issued).map_err(|problem| format!("{problem} ({time} opening)"))?;
    }
    Ok(())
}

fn opened(folder: &Path, image: &Path, done: &Model, issued: &Model) -> Result<(), String> {
    let mut log = Log::open(folder, NODE, Arc::new(|_| {})).map_err(|error| format!("refused: {}", chain(&error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let read = runtime.block_on(async { (log.try_get_log_entries(..).await, log.read_vote().await) });
    let entries = read.0.map_err(|error| format!("entries cannot be read: {error}"))?;
    let vote = read.1.map_err(|error| format!("the vote cannot be read: {error}"))?;
    if vote != done.vote && vote != issued.vote {
        return Err(format!("the vote is {vote:?}; acknowledged is {:?}", done.vote));
    }
    let (first, last) = log.bounds();
    let purged_max = issued.purged.map_or(0, |index| index + 1);
    if first > purged_max {
        return Err(format!("the log begins at {first}, and was purged up to {purged_max}"));
    }
    let last = last.map(|id| id.index);
    let between = done.last().min(issued.last())..=done.last().max(issued.last());
    if !between.contains(&last) {
        return Err(format!("the log ends at {last:?}; acknowledged is {:?}", done.last()));
    }
    for (index, entry) in (first..).zip(&entries) {
        let right = [done, issued].iter().any(|model| model.entries.get(&index) == Some(entry));
        if !right {
            return Err(format!("entry {index} is not what was appended"));
        }
    }
    if last.is_some_and(|last| last + 1 != first + entries.len() as u64) {
        return Err(format!("{} entries from {first} on, and the last is {last:?}", entries.len()));
    }
    let newest = Snapshots::open(&image.join("snapshots"))
        .and_then(|snapshots| snapshots.newest(|_| Ok(())))
        .map_err(|error| format!("snapshots: {}", chain(&error)))?;
    let newest = newest.found.and_then(|(snapshot, ())| snapshot.meta.last_log_id).map(|id| id.index);
    if newest != done.snapshot && newest != issued.snapshot {
        return Err(format!("the newest snapshot ends at {newest:?}; acknowledged is {:?}", done.snapshot));
    }
    if first > newest.map_or(0, |index| index + 1) {
        return Err(format!("the log begins at {first}, and the newest snapshot ends at {newest:?}"));
    }
    Ok(())
}
