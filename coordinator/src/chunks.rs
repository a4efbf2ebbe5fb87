//! Sealed chunks of the ledger as files, named by their hash: each node has every one of them.
//!
//! A node that applies the sealing of a chunk has its records, and writes the file out of them. Until then they wait in
//! memory; no snapshot of the state without them is kept before they are written. So a node that starts has the file,
//! or applies the sealing again. Only a node that was sent a snapshot has to fetch the files before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use cluster_config::canary::{Canary, planted};
use cluster_config::ids::ContentHash;
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::codec;
use coordinator_core::Record;
use coordinator_core::ledger::{Full, Line};

use crate::error::Error;
use crate::log::durable;

const EXTENSION: &str = "chunk";

/// What a file that is not what its name says is renamed to, for who looks for the cause; the next one replaces it.
const SET_ASIDE: &str = "damaged";

/// A chunk that is sealed in the state, and whose file is not written yet.
#[derive(Debug, Clone)]
struct Pending {
    full: Arc<Full>,
    line: Line,
}

/// The folder of chunk files. Clones share it.
#[derive(Debug, Clone)]
pub struct Chunks {
    folder: PathBuf,
    pending: Arc<Mutex<BTreeMap<u64, Pending>>>,
    /// Held while a file is written: several threads come to write the same one.
    writing: Arc<Mutex<()>>,
}

/// The content of a chunk's file.
///
/// # Errors
/// [`Error::Message`], [`Error::Version`].
pub fn encode(chunk: u64, records: &[Record], version: Version) -> Result<Vec<u8>, Error> {
    Ok(codec::encode_stamped(&(chunk, records), version, PEER_FRAME_BYTES_MAX)?)
}

/// The name of a file with this content.
pub fn hash(bytes: &[u8]) -> ContentHash {
    let mut hash = ContentHash::default();
    hash.0.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl Chunks {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        durable::create_folder(folder)?;
        durable::remove_temporaries(folder)?;
        Ok(Self { folder: folder.to_owned(), pending: Arc::default(), writing: Arc::default() })
    }

    /// The file of a chunk with this hash.
    pub fn path(&self, hash: ContentHash) -> PathBuf {
        self.folder.join(name(hash))
    }

    /// The files that there are, by what their names say.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn hashes(&self) -> Result<BTreeSet<ContentHash>, Error> {
        let mut hashes = BTreeSet::new();
        for file in fs::read_dir(&self.folder).map_err(Error::disk(&self.folder, "list the folder"))? {
            let path = file.map_err(Error::disk(&self.folder, "list the folder"))?.path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION));
            hashes.extend(stem.and_then(hash_of));
        }
        Ok(hashes)
    }

    /// Keeps what is not kept yet. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn keep(&self, bytes: &[u8]) -> Result<ContentHash, Error> {
        let hash = hash(bytes);
        let path = self.path(hash);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64);
        if !is_there && !planted(Canary::ChunkFileLost) {
            durable::write_file(&self.folder, &name(hash), &[bytes])?;
        }
        Ok(hash)
    }

    /// The content of a file; nothing where it is missing. One that is not what its name says is set aside, with a line
    /// in the log, and is missing from then on.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn bytes(&self, wanted: ContentHash) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(wanted);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::disk(&path, "read")(error)),
        };
        if hash(&bytes) == wanted {
            return Ok(Some(bytes));
        }
        tracing::error!(
            path = %path.display(),
            bytes = bytes.len(),
            "a chunk of the ledger is not what its name says; it is set aside and fetched from another node"
        );
        fs::rename(&path, self.folder.join(SET_ASIDE)).map_err(Error::disk(&path, "set aside"))?;
        durable::sync_folder(&self.folder)?;
        Ok(None)
    }

    /// The records of a sealed chunk; nothing where its file is missing.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Corrupt`] where the file is what its name says and holds something else.
    pub fn records(&self, chunk: u64, line: &Line) -> Result<Option<Vec<Record>>, Error> {
        let pending = self.lock().get(&chunk).map(|pending| pending.full.clone());
        if let Some(full) = pending {
            return Ok(Some(full.records.clone()));
        }
        let Some(bytes) = self.bytes(line.hash)? else { return Ok(None) };
        let ((found, records), _): ((u64, Vec<Record>), _) = codec::decode_stamped(&bytes, PEER_FRAME_BYTES_MAX)?;
        if found != chunk {
            let problem = format!("it holds chunk {found} of the ledger, and not chunk {chunk}");
            return Err(Error::corrupt(&self.path(line.hash), problem));
        }
        Ok(Some(records))
    }

    /// Removes a file whose time is over.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn remove(&self, hash: ContentHash) -> Result<(), Error> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::disk(&path, "remove")(error)),
            _ => durable::sync_folder(&self.folder),
        }
    }

    /// The chunk was sealed; its file is to be written out of these records.
    pub(crate) fn sealed(&self, chunk: u64, full: Arc<Full>, line: Line) {
        self.lock().insert(chunk, Pending { full, line });
    }

    /// Whether a chunk's file waits to be written.
    pub fn is_pending(&self, chunk: u64) -> bool {
        self.lock().contains_key(&chunk)
    }

    /// Writes the files that wait. Blocks.
    ///
    /// # Errors
    /// [`Error::Disk`]; [`Error::Corrupt`] where this node has other records than the leader has sealed.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        loop {
            let next = self.lock().first_key_value().map(|(chunk, pending)| (*chunk, pending.clone()));
            let Some((chunk, Pending { full, line })) = next else { return Ok(()) };
            let kept = self.keep(&encode(chunk, &full.records, line.version)?)?;
            if kept != line.hash {
                let problem = format!("chunk {chunk} of the ledger is not the one that was sealed");
                return Err(Error::corrupt(&self.folder, problem));
            }
            self.lock().remove(&chunk);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(hash: ContentHash) -> String {
    format!("{hash}.{EXTENSION}")
}

