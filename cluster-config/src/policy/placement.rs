//! How many nodes have each gallery.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::limits::NODES_MAX;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// Replicas of each shard.
    pub replicas: u8,
    /// Replicas while a journey boards, where there are nodes enough.
    pub replicas_boarding: u8,
}

impl Default for Placement {
    fn default() -> Self {
        Self { replicas: 2, replicas_boarding: 3 }
    }
}

impl Placement {
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |field, problem, fix| Err(Error { part: "placement", field, problem, fix });
        if self.replicas == 0 || self.replicas_boarding < self.replicas {
            let problem = "it is 0, or above replicas_boarding";
            return refuse("replicas", problem, "give at least 1, and no more than replicas_boarding");
        }
        if usize::from(self.replicas_boarding) > NODES_MAX {
            return refuse("replicas_boarding", "it is above 64, more than nodes can be", "give at most 64");
        }
        Ok(())
    }
}
