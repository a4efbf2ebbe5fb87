//! Whether what this node does not know is not there at all, or just has not reached it. The rules are
//! [`node_core::freshness`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::limits::{CONFIRM_INTERVAL_MS, UNCONFIRMED_MS_MAX};
use cluster_config::wire::{Refusal, RefusalCode, peer};
use coordinator::Coordinator;
use node_core::freshness::{self as rules, Next, QUESTION_US_MAX};
use node_link::Lane;

use crate::peers::links::{Links, out_of_turn};

/// How often a node that catches up looks whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// This node's questions to the leader.
pub struct Freshness {
    coordinator: Coordinator,
    links: Links,
    rules: Mutex<rules::Freshness>,
    /// When it was asked whether this node lacks anything, the last time that it did not.
    confirmed: Mutex<Option<Instant>>,
    /// From where `rules` counts.
    began: Instant,
}

impl Freshness {
    /// The questions of the node that has this state and these links.
    pub fn new(coordinator: Coordinator, links: Links) -> Self {
        Self { coordinator, links, rules: Mutex::default(), confirmed: Mutex::default(), began: Instant::now() }
    }

    /// Waits until this node has applied everything that anybody had been told of before the call: what the leader had
    /// applied once it had made sure that it leads (read index; Ongaro, section 6.4).
    ///
    /// # Errors
    /// `unavailable` where no leader with a quorum answers, or this node does not catch up with it by `deadline`: then
    /// what this node does not know says nothing.
    pub async fn catch_up(self: &Arc<Self>, deadline: Instant) -> Result<(), Refusal> {
        let asked = Instant::now();
        let mut waiting = self.rules().join();
        loop {
            let now = Instant::now();
            let applied = self.coordinator.applied_index().unwrap_or(0);
            let next = self.rules().next((now - self.began).as_micros() as u64, &mut waiting, applied);
            match next {
                Next::Done => {
                    *self.confirmed() = Some(asked);
                    return Ok(());
                }
                Next::Ask(question) => self.ask(question),
                Next::Wait if now >= deadline => {
                    let place = format!("node {}", self.coordinator.node_id());
                    let problem = "it may lack what others know";
                    return Err(Refusal::new(RefusalCode::Unavailable, place, problem, "ask another node"));
                }
                Next::Wait => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// For how long nobody has confirmed that this node lacks nothing.
    pub fn unconfirmed(&self) -> Duration {
        let never = || Duration::from_millis(UNCONFIRMED_MS_MAX + 1) + self.began.elapsed();
        self.confirmed().map_or_else(never, |confirmed| confirmed.elapsed())
    }

    /// Has it confirmed again and again; never ends.
    pub async fn keep(self: Arc<Self>) {
        let interval = Duration::from_millis(CONFIRM_INTERVAL_MS);
        loop {
            match self.coordinator.quorum_silence() {
                // A leader that asked its followers whether it still leads would be heard by them although it hears
                // nothing itself, and nobody would stand for election.
                Some(silence) => *self.confirmed() = Instant::now().checked_sub(silence).or(Some(self.began)),
                // Without a leader it is tried again; meanwhile the age of the last answer tells.
                None => drop(self.catch_up(Instant::now() + interval).await),
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Has a question asked. Whoever waits for the answer may stop waiting: others do not.
    fn ask(self: &Arc<Self>, question: u64) {
        let node = self.clone();
        tokio::spawn(async move {
            let patience = Duration::from_micros(QUESTION_US_MAX);
            let asked = tokio::time::timeout(patience, node.index_of_leader(patience)).await;
            let index = asked.ok().and_then(Result::ok);
            node.rules().answered(question, index);
        });
    }

    async fn index_of_leader(&self, patience: Duration) -> Result<u64, Refusal> {
        let me = self.coordinator.node_id();
        let leader = self.coordinator.leader().ok_or_else(|| unsure(me, "no leader is known"))?;
        if leader == me {
            return read_index(&self.coordinator).await;
        }
        match self.links.ask(leader, Lane::Raft, &peer::Request::ReadIndex, patience).await? {
            peer::Response::ReadIndex(index) => Ok(index),
            _ => Err(out_of_turn(leader)),
        }
    }

    fn confirmed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> MutexGuard<'_, rules::Freshness> {
        // Nothing that holds the lock can panic half-way through a change.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this node, the leader, has applied once it has made sure that it leads: all that anybody was ever told.
///
/// # Errors
/// `unavailable` where it does not lead, or has no quorum.
pub async fn read_index(coordinator: &Coordinator) -> Result<u64, Refusal> {
    coordinator.read_barrier().await.map_err(|error| unsure(coordinator.node_id(), &error.to_string()))?;
    Ok(coordinator.applied_index().unwrap_or(0))
}

fn unsure(me: NodeId, problem: &str) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("node {me}"), problem, "try again, or ask another node")
}
