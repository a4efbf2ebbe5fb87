//! Commands about destruction. When it was is the entry's time.

use cluster_config::gallery::ShardId;
use cluster_config::ids::NodeId;
use serde::{Deserialize, Serialize};

/// A word about destruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A node has destroyed its replica of the shard, or its people, and the keys to it.
    Receipt {
        shard: ShardId,
        node: NodeId,
        /// Whether it has those apart who are no citizens, since the journey is closed.
        keeps: bool,
    },
    /// An operator states that the disks of a node that has left for good are destroyed: it gives no receipts any more.
    Attest(NodeId),
}
