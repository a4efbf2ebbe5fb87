//! A disk between its writes: what is durable, what is on its way, and an image of what a loss of power leaves.
//!
//! The rules are those of journalling file systems (ext4, XFS): a sync makes a file's content durable, together with
//! the name under which it was made and the changes of names before; syncing a folder does the same for the changes in
//! it; other changes of names reach the disk in their order. A write that no sync has covered may be there or not,
//! whichever order they were made in; a sector of 512 bytes is written whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;

use super::below;
use super::recording::Operation;

const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4_096;

/// What a sync is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Honest,
    /// Nothing: a device that lies, to see that a loss is noticed.
    Lying,
}

/// A change of a file's content.
#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
}

/// A change of names.
#[derive(Debug, Clone)]
enum Naming {
    Create(PathBuf, usize),
    Folder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Naming {
    fn is_in(&self, folder: &Path) -> bool {
        let of = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Create(path, _) | Self::Folder(path) | Self::Remove(path) => of(path),
            Self::Rename(from, to) => of(from) || of(to),
        }
    }
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// The names of a file system.
#[derive(Debug, Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::Create(path, file) => {
                self.files.insert(path.clone(), *file);
            }
            Naming::Folder(path) => {
                self.folders.insert(path.clone());
            }
            Naming::Rename(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Naming::Remove(path) => {
                self.files.remove(path);
            }
        }
    }
}

#[derive(Debug)]
pub struct Disk {
    mode: Mode,
    /// Every file that there ever was; an inode's number may be given again.
    contents: Vec<Content>,
    inodes: BTreeMap<u64, usize>,
    names: Names,
    pending: Vec<Naming>,
}

impl Disk {
    /// An empty disk.
    pub fn new(mode: Mode) -> Self {
        Self { mode, contents: Vec::new(), inodes: BTreeMap::new(), names: Names::default(), pending: Vec::new() }
    }

    /// Takes one operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Created(inode, path) => {
                self.inodes.insert(*inode, self.contents.len());
                self.pending.push(Naming::Create(path.clone(), self.contents.len()));
                self.contents.push(Content::default());
            }
            Operation::Written(inode, at, bytes) => self.change(*inode, Change::Write(*at, bytes.clone())),
            Operation::Resized(inode, length) => self.change(*inode, Change::Resize(*length)),
            Operation::Renamed(from, to) => self.pending.push(Naming::Rename(from.clone(), to.clone())),
            Operation::Removed(path) => self.pending.push(Naming::Remove(path.clone())),
            Operation::FolderMade(path) => self.pending.push(Naming::Folder(path.clone())),
            Operation::Synced(_) | Operation::FolderSynced(_) if self.mode == Mode::Lying => {}
            Operation::Synced(inode) => {
                let Some(&file) = self.inodes.get(inode) else { return };
                let content = &mut self.contents[file];
                for change in std::mem::take(&mut content.pending) {
                    change.apply(&mut content.durable);
                }
                let made = |naming: &Naming| matches!(naming, Naming::Create(_, made) if *made == file);
                self.settle_names(made);
            }
            Operation::FolderSynced(folder) => self.settle_names(|naming| naming.is_in(folder)),
            Operation::Issued(_) | Operation::Done(_) => {}
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        let file = *self.inodes.get(&inode).expect("a file is made before it is written to");
        self.contents[file].pending.push(change);
    }

    /// Makes the changes of names up to the last one that `holds` names durable.
    fn settle_names(&mut self, holds: impl Fn(&Naming) -> bool) {
        if let Some(last) = self.pending.iter().rposition(holds) {
            for naming in self.pending.drain(..=last) {
                self.names.apply(&naming);
            }
        }
    }

    /// Writes to `folder` what a loss of power may leave now. Gives how many writes did not wholly reach the disk.
    ///
    /// # Panics
    /// Where the image cannot be written.
    pub fn crash(&self, folder: &Path, dice: &mut ChaCha8Rng) -> u64 {
        let mut names = self.names.clone();
        let kept = below(dice, self.pending.len() as u64 + 1) as usize;
        self.pending[..kept].iter().for_each(|naming| names.apply(naming));
        fs::create_dir(folder).expect("the image's folder");
        for path in &names.folders {
            fs::create_dir_all(folder.join(path)).expect("a folder of the image");
        }
        let mut torn = 0;
        for (path, file) in &names.files {
            let content = &self.contents[*file];
            let mut bytes = content.durable.clone();
            torn += content.tear(&mut bytes, dice);
            write_sparse(&folder.join(path), &bytes);
        }
        torn
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Resize(length) => bytes.resize(*length as usize, 0),
            Self::Write(at, written) => {
                let (at, end) = (*at as usize, *at as usize + written.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[at..end].copy_from_slice(written);
            }
        }
    }

    /// Applies some of the units of so many bytes that the write touches. Gives whether any is missing.
    fn apply_some(&self, bytes: &mut Vec<u8>, unit: usize, dice: &mut ChaCha8Rng) -> bool {
        let Self::Write(at, written) = self else {
            self.apply(bytes);
            return false;
        };
        let (mut from, mut missing) = (0, false);
        while from < written.len() {
            let place = *at as usize + from;
            let length = (unit - place % unit).min(written.len() - from);
            if below(dice, 2) == 0 {
                Self::Write(place as u64, written[from..from + length].to_vec()).apply(bytes);
            } else {
                missing = true;
            }
            from += length;
        }
        missing
    }
}

impl Content {
    /// What is on its way reaches the disk in one of five ways.
    fn tear(&self, bytes: &mut Vec<u8>, dice: &mut ChaCha8Rng) -> u64 {
        let pending = &self.pending;
        match below(dice, 5) {
            0 => pending.len() as u64,
            1 => {
                pending.iter().for_each(|change| change.apply(bytes));
                0
            }
            2 => {
                // All from the front, and the next one torn.
                let whole = below(dice, pending.len() as u64 + 1) as usize;
                pending[..whole].iter().for_each(|change| change.apply(bytes));
                if let Some(next) = pending.get(whole) {
                    next.apply_some(bytes, SECTOR_BYTES, dice);
                }
                (pending.len() - whole) as u64
            }
            3 => pending.iter().map(|change| u64::from(change.apply_some(bytes, PAGE_BYTES, dice))).sum(),
            _ => {
                let mut left_out = 0;
                for change in pending {
                    if below(dice, 2) == 0 {
                        change.apply(bytes);
                    } else {
                        left_out += 1;
                    }
                }
                left_out
            }
        }
    }
}

/// Most of a journal is zeros, which need not be written.
fn write_sparse(path: &Path, bytes: &[u8]) {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.set_len(bytes.len() as u64).expect("its length");
    for (index, page) in bytes.chunks(PAGE_BYTES).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, (index * PAGE_BYTES) as u64).expect("its content");
        }
    }
}
