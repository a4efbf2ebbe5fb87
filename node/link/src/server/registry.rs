//! The connections that are open now, bounded for each identity, and what each identity takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::actor::{Actor, Caller, Role};
use quinn::Connection;

use super::Session;
use super::budget::{Account, Whole};
use crate::codes::CODE_ENDED;
use crate::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_IDENTITY_MAX, WINDOW_BYTES_MIN};

/// How often identities are forgotten that have no connection and have earned back all that they took.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// An identity that has a connection, or took something within the last minute: who comes back gets no new budget.
struct Holder {
    account: Arc<Account>,
    connections: usize,
    windows_bytes: u64,
}

#[derive(Default)]
struct Open {
    sessions: HashMap<u64, Arc<Session>>,
    holders: HashMap<Actor, Holder>,
    /// Connections of others than nodes.
    others: usize,
    swept_at: Duration,
}

/// Why a connection is not taken.
pub(super) enum Full {
    /// Its certificate has as many as it may.
    Identity,
    /// All gates and operators have as many as they may.
    Node,
}

/// The open connections.
pub(super) struct Registry {
    born: Instant,
    open: Mutex<Open>,
    numbers: AtomicU64,
    peers: Arc<Whole>,
    others: Arc<Whole>,
}

impl Default for Registry {
    fn default() -> Self {
        let (peers, others) = (Arc::new(Whole::of_peers()), Arc::new(Whole::of_others()));
        Self { born: Instant::now(), open: Mutex::default(), numbers: AtomicU64::new(0), peers, others }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Open> {
        // No change under the lock can panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that budgets are reckoned in.
    pub(super) fn now(&self) -> Duration {
        self.born.elapsed()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// Closes every open connection that `chosen` chooses. Gives their number.
    pub(super) fn close(&self, chosen: impl Fn(&Caller) -> bool, reason: &str) -> usize {
        let mut sessions = self.sessions();
        sessions.retain(|session| chosen(&session.from));
        for session in &sessions {
            session.connection.close(CODE_ENDED, reason.as_bytes());
        }
        sessions.len()
    }

    /// Enters a connection until the entry is dropped, and opens its window as far as its identity has share left.
    pub(super) fn enter(&self, connection: Connection, from: &Caller) -> Result<(Arc<Session>, Entry<'_>), Full> {
        let now = self.now();
        let peer = from.actor().role == Role::Node;
        let whole = if peer { &self.peers } else { &self.others };
        let mut open = self.lock();
        if now > open.swept_at + SWEEP_INTERVAL {
            open.swept_at = now;
            open.holders.retain(|_, holder| holder.connections > 0 || !holder.account.at_rest(now));
        }
        if !peer && open.others >= CONNECTIONS_MAX {
            return Err(Full::Node);
        }
        let holder = open.holders.entry(*from.actor()).or_insert_with(|| Holder {
            account: Arc::new(Account::new(*from.actor(), whole.clone())),
            connections: 0,
            windows_bytes: 0,
        });
        if holder.connections >= CONNECTIONS_PER_IDENTITY_MAX {
            return Err(Full::Identity);
        }
        let share = holder.account.share();
        let window_bytes = share.window_bytes_max.min(share.windows_bytes - holder.windows_bytes);
        holder.connections += 1;
        holder.windows_bytes += window_bytes;
        connection.set_receive_window((window_bytes as u32).max(WINDOW_BYTES_MIN).into());
        let session = Arc::new(Session::new(connection, *from, holder.account.clone()));
        if !peer {
            open.others += 1;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        open.sessions.insert(number, session.clone());
        Ok((session, Entry { registry: self, number, from: *from.actor(), window_bytes }))
    }
}

/// One connection's place in the [`Registry`].
pub(super) struct Entry<'a> {
    registry: &'a Registry,
    number: u64,
    from: Actor,
    window_bytes: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        open.sessions.remove(&self.number);
        if self.from.role != Role::Node {
            open.others -= 1;
        }
        if let Some(holder) = open.holders.get_mut(&self.from) {
            holder.connections -= 1;
            holder.windows_bytes -= self.window_bytes;
        }
    }
}
