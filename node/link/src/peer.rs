//! Calls between nodes: one warm connection to each node for each kind of traffic.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::ids::NodeId;
use cluster_config::wire::{Channel, peer};
use quinn::{Connection, Endpoint};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::codes::CODE_DONE;
use crate::error::LinkError;
use crate::exchange::{connect, exchange};

/// How long a connection to a node may take to come up: a few round trips of any distance within a country.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// First pause after a failed connection, doubled up to [`BACK_OFF_MAX`]: a restarted node is found again quickly.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);

/// Longest pause after a failed connection. It is shorter than the time after which a node counts as lost, so that the
/// first report after a restart comes in time.
const BACK_OFF_MAX: Duration = Duration::from_millis(320);

/// After so long a silence on a link and a call that timed out, the next call makes a new connection. If the node is
/// paused or cut off, the handshake fails, and from then on calls to it fail at once instead of after their timeout.
const SILENCE_MAX: Duration = Duration::from_millis(300);

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
    links: Arc<RwLock<Links>>,
}

type Links = HashMap<(SocketAddr, Lane), Arc<Link>>;

#[derive(Debug)]
struct Link {
    state: Mutex<State>,
    born: Instant,
    /// When the other side last answered or took a connection, milliseconds after `born`.
    heard_ms: AtomicU64,
}

type Outcome = Option<Result<(Connection, Actor), LinkError>>;

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// One task connects; everybody who needs the connection waits for it.
    Connecting(watch::Receiver<Outcome>),
    Up(Connection, Actor),
    /// The last attempt failed. Until this instant no new one is made.
    Down {
        until: Instant,
        pause: Duration,
        error: LinkError,
    },
}

impl PeerLinks {
    /// Links that go out from `endpoint`. It may be the one that the node listens on.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, links: Arc::default() }
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
            let connection = link.connection_to(wanted, &self.endpoint, address).await?;
            match exchange(&connection, address, Channel::Peer, request).await {
                // A connection that was dead before anything was written is replaced at once, but only once.
                Err(LinkError::Unreachable { .. }) => {
                    link.forget(&connection);
                    let connection = link.connection_to(wanted, &self.endpoint, address).await?;
                    exchange(&connection, address, Channel::Peer, request).await
                }
                Err(error) => {
                    if connection.close_reason().is_some() {
                        link.forget(&connection);
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
        link.heard();
        answer.read()
    }

    /// Closes and forgets the connections to `address`: the node has left, or is known to be gone.
    pub fn disconnect(&self, address: SocketAddr) {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(other, _), link| {
            if *other != address {
                return true;
            }
            if let State::Up(connection, _) = &*link.state.lock().unwrap_or_else(PoisonError::into_inner) {
                connection.close(CODE_DONE, b"not needed any more");
            }
            false
        });
    }

    fn link(&self, address: SocketAddr, lane: Lane) -> Arc<Link> {
        let known = self.links.read().unwrap_or_else(PoisonError::into_inner).get(&(address, lane)).cloned();
        known.unwrap_or_else(|| {
            let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
            links.entry((address, lane)).or_insert_with(|| Arc::new(Link::new())).clone()
        })
    }
}

impl Link {
    fn new() -> Self {
        Self { state: Mutex::default(), born: Instant::now(), heard_ms: AtomicU64::new(0) }
    }

    fn heard(&self) {
        self.heard_ms.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// A call timed out: forgets the connection if nothing was heard on it for too long. Other calls that wait on it
    /// keep it alive.
    fn unanswered(&self) {
        let silence_ms = (self.born.elapsed().as_millis() as u64).saturating_sub(self.heard_ms.load(Ordering::Relaxed));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Up(..)) && silence_ms > SILENCE_MAX.as_millis() as u64 {
            *state = State::Idle;
        }
    }

    /// The connection, where the certificate at its other end is that of the node that is wanted.
    async fn connection_to(
        self: &Arc<Self>,
        wanted: Option<NodeId>,
        endpoint: &Endpoint,
        address: SocketAddr,
    ) -> Result<Connection, LinkError> {
        let (connection, found) = self.connection(endpoint, address).await?;
        match wanted {
            Some(wanted) if found.as_node() != Some(wanted) => {
                let error = LinkError::OtherNode { address, found, wanted };
                // The right node may come to this address: it is looked for again, but not with every call.
                let down =
                    State::Down { until: Instant::now() + BACK_OFF_MAX, pause: BACK_OFF_MAX, error: error.clone() };
                self.replace(&connection, down);
                Err(error)
            }
            _ => Ok(connection),
        }
    }

    /// The connection; it is made if there is none. However many callers ask, one attempt is under way at a time. It
    /// goes on if the caller who began it stops waiting.
    async fn connection(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        address: SocketAddr,
    ) -> Result<(Connection, Actor), LinkError> {
        let mut outcome = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match &*state {
                State::Up(connection, found) => return Ok((connection.clone(), *found)),
                State::Connecting(outcome) => outcome.clone(),
                State::Down { until, error, .. } if Instant::now() < *until => return Err(error.clone()),
                State::Down { pause, .. } => self.begin(endpoint, address, (*pause * 2).min(BACK_OFF_MAX), &mut state),
                State::Idle => self.begin(endpoint, address, BACK_OFF_MIN, &mut state),
            }
        };
        let gone = || LinkError::Unreachable { address, reason: "the attempt was given up".to_owned() };
        let result = outcome.wait_for(Option::is_some).await.map_err(|_| gone())?;
        result.clone().unwrap_or_else(|| Err(gone()))
    }

    fn begin(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        address: SocketAddr,
        pause: Duration,
        state: &mut State,
    ) -> watch::Receiver<Outcome> {
        let (sender, receiver) = watch::channel(None);
        *state = State::Connecting(receiver.clone());
        let (link, endpoint) = (self.clone(), endpoint.clone());
        tokio::spawn(async move {
            let result = connect(&endpoint, address, CONNECT_TIMEOUT).await;
            let next = match &result {
                Ok((connection, found)) => {
                    link.heard();
                    State::Up(connection.clone(), *found)
                }
                Err(error) => {
                    tracing::debug!(%error, "no link to a node");
                    State::Down { until: Instant::now() + pause, pause, error: error.clone() }
                }
            };
            *link.state.lock().unwrap_or_else(PoisonError::into_inner) = next;
            // An error means that nobody waits any more.
            let _ = sender.send(Some(result));
        });
        receiver
    }

    /// Drops a dead connection, unless somebody has replaced it already.
    fn forget(&self, dead: &Connection) {
        self.replace(dead, State::Idle);
    }

    fn replace(&self, old: &Connection, next: State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Up(connection, _) if connection.stable_id() == old.stable_id()) {
            *state = next;
        }
    }
}
