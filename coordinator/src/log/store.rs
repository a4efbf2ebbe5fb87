//! The database that the log is read from, on sled: the check at the start, and how writes reach it. It is not durable:
//! every process makes it anew out of archive and journal.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cluster_config::versions::Version;
use cluster_config::wire::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::group::raft::{Entry, LogId, Vote};
use crate::log::high_water::HighWater;
use crate::log::journal::Write;
use crate::log::keys::{entry_key, key_index};
use crate::log::record::{self, EntryHash};

/// The folder of the databases' files. What an earlier process has left in it is removed.
const FOLDER_NAME: &str = "database";

/// sled's page cache, bytes. It is small: the log's tail is in memory, so only starts and followers that are far behind
/// read the database.
const CACHE_BYTES: u64 = 32 << 20;

/// Longest encoding of a value that is not an entry.
const META_BYTES_MAX: usize = 1_024;

const VOTE_KEY: &[u8] = b"m-vote";
const PURGED_KEY: &[u8] = b"m-purged";
const COMMITTED_KEY: &[u8] = b"m-committed";

/// An entry and its record's hash; the hash is zero if the entry was never here.
pub type Anchor = (LogId, EntryHash);

/// What was found in the database.
#[derive(Debug, Default)]
pub struct Found {
    pub vote: Option<Vote>,
    /// The last purged entry: the log starts behind it.
    pub purged: Option<Anchor>,
    /// The last id known to be committed.
    pub committed: Option<LogId>,
    pub first: Option<u64>,
    pub last: Option<Anchor>,
    /// The newest version of an entry.
    pub version: Option<Version>,
}

impl Found {
    /// The writes for everything but the entries.
    ///
    /// # Errors
    /// [`Error::Message`]: a fault of ours.
    pub fn meta(&self) -> Result<Vec<Write>, Error> {
        let mut writes = Writes::default();
        self.vote.iter().try_for_each(|vote| writes.vote(vote))?;
        self.purged.iter().try_for_each(|anchor| writes.purged(anchor))?;
        self.committed.iter().try_for_each(|committed| writes.committed(committed))?;
        Ok(writes.0)
    }
}

/// The open database.
#[derive(Debug)]
pub struct Database {
    tree: sled::Db,
    folder: PathBuf,
}

