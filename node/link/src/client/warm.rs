//! The warm connections of a gate client, and the task that replaces lost ones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_config::limits::NODES_MAX;
use cluster_config::wire::{Channel, RefusalCode, gate};
use quinn::{Connection, Endpoint};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::error::{Failure, Tried};
use crate::codes::CODE_DONE;
use crate::error::LinkError;
use crate::exchange::{connect, exchange};

/// How long a node gets for its handshake, and again for its first answer.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the client waits for one address before it tries the next as well (RFC 8305 asks for 100 to 250 ms).
const STAGGER: Duration = Duration::from_millis(120);

/// How often missing connections are tried again.
const REVIEW_INTERVAL: Duration = Duration::from_millis(100);

/// Pauses after a failed address: the first, and the longest after doubling.
const COOLING_MIN: Duration = Duration::from_millis(100);
const COOLING_MAX: Duration = Duration::from_millis(2_000);

/// Lost races in a row after which a node is asked second instead of first.
const STRIKES_TO_DEMOTE: u32 = 2;

/// Lost races in a row after which a node's connection is replaced.
const STRIKES_TO_EVICT: u32 = 8;

/// One warm connection.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) connection: Connection,
    /// Races lost in a row: another node, asked later, answered sooner.
    strikes: AtomicU32,
    /// Whether the node was silent for the delay of a hedge and has not answered since.
    silent: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they are asked.
    warm: Vec<Arc<Node>>,
    /// The addresses that the nodes have told, beside those that the client was given.
    learned: Vec<SocketAddr>,
    /// Addresses that failed: when they may be tried again, the pause, and how they failed.
    cooling: HashMap<SocketAddr, Cooling>,
}

#[derive(Debug, Clone)]
struct Cooling {
    until: Instant,
    pause: Duration,
    failure: Failure,
}

/// Connections to the wanted number of different nodes, and to a spare one while one of them is silent.
#[derive(Debug)]
pub(super) struct Pool {
    endpoint: Endpoint,
    given: Vec<SocketAddr>,
    wanted: usize,
    state: Mutex<State>,
    lost: tokio::sync::Notify,
    pub(super) connections: AtomicU64,
    pub(super) evictions: AtomicU64,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, given: Vec<SocketAddr>, wanted: usize) -> Self {
        Self {
            endpoint,
            given,
            wanted,
            state: Mutex::default(),
            lost: tokio::sync::Notify::new(),
            connections: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node to ask next; none of `except`.
    pub(super) fn pick(&self, except: &[SocketAddr]) -> Option<Arc<Node>> {
        self.lock().warm.iter().find(|node| !except.contains(&node.address)).cloned()
    }

    /// The node to ask beside those that are silent; none of `except`. If there is one that is not silent, it is that
    /// one.
    pub(super) fn pick_beside(&self, except: &[SocketAddr]) -> Option<Arc<Node>> {
        let state = self.lock();
        let others = state.warm.iter().filter(|node| !except.contains(&node.address));
        others.min_by_key(|node| node.silent.load(Ordering::Relaxed)).cloned()
    }

    /// The nodes that are warm now, first choice first.
    pub(super) fn warm(&self) -> Vec<SocketAddr> {
        self.lock().warm.iter().map(|node| node.address).collect()
    }

    /// The addresses that cannot be tried now, and how they failed.
    pub(super) fn failures(&self) -> Vec<Tried> {
        let state = self.lock();
        let mut failures: Vec<_> = state
            .cooling
            .iter()
            .map(|(address, cooling)| Tried { address: *address, failure: cooling.failure.clone() })
            .collect();
        failures.sort_by_key(|tried| tried.address);
        failures
    }

    /// A node answered.
    pub(super) fn praise(&self, node: &Node) {
        if node.strikes.load(Ordering::Relaxed) != 0 {
            node.strikes.store(0, Ordering::Relaxed);
        }
        if node.silent.load(Ordering::Relaxed) {
            node.silent.store(false, Ordering::Relaxed);
        }
    }

    /// A node has been silent for the delay of a hedge. The client connects to a third node now, so that it is warm if
    /// the second one turns out to be silent, too.
    pub(super) fn doubt(&self, node: &Node) {
        if !node.silent.swap(true, Ordering::Relaxed) {
            self.lost.notify_one();
        }
    }

    /// Whether there are `count` nodes that are not silent, or a spare one beside the silent ones.
    fn enough(&self, count: usize) -> bool {
        let state = self.lock();
        let spare = usize::from(self.wanted > 1);
        let sound = state.warm.iter().filter(|node| !node.silent.load(Ordering::Relaxed)).count();
        sound >= count || state.warm.len() >= count + spare
    }

    /// Another node, asked later, answered sooner than this one.
    pub(super) fn strike(&self, node: &Arc<Node>) {
        let strikes = node.strikes.fetch_add(1, Ordering::Relaxed) + 1;
        if strikes >= STRIKES_TO_DEMOTE {
            self.demote(node);
        }
        if strikes == STRIKES_TO_EVICT && self.lock().warm.len() > 1 {
            self.evictions.fetch_add(1, Ordering::Relaxed);
            let silent = Failure::Silent;
            node.connection.close(CODE_DONE, b"too slow");
            self.remove(node, silent);
        }
    }

    /// Asks this node last from now on.
    pub(super) fn demote(&self, node: &Arc<Node>) {
        let mut state = self.lock();
        if let Some(place) = state.warm.iter().position(|other| Arc::ptr_eq(other, node)) {
            let node = state.warm.remove(place);
            state.warm.push(node);
        }
    }

    /// Forgets a node whose connection failed, so that a new one is made.
    pub(super) fn remove(&self, node: &Arc<Node>, failure: Failure) {
        let mut state = self.lock();
        state.warm.retain(|other| !Arc::ptr_eq(other, node));
        cool(&mut state, node.address, failure);
        drop(state);
        self.lost.notify_one();
    }

    /// Connects until there are [`Pool::enough`] of `count` nodes, or every address that may be tried has failed. It
    /// tries the addresses in order, each a little after the one before.
    pub(super) async fn fill(&self, count: usize) {
        let mut waiting = self.candidates().into_iter();
        let mut greetings = JoinSet::new();
        while !self.enough(count) {
            if let Some(address) = waiting.next() {
                greetings.spawn(greet(self.endpoint.clone(), address));
            } else if greetings.is_empty() {
                return;
            }
            let stagger = if waiting.len() > 0 { STAGGER } else { 2 * GREETING_TIMEOUT };
            match tokio::time::timeout(stagger, greetings.join_next()).await {
                Ok(Some(Ok((address, Ok((connection, welcome)))))) => self.install(address, connection, &welcome),
                Ok(Some(Ok((address, Err(failure))))) => cool(&mut self.lock(), address, failure),
                // It is time for the next address. A greeting that panicked counts as a failed one.
                Ok(Some(Err(_)) | None) | Err(_) => {}
            }
        }
    }

    /// Replaces lost connections for as long as it runs.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            self.bury();
            self.fill(self.wanted).await;
            let warm = self.lock().warm.clone();
            let missing = !self.enough(self.wanted);
            tokio::select! {
                () = self.lost.notified() => {}
                () = any_closed(&warm) => {}
                () = tokio::time::sleep(REVIEW_INTERVAL), if missing => {}
            }
        }
    }

    /// Forgets the connections that have ended.
    fn bury(&self) {
        let warm = self.lock().warm.clone();
        for node in warm {
            if let Some(error) = node.connection.close_reason() {
                self.remove(&node, Failure::Link(LinkError::before_sending(node.address, &error)));
            }
        }
    }

    /// The addresses to try now: those given, then those learned. Warm ones and those that wait after a failure are
    /// left out.
    fn candidates(&self) -> Vec<SocketAddr> {
        let state = self.lock();
        let now = Instant::now();
        let mut candidates: Vec<SocketAddr> = Vec::new();
        for address in self.given.iter().chain(&state.learned) {
            let warm = state.warm.iter().any(|node| node.address == *address);
            let cooling = state.cooling.get(address).is_some_and(|cooling| now < cooling.until);
            if !warm && !cooling && !candidates.contains(address) {
                candidates.push(*address);
            }
        }
        candidates
    }

    fn install(&self, address: SocketAddr, connection: Connection, welcome: &gate::Welcome) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.cooling.remove(&address);
        state.learned = welcome.members.iter().take(NODES_MAX).filter_map(|member| member.parse().ok()).collect();
        let (given, learned) = (&self.given, state.learned.clone());
        state.cooling.retain(|address, _| given.contains(address) || learned.contains(address));
        if state.warm.iter().any(|node| node.address == address) {
            return;
        }
        state.warm.push(Arc::new(Node {
            address,
            connection,
            strikes: AtomicU32::new(0),
            silent: AtomicBool::new(false),
        }));
    }
}

