//! Galleries on disk: sealed segment files, and a sled index of which there are.
//!
//! Either holds a whole gallery, or its roster: the people alone, on nodes without a replica.
//!
//! A segment is a file, since it is larger than what sled takes well; the index entry is written after the file is
//! durable and removed before the file is, so an entry always has its file. What cannot be opened is dropped: it is
//! fetched again from a replica. So is everything where the index is damaged: it is set aside, and begun anew.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion};
use cluster_config::limits::SLED_VALUE_BYTES_MAX;
use cluster_config::wire::codec;
use serde::{Deserialize, Serialize};

use super::keys::{self, Keys, replace_file, sync_folder};

/// Why galleries cannot be kept. All of these are the operator's: the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("gallery store: {path:?} cannot be {action}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        action: &'static str,
        source: std::io::Error,
    },
    #[error("gallery store: the index in {path:?} failed: {problem}")]
    Index { path: PathBuf, problem: String },
    /// An index entry has no meaning.
    #[error("gallery store: an index entry does not read")]
    Entry(#[from] codec::Error),
    #[error(transparent)]
    Key(#[from] keys::Error),
}

impl Error {
    /// What the operator can do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Index { .. } | Self::Entry(_) => "check the disk and its permissions",
            Self::Key(error) => error.fix(),
        }
    }
}

/// What a segment on disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// People and templates: a replica.
    Gallery,
    Roster,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gallery => "segment",
            Self::Roster => "roster",
        }
    }
}

/// One segment that lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it holds.
    pub kind: Kind,
    pub shard: ShardId,
    pub version: GalleryVersion,
    pub hash: ContentHash,
}

impl Kept {
    /// The segment as it is kept when it holds a `kind`.
    pub fn of(kind: Kind, segment: &Segment) -> Self {
        Self { kind, shard: segment.shard, version: segment.version, hash: segment.hash }
    }

    fn entry_key(self) -> Vec<u8> {
        format!("{}/{}/{:010}/{}", self.shard, self.kind.name(), self.version.0, self.hash).into_bytes()
    }

    fn context(self) -> String {
        format!("{} {} version {}", self.kind.name(), self.shard, self.version)
    }
}

/// The store. Its calls block on the disk.
pub struct Store {
    folder: PathBuf,
    database: sled::Db,
    keys: Keys,
    /// What reads, writes or destroys one shard excludes each other: each may replace its key. Shards share these locks
    /// by their hash.
    busy: [Mutex<()>; LOCKS],
}

/// Bytes of a file that is written for trial: a block, so that it needs room.
const TRIAL_BYTES: usize = 4_096;

/// Locks: enough that shards rarely wait for each other.
const LOCKS: usize = 64;

