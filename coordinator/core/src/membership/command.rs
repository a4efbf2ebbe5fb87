//! Commands about the nodes of the cluster.

use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::member::Member;
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

/// A change of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A node announces itself: new, or with another address or zone.
    Register(Member),
    /// A node has started. Once it finds this in its own state, that state is not an old one any more.
    AnnounceStart {
        node: NodeId,
        /// This start of its process.
        incarnation: Incarnation,
        /// The newest version that it understands.
        version: Version,
    },
    /// A node has left for good.
    Remove(NodeId),
    /// A node is being emptied before a planned stop, or takes work again.
    SetDraining { node: NodeId, draining: bool },
}
