//! The record of one log entry in the database: the hash of the record before, the entry or the hash of its file, and a
//! checksum.
//!
//! Layout: version (1 byte), kind (1), hash of the record before (32), body, CRC-32 of all before it (4). The body is
//! the entry in bincode, in that version: the one that the entry itself says, or the oldest for those of openraft. An
//! entry over the limit lies in a file, and the body is the file's SHA-256 and length. A record's own hash is SHA-256
//! over its index and everything but the checksum. So a changed, missing or foreign record breaks the chain.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use cluster_config::limits::{PEER_FRAME_BYTES_MAX, SLED_VALUE_BYTES_MAX};
use cluster_config::versions::Version;
use cluster_config::wire::codec;
use openraft::EntryPayload;

use crate::error::Error;
use crate::group::raft::Entry;
use crate::log::durable;

/// SHA-256 of a record.
pub type EntryHash = [u8; 32];

/// The folder of entries that are too large for the database.
pub const FOLDER_NAME: &str = "entries";

const KIND_INLINE: u8 = 0;
const KIND_FILE: u8 = 1;
const HEADER_BYTES: usize = 34;
const CHECKSUM_BYTES: usize = 4;

/// A record that is ready to be stored, and its hash.
#[derive(Debug)]
pub struct Record {
    /// The bytes for the database.
    pub bytes: Vec<u8>,
    /// The hash that the next record carries.
    pub hash: EntryHash,
}