impl Store {
    /// Opens the store below `data_dir`; what wraps its keys lies in `key_dir`.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn open(data_dir: &Path, key_dir: &Path) -> Result<Self, Error> {
        let folder = data_dir.join("galleries");
        let segments = folder.join("segments");
        fs::create_dir_all(&segments).map_err(|source| Error::Io { path: segments, action: "created", source })?;
        let keys = Keys::open(data_dir, key_dir)?;
        let index = folder.join("index");
        let database = match open_index(&index) {
            Ok(database) => database,
            Err(problem) => {
                set_aside(&index, &problem)?;
                open_index(&index).map_err(|problem| Error::Index { path: index, problem })?
            }
        };
        let busy = std::array::from_fn(|_| Mutex::new(()));
        let store = Self { database, keys, folder, busy };
        store.remove_unnamed()?;
        Ok(store)
    }

    /// Removes the files that no entry names: whoever wrote or dropped them was killed in the middle, and no purge
    /// would find them.
    fn remove_unnamed(&self) -> Result<(), Error> {
        let named: BTreeSet<PathBuf> = self.list()?.into_iter().map(|kept| self.path(kept)).collect();
        let segments = self.folder.join("segments");
        let sweep = || -> std::io::Result<()> {
            for file in fs::read_dir(&segments)? {
                let path = file?.path();
                if !named.contains(&path) {
                    fs::remove_file(path)?;
                }
            }
            sync_folder(&segments)
        };
        sweep().map_err(|source| Error::Io { path: segments.clone(), action: "swept", source })
    }

    fn lock(&self, shard: ShardId) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        shard.hash(&mut hasher);
        let lock = &self.busy[hasher.finish() as usize % LOCKS];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, source: sled::Error) -> Error {
        Error::Index { path: self.folder.join("index"), problem: source.to_string() }
    }

    fn path(&self, kept: Kept) -> PathBuf {
        let Kept { kind, shard, version, hash } = kept;
        let content = format!("{}.{version}.{hash}.{}.sealed", shard.file_name(), kind.name());
        self.folder.join("segments").join(content)
    }

    /// sled's own flush does not reach the disk (design, section 6), so the database file is synchronised besides.
    fn flush(&self) -> Result<(), Error> {
        self.database.flush().map_err(|source| self.index(source))?;
        let path = self.folder.join("index").join("db");
        File::open(&path).and_then(|file| file.sync_data()).map_err(|source| Error::Io {
            path,
            action: "synchronised",
            source,
        })
    }

    /// Keeps a segment; once this returns it outlives a loss of power.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn put(&self, kind: Kind, segment: &Segment) -> Result<(), Error> {
        let kept = Kept::of(kind, segment);
        let _busy = self.lock(kept.shard);
        let key = self.keys.data_key(kept.shard)?;
        let sealed = key.seal(&kept.context(), segment.bytes.clone())?;
        let path = self.path(kept);
        replace_file(&path, &sealed).map_err(|source| Error::Io { path, action: "written", source })?;
        let entry = codec::encode(&kept, SLED_VALUE_BYTES_MAX)?;
        self.database.insert(kept.entry_key(), entry).map_err(|source| self.index(source))?;
        self.flush()
    }

    /// Tries whether a file can be written: there is room, an inode, and permission.
    ///
    /// # Errors
    /// [`Error::Io`] with the file.
    pub fn check(&self) -> Result<(), Error> {
        let path = self.folder.join("trial");
        let tried = fs::write(&path, [0; TRIAL_BYTES]).and_then(|()| fs::remove_file(&path));
        tried.map_err(|source| Error::Io { path, action: "written", source })
    }

    /// Reads a segment back; absent where it is not kept or does not open any more.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn get(&self, kept: Kept) -> Result<Option<Segment>, Error> {
        let _busy = self.lock(kept.shard);
        let path = self.path(kept);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, action: "read", source }),
        };
        let key = self.keys.data_key(kept.shard)?;
        match key.open(&kept.context(), sealed) {
            Ok(bytes) => Ok(Some(Segment { shard: kept.shard, version: kept.version, hash: kept.hash, bytes })),
            Err(error) => {
                metrics::counter!("tvs_store_unreadable_segments_total").increment(1);
                tracing::warn!(%error, "a kept segment is dropped");
                self.drop_version(kept)?;
                Ok(None)
            }
        }
    }

    /// All segments that are kept.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn list(&self) -> Result<Vec<Kept>, Error> {
        let mut kept = Vec::new();
        for entry in self.database.iter().values() {
            kept.push(codec::decode(&entry.map_err(|source| self.index(source))?, SLED_VALUE_BYTES_MAX)?);
        }
        Ok(kept)
    }

    /// The shards of which anything is kept.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn shards(&self) -> Result<BTreeSet<ShardId>, Error> {
        Ok(self.list()?.into_iter().map(|kept| kept.shard).collect())
    }

    /// The versions of one kind of one shard, oldest first.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn versions(&self, kind: Kind, shard: ShardId) -> Result<Vec<Kept>, Error> {
        let mut kept = self.all_of(shard)?;
        kept.retain(|kept| kept.kind == kind);
        Ok(kept)
    }

    fn all_of(&self, shard: ShardId) -> Result<Vec<Kept>, Error> {
        let mut kept = Vec::new();
        for entry in self.database.scan_prefix(format!("{shard}/")).values() {
            kept.push(codec::decode(&entry.map_err(|source| self.index(source))?, SLED_VALUE_BYTES_MAX)?);
        }
        Ok(kept)
    }

    /// Drops the versions of one kind before `keep_from`.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn drop_before(&self, kind: Kind, shard: ShardId, keep_from: GalleryVersion) -> Result<(), Error> {
        for kept in self.versions(kind, shard)?.into_iter().filter(|kept| kept.version < keep_from) {
            self.drop_version(kept)?;
        }
        Ok(())
    }

    fn drop_version(&self, kept: Kept) -> Result<(), Error> {
        self.database.remove(kept.entry_key()).map_err(|source| self.index(source))?;
        self.flush()?;
        let path = self.path(kept);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Io { path, action: "removed", source })
            }
            _ => Ok(()),
        }
    }

    /// Destroys all of a shard: its key first, then what was sealed under it.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn destroy(&self, shard: ShardId) -> Result<(), Error> {
        let _busy = self.lock(shard);
        self.keys.destroy(shard)?;
        for kept in self.all_of(shard)? {
            self.drop_version(kept)?;
        }
        let segments = self.folder.join("segments");
        sync_folder(&segments).map_err(|source| Error::Io { path: segments, action: "synchronised", source })
    }
}

