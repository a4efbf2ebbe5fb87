//! Commands about the policy.

use cluster_config::policy::Policy;
use serde::{Deserialize, Serialize};

/// A change of the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Replaces the policy; its version must be the next one.
    Set(Policy),
}
