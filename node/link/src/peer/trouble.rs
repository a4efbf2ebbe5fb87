//! The nodes to which there is no link: the log is told of a change at once, and then once a minute.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::LinkError;

/// How often the log is told that a node still cannot be reached.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// What is wrong, by address. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Troubles(Arc<Mutex<HashMap<SocketAddr, Trouble>>>);

#[derive(Debug)]
struct Trouble {
    kind: &'static str,
    failures: u64,
    told_at: Instant,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Trouble>> {
        // No change under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt has failed.
    pub(super) fn failed(&self, address: SocketAddr, error: &LinkError) {
        // A process that stops has no trouble.
        if matches!(error, LinkError::Stopping { .. }) {
            return;
        }
        let (mut troubles, now, kind) = (self.lock(), Instant::now(), error.kind());
        match troubles.get_mut(&address) {
            Some(trouble) if trouble.kind == kind => {
                trouble.failures += 1;
                if now - trouble.told_at >= TOLD_INTERVAL {
                    trouble.told_at = now;
                    tracing::warn!(%address, kind, failures = trouble.failures, "still no link to a node: {error}");
                }
            }
            _ => {
                tracing::warn!(%address, kind, "no link to a node: {error}");
                troubles.insert(address, Trouble { kind, failures: 1, told_at: now });
            }
        }
    }

    /// The node has answered.
    pub(super) fn over(&self, address: SocketAddr) {
        if let Some(Trouble { kind, failures, .. }) = self.lock().remove(&address) {
            tracing::info!(%address, kind, failures, "there is a link to the node again");
        }
    }

    /// The node is not asked any more.
    pub(super) fn forget(&self, address: SocketAddr) {
        self.lock().remove(&address);
    }
}