/// Opens the index and reads each of its entries.
fn open_index(path: &Path) -> Result<sled::Db, String> {
    // sled answers some damage with a panic.
    let opened = catch_unwind(|| -> Result<sled::Db, String> {
        let configuration = sled::Config::new().path(path).cache_capacity(4 << 20).flush_every_ms(None);
        let database = configuration.open().map_err(|error| error.to_string())?;
        for entry in database.iter().values() {
            let entry = entry.map_err(|error| error.to_string())?;
            codec::decode::<Kept>(&entry, SLED_VALUE_BYTES_MAX).map_err(|error| error.to_string())?;
        }
        Ok(database)
    });
    opened.unwrap_or_else(|_| Err("it is damaged".to_owned()))
}

/// Moves a damaged index out of the way; the one that was set aside before goes.
fn set_aside(index: &Path, problem: &str) -> Result<(), Error> {
    let aside = index.with_extension("damaged");
    let failed = |source| Error::Io { path: index.to_owned(), action: "set aside", source };
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::rename(index, &aside).map_err(failed)?;
    metrics::counter!("tvs_store_damaged_indexes_total").increment(1);
    tracing::warn!(?aside, problem, "the index of galleries was set aside; what was kept is fetched again");
    Ok(())
}

#[cfg(test)]
mod tests {
    use cluster_config::gallery::{GalleryId, Modality};

    use super::*;

    fn open(folder: &Path) -> Result<Store, Error> {
        Store::open(&folder.join("data"), &folder.join("keys"))
    }

    fn segment(shard: ShardId) -> Segment {
        Segment { shard, version: GalleryVersion(1), hash: ContentHash([1; 32]), bytes: vec![7; 100] }
    }

    fn shard(journey: &str) -> ShardId {
        let (gallery, model) = (GalleryId::passengers(journey.parse().unwrap()), "model-1".parse().unwrap());
        ShardId { gallery, modality: Modality::Face, model, part: 0 }
    }

