//! What the simulated log consists of: entries and snapshots, how they are written, and what a start finds of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cluster_config::ids::NodeId;
use serde::{Deserialize, Serialize};

/// What an entry carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: the first entry of a leader.
    Blank,
    Command(Vec<u8>),
    /// The voters from here on.
    Voters(BTreeSet<NodeId>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: u64,
    /// What it carries.
    pub payload: Rc<Payload>,
}

/// The encoded state up to an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last entry that is in it.
    pub index: u64,
    pub term: u64,
    /// The voters then.
    pub voters: BTreeSet<NodeId>,
    /// The state.
    pub data: Vec<u8>,
}

/// A write to the log, in the order in which it was asked for.
#[derive(Debug, Clone)]
pub enum Write {
    /// An entry at its index.
    Entry(u64, Entry),
    /// Every entry from this index on is removed.
    Truncate(u64),
    /// The term and the vote in it.
    Vote(u64, Option<NodeId>),
    /// A snapshot replaces the entries up to it; the flag says that it came from the leader and replaces all.
    Snapshot(Rc<Snapshot>, bool),
}

/// What a process finds when it starts.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The entries after the snapshot.
    pub entries: BTreeMap<u64, Entry>,
    /// The term and the vote in it.
    pub vote: (u64, Option<NodeId>),
    /// The last snapshot.
    pub snapshot: Option<Rc<Snapshot>>,
}