/// The hash that a name says.
fn hash_of(stem: &str) -> Option<ContentHash> {
    let mut hash = ContentHash::default();
    if stem.len() != 2 * hash.0.len() || !stem.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.0.iter_mut().zip(stem.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upkeep, a snapshot and a fetch write files at the same time, and a node ended where it was the same one.
    #[test]
    fn threads_that_write_the_same_file_at_once_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let chunks = Chunks::open(folder.path()).expect("it opens");
        for number in 0..50_u8 {
            let bytes = vec![number; 20_000];
            std::thread::scope(|scope| {
                let keep = || chunks.keep(&bytes).expect("kept");
                let all: Vec<_> = (0..4).map(|_| scope.spawn(keep)).collect();
                all.into_iter().for_each(|one| assert_eq!(one.join().expect("no panic"), hash(&bytes)));
            });
            assert_eq!(chunks.bytes(hash(&bytes)).expect("read"), Some(bytes));
        }
    }

    #[test]
    fn a_file_that_is_short_long_or_flipped_is_set_aside_and_can_be_fetched_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let chunks = Chunks::open(folder.path()).expect("it opens");
        let bytes = vec![7; 5_000];
        let hash = chunks.keep(&bytes).expect("kept");
        assert_eq!(chunks.bytes(hash).expect("read"), Some(bytes.clone()));
        let flipped = [&bytes[..300], &[6], &bytes[301..]].concat();
        for (what, damaged) in [("short", bytes[..4_999].to_vec()), ("long", vec![7; 5_001]), ("flipped", flipped)] {
            fs::write(chunks.path(hash), damaged).expect("written");
            assert_eq!(chunks.bytes(hash).expect("read"), None, "{what}");
            assert!(chunks.hashes().expect("listed").is_empty(), "{what}: it is missing from now on");
            assert_eq!(chunks.keep(&bytes).expect("kept again"), hash);
            assert_eq!(chunks.bytes(hash).expect("read"), Some(bytes.clone()), "{what}");
        }
        assert_eq!(chunks.hashes().expect("listed"), BTreeSet::from([hash]));
        chunks.remove(hash).expect("removed");
        chunks.remove(hash).expect("a repeat is no error");
        assert_eq!(chunks.bytes(hash).expect("read"), None);
    }
}
