//! A simulated disk: what is durable, what is only written, and what a crash makes of it.
//!
//! The log behaves as the product's does (`coordinator/src/log/writer.rs`): writes are taken in order, one sync makes
//! all before it durable, a crash keeps some of the unsynced writes from the front and may tear the next, and a
//! high-water mark that is written after each sync says how much must never be missing. Snapshots, segments and keys
//! are files that are wholly there or not at all. That the product's own files keep these rules is not assumed but
//! tested elsewhere, by crash images of the real store (`tests/scenarios/crash.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, Incarnation, NodeId};

use super::log_entry::{Entry, Found, Snapshot, Write};
use crate::dice::Dice;

/// An entry as it lies on the disk: what does not match its checksum is known to be damaged.
#[derive(Debug, Clone)]
struct Stored {
    entry: Entry,
    damaged: bool,
}

/// What a segment on disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// People and templates: a replica.
    Gallery,
    Roster,
}

/// A gallery segment, sealed under the key that the shard had then.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The content.
    pub bytes: Rc<Vec<u8>>,
    key: u64,
}

#[derive(Debug, Default)]
pub struct Disk {
    entries: BTreeMap<u64, Stored>,
    vote: (u64, Option<NodeId>),
    snapshot: Option<Rc<Snapshot>>,
    /// Term and last index that were acknowledged.
    mark: (u64, u64),
    pending: Vec<Write>,
    syncing: usize,
    /// A device that says that it has synced and has not.
    pub lies: bool,
    lied: Vec<Write>,
    /// Nothing more can be written.
    pub full: bool,
    /// How much longer a sync takes, microseconds.
    pub slow_us: u64,
    /// The latest start of a process.
    pub incarnation: Incarnation,
    segments: BTreeMap<(Kind, ShardId, GalleryVersion, ContentHash), Sealed>,
    keys: BTreeMap<ShardId, u64>,
    keys_made: u64,
}

impl Disk {
    /// Takes a write; durable after the next sync that begins from now on.
    pub fn write(&mut self, write: Write) {
        self.pending.push(write);
    }

    /// Begins a sync of all that was written; false where one is under way or nothing waits.
    pub fn begin_sync(&mut self) -> bool {
        let begins = self.syncing == 0 && !self.pending.is_empty();
        if begins {
            self.syncing = self.pending.len();
        }
        begins
    }

    /// The sync is done. Gives the index of the last entry that is durable now, as the device says.
    pub fn synced(&mut self) -> u64 {
        let done: Vec<Write> = self.pending.drain(..self.syncing).collect();
        self.syncing = 0;
        let mut last = self.mark.1;
        for write in &done {
            last = match write {
                Write::Entry(index, _) => *index,
                Write::Truncate(from) => last.min(from - 1),
                Write::Snapshot(snapshot, true) => snapshot.index,
                Write::Snapshot(..) | Write::Vote(..) => last,
            };
        }
        if self.lies {
            self.lied.extend(done);
        } else {
            done.into_iter().for_each(|write| self.apply(write));
        }
        // The mark is another file, synced by itself.
        self.mark = (self.mark.0.max(self.vote_written()), last);
        last
    }

