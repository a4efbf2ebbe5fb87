//! The operator's side: one request at a time, to whichever node answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::wire::{Channel, operator};
use quinn::{Connection, Endpoint};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::codes::CODE_DONE;
use crate::endpoint::bind_client;
use crate::error::LinkError;
use crate::exchange::{Made, connect, exchange};
use crate::identity::Identity;
use crate::lifetime::Lifetime;

/// How long each node gets for its handshake before the next address is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Asks the nodes of a cluster as an operator. Clones share the connection.
#[derive(Debug, Clone)]
pub struct OperatorClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    identity: Identity,
    addresses: Vec<SocketAddr>,
    current: Mutex<Option<Current>>,
}

/// The connection in use, and to which of the addresses it goes.
#[derive(Debug)]
struct Current {
    index: usize,
    connection: Connection,
    lifetime: Lifetime,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.endpoint.close(CODE_DONE, b"the client ends");
    }
}

impl OperatorClient {
    /// Connects to the first of `addresses` that answers.
    ///
    /// # Errors
    /// The last address's [`LinkError`] where none answers.
    pub async fn connect(addresses: Vec<SocketAddr>, identity: &Identity) -> Result<Self, LinkError> {
        let first = *addresses.first().ok_or(LinkError::NoAddress)?;
        let endpoint = bind_client(first, identity)
            .map_err(|error| LinkError::Unreachable { address: first, reason: error.to_string() })?;
        let (identity, current) = (identity.clone(), Mutex::new(None));
        let client = Self { inner: Arc::new(Inner { endpoint, identity, addresses, current }) };
        client.connection(0).await?;
        Ok(client)
    }

    /// Asks one node after the other until one answers, each for at most `timeout`.
    ///
    /// Another node is asked if the request cannot have begun. A request that only reads also goes to another node if
    /// the answer was lost, or was a refusal that another node may not give. The last refusal is returned as the
    /// answer.
    ///
    /// # Errors
    /// The last address's [`LinkError`].
    pub async fn call(&self, request: &operator::Request, timeout: Duration) -> Result<operator::Response, LinkError> {
        let reads = reads_only(request);
        let mut last = Err(LinkError::NoAddress);
        let mut from = 0;
        for _ in 0..self.inner.addresses.len() {
            let (index, connection) = match self.connection(from).await {
                Ok(found) => found,
                Err(error) => return if last.is_ok() { last } else { Err(error) },
            };
            let address = self.inner.addresses[index];
            let exchanged = exchange(&connection, address, Channel::Operator, request);
            let result = tokio::time::timeout(timeout, exchanged)
                .await
                .unwrap_or(Err(LinkError::TimedOut { address, timeout }))
                .and_then(|answer| answer.read());
            let again = match &result {
                Ok(operator::Response::Refused(refusal)) => reads && refusal.code.retryable(),
                // What is too large for one node is so for each.
                Ok(_) | Err(LinkError::Request(_)) => false,
                Err(error) => reads || error.nothing_done(),
            };
            if !again {
                return result;
            }
            last = result;
            *self.inner.current.lock().await = None;
            from = index + 1;
        }
        last
    }

    /// The current connection, or a new one to the first address at or after `from`, in a circle.
    async fn connection(&self, from: usize) -> Result<(usize, Connection), LinkError> {
        let mut current = self.inner.current.lock().await;
        if let Some(Current { index, connection, lifetime }) = &*current
            && connection.close_reason().is_none()
            && !lifetime.is_to_be_renewed(Instant::now())
        {
            return Ok((*index, connection.clone()));
        }
        let count = self.inner.addresses.len();
        let mut last = LinkError::NoAddress;
        for index in (0..count).map(|step| (from + step) % count) {
            let Inner { endpoint, identity, addresses, .. } = &*self.inner;
            match connect(endpoint, identity, addresses[index], CONNECT_TIMEOUT).await {
                Ok(Made { connection, lifetime, .. }) => {
                    *current = Some(Current { index, connection: connection.clone(), lifetime });
                    return Ok((index, connection));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Whether repeating the request changes nothing.
fn reads_only(request: &operator::Request) -> bool {
    use operator::Request;
    match request {
        Request::ClusterStatus
        | Request::GalleryList
        | Request::GalleryShow(_)
        | Request::LedgerPage { .. }
        | Request::PolicyShow
        | Request::DeviceList
        | Request::DeviceShow(_)
        | Request::RevocationList
        | Request::Metrics
        | Request::DrainStatus(_)
        | Request::DrainPreview(_) => true,
        Request::AddMember { .. }
        | Request::RemoveMember { .. }
        | Request::MoveMember(_)
        | Request::AttestDestruction(_)
        | Request::Drain { .. }
        | Request::TransferLeader(_)
        | Request::SubmitManifest(_)
        | Request::BuildJourney(_)
        | Request::CloseJourney { .. }
        | Request::PolicySet(_)
        | Request::DeviceAdd(_)
        | Request::DeviceRetire(_)
        | Request::Revoke { .. } => false,
        #[cfg(feature = "next")]
        Request::Amend(_) => false,
    }
}
