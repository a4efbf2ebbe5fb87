//! The connections that are open now, bounded for each certificate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Session;
use crate::limits::CONNECTIONS_PER_IDENTITY_MAX;
use cluster_config::actor::Actor;

#[derive(Default)]
struct Open {
    sessions: HashMap<usize, Arc<Session>>,
    by_identity: HashMap<Actor, usize>,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Registry {
    open: Mutex<Open>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // No change under the lock can panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// Enters a connection until the entry is dropped. None if its certificate has as many as it may.
    pub(super) fn enter(&self, session: &Arc<Session>) -> Option<Entry<'_>> {
        let mut open = self.lock();
        let count = open.by_identity.entry(session.from).or_insert(0);
        if *count >= CONNECTIONS_PER_IDENTITY_MAX {
            return None;
        }
        *count += 1;
        let id = session.connection.stable_id();
        open.sessions.insert(id, session.clone());
        Some(Entry { registry: self, id, from: session.from })
    }
}

/// One connection's place in the [`Registry`].
pub(super) struct Entry<'a> {
    registry: &'a Registry,
    id: usize,
    from: Actor,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        open.sessions.remove(&self.id);
        if let Some(count) = open.by_identity.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                open.by_identity.remove(&self.from);
            }
        }
    }
}