    fn vote_written(&self) -> u64 {
        let lied = self.lied.iter().filter_map(|write| match write {
            Write::Vote(term, _) => Some(*term),
            _ => None,
        });
        lied.max().unwrap_or(0).max(self.vote.0)
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Entry(index, entry) => {
                self.entries.insert(index, Stored { entry, damaged: false });
            }
            Write::Truncate(from) => {
                self.entries.split_off(&from);
            }
            Write::Vote(term, vote) => self.vote = (term, vote),
            Write::Snapshot(snapshot, replaces) => {
                self.entries = if replaces { BTreeMap::new() } else { self.entries.split_off(&(snapshot.index + 1)) };
                self.snapshot = Some(snapshot);
            }
        }
    }

    /// The power goes: some of the unsynced writes from the front have reached the disk, and perhaps a part of the
    /// next, which its checksum gives away. What a lying device held back is gone.
    pub fn crash(&mut self, dice: &mut Dice) {
        let pending = std::mem::take(&mut self.pending);
        self.syncing = 0;
        if std::mem::take(&mut self.lied).is_empty() {
            let kept = dice.between(0, pending.len() as u64 + 1) as usize;
            pending.into_iter().take(kept).for_each(|write| self.apply(write));
        }
        self.lies = false;
    }

    /// The process ended; what it wrote is in the hands of a kernel that goes on.
    pub fn close(&mut self) {
        self.syncing = 0;
        std::mem::take(&mut self.pending).into_iter().for_each(|write| self.apply(write));
    }

    /// Flips a bit of one stored entry. Gives whether there was any.
    pub fn flip(&mut self, dice: &mut Dice) -> bool {
        let count = self.entries.len() as u64;
        let place = dice.between(0, count) as usize;
        let stored = self.entries.values_mut().nth(place);
        stored.map(|stored| stored.damaged = true).is_some()
    }

    /// What a process finds, or why it must not go on with this store: something that was acknowledged is damaged or
    /// missing.
    ///
    /// # Errors
    /// The reason.
    pub fn open(&self) -> Result<Found, String> {
        if let Some((index, _)) = self.entries.iter().find(|(_, stored)| stored.damaged) {
            return Err(format!("entry {index} does not match its checksum"));
        }
        let base = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let last = self.entries.last_key_value().map_or(base, |(index, _)| *index);
        if last < self.mark.1 || self.vote.0 < self.mark.0 {
            return Err(format!("the log ends at {last} in term {}; acknowledged is {:?}", self.vote.0, self.mark));
        }
        let entries = self.entries.iter().map(|(index, stored)| (*index, stored.entry.clone())).collect();
        Ok(Found { entries, vote: self.vote, snapshot: self.snapshot.clone() })
    }

    /// Keeps a segment under the shard's key, which is made where there is none.
    pub fn put_segment(
        &mut self,
        kind: Kind,
        shard: ShardId,
        version: GalleryVersion,
        hash: ContentHash,
        bytes: Rc<Vec<u8>>,
    ) {
        let next = self.keys_made + 1;
        let key = *self.keys.entry(shard).or_insert(next);
        self.keys_made = self.keys_made.max(key);
        self.segments.insert((kind, shard, version, hash), Sealed { bytes, key });
    }

    /// A segment that can still be opened.
    pub fn segment(&self, kind: Kind, shard: ShardId, of: (GalleryVersion, ContentHash)) -> Option<&Sealed> {
        self.segments.get(&(kind, shard, of.0, of.1)).filter(|sealed| self.keys.get(&shard) == Some(&sealed.key))
    }

    /// The versions of one kind of a shard, oldest first.
    pub fn versions(&self, kind: Kind, shard: ShardId) -> Vec<(GalleryVersion, ContentHash)> {
        let of = |(other_kind, other, ..): &&(Kind, ShardId, GalleryVersion, ContentHash)| {
            (*other_kind, *other) == (kind, shard)
        };
        self.segments.keys().filter(of).map(|(_, _, version, hash)| (*version, *hash)).collect()
    }

    /// Drops the versions of one kind of a shard before one.
    pub fn drop_before(&mut self, kind: Kind, shard: ShardId, version: GalleryVersion) {
        self.segments.retain(|(of_kind, of, kept, _), _| (*of_kind, *of) != (kind, shard) || *kept >= version);
    }

    /// Destroys the shard's key and segments.
    pub fn destroy(&mut self, shard: ShardId) {
        self.keys.remove(&shard);
        self.segments.retain(|(_, of, ..), _| *of != shard);
    }

    /// The shards of which anything is kept that can be opened.
    pub fn shards(&self) -> BTreeSet<ShardId> {
        self.keys.keys().copied().collect()
    }
}
