//! A node of the cluster, as configuration and replicated state know it.

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Zone};

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
