//! What is revoked, as far as this process knows: it makes no connection to who shows that.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use cluster_config::actor::{Caller, Revoked};

/// See the module. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RevokedSet {
    all: Arc<RwLock<BTreeSet<Revoked>>>,
}

impl RevokedSet {
    /// Replaces what is revoked, and gives what was not before.
    pub fn set(&self, all: BTreeSet<Revoked>) -> Vec<Revoked> {
        let mut known = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let new = all.difference(&known).copied().collect();
        *known = all;
        new
    }

    /// Whether whoever shows this certificate is refused.
    pub fn has(&self, caller: &Caller) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        !all.is_empty() && caller.revoked_by().iter().any(|what| all.contains(what))
    }
}
