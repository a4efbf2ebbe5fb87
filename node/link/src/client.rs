//! The gate client library: one handle that boards travellers whichever node is alive.
//!
//! A [`GateClient`] keeps warm connections to two nodes. A request goes to the first node. If that node is silent for
//! an adaptive delay, the same request with the same encounter id goes to the second node as well, and the first answer
//! counts: every step at the nodes is idempotent in the encounter. Meanwhile the client connects to a third node, in
//! case the second one is silent, too. After a lost connection, or a refusal that another node may not give, the client
//! asks another node at once. All of it has one deadline.

mod error;
mod pace;
mod race;
mod warm;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::wire::gate::{Answer, Capture, Request, Response, Welcome};
use cluster_config::wire::{Refusal, RefusalCode};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use error::{ClientError, Failure, Tried};

use crate::codes::CODE_DONE;
use crate::endpoint::bind_client;
use crate::error::LinkError;
use crate::identity::Identity;
use pace::{Budget, Pace};
use warm::Pool;

/// Bounds of the delay after which a second node is asked to identify. Below 10 ms noise of the scheduler would trigger
/// it. Twice 45 ms, if the second node is silent, too, leave room for an answer within P3's 150 ms.
const IDENTIFY_HEDGE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(45));

/// The same for a boarding. It waits for the disks of a quorum, and P3 gives it 600 ms.
const BOARD_HEDGE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(150));

/// What a [`GateClient`] needs to know.
#[derive(Debug, Clone)]
pub struct GateClientOptions {
    /// Nodes to begin with, nearest first; the others are learned from them.
    pub addresses: Vec<SocketAddr>,
    /// The gate's certificate.
    pub identity: Identity,
    /// Longest wait for an answer, retries included.
    pub deadline: Duration,
}

impl GateClientOptions {
    /// Options with the usual deadline, [`GATE_DEADLINE_MS`].
    pub fn new(addresses: Vec<SocketAddr>, identity: Identity) -> Self {
        Self { addresses, identity, deadline: Duration::from_millis(GATE_DEADLINE_MS) }
    }
}

/// How often a client had to do more than ask one node and take its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStatistics {
    /// Requests made.
    pub requests: u64,
    /// Second nodes asked because the first was silent.
    pub hedges: u64,
    /// Requests sent again after a lost connection or a refusal.
    pub retries: u64,
    /// Connections made, the first ones included.
    pub connections: u64,
    /// Connections given up because their node kept losing to another.
    pub evictions: u64,
    /// Nodes that are warm now, first choice first.
    pub warm: Vec<SocketAddr>,
}

/// A gate's handle on the cluster. Clones share connections; the last one to go closes them.
#[derive(Debug, Clone)]
pub struct GateClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
    keeper: JoinHandle<()>,
    endpoint: quinn::Endpoint,
    deadline: Duration,
    identify: Pace,
    board: Pace,
    budget: Budget,
    requests: AtomicU64,
    hedges: AtomicU64,
    retries: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.abort();
        self.endpoint.close(CODE_DONE, b"the gate goes");
    }
}

impl GateClient {
    /// Connects to the first node that answers; the second connection is made in the background.
    ///
    /// # Errors
    /// [`ClientError`] where no node answers before the deadline, or none takes the certificate.
    pub async fn connect(options: GateClientOptions) -> Result<Self, ClientError> {
        Self::start(options, 2).await
    }

    /// Connects to one node and never asks another. This is for benchmarks, and for asking each node in turn.
    ///
    /// # Errors
    /// As [`GateClient::connect`].
    pub async fn connect_to_one(
        address: SocketAddr,
        identity: Identity,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        Self::start(GateClientOptions { addresses: vec![address], identity, deadline }, 1).await
    }

