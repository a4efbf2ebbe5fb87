//! Commands about time.

use cluster_config::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// A change of the state's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// It is this late.
    Advance(UnixMs),
}