    #[test]
    fn what_a_killed_process_had_half_written_is_gone_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let shard = shard("ZT1-20261125-JFK");
        let segment = segment(shard);
        open(folder.path()).unwrap().put(Kind::Gallery, &segment).unwrap();
        let left = [
            "data/galleries/segments/ZT1-20261125-JFK+face+model-1+0.2.ab.segment.new",
            "data/galleries/segments/ZT1-20261125-JFK+face+model-1+0.1.ab.roster.sealed",
            "data/keys/ZT1-20261125-JFK+face+model-1+0.new",
        ];
        let left = left.map(|name| folder.path().join(name));
        left.iter().for_each(|path| fs::write(path, [7; 10]).unwrap());
        let store = open(folder.path()).unwrap();
        assert_eq!(store.get(Kept::of(Kind::Gallery, &segment)).unwrap(), Some(segment), "what is named is kept");
        assert!(!left.iter().any(|path| path.exists()));
    }

    #[test]
    fn a_shard_whose_key_was_damaged_can_be_kept_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        let shard = shard("ZT1157-20261125-JFK");
        let segment = segment(shard);
        store.put(Kind::Gallery, &segment).unwrap();
        let kept = Kept::of(Kind::Gallery, &segment);
        assert_eq!(store.get(kept).unwrap().as_ref(), Some(&segment));

        let key = folder.path().join("data/keys").join("ZT1157-20261125-JFK+face+model-1+0.key");
        let mut damaged = fs::read(&key).unwrap();
        damaged[54] ^= 8;
        fs::write(&key, damaged).unwrap();
        assert_eq!(store.get(kept).unwrap(), None, "what the damaged key sealed is lost");
        assert_eq!(store.list().unwrap(), [], "and is not offered any more");
        store.put(Kind::Gallery, &segment).unwrap();
        assert_eq!(store.get(kept).unwrap(), Some(segment));
    }

    /// P6.
    #[test]
    fn a_copy_of_the_data_folder_from_before_the_purge_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (data, copy, keys) = (folder.path().join("data"), folder.path().join("copy"), folder.path().join("keys"));
        let (gone, stays) = (segment(shard("ZT1-20261125-JFK")), segment(shard("ZT2-20261125-JFK")));
        let store = Store::open(&data, &keys).unwrap();
        [&gone, &stays].into_iter().for_each(|segment| store.put(Kind::Gallery, segment).unwrap());
        let copied = std::process::Command::new("cp").arg("-a").args([&data, &copy]).status().unwrap();
        assert!(copied.success());
        store.destroy(gone.shard).unwrap();
        let copy = Store::open(&copy, &keys).unwrap();
        assert_eq!(copy.list().unwrap().len(), 2, "the copy was made before");
        assert_eq!(copy.get(Kept::of(Kind::Gallery, &gone)).unwrap(), None);
        assert_eq!(copy.get(Kept::of(Kind::Gallery, &stays)).unwrap(), Some(stays), "it is the keys that are gone");

        let alone = Store::open(&data, &folder.path().join("elsewhere")).map(|_| ()).expect_err("it has no keys");
        assert!(alone.to_string().contains("has no key") && alone.fix().contains("mount the volume"), "{alone}");
    }

    #[test]
    fn a_damaged_index_is_set_aside_and_begun_anew() {
        let mut aside = 0;
        for (name, is_cut) in [("conf", false), ("conf", true), ("db", false), ("db", true)] {
            let folder = tempfile::tempdir().unwrap();
            let segment = segment(shard("ZT1-20261125-JFK"));
            open(folder.path()).unwrap().put(Kind::Gallery, &segment).unwrap();
            let index = folder.path().join("data/galleries/index");
            let mut bytes = fs::read(index.join(name)).unwrap();
            if is_cut {
                bytes.truncate(bytes.len() / 2)
            } else {
                bytes.iter_mut().for_each(|byte| *byte ^= 8)
            }
            fs::write(index.join(name), bytes).unwrap();
            let store = open(folder.path()).unwrap();
            assert_eq!(store.list().unwrap(), []);
            aside += usize::from(index.with_extension("damaged").exists());
            store.put(Kind::Gallery, &segment).unwrap();
            assert_eq!(store.get(Kept::of(Kind::Gallery, &segment)).unwrap(), Some(segment));
        }
        assert!(aside > 0, "some damage sled mends by forgetting");
    }
}
