//! A follower that has lost what it had acknowledged: its disk was put back, or is broken. What it acknowledged may
//! have been committed by that alone, so it must not vote, and its answers must not count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_config::ids::NodeId;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::mpsc;

use crate::group::raft::Vote;
use crate::machine::Raft;

/// That a follower has refused an entry before one that it had acknowledged to this leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub node: NodeId,
    pub acknowledged: u64,
    /// Where it says that its log differs.
    pub refused: u64,
}

/// What followers have acknowledged to this leader, and where losses are reported. openraft has several connections
/// to a follower, such as one for heartbeats: what it acknowledged over one it must have over the others.
#[derive(Debug, Clone)]
pub struct Losses {
    found: mpsc::UnboundedSender<Loss>,
    acknowledged: Arc<Mutex<BTreeMap<NodeId, (Vote, u64)>>>,
}

impl Losses {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Loss>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { found: sender, acknowledged: Arc::default() }, receiver)
    }

    /// The last entry that the node has acknowledged under this leadership.
    pub fn acknowledged(&self, node: NodeId, vote: Vote) -> Option<u64> {
        self.lock().get(&node).filter(|(known, _)| *known == vote).map(|(_, index)| *index)
    }

    /// The node has acknowledged everything up to this entry.
    pub fn acknowledge(&self, node: NodeId, vote: Vote, upto: u64) {
        let upto = self.acknowledged(node, vote).map_or(upto, |before| before.max(upto));
        self.lock().insert(node, (vote, upto));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Vote, u64)>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self, loss: Loss) {
        // Nobody listens only once the node stops.
        let _ = self.found.send(loss);
    }
}

/// Takes each of them out of the group, and says so. A loss that is reported while its node is being taken out changes
/// nothing more.
pub async fn take_out(raft: Raft, mut losses: mpsc::UnboundedReceiver<Loss>) {
    while let Some(Loss { node, acknowledged, refused }) = losses.recv().await {
        let is_member = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.nodes().any(|(id, _)| *id == node.0)
        };
        if !is_member {
            continue;
        }
        tracing::error!(
            %node, acknowledged, refused,
            "a follower has lost entries that it had acknowledged and is taken out of the group; run `tvs node rejoin` \
             on it, which gives it a new id"
        );
        let change = ChangeMembers::RemoveVoters(BTreeSet::from([node.0]));
        if let Err(error) = raft.change_membership(change, false).await {
            tracing::error!(%node, %error, "it could not be taken out; run `tvs cluster remove {node}`");
        }
    }
}
