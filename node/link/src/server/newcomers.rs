//! A newcomer, from its first packet to an open connection: the shell around [`super::greetings`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cluster_config::actor::Role;
use quinn::{Connecting, Connection, Incoming};
use tokio::sync::oneshot;

use super::greetings::{Greetings, Outcome, Source, Verdict};
use super::registry::Full;
use super::{Handler, Shared, accept_requests};
use crate::codes::{CODE_DONE, CODE_ENDED, CODE_IDENTITY, CODE_LIMIT};
use crate::error::{describe, handshake_label};
use crate::identity::{Shown, left_of, shown_by};
use crate::limits;
use crate::observe::Up;

/// The handshakes under way.
pub(super) struct Newcomers {
    born: Instant,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    core: Greetings,
    /// Whoever waits at the other end gives its handshake up when this is dropped.
    held: HashMap<u64, oneshot::Sender<()>>,
}

impl Newcomers {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), waiting: Mutex::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        // No change under the lock can panic half-way.
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, newcomer: &Incoming) -> (Verdict, Option<oneshot::Receiver<()>>) {
        let (now, source) = (self.born.elapsed(), Source::of(newcomer.remote_address().ip()));
        self.with(|waiting| {
            let verdict = waiting.core.ask(now, source, newcomer.remote_address_validated());
            let Verdict::Begin { number, instead_of } = verdict else { return (verdict, None) };
            if let Some(number) = instead_of {
                waiting.held.remove(&number);
            }
            let (held, given_up) = oneshot::channel();
            waiting.held.insert(number, held);
            (verdict, Some(given_up))
        })
    }

    fn ended(&self, number: u64, outcome: Outcome) {
        let now = self.born.elapsed();
        self.with(|waiting| {
            waiting.core.ended(number, now, outcome);
            waiting.held.remove(&number);
        });
    }
}

/// Takes or refuses a newcomer before any cryptography.
pub(super) fn admit<H: Handler>(shared: &Arc<Shared<H>>, newcomer: Incoming) {
    let address = newcomer.remote_address();
    if shared.registry.len() >= limits::CONNECTIONS_MAX + limits::CONNECTIONS_FOR_PEERS {
        shared.metrics.connection_refused("connections", address);
        return newcomer.refuse();
    }
    match shared.newcomers.ask(&newcomer) {
        (Verdict::Begin { number, .. }, Some(given_up)) => {
            tokio::spawn(greet(shared.clone(), newcomer, number, given_up));
        }
        (Verdict::Prove, _) if newcomer.may_retry() => {
            // `may_retry` has just said yes. On an error the newcomer is dropped.
            let _ = newcomer.retry();
        }
        (Verdict::Refuse(reason), _) => {
            shared.metrics.connection_refused(reason, address);
            newcomer.refuse();
        }
        (Verdict::Begin { .. } | Verdict::Prove, _) => newcomer.refuse(),
    }
}

/// Finishes the handshake and, if the certificate is in order, serves the connection.
async fn greet<H: Handler>(shared: Arc<Shared<H>>, newcomer: Incoming, number: u64, given_up: oneshot::Receiver<()>) {
    let address = newcomer.remote_address();
    let finished = match newcomer.accept() {
        Ok(connecting) => finish(connecting, given_up).await,
        Err(error) => Err((handshake_label(&error), describe(&error))),
    };
    let finished = finished.and_then(|connection| match shown_by(&connection) {
        Ok(shown) => Ok((connection, shown)),
        Err(reason) => {
            connection.close(CODE_IDENTITY, reason.as_bytes());
            Err(("identity", reason))
        }
    });
    match finished {
        Ok((connection, shown)) => {
            shared.newcomers.ended(number, Outcome::Good { peer: shown.caller.actor().role == Role::Node });
            welcome(&shared, connection, &shown, address).await;
        }
        Err((label, reason)) => {
            shared.newcomers.ended(number, Outcome::Failed);
            shared.metrics.handshake_failed(label, address, &reason);
        }
    }
}

async fn finish(connecting: Connecting, given_up: oneshot::Receiver<()>) -> Result<Connection, (&'static str, String)> {
    tokio::select! {
        handshake = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, connecting) => match handshake {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err((handshake_label(&error), describe(&error))),
            Err(_) => Err(("timeout", "the handshake took too long".to_owned())),
        },
        _ = given_up => Err(("given_up", "another newcomer needed its place".to_owned())),
    }
}

/// Serves a connection for as long as it is open, unless it is one too many or turned away.
async fn welcome<H: Handler>(shared: &Arc<Shared<H>>, connection: Connection, shown: &Shown, address: SocketAddr) {
    let (session, _entry) = match shared.registry.enter(connection.clone(), &shown.caller) {
        Ok(entered) => entered,
        Err(full) => {
            let (label, reason) = match full {
                Full::Identity => ("identity", "too many connections with this certificate"),
                Full::Node => ("connections", "too many connections at this node; ask another"),
            };
            shared.metrics.connection_refused(label, address);
            return connection.close(CODE_LIMIT, reason.as_bytes());
        }
    };
    if let Some(reason) = shared.handler.turns_away(&shown.caller) {
        shared.metrics.handshake_failed("turned_away", address, &reason);
        return connection.close(CODE_IDENTITY, reason.as_bytes());
    }
    if shared.stopping.load(Ordering::Acquire) {
        return session.connection.close(CODE_DONE, b"the node stops");
    }
    shared.metrics.accepted.increment(1);
    let _up = Up::new(&shared.metrics.connections);
    tokio::select! {
        () = accept_requests(shared, &session) => {}
        () = tokio::time::sleep(left_of(shown.expires_at)) => {
            shared.metrics.connection_refused("expired", address);
            connection.close(CODE_ENDED, b"the certificate has expired");
        }
    }
}
