//! Commands about the nodes of the cluster.

use std::collections::BTreeMap;

use cluster_config::cluster::Founding;
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A node belongs to the raft group: it is new there, or has another address or zone.
    Register(Member),
    /// A node has started. Once it finds this in its own state, that state is not an old one any more.
    AnnounceStart {
        node: NodeId,
        /// This start of its process.
        incarnation: Incarnation,
        /// The newest version that it understands.
        version: Version,
        /// What its folder said at this start.
        past: Past,
    },
    /// A node has left for good.
    Remove(NodeId),
    /// A node is being emptied before a planned stop, or takes work again.
    SetDraining { node: NodeId, draining: bool },
    /// What the cluster is. The first leader says it; it never changes.
    Found(Founding),
    /// How far the nodes' logs go for certain: up to these entries each node has what is committed.
    Mark(BTreeMap<NodeId, u64>),
}