    async fn start(options: GateClientOptions, wanted: usize) -> Result<Self, ClientError> {
        let GateClientOptions { addresses, identity, deadline } = options;
        let first = *addresses.first().ok_or(ClientError::Request(LinkError::NoAddress))?;
        let endpoint = bind_client(first, &identity)?;
        let pool = Arc::new(Pool::new(endpoint.clone(), identity.clone(), addresses, wanted));
        let until = Instant::now() + deadline;
        loop {
            // If time runs out here, the error below tells what has failed so far.
            let _ = tokio::time::timeout_at(until, pool.fill(1)).await;
            if !pool.warm().is_empty() {
                break;
            }
            let error = ClientError::out_of_time(deadline.as_millis() as u64, pool.failures());
            let hopeless = matches!(error, ClientError::Certificate { .. } | ClientError::Refused { .. });
            if Instant::now() >= until || hopeless {
                return Err(error);
            }
            tokio::time::sleep_until(until.min(Instant::now() + race::RETRY_PAUSE)).await;
        }
        let keeping = futures::future::join(pool.clone().keep(), identity.watch());
        let keeper = tokio::spawn(async move {
            keeping.await;
        });
        let inner = Inner {
            pool,
            keeper,
            endpoint,
            deadline,
            identify: Pace::new(IDENTIFY_HEDGE.0, IDENTIFY_HEDGE.1),
            board: Pace::new(BOARD_HEDGE.0, BOARD_HEDGE.1),
            budget: Budget::new(),
            requests: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Searches the capture's journey; nothing is recorded.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn identify(&self, mut capture: Capture) -> Result<Answer, ClientError> {
        let deadline = self.set_deadline(&mut capture);
        answer(self.inner.ask(&Request::Identify(capture), &self.inner.identify, deadline).await?)
    }

    /// Searches the capture's journey and records the boarding before *proceed* is answered. Repeating it with the
    /// same encounter is always safe.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::Overdue`] it is unknown whether the boarding is recorded.
    pub async fn board(&self, mut capture: Capture) -> Result<Answer, ClientError> {
        let deadline = self.set_deadline(&mut capture);
        answer(self.inner.ask(&Request::Board(capture), &self.inner.board, deadline).await?)
    }

    /// Asks whether a node is there, and which others are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn hello(&self) -> Result<Welcome, ClientError> {
        match self.inner.ask(&Request::Hello, &self.inner.identify, self.inner.deadline).await? {
            (_, Response::Welcome(welcome)) => Ok(welcome),
            (address, _) => Err(unexpected(address)),
        }
    }

    /// What the client has had to do so far.
    pub fn statistics(&self) -> ClientStatistics {
        let inner = &self.inner;
        ClientStatistics {
            requests: inner.requests.load(Ordering::Relaxed),
            hedges: inner.hedges.load(Ordering::Relaxed),
            retries: inner.retries.load(Ordering::Relaxed),
            connections: inner.pool.connections.load(Ordering::Relaxed),
            evictions: inner.pool.evictions.load(Ordering::Relaxed),
            warm: inner.pool.warm(),
        }
    }

    /// Writes the shorter deadline of capture and client (0 is none) into the capture, so that the nodes know how long
    /// they have.
    fn set_deadline(&self, capture: &mut Capture) -> Duration {
        let deadline = match capture.deadline_ms {
            0 => self.inner.deadline,
            own => self.inner.deadline.min(Duration::from_millis(own.into())),
        };
        capture.deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        deadline
    }
}

impl Inner {
    async fn ask(
        &self,
        request: &Request,
        pace: &Pace,
        deadline: Duration,
    ) -> Result<(SocketAddr, Response), ClientError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.budget.earn();
        race::run(self, request, pace, deadline).await
    }
}

fn answer((address, response): (SocketAddr, Response)) -> Result<Answer, ClientError> {
    match response {
        Response::Answer(answer) => Ok(answer),
        Response::Welcome(_) | Response::Refused(_) => Err(unexpected(address)),
    }
}

fn unexpected(address: SocketAddr) -> ClientError {
    let (problem, fix) = ("it does not answer the request that was sent", "answer requests in their own type");
    let refusal = Refusal::new(RefusalCode::MalformedFrame, "response type", problem, fix);
    ClientError::Overdue {
        deadline_ms: 0,
        tried: vec![Tried { address, failure: Failure::Link(LinkError::Answer { address, refusal }) }],
    }
}
