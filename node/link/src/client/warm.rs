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
use crate::exchange::{Made, connect, exchange};
use crate::identity::Identity;
use crate::lifetime::Lifetime;
use crate::limits::{KEEP_ALIVE_INTERVAL, UNANSWERED_MAX};
use crate::pause::jittered;

/// How long a node gets for its handshake, and again for its first answer.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the client waits for one address before it tries the next as well (RFC 8305 asks for 100 to 250 ms).
const STAGGER: Duration = Duration::from_millis(120);

/// How often missing connections are tried again.
const REVIEW_INTERVAL: Duration = Duration::from_millis(100);

/// Pauses after a failed address: the first, and the longest after doubling.
const COOLING_MIN: Duration = Duration::from_millis(100);
const COOLING_MAX: Duration = Duration::from_millis(2_000);

/// Pause after a connection that ends soon could not be made anew.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// Lost races in a row after which a node is asked second instead of first.
const STRIKES_TO_DEMOTE: u32 = 2;

/// Lost races in a row after which a node's connection is replaced.
const STRIKES_TO_EVICT: u32 = 8;

/// One warm connection.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) connection: Connection,
    lifetime: Lifetime,
    /// Races lost in a row: another node, asked later, answered sooner.
    strikes: AtomicU32,
    /// Whether the node was silent for the delay of a hedge and has not answered since.
    silent: AtomicBool,
    heard: Mutex<Heard>,
}

/// What came of a node, signs of life included.
#[derive(Debug)]
struct Heard {
    datagrams: u64,
    at: Instant,
    /// Whether too many signs of life were not answered.
    nothing: bool,
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
    identity: Identity,
    given: Vec<SocketAddr>,
    wanted: usize,
    state: Mutex<State>,
    lost: tokio::sync::Notify,
    pub(super) connections: AtomicU64,
    pub(super) evictions: AtomicU64,
}