fn cool(state: &mut State, address: SocketAddr, failure: Failure) {
    let pause = state.cooling.get(&address).map_or(COOLING_MIN, |cooling| (cooling.pause * 2).min(COOLING_MAX));
    state.cooling.insert(address, Cooling { until: Instant::now() + pause, pause, failure });
}

async fn any_closed(warm: &[Arc<Node>]) {
    match warm {
        [] => std::future::pending().await,
        nodes => {
            let closed = nodes.iter().map(|node| Box::pin(node.connection.closed()));
            futures::future::select_all(closed).await;
        }
    }
}

/// Connects and asks for a welcome: only a node that answers is warm. A node that refuses this gate's certificate is
/// found here, too: in TLS 1.3 the connecting side ends its handshake before the other side judges.
async fn greet(endpoint: Endpoint, address: SocketAddr) -> (SocketAddr, Result<(Connection, gate::Welcome), Failure>) {
    let greeting = async {
        let (connection, _) = connect(&endpoint, address, GREETING_TIMEOUT).await.map_err(Failure::Link)?;
        let exchanged = exchange(&connection, address, Channel::Gate, &gate::Request::Hello);
        let timeout = GREETING_TIMEOUT;
        let answer = tokio::time::timeout(timeout, exchanged)
            .await
            .map_err(|_| Failure::Link(LinkError::TimedOut { address, timeout }))?
            .map_err(Failure::Link)?;
        match answer.read().map_err(Failure::Link)? {
            gate::Response::Welcome(welcome) => Ok((connection, welcome)),
            gate::Response::Refused(refusal) if refusal.code != RefusalCode::MalformedFrame => {
                Err(Failure::Refused(refusal))
            }
            gate::Response::Refused(refusal) => Err(Failure::Link(LinkError::Answer { address, refusal })),
            gate::Response::Answer(_) => Err(Failure::Silent),
        }
    };
    (address, greeting.await)
}
