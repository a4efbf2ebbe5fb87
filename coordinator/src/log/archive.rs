//! The archive: the writes that have left the journal, one file for each half of the journal that was filled. Every
//! start makes the database anew from archive and journal.
//!
//! After a loss of power some of the pages that a database wrote since its last sync are on the disk, and others are
//! not. sled 0.34 cannot read such a file. In crash images (`tests/scenarios/crash.rs`) it refused every fifth,
//! panicked on others, and waited for ever on some, while the journal had everything that was acknowledged. So no start
//! opens the database of an earlier one. Before a half of the journal is written over, its writes are kept here, and
//! they stay for as long as the log has an entry of them.
//!
//! A file: magic (4 bytes), highest entry in it plus one (8), length of the body (4), CRC-32 of these and the body (4),
//! body. Its name is the number of its last frame.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::wire::codec;

use crate::error::Error;
use crate::log::durable;
use crate::log::journal::Write;
use crate::log::keys::key_index;

/// The folder's name in the store's folder.
pub const FOLDER_NAME: &str = "archive";

const MAGIC: [u8; 4] = *b"TVSA";
const HEADER_BYTES: usize = 20;
const SUFFIX: &str = "writes";

/// Whether a store was ever made in the folder.
pub fn exists(folder: &Path) -> bool {
    folder.join(FOLDER_NAME).exists()
}

/// The open archive.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    /// For the last frame of each file, the highest entry in the file plus one.
    files: Mutex<BTreeMap<u64, u64>>,
}

impl Archive {
    /// Opens the archive of the store in `folder`. `sequence` is the journal's last frame. Files with later frames were
    /// never acknowledged and are removed.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(folder: &Path, sequence: u64) -> Result<Self, Error> {
        let folder = folder.join(FOLDER_NAME);
        durable::create_folder(&folder)?;
        durable::remove_temporaries(&folder)?;
        let mut files = BTreeMap::new();
        for item in fs::read_dir(&folder).map_err(Error::disk(&folder, "list the folder"))? {
            let path = item.map_err(Error::disk(&folder, "list the folder"))?.path();
            let last = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
            let Some(last) = last else { continue };
            if last > sequence {
                fs::remove_file(&path).map_err(Error::disk(&path, "remove"))?;
                continue;
            }
            let mut header = [0; HEADER_BYTES];
            let read = File::open(&path).and_then(|mut file| file.read_exact(&mut header));
            read.map_err(Error::disk(&path, "read"))?;
            files.insert(last, long(&header));
        }
        Ok(Self { folder, files: Mutex::new(files) })
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        // After a panic under the lock the list lacks one file at worst.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, last: u64) -> PathBuf {
        self.folder.join(format!("{last:020}.{SUFFIX}"))
    }

    /// Keeps the writes of the frames up to `last`. They are durable when this returns.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Message`] where the writes do not encode: a fault of ours.
    pub fn keep(&self, last: u64, writes: &[Write]) -> Result<(), Error> {
        let ends = writes.iter().filter_map(|write| match write {
            Write::Put(key, _) => key_index(key).map(|index| index + 1),
            Write::RemoveFrom(_) => None,
        });
        let end = ends.max().unwrap_or(0);
        let body = codec::encode(&writes, PEER_FRAME_BYTES_MAX)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&end.to_le_bytes());
        header.extend_from_slice(&(body.len() as u32).to_le_bytes());
        let checksum = durable::checksum(&[&header, &body]);
        header.extend_from_slice(&checksum.to_le_bytes());
        durable::write_file(&self.folder, &format!("{last:020}.{SUFFIX}"), &[&header, &body])?;
        self.files().insert(last, end);
        Ok(())
    }

    /// Gives all writes to `take`, in their order, the writes of one file at a time.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Corrupt`] with the file that is damaged, and those of `take`.
    pub fn replay(&self, mut take: impl FnMut(&[Write]) -> Result<(), Error>) -> Result<(), Error> {
        let files: Vec<u64> = self.files().keys().copied().collect();
        for last in files {
            let path = self.path(last);
            let bytes = fs::read(&path).map_err(Error::disk(&path, "read"))?;
            let damaged = || Error::corrupt(&path, "it does not match its checksum");
            let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(damaged)?;
            let checksum = durable::checksum(&[&header[..HEADER_BYTES - 4], body]).to_le_bytes();
            if header[..4] != MAGIC || header[HEADER_BYTES - 4..] != checksum {
                return Err(damaged());
            }
            let writes: Vec<Write> =
                codec::decode(body, PEER_FRAME_BYTES_MAX).map_err(|error| Error::corrupt(&path, error.to_string()))?;
            take(&writes)?;
        }
        Ok(())
    }

    /// Removes the oldest files whose entries are all purged, that is `purged` or before. The newest file stays: it has
    /// the vote.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn forget(&self, purged: u64) -> Result<(), Error> {
        let mut files = self.files();
        while files.len() > 1
            && let Some(oldest) = files.first_entry().filter(|file| *file.get() <= purged + 1)
        {
            let path = self.path(*oldest.key());
            fs::remove_file(&path).map_err(Error::disk(&path, "remove"))?;
            oldest.remove();
        }
        Ok(())
    }
}

/// The highest entry plus one, as a header says.
fn long(header: &[u8; HEADER_BYTES]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[4..12]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::keys::entry_key;

    fn all(archive: &Archive) -> Vec<Write> {
        let mut all = Vec::new();
        let take = |writes: &[Write]| {
            all.extend_from_slice(writes);
            Ok(())
        };
        archive.replay(take).expect("read");
        all
    }

    fn put(index: u64) -> Write {
        Write::Put(entry_key(index).to_vec(), vec![index as u8; 100])
    }

    #[test]
    fn what_is_kept_comes_back_in_order_until_it_is_purged() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::open(folder.path(), 0).expect("open");
        // The second file removes entries of the first one, and must not go before it.
        let files = [(10, vec![put(0), put(9)]), (20, vec![Write::RemoveFrom(4), put(4)]), (30, vec![put(5), put(6)])];
        for (last, writes) in &files {
            archive.keep(*last, writes).expect("kept");
        }
        let whole = files.iter().flat_map(|(_, writes)| writes.clone()).collect::<Vec<_>>();
        assert_eq!(all(&Archive::open(folder.path(), 30).expect("open")), whole);
        archive.forget(8).expect("nothing is removed: entry 9 is behind");
        assert_eq!(all(&archive), whole);
        archive.forget(9).expect("all but the newest are removed");
        assert_eq!(all(&archive), files[2].1);
    }

    #[test]
    fn what_was_never_acknowledged_goes_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = Archive::open(folder.path(), 0).expect("open");
        archive.keep(7, &[put(1)]).expect("kept");
        archive.keep(8, &[put(2)]).expect("kept");
        let archive = Archive::open(folder.path(), 7).expect("open");
        assert_eq!(all(&archive), [put(1)]);
        let path = archive.path(7);
        let mut bytes = fs::read(&path).expect("read");
        bytes[40] ^= 1;
        fs::write(&path, bytes).expect("written");
        let error = archive.replay(|_| Ok(())).expect_err("refused").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
