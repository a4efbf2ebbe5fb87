//! The high-water file holds vote and last log id a second time. A store that has lost some of its end is so noticed
//! before its node votes.
//!
//! Two slots are written in turn, each with its own number and checksum. A torn write leaves the other slot, and what
//! was being written was not yet acknowledged.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use cluster_config::wire::codec;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::group::raft::{LogId, Vote};
use crate::log::durable;
use crate::log::record::EntryHash;

/// The file's name in the store's folder.
pub const FILE_NAME: &str = "high-water";

/// Bytes of a slot: a page, so that two slots share no sector.
const SLOT_BYTES: usize = 4_096;

/// What the store must reach at least.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    sequence: u64,
    /// Whose store this is.
    pub node_id: u64,
    /// The last vote that was given.
    pub vote: Option<Vote>,
    /// The last entry that was acknowledged, or the last entry that a snapshot has replaced.
    pub last: Option<(LogId, EntryHash)>,
}

/// The open file.
#[derive(Debug)]
pub struct HighWater {
    file: File,
    path: PathBuf,
    mark: Mark,
}

impl HighWater {
    /// Opens the file of the store in `folder`, or makes one where the store is new.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Corrupt`] where neither slot can be read or the file is gone while the store is
    /// there, [`Error::WrongNode`].
    pub fn open(folder: &Path, node_id: u64, store_exists: bool) -> Result<Self, Error> {
        let path = folder.join(FILE_NAME);
        if !path.exists() {
            if store_exists {
                return Err(Error::corrupt(&path, "the high-water file is missing"));
            }
            let mark = Mark { sequence: 0, node_id, vote: None, last: None };
            let slot = slot_bytes(&mark)?;
            durable::write_file(folder, FILE_NAME, &[&slot, &[0; SLOT_BYTES]])?;
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(Error::disk(&path, "open"))?;
        let mut newest: Option<Mark> = None;
        for number in 0..2 {
            let mut slot = [0; SLOT_BYTES];
            file.read_exact_at(&mut slot, number * SLOT_BYTES as u64).map_err(Error::disk(&path, "read"))?;
            let mark = slot_mark(&slot);
            if let Some(mark) = mark
                && newest.is_none_or(|n| n.sequence < mark.sequence)
            {
                newest = Some(mark);
            }
        }
        let mark = newest.ok_or_else(|| Error::corrupt(&path, "neither slot can be read"))?;
        if mark.node_id != node_id {
            return Err(Error::WrongNode { path: folder.to_owned(), found: mark.node_id, wanted: node_id });
        }
        Ok(Self { file, path, mark })
    }

    /// What stands in the file.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Writes a new mark. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn write(&mut self, vote: Option<Vote>, last: Option<(LogId, EntryHash)>) -> Result<(), Error> {
        if self.mark.vote == vote && self.mark.last == last {
            return Ok(());
        }
        let mark = Mark { sequence: self.mark.sequence + 1, vote, last, ..self.mark };
        let offset = (mark.sequence % 2) * SLOT_BYTES as u64;
        self.file
            .write_all_at(&slot_bytes(&mark)?, offset)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::disk(&self.path, "write"))?;
        self.mark = mark;
        Ok(())
    }
}

/// A slot: length (2 bytes), mark, CRC-32 of both, zeros.
fn slot_bytes(mark: &Mark) -> Result<[u8; SLOT_BYTES], Error> {
    let body = codec::encode(mark, SLOT_BYTES - 6)?;
    let mut slot = [0; SLOT_BYTES];
    slot[..2].copy_from_slice(&(body.len() as u16).to_le_bytes());
    slot[2..2 + body.len()].copy_from_slice(&body);
    let checksum = crc32fast::hash(&slot[..2 + body.len()]);
    slot[2 + body.len()..6 + body.len()].copy_from_slice(&checksum.to_le_bytes());
    Ok(slot)
}

fn slot_mark(slot: &[u8; SLOT_BYTES]) -> Option<Mark> {
    let length = usize::from(u16::from_le_bytes([slot[0], slot[1]]));
    let end = length.checked_add(2).filter(|end| end + 4 <= SLOT_BYTES)?;
    let checksum = u32::from_le_bytes(slot[end..end + 4].try_into().ok()?);
    if length == 0 || crc32fast::hash(&slot[..end]) != checksum {
        return None;
    }
    codec::decode(&slot[2..end], SLOT_BYTES).ok()
}
