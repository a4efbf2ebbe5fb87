//! How late it is.

use cluster_config::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// The state's time; 0 until the first leader has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    now: UnixMs,
}

impl Clock {
    /// How late it is.
    pub fn now(&self) -> UnixMs {
        self.now
    }

    /// Back, too, where a majority has agreed on that for a while ([`super::Agreement`]).
    pub(super) fn set(&mut self, now: UnixMs) {
        self.now = now;
    }
}
