//! Snapshots as files: each is whole, or is not there at all. The last two are kept.
//!
//! A file: magic (7 bytes), version (1), length of what says what it covers (4), length of the state (8), what it
//! covers, SHA-256 of all of these (32). Then the state in chunks of [`CHUNK_BYTES`], the last one shorter; before each
//! chunk its SHA-256 (32), which goes on from that of the head, so that no chunk fits into another file or place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use cluster_config::limits::{CHUNK_BYTES, PEER_FRAME_BYTES_MAX};
use cluster_config::versions::Version;
use cluster_config::wire::codec;

use crate::error::{Error, chain};
use crate::group::raft::SnapshotMeta;
use crate::log::durable;

const MAGIC: &[u8; 7] = b"TVSSNAP";
const CHECKSUM_BYTES: usize = 32;
/// Magic, version and the two lengths.
const HEADER_BYTES: usize = MAGIC.len() + 1 + 4 + 8;
const EXTENSION: &str = "snapshot";

/// What does not read is kept under this name, for who looks for the cause; the next one replaces it.
const SET_ASIDE: &str = "damaged";

/// Snapshots that stay on the disk. If the last one cannot be used, the state is made of the one before and the log.
const KEPT: usize = 2;

/// A snapshot in memory: what it covers, and the encoded state.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What it covers.
    pub meta: SnapshotMeta,
    /// The encoded state, stamped with its version. It travels as it lies on the disk.
    pub data: Arc<Vec<u8>>,
}

impl Stored {
    /// The version in which it is written, as its first byte says.
    fn version(&self) -> Version {
        self.data.first().map_or(Version::CURRENT, |byte| Version(*byte))
    }
}

/// The newest snapshot that can be used, and what is wrong with each newer one.
#[derive(Debug)]
pub struct Newest<T> {
    /// The snapshot, and what its state was read as.
    pub found: Option<(Stored, T)>,
    /// The newer ones that cannot be used, each with the reason.
    pub problems: Vec<(PathBuf, String)>,
}

