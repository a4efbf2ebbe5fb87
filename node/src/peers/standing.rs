//! Who is a member: by this node's own state, or by the word of the members that it knows. The rules of that word are
//! [`node_core::standing`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::wire::peer;
use coordinator::Coordinator;
use node_core::standing::{self as rules, VOUCH_MS_MAX, Word};
use node_link::Lane;
use tokio::sync::Notify;

use super::links::Links;

/// See the module.
pub struct Standing {
    coordinator: Coordinator,
    links: Links,
    rules: Mutex<rules::Standing>,
    answered: Notify,
    /// From where `rules` counts.
    began: Instant,
    is_caught_up: AtomicBool,
}

impl Standing {
    /// The standing of nodes, as the node sees it that has this state and these links.
    pub fn new(coordinator: Coordinator, links: Links) -> Self {
        Self {
            coordinator,
            links,
            rules: Mutex::default(),
            answered: Notify::new(),
            began: Instant::now(),
            is_caught_up: AtomicBool::new(false),
        }
    }

    /// From now on this node's state is not one from before its start.
    pub fn caught_up(&self) {
        self.is_caught_up.store(true, Ordering::Release);
    }

    /// Whether this node knows the other one as a member.
    pub fn knows(&self, node: NodeId) -> bool {
        self.coordinator.with_state(|state| state.members().contains(node))
            || self.coordinator.members().contains_key(&node)
            || (!self.coordinator.initialised() && self.links.is_configured(node))
    }

    /// Whether the node is a member, by all that can be found out.
    pub async fn is_member(self: &Arc<Self>, node: NodeId) -> bool {
        self.knows(node) || self.word(node).await == Word::Member
    }

    /// Whether calls of the raft group are taken from the node. One that has just started has to catch up before it can
    /// know: where nobody whom it knows answers, it follows whom it does not know.
    pub async fn may_lead(self: &Arc<Self>, node: NodeId) -> bool {
        if self.knows(node) {
            return true;
        }
        match self.word(node).await {
            Word::Member => true,
            Word::Stranger => false,
            Word::Silence => !self.is_caught_up.load(Ordering::Acquire),
        }
    }

    async fn word(self: &Arc<Self>, node: NodeId) -> Word {
        loop {
            let mut told = std::pin::pin!(self.answered.notified());
            told.as_mut().enable();
            let next = self.rules().of(self.now_us(), node);
            if next.ask {
                self.ask(node);
            }
            match next.word {
                Some(word) => return word,
                None => told.await,
            }
        }
    }

    /// Has the known members asked. Whoever waits for their word may stop waiting: others do not.
    fn ask(self: &Arc<Self>, node: NodeId) {
        let here = self.clone();
        tokio::spawn(async move {
            let (me, patience) = (here.coordinator.node_id(), Duration::from_millis(VOUCH_MS_MAX));
            let others = here.links.known().into_iter().filter(|other| *other != me && *other != node);
            let request = peer::Request::Vouch(node);
            let asked = others.map(|other| here.links.ask(other, Lane::Raft, &request, patience));
            let answers = futures::future::join_all(asked).await.into_iter().filter_map(|answer| match answer {
                Ok(peer::Response::Vouched(is_member)) => Some(is_member),
                _ => None,
            });
            here.rules().answered(here.now_us(), node, answers);
            here.answered.notify_waiters();
        });
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn rules(&self) -> MutexGuard<'_, rules::Standing> {
        // Nothing that holds the lock can panic half-way through a change.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
