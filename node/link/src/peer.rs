//! Calls between nodes: one warm connection to each node for each kind of traffic.

mod link;
mod trouble;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::wire::{Channel, peer};
use quinn::{Connection, Endpoint};

use crate::error::LinkError;
use crate::exchange::exchange;
use crate::identity::Identity;
use crate::revoked::RevokedSet;
use link::Link;
use trouble::Troubles;

/// How long a connection to a node may take to come up: a few round trips of any distance within a country.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Kinds of traffic. Each has its own connection to each node, with flow and congestion control of its own. So a
/// segment of 100 MiB delays no heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes, log entries, reports: small and urgent.
    Raft,
    /// Searches and proposals that a traveller waits for.
    Search,
    Bulk,
}

/// Connections to other nodes, made when first used and made again when lost. Clones share them.
#[derive(Debug, Clone)]
pub struct PeerLinks {
    endpoint: Endpoint,
    identity: Identity,
    revoked: RevokedSet,
    links: Arc<RwLock<Links>>,
    troubles: Troubles,
}

type Links = HashMap<(SocketAddr, Lane), Arc<Link>>;

impl PeerLinks {
    /// Links that go out from `endpoint`, which was opened with `identity`. It may be the one that the node listens on.
    pub fn new(endpoint: Endpoint, identity: Identity) -> Self {
        Self::refusing(endpoint, identity, RevokedSet::default())
    }

    /// The same, but none to who is revoked.
    pub fn refusing(endpoint: Endpoint, identity: Identity, revoked: RevokedSet) -> Self {
        Self { endpoint, identity, revoked, links: Arc::default(), troubles: Troubles::default() }
    }

    /// Asks a node at its address and waits at most `timeout` for its answer, connecting included. Another node that
    /// answers there is told nothing.
    ///
    /// A request is written at most once. The caller decides whether to repeat it; [`LinkError::nothing_done`] tells
    /// whether that is safe in any case. A refusal is an answer, not an error.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn call(
        &self,
        (node, address): (NodeId, SocketAddr),
        lane: Lane,
        request: &peer::Request,
        timeout: Duration,
    ) -> Result<peer::Response, LinkError> {
        self.exchange(Some(node), address, lane, request, timeout).await
    }

    /// Asks whichever node is at `address`: a greeting, whose answer says who it is.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn greet(
        &self,
        address: SocketAddr,
        request: &peer::Request,
        timeout: Duration,
    ) -> Result<peer::Response, LinkError> {
        self.exchange(None, address, Lane::Raft, request, timeout).await
    }

    async fn exchange(
        &self,
        wanted: Option<NodeId>,
        address: SocketAddr,
        lane: Lane,
        request: &peer::Request,
        timeout: Duration,
    ) -> Result<peer::Response, LinkError> {
        let link = self.link(address, lane);
        let exchanged = async {
            let connection = link.connection_to(wanted, self, address).await?;
            match exchange(&connection, address, Channel::Peer, request).await {
                // A connection that was dead before anything was written is replaced at once, but only once.
                Err(error @ LinkError::Unreachable { .. }) => {
                    self.lost(&link, &connection, address, &error);
                    let connection = link.connection_to(wanted, self, address).await?;
                    exchange(&connection, address, Channel::Peer, request).await
                }
                Err(error) => {
                    if connection.close_reason().is_some() {
                        self.lost(&link, &connection, address, &error);
                    }
                    Err(error)
                }
                answered => answered,
            }
        };
        let Ok(result) = tokio::time::timeout(timeout, exchanged).await else {
            link.unanswered();
            return Err(LinkError::TimedOut { address, timeout });
        };
        let answer = result?;
        if link.answered() {
            self.troubles.over(address);
        }
        answer.read()
    }

    fn lost(&self, link: &Link, connection: &Connection, address: SocketAddr, error: &LinkError) {
        if link.forget(connection, error) {
            self.troubles.failed(address, error);
        }
    }

    /// Closes and forgets the connections to `address`: the node has left, or is known to be gone.
    pub fn disconnect(&self, address: SocketAddr) {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(other, _), link| {
            if *other == address {
                link.close();
            }
            *other != address
        });
        self.troubles.forget(address);
    }

    fn link(&self, address: SocketAddr, lane: Lane) -> Arc<Link> {
        let known = self.links.read().unwrap_or_else(PoisonError::into_inner).get(&(address, lane)).cloned();
        known.unwrap_or_else(|| {
            let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
            links.entry((address, lane)).or_insert_with(|| Arc::new(Link::new())).clone()
        })
    }
}
