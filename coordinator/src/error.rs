//! What can go wrong, by who must act.

use std::fmt;
use std::path::{Path, PathBuf};

use cluster_config::ids::NodeId;
use cluster_config::versions::Unknown;
use cluster_config::wire::{Refusal, codec};

/// Why the coordinator cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write.
    Disk {
        /// The file or folder.
        path: PathBuf,
        action: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Bytes on the disk are not what was written.
    Corrupt {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// The log ends before what this node has acknowledged, so its vote could undo a committed entry.
    StoreShortened {
        path: PathBuf,
        found: String,
        /// What the high-water file says.
        wanted: String,
    },
    /// The folder belongs to another node.
    WrongNode {
        path: PathBuf,
        /// The node that the folder belongs to.
        found: u64,
        /// The node that was started with it.
        wanted: u64,
    },
    /// No snapshot can be read, and the entries that it replaced are gone from the log.
    SnapshotsLost {
        /// The folder of the snapshots.
        path: PathBuf,
        /// What is wrong with each of them.
        problem: String,
    },
    /// A message between nodes does not decode.
    Message(#[source] codec::Error),
    /// A message between nodes is of a version that is not understood here.
    Version(Unknown),
    /// A file is of a version that is not understood here.
    FileVersion {
        /// The file or folder.
        path: PathBuf,
        place: String,
        unknown: Unknown,
    },
    /// The group's configuration cannot stand.
    Settings(String),
    /// The node has stopped or is about to.
    Stopped(String),
    /// Only the leader can do this; the named node leads.
    NotLeader(Option<NodeId>),
    /// The group refused a change of its members.
    Membership(String),
    /// The group has changed, and it was not confirmed that the replicated state has as well.
    Unconfirmed(String),
    /// The replicated state refused a change of the members.
    Refused(Refusal),
}

impl Error {
    /// What is wrong.
    pub fn problem(&self) -> String {
        match self {
            Self::Disk { path, action, .. } => format!("{}: cannot {action}", path.display()),
            Self::Corrupt { path, problem } => {
                format!("{}: {problem}; this node's log cannot be trusted", path.display())
            }
            Self::StoreShortened { path, found, wanted } => format!(
                "{}: the log ends at {found}, but this node has acknowledged {wanted}; it must not vote again",
                path.display()
            ),
            Self::WrongNode { path, found, wanted } => {
                format!("{}: the store belongs to node {found}, not to node {wanted}", path.display())
            }
            Self::SnapshotsLost { path, problem } => {
                format!("{}: {problem}, and the log before it is purged", path.display())
            }
            Self::Message(_) => "a raft message of a peer does not decode".to_owned(),
            Self::Version(unknown) => format!("a raft message of a peer: {unknown}"),
            Self::FileVersion { path, place, unknown } => {
                format!("{}: {place}: {unknown}; nothing was changed", path.display())
            }
            Self::Settings(problem) => {
                format!("cluster.election_ms_min, election_ms_max and heartbeat_ms do not fit together: {problem}")
            }
            Self::Stopped(problem) => format!("the raft group of this node has stopped: {problem}"),
            Self::NotLeader(_) => "this node does not lead the group".to_owned(),
            Self::Membership(problem) => format!("the members were not changed: {problem}"),
            Self::Unconfirmed(problem) => format!("it is not known whether the members were changed: {problem}"),
            Self::Refused(refusal) => format!("{}: {}", refusal.place, refusal.problem),
        }
    }

    /// What who must act can do.
    pub fn fix(&self) -> &str {
        match self {
            Self::Disk { .. } => "check the disk and its permissions",
            Self::Corrupt { .. } | Self::StoreShortened { .. } | Self::SnapshotsLost { .. } => {
                "move the folder away and rejoin under a new id"
            }
            Self::WrongNode { .. } => "check node id and data folder",
            Self::Message(_) => "run releases that are next to each other on all nodes",
            Self::Version(_) | Self::FileVersion { .. } => Unknown::FIX,
            Self::Settings(_) => "correct them in the cluster's configuration",
            Self::Stopped(_) | Self::NotLeader(_) | Self::Membership(_) | Self::Unconfirmed(_) => {
                "see `tvs cluster status`, then try again"
            }
            Self::Refused(refusal) => refusal.fix.as_str(),
        }
    }

    /// Wraps an error of the file system with its place.
    pub fn disk(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, action, source }
    }

    /// Bytes at `path` are not what was written.
    pub fn corrupt(path: &Path, problem: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.problem(), self.fix())
    }
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        match error {
            codec::Error::Version(unknown) => Self::Version(unknown),
            error => Self::Message(error),
        }
    }
}

impl From<Error> for std::io::Error {
    /// The form in which openraft takes errors of a store; the text keeps the whole chain.
    fn from(error: Error) -> Self {
        std::io::Error::other(chain(&error))
    }
}

/// An error and its sources in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none: nothing was proposed. Ask the named one.
    #[error("this node does not lead the group")]
    NotLeader(Option<NodeId>),
    /// No answer within the deadline, or the leader changed meanwhile. Whether it was committed is unknown: ask again,
    /// every command may be repeated.
    #[error("the group did not confirm in time")]
    Unavailable,
    /// Too many are waiting already: nothing was proposed.
    #[error("too many proposals are waiting")]
    Busy,
    /// The disk is nearly full, so that this node takes nothing new: nothing was proposed.
    #[error("the disk of this node is nearly full")]
    DiskFull,
    /// The node's storage has failed or the node is stopping.
    #[error("this node has stopped: {0}")]
    Fault(String),
}

impl ProposeError {
    /// What who proposes can do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NotLeader(_) | Self::Unavailable => {
                "try again; a leader is elected within a second while a majority lives"
            }
            Self::Busy => "ask again later",
            Self::DiskFull => "free space or ask another node",
            Self::Fault(_) => "ask another node, and look at this node's log",
        }
    }
}
