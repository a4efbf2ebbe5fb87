//! A node of the cluster, as configuration and replicated state know it.

use serde::{Deserialize, Serialize};

use crate::ids::{FolderId, Incarnation, NodeId, Zone};

/// A member as configuration and state know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub id: NodeId,
    /// Its QUIC endpoint, `IP:PORT`.
    pub address: String,
    /// Its failure domain.
    pub zone: Zone,
}

/// What a node cannot do, as it finds out by itself. Such a node is given no gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// It cannot keep galleries on its disk.
    Store,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Store => {
                "cannot keep galleries; make room and inodes on the disk of node.data_dir, and let it write there"
            }
        })
    }
}

/// What a node's folder says of the node's past: by it the cluster tells the folder that it knows from a copy, an
/// earlier state and an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub folder: FolderId,
    /// The start before this one; the default where there was none.
    pub started: Incarnation,
    /// Index of the last entry of the log, 0 where there is none.
    pub last_entry: u64,
}
