//! A network in simulated time: delay, loss, doubled messages, cuts in one direction or both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::wire::peer::RaftCall;
use coordinator::{Coordinator, Transport, TransportError};
use futures::future::BoxFuture;

use crate::dice::Dice;

/// What one message fares.
#[derive(Debug, Clone, Copy)]
struct Fare {
    delay: Duration,
    lost: bool,
}

/// How the network is at this moment.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Shortest and longest delay of a message, microseconds.
    pub delay_us: (u64, u64),
    /// Messages lost, and delivered twice, of a thousand.
    pub lost: u64,
    /// See [`Weather::lost`].
    pub doubled: u64,
    /// From whom to whom nothing comes through.
    pub cut: BTreeSet<(NodeId, NodeId)>,
}

impl Default for Weather {
    fn default() -> Self {
        Self { delay_us: (200, 3_000), lost: 0, doubled: 0, cut: BTreeSet::new() }
    }
}

/// The nodes that are there, and the network between them.
pub struct Network {
    nodes: Mutex<BTreeMap<NodeId, Coordinator>>,
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    /// Nobody on a fair day.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            nodes: Mutex::default(),
            weather: Mutex::default(),
            dice: Mutex::new(Dice::new(seed, "network")),
        })
    }

    /// The weather, to change it.
    pub fn weather(&self) -> MutexGuard<'_, Weather> {
        lock(&self.weather)
    }

    /// The nodes that run.
    pub fn nodes(&self) -> Vec<Coordinator> {
        lock(&self.nodes).values().cloned().collect()
    }

    /// The node, where it runs.
    pub fn node(&self, id: NodeId) -> Option<Coordinator> {
        lock(&self.nodes).get(&id).cloned()
    }

    /// A node that runs from now on.
    pub fn add(&self, node: Coordinator) {
        lock(&self.nodes).insert(node.node_id(), node);
    }

    /// A node that does not run any more.
    pub fn remove(&self, id: NodeId) -> Option<Coordinator> {
        lock(&self.nodes).remove(&id)
    }

    fn fare(&self, from: NodeId, to: NodeId) -> Fare {
        let weather = lock(&self.weather);
        let mut dice = lock(&self.dice);
        let (least, most) = weather.delay_us;
        let delay = Duration::from_micros(dice.between(least, most));
        Fare { delay, lost: dice.chance(weather.lost) || weather.cut.contains(&(from, to)) }
    }

    fn is_doubled(&self) -> bool {
        let doubled = lock(&self.weather).doubled;
        lock(&self.dice).chance(doubled)
    }

    /// Carries one call there and its answer back; what is lost is never answered.
    async fn carry(&self, from: NodeId, to: NodeId, call: RaftCall, body: &[u8]) -> Result<Vec<u8>, TransportError> {
        let (there, back) = (self.fare(from, to), self.fare(to, from));
        tokio::time::sleep(there.delay).await;
        let node = self.node(to).filter(|_| !there.lost);
        let Some(node) = node else { return std::future::pending().await };
        let answer = node.handle(from, call, body).await;
        tokio::time::sleep(back.delay).await;
        if back.lost {
            return std::future::pending().await;
        }
        answer.map_err(|error| TransportError::Refused(to, error.to_string()))
    }
}

/// One node's way into the network.
pub struct Link {
    pub network: Arc<Network>,
    pub from: NodeId,
}

impl Transport for Link {
    fn call(
        &self,
        target: NodeId,
        _address: &str,
        call: RaftCall,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>> {
        let (network, from) = (self.network.clone(), self.from);
        Box::pin(async move {
            if network.is_doubled() {
                let (network, body) = (network.clone(), body.clone());
                tokio::spawn(async move {
                    // Whoever sent it has the other one's answer.
                    let _ = tokio::time::timeout(timeout, network.carry(from, target, call, &body)).await;
                });
            }
            let carried = tokio::time::timeout(timeout, network.carry(from, target, call, &body)).await;
            carried.unwrap_or(Err(TransportError::Timeout(target)))
        })
    }
}
