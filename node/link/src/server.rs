//! Accepts connections, bounds them, and hands each request to the [`Handler`] in a task of its own.

mod registry;
mod request;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cluster_config::limits::STREAMS_PER_CONNECTION_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::{gate, operator, peer};
use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::Semaphore;

use crate::codes::{CODE_DONE, CODE_IDENTITY, CODE_LIMIT};
use crate::error::{describe, handshake_label};
use crate::identity::actor_of_connection;
use crate::limits;
use crate::observe::{Metrics, Up};
use crate::version::version_of;
use cluster_config::actor::Actor;
use registry::Registry;

/// What a node does with the requests that reach it. The role of the sender is checked before.
///
/// A request runs to its end even if its sender has gone, so that no write is cut off half-way.
pub trait Handler: Send + Sync + 'static {
    /// Answers a gate.
    fn gate(&self, from: &Actor, request: gate::Request) -> impl Future<Output = gate::Response> + Send;
    /// Answers another node.
    fn peer(&self, from: &Actor, request: peer::Request) -> impl Future<Output = peer::Response> + Send;
    /// Answers an operator.
    fn operator(&self, from: &Actor, request: operator::Request) -> impl Future<Output = operator::Response> + Send;
}

/// What all connections of one server share.
struct Shared<H> {
    handler: Arc<H>,
    metrics: Metrics,
    registry: Registry,
    handshakes: AtomicUsize,
    stopping: AtomicBool,
}

/// What all requests of one connection share.
struct Session {
    connection: Connection,
    from: Actor,
    /// The version that both sides understand. Refusals of what is no request have it.
    version: Version,
    /// One permit for each request that is being handled. QUIC bounds the open streams, but work may go on after its
    /// stream was given up. This bounds the work.
    permits: Arc<Semaphore>,
    /// Bytes of long bodies that are held now.
    bodies_bytes: AtomicUsize,
}

/// Serves `endpoint` until `shutdown` completes (or the endpoint is closed).
///
/// It stops in order. It turns newcomers away, and refuses new requests with `unavailable`, so that gates go elsewhere
/// at once. Requests under way get [`limits::SHUTDOWN_GRACE`] to finish. Then it closes the connections that it
/// accepted, but not those that the endpoint has made itself. Call [`Endpoint::wait_idle`] before the process ends, so
/// that the other sides learn of it. Dropping the future closes the connections at once.
///
/// Install a metrics recorder before the call: this looks the metrics up once.
pub async fn serve<H: Handler>(endpoint: Endpoint, handler: Arc<H>, shutdown: impl Future<Output = ()> + Send) {
    let shared = Arc::new(Shared {
        handler,
        metrics: Metrics::new(),
        registry: Registry::default(),
        handshakes: AtomicUsize::new(0),
        stopping: AtomicBool::new(false),
    });
    let closing = CloseOnDrop(shared.clone());
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => admit(&shared, incoming),
                None => return,
            },
        }
    }
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

/// Takes or refuses a newcomer by the number of handshakes under way, before any cryptography.
fn admit<H: Handler>(shared: &Arc<Shared<H>>, incoming: Incoming) {
    let handshakes = shared.handshakes.load(Ordering::Relaxed);
    if handshakes >= limits::HANDSHAKES_MAX {
        shared.metrics.connection_refused("handshakes");
        return incoming.refuse();
    }
    if shared.registry.len() >= limits::CONNECTIONS_MAX {
        shared.metrics.connection_refused("connections");
        return incoming.refuse();
    }
    if handshakes >= limits::HANDSHAKES_BEFORE_ADDRESS_PROOF && incoming.may_retry() {
        // `may_retry` has just said yes. On an error the newcomer is dropped.
        let _ = incoming.retry();
        return;
    }
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(greet(shared.clone(), incoming));
}

/// Finishes the handshake and, if the certificate is in order, serves the connection.
async fn greet<H: Handler>(shared: Arc<Shared<H>>, incoming: Incoming) {
    let address = incoming.remote_address();
    let result = match incoming.accept() {
        Ok(connecting) => tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, connecting).await,
        Err(error) => Ok(Err(error)),
    };
    shared.handshakes.fetch_sub(1, Ordering::Relaxed);
    let connection = match result {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            shared.metrics.handshake_failed(handshake_label(&error));
            tracing::info!(%address, error = describe(&error), "handshake failed");
            return;
        }
        Err(_) => return shared.metrics.handshake_failed("timeout"),
    };
    let from = match actor_of_connection(&connection) {
        Ok(from) => from,
        Err(reason) => {
            shared.metrics.handshake_failed("identity");
            tracing::info!(%address, reason, "certificate refused");
            return connection.close(CODE_IDENTITY, reason.as_bytes());
        }
    };
    if from.role == cluster_config::actor::Role::Node {
        connection.set_receive_window(limits::PEER_CONNECTION_WINDOW_BYTES.into());
    }
    let session = Arc::new(Session {
        version: version_of(&connection),
        connection,
        from,
        permits: Arc::new(Semaphore::new(STREAMS_PER_CONNECTION_MAX as usize)),
        bodies_bytes: AtomicUsize::new(0),
    });
    let Some(_entry) = shared.registry.enter(&session) else {
        shared.metrics.connection_refused("identity");
        return session.connection.close(CODE_LIMIT, b"too many connections with this certificate");
    };
    if shared.stopping.load(Ordering::Acquire) {
        return session.connection.close(CODE_DONE, b"the node stops");
    }
    shared.metrics.accepted.increment(1);
    let _up = Up::new(&shared.metrics.connections);
    accept_requests(&shared, &session).await;
}

async fn accept_requests<H: Handler>(shared: &Arc<Shared<H>>, session: &Arc<Session>) {
    loop {
        let permit = match session.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => tokio::select! {
                Ok(permit) = session.permits.clone().acquire_owned() => permit,
                // The end of the connection is noticed even if its requests never end.
                _ = session.connection.closed() => return,
            },
        };
        match session.connection.accept_bi().await {
            Ok((send, receive)) => {
                tokio::spawn(request::handle(shared.clone(), session.clone(), permit, send, receive));
            }
            Err(error) => {
                tracing::debug!(from = %session.from, error = describe(&error), "connection ended");
                return;
            }
        }
    }
}