/// The folder of snapshots.
#[derive(Debug, Clone)]
pub struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        durable::create_folder(folder)?;
        durable::remove_temporaries(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The newest snapshot whose file is whole and whose state `decode` reads.
    ///
    /// # Errors
    /// [`Error::Disk`] where the folder cannot be listed, [`Error::FileVersion`] where a later release has written one.
    pub fn newest<T>(&self, decode: impl Fn(&[u8]) -> Result<T, Error>) -> Result<Newest<T>, Error> {
        let mut problems = Vec::new();
        for path in self.paths()?.into_iter().rev() {
            let read = read(&path).and_then(|stored| {
                let state = decode(&stored.data).map_err(|error| of_the_state(&path, error))?;
                Ok((stored, state))
            });
            match read {
                Ok(found) => return Ok(Newest { found: Some(found), problems }),
                // It is whole, and says more than this release understands.
                Err(error @ Error::FileVersion { .. }) => return Err(error),
                Err(error) => {
                    let problem = format!("{}: {}", path.display(), chain(&error));
                    problems.push((path, problem));
                }
            }
        }
        Ok(Newest { found: None, problems })
    }

    /// Saves a snapshot and removes all but the last two. It is durable when this returns. Before it gets its name,
    /// `check` is given the state as it can be read back.
    ///
    /// # Errors
    /// [`Error::Disk`]; [`Error::Message`] where what it covers does not encode; those of `check`. Then the snapshots
    /// are those from before.
    pub fn save(&self, snapshot: &Stored, check: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        let version = snapshot.version();
        let meta = codec::encode_as(&snapshot.meta, version, PEER_FRAME_BYTES_MAX)?;
        let (meta_bytes, bytes) = ((meta.len() as u32).to_le_bytes(), (snapshot.data.len() as u64).to_le_bytes());
        let head = [&MAGIC[..], &[version.0], &meta_bytes, &bytes, &meta].concat();
        let sum = digest::digest(&digest::SHA256, &head);
        let chunks: Vec<&[u8]> = snapshot.data.chunks(CHUNK_BYTES).collect();
        let sums: Vec<digest::Digest> =
            (0..).zip(&chunks).map(|(number, chunk)| chunk_sum(sum.as_ref(), number, chunk)).collect();
        let mut parts: Vec<&[u8]> = vec![&head, sum.as_ref()];
        parts.extend(sums.iter().zip(&chunks).flat_map(|(sum, chunk)| [sum.as_ref(), chunk]));
        let name = format!("{index:020}.{EXTENSION}");
        durable::write_checked(&self.folder, &name, &parts, |written| check(&read(written)?.data))?;
        let paths = self.paths()?;
        for path in &paths[..paths.len().saturating_sub(KEPT)] {
            fs::remove_file(path).map_err(Error::disk(path, "remove"))?;
        }
        Ok(())
    }

    /// Takes a snapshot that cannot be used out of the way, so that nobody is sent it.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn set_aside(&self, path: &Path) -> Result<(), Error> {
        fs::rename(path, self.folder.join(SET_ASIDE)).map_err(Error::disk(path, "set aside"))?;
        durable::sync_folder(&self.folder)
    }

    /// All snapshot files, oldest first.
    fn paths(&self) -> Result<Vec<PathBuf>, Error> {
        let mut paths = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(Error::disk(&self.folder, "list the folder"))? {
            let path = file.map_err(Error::disk(&self.folder, "list the folder"))?.path();
            if path.extension().is_some_and(|e| e == EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// That a file's state does not decode, with the file.
fn of_the_state(path: &Path, error: Error) -> Error {
    match error {
        Error::Message(error) => Error::corrupt(path, format!("the state in it does not decode: {error}")),
        error => error,
    }
}

/// The checksum of a chunk in its place.
fn chunk_sum(head: &[u8], number: u64, chunk: &[u8]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    [head, &number.to_le_bytes(), chunk].iter().for_each(|part| context.update(part));
    context.finish()
}

fn read(path: &Path) -> Result<Stored, Error> {
    let bytes = fs::read(path).map_err(Error::disk(path, "read"))?;
    let damaged = |problem: &str| Error::corrupt(path, problem);
    let cut_short = || damaged("the snapshot is cut short, or it is none");
    let fixed = bytes.get(..HEADER_BYTES).filter(|fixed| fixed.starts_with(MAGIC)).ok_or_else(cut_short)?;
    let number = |from: usize, len: usize| fixed[from..from + len].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    let (meta_bytes, data_bytes) = (number(MAGIC.len() + 1, 4) as usize, number(MAGIC.len() + 5, 8));
    let head_bytes = HEADER_BYTES + meta_bytes;
    let head = bytes.get(..head_bytes).ok_or_else(cut_short)?;
    let sum = bytes.get(head_bytes..head_bytes + CHECKSUM_BYTES).ok_or_else(cut_short)?;
    if digest::digest(&digest::SHA256, head).as_ref() != sum {
        return Err(damaged("the snapshot's head does not match its checksum"));
    }
    let version = Version(head[MAGIC.len()]).check();
    let place = "the snapshot".to_owned();
    let version = version.map_err(|unknown| Error::FileVersion { path: path.to_owned(), place, unknown })?;
    let meta = codec::decode_as(&head[HEADER_BYTES..], version, PEER_FRAME_BYTES_MAX)?;
    let mut data = Vec::with_capacity(bytes.len());
    let chunks = bytes[head_bytes + CHECKSUM_BYTES..].chunks(CHECKSUM_BYTES + CHUNK_BYTES);
    for (number, chunk) in (0..).zip(chunks) {
        let (found, chunk) = chunk.split_at_checked(CHECKSUM_BYTES).ok_or_else(cut_short)?;
        if chunk_sum(sum, number, chunk).as_ref() != found {
            return Err(Error::corrupt(path, format!("chunk {number} of the snapshot does not match its checksum")));
        }
        data.extend_from_slice(chunk);
    }
    if data.len() as u64 != data_bytes {
        return Err(damaged("the snapshot has not the length that it says"));
    }
    Ok(Stored { meta, data: Arc::new(data) })
}

#[cfg(test)]
mod tests {
    use cluster_config::versions::golden::Golden;

    use super::*;

    fn path(snapshots: &Snapshots, index: u64) -> PathBuf {
        snapshots.folder.join(format!("{index:020}.{EXTENSION}"))
    }

    /// P13.
    #[test]
    fn a_snapshot_has_the_bytes_that_are_written_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = Snapshots::open(folder.path()).expect("it opens");
        let path = path(&snapshots, 0);
        let mut golden = Golden::default();
        for version in Version::understood() {
            let stored = Stored { meta: SnapshotMeta::default(), data: Arc::new(vec![version.0, 2, 3]) };
            snapshots.save(&stored, |_| Ok(())).expect("it is saved");
            golden.add_bytes("snapshot", version, &fs::read(&path).expect("a file"));
        }
        golden.hold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "golden_snapshot");

        let mut later = fs::read(&path).expect("a file");
        let end = later.len() - 3 - 2 * CHECKSUM_BYTES;
        later[MAGIC.len()] = Version::CURRENT.0 + 1;
        let checksum = digest::digest(&digest::SHA256, &later[..end]);
        later[end..end + CHECKSUM_BYTES].copy_from_slice(checksum.as_ref());
        fs::write(&path, later).expect("written");
        let error = snapshots.newest(|_| Ok(())).expect_err("a later release's").to_string();
        assert!(error.contains("is not understood here") && error.contains("run a release that"), "{error}");
    }

    /// F1: the old fallback looked at the checksum alone.
    #[test]
    fn what_does_not_decode_is_not_kept_and_not_fallen_back_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = Snapshots::open(folder.path()).expect("it opens");
        let stored = |index: u64, text: &str| {
            let id = crate::group::raft::LogId::new(crate::group::raft::Vote::new(1, 1).leader_id, index);
            let meta = SnapshotMeta { last_log_id: Some(id), ..SnapshotMeta::default() };
            Stored { meta, data: Arc::new(text.as_bytes().to_vec()) }
        };
        let good = |bytes: &[u8]| match bytes {
            b"\x01good" => Ok(()),
            other => Err(Error::corrupt(folder.path(), format!("{} bytes", other.len()))),
        };
        snapshots.save(&stored(10, "\u{1}good"), good).expect("it is saved");
        snapshots.save(&stored(20, "\u{1}bad"), good).expect_err("it does not decode");
        assert!(!path(&snapshots, 20).exists() && snapshots.paths().expect("a list").len() == 1);
        // One that an earlier release has kept.
        snapshots.save(&stored(30, "\u{1}bad"), |_| Ok(())).expect("it is saved");
        let newest = snapshots.newest(good).expect("a list");
        assert_eq!(newest.found.and_then(|(found, ())| found.meta.last_log_id).map(|id| id.index), Some(10));
        let [(bad, problem)] = &newest.problems[..] else { panic!("{:?}", newest.problems) };
        assert!(problem.contains("4 bytes"), "{problem}");
        snapshots.set_aside(bad).expect("it is set aside");
        assert!(snapshots.newest(good).expect("a list").problems.is_empty());
    }

    #[test]
    fn a_state_of_many_chunks_reads_back_and_no_chunk_fits_into_another_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = Snapshots::open(folder.path()).expect("it opens");
        let data: Vec<u8> =
            (0..2 * CHUNK_BYTES + 9).map(|n| if n == 0 { 1 } else { (n / CHUNK_BYTES) as u8 }).collect();
        let stored = Stored { meta: SnapshotMeta::default(), data: Arc::new(data) };
        let is_the_same = |read: &[u8]| {
            assert!(*read == **stored.data);
            Ok(())
        };
        snapshots.save(&stored, is_the_same).expect("it is saved");
        let whole = fs::read(path(&snapshots, 0)).expect("a file");
        let first = whole.len() - 9 - CHUNK_BYTES * 2 - CHECKSUM_BYTES * 3;
        let mut swapped = whole.clone();
        let (one, two) = swapped[first..].split_at_mut(CHECKSUM_BYTES + CHUNK_BYTES);
        one.swap_with_slice(&mut two[..CHECKSUM_BYTES + CHUNK_BYTES]);
        let without_last = whole[..whole.len() - 9 - CHECKSUM_BYTES].to_vec();
        let longer = [&whole[..], &[0]].concat();
        for (what, bytes) in [("swapped", swapped), ("a chunk short", without_last), ("longer", longer)] {
            fs::write(path(&snapshots, 0), bytes).expect("written");
            assert_eq!(snapshots.newest(|_| Ok(())).expect("a list").problems.len(), 1, "{what}");
        }
    }
}