impl Database {
    /// An empty database for the store in `folder`, in place of what an earlier process has left.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Corrupt`] as sled has it.
    pub fn create(folder: &Path) -> Result<Self, Error> {
        // Each database has a folder of its own: an earlier one removes its folder when its last thread ends, and that
        // may be after the next database was made.
        static OPENINGS: AtomicU64 = AtomicU64::new(0);
        let all = folder.join(FOLDER_NAME);
        match fs::remove_dir_all(&all) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::disk(&all, "remove the database of an earlier start")(error));
            }
            _ => {}
        }
        let files = all.join(OPENINGS.fetch_add(1, Ordering::Relaxed).to_string());
        // sled does not sync a temporary database, and removes it when it is closed.
        let config = sled::Config::new().path(&files).cache_capacity(CACHE_BYTES).flush_every_ms(None).temporary(true);
        let tree = config.open().map_err(|error| sled_error(folder, &error))?;
        Ok(Self { tree, folder: folder.to_owned() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads and checks everything: the checksum and file of each entry, the hash chain from the last purged entry to
    /// the end, and that all is there that was acknowledged, as `high_water` says.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the place, [`Error::StoreShortened`].
    pub fn check(&self, high_water: &HighWater) -> Result<Found, Error> {
        let mut found = Found {
            vote: self.meta(VOTE_KEY)?,
            purged: self.meta(PURGED_KEY)?,
            committed: self.meta(COMMITTED_KEY)?,
            ..Found::default()
        };
        let start = found.purged.map_or(0, |(id, _)| id.index + 1);
        let mark = *high_water.mark();
        let mut hash = found.purged.map_or([0; 32], |(_, hash)| hash);
        let mut marked_hash = None;
        for item in self.tree.range(entry_key(start)..=entry_key(u64::MAX)) {
            let (key, value) = item.map_err(|error| sled_error(&self.folder, &error))?;
            let index = key_index(&key).ok_or_else(|| Error::corrupt(&self.folder, "an entry's key is malformed"))?;
            let expected = match found.last {
                Some((last, _)) => Some(last.index + 1),
                None => found.purged.map(|_| start),
            };
            if expected.is_some_and(|expected| expected != index) {
                let problem = format!("the log goes on at {index}, where {expected:?} is due");
                return Err(Error::corrupt(&self.folder, problem));
            }
            let opened = record::open(&self.folder, index, &value)?;
            if opened.previous != hash {
                let problem = format!("entry {index} does not follow the entry before it");
                return Err(Error::corrupt(&self.folder, problem));
            }
            hash = opened.hash;
            found.version = found.version.max(record::version_of(&opened.entry));
            found.first.get_or_insert(index);
            found.last = Some((opened.entry.log_id, hash));
            if mark.last.is_some_and(|(id, _)| id.index == index) {
                marked_hash = Some(hash);
            }
        }
        let end = found.last.or(found.purged);
        if let Some((marked, wanted_hash)) = mark.last {
            let same = match (marked_hash, found.purged) {
                (Some(hash), _) => hash == wanted_hash,
                (None, Some((purged, _))) => purged.index >= marked.index,
                (None, None) => false,
            };
            if !same {
                return Err(self.shortened(end.map(|(id, _)| id), format!("entry {marked}")));
            }
        }
        if let Some(marked) = mark.vote
            && found.vote.is_none_or(|vote| vote < marked)
        {
            let wanted = format!("vote {marked}");
            return Err(self.shortened(end.map(|(id, _)| id), wanted));
        }
        // An entry that is not there cannot be replayed.
        found.committed = found.committed.min(end.map(|(id, _)| id));
        Ok(found)
    }

    fn shortened(&self, end: Option<LogId>, wanted: String) -> Error {
        Error::StoreShortened {
            path: self.folder.clone(),
            found: end.map_or_else(|| "nothing".to_owned(), |id| format!("entry {id}")),
            wanted,
        }
    }

    fn meta<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        let name = String::from_utf8_lossy(key);
        let Some(value) = self.tree.get(key).map_err(|error| sled_error(&self.folder, &error))? else {
            return Ok(None);
        };
        let (body, checksum) = value.split_at_checked(value.len().saturating_sub(4)).unwrap_or_default();
        if crc32fast::hash(body).to_le_bytes() != checksum {
            let problem = format!("{name} does not match its checksum");
            return Err(Error::corrupt(&self.folder, problem));
        }
        codec::decode(body, META_BYTES_MAX)
            .map(Some)
            .map_err(|error| Error::corrupt(&self.folder, format!("{name}: {error}")))
    }

    /// The stored record of an entry.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where sled cannot read it.
    pub fn record(&self, index: u64) -> Result<Option<sled::IVec>, Error> {
        self.tree.get(entry_key(index)).map_err(|error| sled_error(&self.folder, &error))
    }

    /// The entry of `index`, checked, with its hash.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Disk`].
    pub fn entry(&self, index: u64) -> Result<Option<(Entry, EntryHash)>, Error> {
        let Some(bytes) = self.record(index)? else {
            return Ok(None);
        };
        let opened = record::open(&self.folder, index, &bytes)?;
        Ok(Some((opened.entry, opened.hash)))
    }

    /// Applies writes one after the other. Applying them again from any of them on leads to the same
    /// content.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Disk`], as sled has it.
    pub fn apply_all(&self, writes: &[Write]) -> Result<(), Error> {
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    let inserted = self.tree.insert(key.as_slice(), value.as_slice());
                    inserted.map_err(|error| sled_error(&self.folder, &error))?;
                }
                Write::RemoveFrom(index) => {
                    let mut batch = sled::Batch::default();
                    for index in self.stored(*index..=u64::MAX, usize::MAX)? {
                        batch.remove(&entry_key(index));
                    }
                    self.apply(batch)?;
                }
            }
        }
        Ok(())
    }

    /// Applies a batch; all or nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Disk`], as sled has it.
    pub fn apply(&self, batch: sled::Batch) -> Result<(), Error> {
        self.tree.apply_batch(batch).map_err(|error| sled_error(&self.folder, &error))
    }

    /// The stored indexes in `range`, the first `count_max` of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn stored(&self, range: RangeInclusive<u64>, count_max: usize) -> Result<Vec<u64>, Error> {
        self.tree
            .range(entry_key(*range.start())..=entry_key(*range.end()))
            .keys()
            .take(count_max)
            .map(|key| {
                let key = key.map_err(|error| sled_error(&self.folder, &error))?;
                key_index(&key).ok_or_else(|| Error::corrupt(&self.folder, "an entry's key is malformed"))
            })
            .collect()
    }
}

/// Writes in the order in which they are to be applied.
#[derive(Debug, Default)]
pub struct Writes(pub Vec<Write>);

impl Writes {
    /// Adds the record of an entry.
    pub fn record(&mut self, index: u64, bytes: Vec<u8>) {
        self.0.push(Write::Put(entry_key(index).to_vec(), bytes));
    }

    /// Adds the vote.
    ///
    /// # Errors
    /// [`Error::Message`]: a fault of ours.
    pub fn vote(&mut self, vote: &Vote) -> Result<(), Error> {
        self.meta(VOTE_KEY, vote)
    }

    /// Adds the last purged entry.
    ///
    /// # Errors
    /// [`Error::Message`]: a fault of ours.
    pub fn purged(&mut self, anchor: &Anchor) -> Result<(), Error> {
        self.meta(PURGED_KEY, anchor)
    }

    /// Adds the committed id.
    ///
    /// # Errors
    /// [`Error::Message`]: a fault of ours.
    pub fn committed(&mut self, committed: &LogId) -> Result<(), Error> {
        self.meta(COMMITTED_KEY, committed)
    }

    fn meta<T: Serialize>(&mut self, key: &[u8], value: &T) -> Result<(), Error> {
        let mut bytes = codec::encode(value, META_BYTES_MAX)?;
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        self.0.push(Write::Put(key.to_vec(), bytes));
        Ok(())
    }
}

fn sled_error(folder: &Path, error: &sled::Error) -> Error {
    match error {
        sled::Error::Io(io) => Error::disk(folder, "use the database")(std::io::Error::new(io.kind(), io.to_string())),
        other => Error::corrupt(folder, format!("the database reports: {other}")),
    }
}
