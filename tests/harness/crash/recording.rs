//! The record of a process's writes: made by a preloaded library, read here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shim;

/// The C source of the library.
const SOURCE: &str = include_str!("recorder.c");

/// Bytes before a record's texts.
const HEAD_BYTES: usize = 25;

/// One operation on a file, or a mark of the workload. Files are named by their inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file was made.
    Created(u64, PathBuf),
    /// Bytes were written at a place.
    Written(u64, u64, Vec<u8>),
    /// The file got another length.
    Resized(u64, u64),
    /// The file was synced.
    Synced(u64),
    /// A name became another.
    Renamed(PathBuf, PathBuf),
    /// A name was removed.
    Removed(PathBuf),
    /// A folder was made.
    FolderMade(PathBuf),
    /// A folder was synced.
    FolderSynced(PathBuf),
    /// The workload begins a step.
    Issued(usize),
    /// The store has acknowledged the step.
    Done(usize),
}

/// Runs `writer` on `ROOT/store` and gives what it did.
///
/// # Errors
/// What it said where it failed: the store was not as it had left it.
///
/// # Panics
/// Where its record makes no sense.
pub fn record(mut writer: Command, root: &Path, seed: u64, steps: usize) -> Result<Vec<Operation>, String> {
    let library = shim::compile(root, "recorder", SOURCE);
    let (store, path) = (root.join("store"), root.join("record"));
    std::fs::create_dir(&store).expect("a new folder");
    let output = writer
        .arg(&store)
        .args([seed.to_string(), steps.to_string()])
        .env("LD_PRELOAD", library)
        .env("TVS_CRASH_ROOT", &store)
        .env("TVS_CRASH_RECORD", &path)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{writer:?} does not run: {error}"));
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("seed {seed}: the writer failed with {}: {}", output.status, said.trim()));
    }
    let bytes = std::fs::read(&path).expect("the record");
    std::fs::remove_dir_all(&store).expect("the store is removed");
    Ok(read(&bytes))
}

fn read(mut bytes: &[u8]) -> Vec<Operation> {
    let mut operations = Vec::new();
    let mut marks = 0;
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(HEAD_BYTES);
        let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (one, rest) = rest.split_at(short(17));
        let (two, rest) = rest.split_at(short(21));
        bytes = rest;
        let text = |bytes: &[u8]| PathBuf::from(String::from_utf8(bytes.to_vec()).expect("a name in UTF-8"));
        let (inode, number) = (long(1), long(9));
        let operation = match head[0] {
            1 if one == b"marks" => {
                marks = inode;
                continue;
            }
            2 if inode == marks => {
                let line = std::str::from_utf8(one).expect("a mark in UTF-8");
                let (kind, step) = line.trim_end().split_once(' ').expect("a mark");
                let step = step.parse().expect("a step's number");
                if kind == "issued" { Operation::Issued(step) } else { Operation::Done(step) }
            }
            1 => Operation::Created(inode, text(one)),
            2 => Operation::Written(inode, number, one.to_vec()),
            3 => Operation::Resized(inode, number),
            4 => Operation::Synced(inode),
            5 => Operation::Renamed(text(one), text(two)),
            6 => Operation::Removed(text(one)),
            7 => Operation::FolderMade(text(one)),
            8 => Operation::FolderSynced(text(one)),
            kind => panic!("the record has an operation of kind {kind}"),
        };
        operations.push(operation);
    }
    assert!(operations.iter().any(|operation| matches!(operation, Operation::Done(_))), "nothing was recorded");
    operations
}
