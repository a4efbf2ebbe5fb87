//! A member of the cluster, as configuration files, the state and the wire know it.

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Zone};

/// A node of the cluster: who it is, where it is reached, and with what else it fails.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its QUIC endpoint, `IP:PORT`.
    pub address: String,
    /// Its failure domain.
    pub zone: Zone,
}