fn sha256(parts: &[&[u8]]) -> EntryHash {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn file_name(index: u64) -> String {
    format!("{index:020}.entry")
}

/// Makes the record of `entry`. `previous` is the hash of the record before. A large entry is written to its file,
/// which is durable when this returns.
///
/// # Errors
/// [`Error::Disk`], [`Error::Message`] where the entry is over every limit.
pub fn seal(folder: &Path, entry: &Entry, previous: &EntryHash) -> Result<Record, Error> {
    let version = version_of(entry).unwrap_or(Version::OLDEST);
    let body = codec::encode_as(entry, version, PEER_FRAME_BYTES_MAX)?;
    let index = entry.log_id.index;
    let inline = HEADER_BYTES + body.len() + CHECKSUM_BYTES < SLED_VALUE_BYTES_MAX;
    let mut bytes = Vec::with_capacity(if inline { body.len() + 38 } else { 78 });
    bytes.extend_from_slice(&[version.0, if inline { KIND_INLINE } else { KIND_FILE }]);
    bytes.extend_from_slice(previous);
    if inline {
        bytes.extend_from_slice(&body);
    } else {
        let files = folder.join(FOLDER_NAME);
        durable::write_file(&files, &file_name(index), &[&body])?;
        bytes.extend_from_slice(&sha256(&[&body]));
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    }
    let hash = sha256(&[&index.to_be_bytes(), &bytes]);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    Ok(Record { bytes, hash })
}

/// The version in which an entry is written; openraft's own entries have none.
pub fn version_of(entry: &Entry) -> Option<Version> {
    match &entry.payload {
        EntryPayload::Normal(proposal) => Some(proposal.0.version),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

/// A record that was read from the database.
#[derive(Debug)]
pub struct Opened {
    pub entry: Entry,
    pub hash: EntryHash,
    /// The hash of the record before, as this one says.
    pub previous: EntryHash,
}

/// Reads the record of `index`, and checks its checksum, its index and, if it has one, its file.
///
/// # Errors
/// [`Error::Corrupt`] with what is wrong, [`Error::Disk`].
pub fn open(folder: &Path, index: u64, bytes: &[u8]) -> Result<Opened, Error> {
    let corrupt = |problem: String| Error::corrupt(folder, problem);
    let place = format!("entry {index}");
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES {
        return Err(corrupt(format!("{place} has only {} bytes", bytes.len())));
    }
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if crc32fast::hash(content).to_le_bytes() != checksum {
        return Err(corrupt(format!("{place} does not match its checksum")));
    }
    let version = Version(content[0]).check();
    let version =
        version.map_err(|unknown| Error::FileVersion { path: folder.to_owned(), place: place.clone(), unknown })?;
    let mut previous = [0; 32];
    previous.copy_from_slice(&content[2..HEADER_BYTES]);
    let hash = sha256(&[&index.to_be_bytes(), content]);
    let body = &content[HEADER_BYTES..];
    let file_body;
    let body = match content[1] {
        KIND_INLINE => body,
        KIND_FILE if body.len() == 40 => {
            let path = file_path(folder, index);
            file_body = fs::read(&path).map_err(Error::disk(&path, "read"))?;
            if sha256(&[&file_body]) != body[..32] {
                return Err(Error::corrupt(&path, "the file does not match its hash"));
            }
            &file_body
        }
        kind => return Err(corrupt(format!("{place} has kind {kind}"))),
    };
    let entry: Entry = codec::decode_as(body, version, PEER_FRAME_BYTES_MAX)
        .map_err(|error| corrupt(format!("{place} does not decode: {error}")))?;
    if entry.log_id.index != index {
        return Err(corrupt(format!("{place} says it is {}", entry.log_id.index)));
    }
    Ok(Opened { entry, hash, previous })
}

/// The file of the entry of `index`, if it is too large for the database.
pub fn file_path(folder: &Path, index: u64) -> PathBuf {
    folder.join(FOLDER_NAME).join(file_name(index))
}

/// Removes the files of entries for which `gone` holds.
///
/// # Errors
/// [`Error::Disk`].
pub fn remove_files(folder: &Path, gone: impl Fn(u64) -> bool) -> Result<(), Error> {
    let files = folder.join(FOLDER_NAME);
    for file in fs::read_dir(&files).map_err(Error::disk(&files, "list the folder"))? {
        let path = file.map_err(Error::disk(&files, "list the folder"))?.path();
        let index = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if index.is_some_and(&gone) {
            fs::remove_file(&path).map_err(Error::disk(&path, "remove"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster_config::actor::Actor;
    use cluster_config::ids::{NodeId, UnixMs};
    use cluster_config::versions::golden::Golden;
    use coordinator_core::membership;
    use openraft::entry::RaftEntry as _;

    use super::*;
    use crate::group::raft::{LogId, Proposal, Vote};

    /// P13: a record of another format is refused by that, not by what it decodes to.
    #[test]
    fn a_record_has_the_bytes_that_are_written_down() {
        let command = membership::Command::Remove(NodeId(2)).into();
        let stamped = coordinator_core::Entry::new(Actor::node(NodeId(1)), UnixMs(9), command);
        let log_id = LogId::new(Vote::new(3, 1).leader_id, 7);
        let mut golden = Golden::default();
        let mut newest = Vec::new();
        for version in Version::understood() {
            let stamped = stamped.clone().in_version(version).expect("an old command");
            let entry = Entry::new(log_id, EntryPayload::Normal(Proposal(Arc::new(stamped))));
            let sealed = seal(Path::new("unused"), &entry, &[7; 32]).expect("a small entry");
            let opened = open(Path::new("unused"), 7, &sealed.bytes).expect("the same record");
            assert_eq!((opened.hash, version_of(&opened.entry)), (sealed.hash, Some(version)));
            golden.add_bytes("record", version, &sealed.bytes);
            newest = sealed.bytes;
        }
        golden.hold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "golden_record");

        newest.truncate(newest.len() - CHECKSUM_BYTES);
        newest[0] = Version::CURRENT.0 + 1;
        let checksum = crc32fast::hash(&newest).to_le_bytes();
        newest.extend_from_slice(&checksum);
        let error = open(Path::new("unused"), 7, &newest).expect_err("a later release's").to_string();
        let wanted = format!("entry 7: version {} is not understood here", Version::CURRENT.0 + 1);
        assert!(error.contains(&wanted) && error.contains("run a release that understands it"), "{error}");
    }
}
