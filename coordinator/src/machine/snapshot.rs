//! Snapshots as files: each is whole and has a checksum, or is not there at all. The last two are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::codec;

use crate::error::{Error, chain};
use crate::group::raft::SnapshotMeta;
use crate::log::durable;

/// First bytes of each file; the version follows, then the length of what says what it covers.
const MAGIC: &[u8; 7] = b"TVSSNAP";
const CHECKSUM_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 1 + 4;
const EXTENSION: &str = "snapshot";

/// Snapshots that stay on the disk. If the last one is damaged, the state is made of the one before and the log.
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

    /// The newest snapshot that can be read, and what is wrong with each newer one.
    ///
    /// # Errors
    /// [`Error::Disk`] where the folder cannot be listed, [`Error::FileVersion`] where a later release has written one.
    pub fn newest(&self) -> Result<(Option<Stored>, Vec<String>), Error> {
        let mut problems = Vec::new();
        for path in self.paths()?.into_iter().rev() {
            match read(&path) {
                Ok(stored) => return Ok((Some(stored), problems)),
                // It is whole, and says more than this release understands.
                Err(error @ Error::FileVersion { .. }) => return Err(error),
                Err(error) => problems.push(chain(&error)),
            }
        }
        Ok((None, problems))
    }

    /// Saves a snapshot and removes all but the last two. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Disk`]; [`Error::Message`] where what it covers does not encode.
    pub fn save(&self, snapshot: &Stored) -> Result<(), Error> {
        let index = snapshot.meta.last_log_id.map_or(0, |id| id.index);
        let version = snapshot.version();
        let meta = codec::encode_as(&snapshot.meta, version, PEER_FRAME_BYTES_MAX)?;
        let length = (meta.len() as u32).to_le_bytes();
        let mut context = digest::Context::new(&digest::SHA256);
        [&MAGIC[..], &[version.0], &length, &meta, &snapshot.data].iter().for_each(|part| context.update(part));
        let name = format!("{index:020}.{EXTENSION}");
        let checksum = context.finish();
        let parts = [&MAGIC[..], &[version.0], &length, &meta, &snapshot.data, checksum.as_ref()];
        durable::write_file(&self.folder, &name, &parts)?;
        let paths = self.paths()?;
        for path in &paths[..paths.len().saturating_sub(KEPT)] {
            fs::remove_file(path).map_err(Error::disk(path, "remove"))?;
        }
        Ok(())
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

fn read(path: &Path) -> Result<Stored, Error> {
    let mut bytes = fs::read(path).map_err(Error::disk(path, "read"))?;
    let damaged = |problem: &str| Error::corrupt(path, problem);
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || &bytes[..MAGIC.len()] != MAGIC {
        return Err(damaged("the snapshot is cut short, or it is none"));
    }
    let checksum = bytes.split_off(bytes.len() - CHECKSUM_BYTES);
    if digest::digest(&digest::SHA256, &bytes).as_ref() != checksum {
        return Err(damaged("the snapshot does not match its checksum"));
    }
    let length = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    let meta = bytes
        .get(HEADER_BYTES..HEADER_BYTES + length)
        .ok_or_else(|| damaged("the snapshot's header is longer than the file"))?;
    let place = "the snapshot".to_owned();
    let version = Version(bytes[MAGIC.len()]).check();
    let version = version.map_err(|unknown| Error::FileVersion { path: path.to_owned(), place, unknown })?;
    let meta = codec::decode_as(meta, version, PEER_FRAME_BYTES_MAX)?;
    bytes.drain(..HEADER_BYTES + length);
    Ok(Stored { meta, data: Arc::new(bytes) })
}

#[cfg(test)]
mod tests {
    use cluster_config::versions::golden::Golden;

    use super::*;

    /// P13.
    #[test]
    fn a_snapshot_has_the_bytes_that_are_written_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = Snapshots::open(folder.path()).expect("it opens");
        let path = snapshots.folder.join(format!("{:020}.{EXTENSION}", 0));
        let mut golden = Golden::default();
        for version in Version::understood() {
            let stored = Stored { meta: SnapshotMeta::default(), data: Arc::new(vec![version.0, 2, 3]) };
            snapshots.save(&stored).expect("it is saved");
            golden.add_bytes("snapshot", version, &fs::read(&path).expect("a file"));
        }
        golden.hold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "golden_snapshot");

        let mut later = fs::read(&path).expect("a file");
        let end = later.len() - CHECKSUM_BYTES;
        later[MAGIC.len()] = Version::CURRENT.0 + 1;
        let checksum = digest::digest(&digest::SHA256, &later[..end]);
        later[end..].copy_from_slice(checksum.as_ref());
        fs::write(&path, later).expect("written");
        let error = snapshots.newest().expect_err("a later release's").to_string();
        assert!(error.contains("is not understood here") && error.contains("run a release that"), "{error}");
    }
}
