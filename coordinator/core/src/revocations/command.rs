//! Commands about revocations.

use cluster_config::actor::Revoked;
use serde::{Deserialize, Serialize};

/// A change of what is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Revokes.
    Revoke(Revoked),
    /// Takes a revocation back.
    Restore(Revoked),
    /// Those of certificates that have long expired go.
    Forget,
}
