//! Accepts connections, bounds them, and hands each request to the [`Handler`] in a task of its own.

mod budget;
mod greetings;
mod newcomers;
mod registry;
mod request;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_config::actor::{Actor, Caller};
use cluster_config::ids::ContentHash;
use cluster_config::limits::STREAMS_PER_CONNECTION_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::{gate, operator, peer};
use quinn::{Connection, Endpoint};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::codes::CODE_DONE;
use crate::error::describe;
use crate::limits;
use crate::observe::Metrics;
use crate::version::version_of;
use budget::Account;
use newcomers::Newcomers;
use registry::Registry;

/// What a node does with the requests that reach it. The role of the sender is checked before.
///
/// A request runs to its end even if its sender has gone, so that no write is cut off half-way.
pub trait Handler: Send + Sync + 'static {
    /// Whether a connection with this certificate is turned away although the authority signed it, and why, such as
    /// one that is revoked. It is asked when the connection has been entered into [`Connections`], so that one that is
    /// revoked meanwhile is not missed.
    fn turns_away(&self, _from: &Caller) -> Option<String> {
        None
    }
    /// Answers a gate.
    fn gate(&self, from: &Caller, request: gate::Request) -> impl Future<Output = gate::Response> + Send;
    /// Answers another node.
    fn peer(&self, from: &Caller, request: peer::Request) -> impl Future<Output = peer::Response> + Send;
    /// Answers an operator.
    fn operator(&self, from: &Caller, request: operator::Request) -> impl Future<Output = operator::Response> + Send;
}

/// The open connections that a node has accepted, for those who end them. Clones share them.
#[derive(Clone, Default)]
pub struct Connections {
    registry: Arc<Registry>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connections({})", self.registry.len())
    }
}

impl Connections {
    /// Closes every connection of `actor`; the other side is told the reason. Requests under way run to their end, but
    /// nobody gets their answers. Gives the number of connections.
    pub fn close_of(&self, actor: &Actor, reason: &str) -> usize {
        self.registry.close(|from| from.actor() == actor, reason)
    }

    /// As [`Connections::close_of`], for the connections that were made with one certificate.
    pub fn close_certificate(&self, certificate: &ContentHash, reason: &str) -> usize {
        self.registry.close(|from| from.certificate == *certificate, reason)
    }
}

/// What all connections of one server share.
struct Shared<H> {
    handler: Arc<H>,
    metrics: Metrics,
    registry: Arc<Registry>,
    newcomers: Newcomers,
    stopping: AtomicBool,
}

/// What all requests of one connection share.
struct Session {
    connection: Connection,
    from: Caller,
    /// The version that both sides understand. Refusals of what is no request have it.
    version: Version,
    /// One permit for each request that is being handled. QUIC bounds the open streams, but work may go on after its
    /// stream was given up. This bounds the work.
    permits: Arc<Semaphore>,
    /// What its identity takes, over all of its connections.
    account: Arc<Account>,
}

impl Session {
    fn new(connection: Connection, from: Caller, account: Arc<Account>) -> Self {
        Self {
            version: version_of(&connection),
            connection,
            from,
            permits: Arc::new(Semaphore::new(STREAMS_PER_CONNECTION_MAX as usize)),
            account,
        }
    }
}

/// Serves `endpoint` until `shutdown` completes (or the endpoint is closed).
///
/// It stops in order. It turns newcomers away, and refuses new requests with `unavailable`, so that gates go elsewhere
/// at once. Requests under way get [`limits::SHUTDOWN_GRACE`] to finish. Then it closes the connections that it
/// accepted, but not those that the endpoint has made itself. Call [`Endpoint::wait_idle`] before the process ends, so
/// that the other sides learn of it. Dropping the future closes the connections at once.
///
/// `connections` is filled with what is open, and serves one call of this. Install a metrics recorder before the call:
/// this looks the metrics up once.
pub async fn serve<H: Handler>(
    endpoint: Endpoint,
    handler: Arc<H>,
    connections: Connections,
    shutdown: impl Future<Output = ()> + Send,
) {
    let shared = Arc::new(Shared {
        handler,
        metrics: Metrics::new(),
        registry: connections.registry,
        newcomers: Newcomers::new(),
        stopping: AtomicBool::new(false),
    });
    let closing = CloseOnDrop(shared.clone());
    let mut shutdown = std::pin::pin!(shutdown);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            newcomer = endpoint.accept() => match newcomer {
                Some(newcomer) => newcomers::admit(&shared, newcomer),
                None => return,
            },
            _ = seconds.tick() => shared.metrics.tell(),
        }
    }
    shared.metrics.tell();
    shared.stopping.store(true, Ordering::Release);
    endpoint.set_server_config(None);
    let finished = async {
        tokio::time::sleep(limits::SHUTDOWN_NOTICE).await;
        for session in shared.registry.sessions() {
            // The semaphore is never closed, so there is no error.
            let _ = session.permits.acquire_many(STREAMS_PER_CONNECTION_MAX).await;
        }
    };
    if tokio::time::timeout(limits::SHUTDOWN_GRACE, finished).await.is_err() {
        tracing::warn!("requests were still under way when the node stopped listening");
    }
    drop(closing);
}

/// Closes the connections that are still open when serving ends in any way.
struct CloseOnDrop<H: Handler>(Arc<Shared<H>>);

impl<H: Handler> Drop for CloseOnDrop<H> {
    fn drop(&mut self) {
        self.0.stopping.store(true, Ordering::Release);
        for session in self.0.registry.sessions() {
            session.connection.close(CODE_DONE, b"the node stops");
        }
    }
}

async fn accept_requests<H: Handler>(shared: &Arc<Shared<H>>, session: &Arc<Session>) {
    loop {
        let (send, receive) = match session.connection.accept_bi().await {
            Ok(streams) => streams,
            Err(error) => {
                tracing::debug!(from = %session.from, error = describe(&error), "connection ended");
                return;
            }
        };
        // It is taken for a request that is there, so that a connection without one keeps no node from stopping.
        let permit = match session.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => tokio::select! {
                Ok(permit) = session.permits.clone().acquire_owned() => permit,
                // The end of the connection is noticed even if its requests never end.
                _ = session.connection.closed() => return,
            },
        };
        tokio::spawn(request::handle(shared.clone(), session.clone(), permit, send, receive));
    }
}