impl Pool {
    pub(super) fn new(endpoint: Endpoint, identity: Identity, given: Vec<SocketAddr>, wanted: usize) -> Self {
        Self {
            endpoint,
            identity,
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

    /// Forgets a node whose connection failed, so that a new one is made, unless that has been done already.
    pub(super) fn remove(&self, node: &Arc<Node>, failure: Failure) {
        let mut state = self.lock();
        let Some(place) = state.warm.iter().position(|other| Arc::ptr_eq(other, node)) else { return };
        state.warm.remove(place);
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
                greetings.spawn(greet(self.endpoint.clone(), self.identity.clone(), address));
            } else if greetings.is_empty() {
                return;
            }
            let stagger = if waiting.len() > 0 { STAGGER } else { 2 * GREETING_TIMEOUT };
            match tokio::time::timeout(stagger, greetings.join_next()).await {
                Ok(Some(Ok((address, Ok(greeted))))) => self.install(address, greeted),
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
            self.listen();
            self.renew().await;
            self.fill(self.wanted).await;
            let warm = self.lock().warm.clone();
            let missing = !self.enough(self.wanted);
            let first_end = warm.iter().map(|node| node.lifetime.renew_at).min();
            tokio::select! {
                () = self.lost.notified() => {}
                () = any_closed(&warm) => {}
                () = end_of(first_end) => {}
                () = tokio::time::sleep(REVIEW_INTERVAL), if missing => {}
                () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => {}
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

    /// Asks nodes last that answer no sign of life. Nobody has to wait for them to learn that the path is cut.
    fn listen(&self) {
        let warm = self.lock().warm.clone();
        for node in warm {
            let datagrams = node.connection.stats().udp_rx.datagrams;
            let mut heard = node.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.datagrams != datagrams {
                if heard.nothing {
                    node.silent.store(false, Ordering::Relaxed);
                }
                *heard = Heard { datagrams, at: Instant::now(), nothing: false };
            } else if !heard.nothing && heard.at.elapsed() > UNANSWERED_MAX {
                heard.nothing = true;
                self.demote(&node);
                self.doubt(&node);
            }
        }
    }

    /// Makes connections anew whose certificates end soon, each before the old one goes.
    async fn renew(&self) {
        let now = Instant::now();
        let mut ending = self.lock().warm.clone();
        ending.retain(|node| node.lifetime.is_to_be_renewed(now));
        let greetings = ending.into_iter().map(|old| async {
            let (_, greeted) = greet(self.endpoint.clone(), self.identity.clone(), old.address).await;
            (old, greeted)
        });
        for (old, greeted) in futures::future::join_all(greetings).await {
            match greeted {
                Ok(greeted) => self.replace(&old, greeted),
                Err(failure) if old.lifetime.has_ended(Instant::now()) => {
                    old.connection.close(CODE_DONE, b"the certificate has expired");
                    self.remove(&old, failure);
                }
                Err(failure) => {
                    tracing::debug!(address = %old.address, ?failure, "a connection that ends soon is not renewed yet");
                    self.postpone(&old);
                }
            }
        }
    }

    /// Puts a new connection in the place of an old one. Requests under way on the old one hold it until they are
    /// answered.
    fn replace(&self, old: &Arc<Node>, Greeted { connection, lifetime, .. }: Greeted) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = self.lock().warm.iter_mut().find(|node| Arc::ptr_eq(node, old)) {
            *place = Arc::new(Node::new(old.address, connection, lifetime));
        }
    }

    /// Tries a renewal again a little later.
    fn postpone(&self, old: &Arc<Node>) {
        let renew_at = (Instant::now() + RENEWAL_PAUSE).min(old.lifetime.ends_at);
        let lifetime = Lifetime { renew_at, ..old.lifetime };
        if let Some(place) = self.lock().warm.iter_mut().find(|node| Arc::ptr_eq(node, old)) {
            *place = Arc::new(Node::new(old.address, old.connection.clone(), lifetime));
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

    fn install(&self, address: SocketAddr, Greeted { connection, lifetime, welcome }: Greeted) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        state.cooling.remove(&address);
        state.learned = welcome.members.iter().take(NODES_MAX).filter_map(|member| member.parse().ok()).collect();
        let (given, learned) = (&self.given, state.learned.clone());
        state.cooling.retain(|address, _| given.contains(address) || learned.contains(address));
        if state.warm.iter().any(|node| node.address == address) {
            return;
        }
        state.warm.push(Arc::new(Node::new(address, connection, lifetime)));
    }
}

impl Node {
    fn new(address: SocketAddr, connection: Connection, lifetime: Lifetime) -> Self {
        Self {
            address,
            connection,
            lifetime,
            strikes: AtomicU32::new(0),
            silent: AtomicBool::new(false),
            heard: Mutex::new(Heard { datagrams: 0, at: Instant::now(), nothing: false }),
        }
    }
}

async fn end_of(lifetime: Option<Instant>) {
    match lifetime {
        Some(renew_at) => tokio::time::sleep_until(renew_at).await,
        None => std::future::pending().await,
    }
}

fn cool(state: &mut State, address: SocketAddr, failure: Failure) {
    let pause = state.cooling.get(&address).map_or(COOLING_MIN, |cooling| (cooling.pause * 2).min(COOLING_MAX));
    state.cooling.insert(address, Cooling { until: Instant::now() + jittered(pause), pause, failure });
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

/// A node that has answered.
struct Greeted {
    connection: Connection,
    lifetime: Lifetime,
    welcome: gate::Welcome,
}

/// Connects and asks for a welcome: only a node that answers is warm. A node that refuses this gate's certificate is
/// found here, too: in TLS 1.3 the connecting side ends its handshake before the other side judges.
async fn greet(endpoint: Endpoint, identity: Identity, address: SocketAddr) -> (SocketAddr, Result<Greeted, Failure>) {
    let greeting = async {
        let connected = connect(&endpoint, &identity, address, GREETING_TIMEOUT).await;
        let Made { connection, lifetime, .. } = connected.map_err(Failure::Link)?;
        let exchanged = exchange(&connection, address, Channel::Gate, &gate::Request::Hello);
        let timeout = GREETING_TIMEOUT;
        let answer = tokio::time::timeout(timeout, exchanged)
            .await
            .map_err(|_| Failure::Link(LinkError::TimedOut { address, timeout }))?
            .map_err(Failure::Link)?;
        match answer.read().map_err(Failure::Link)? {
            gate::Response::Welcome(welcome) => Ok(Greeted { connection, lifetime, welcome }),
            gate::Response::Refused(refusal) if refusal.code != RefusalCode::MalformedFrame => {
                Err(Failure::Refused(refusal))
            }
            gate::Response::Refused(refusal) => Err(Failure::Link(LinkError::Answer { address, refusal })),
            gate::Response::Answer(_) => Err(Failure::Silent),
        }
    };
    (address, greeting.await)
}
