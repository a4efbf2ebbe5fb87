//! What the parts of one node share.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cluster_config::cluster::ClusterSettings;
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::wire::{Refusal, RefusalCode, peer};
use coordinator::Coordinator;
use node_link::{Lane, LinkError, PeerLinks};
use tokio::runtime::Handle;

use crate::directory::Directory;
use crate::engine::EngineHandle;
use crate::holdings::Holdings;
use crate::store::Store;
use crate::turns::Turns;

/// What the parts of one node share.
pub struct Context {
    /// This node.
    pub me: NodeId,
    /// This start of its process.
    pub incarnation: Incarnation,
    /// What all nodes agree on.
    pub settings: ClusterSettings,
    /// The replicated state and the ways to change it.
    pub coordinator: Coordinator,
    /// Connections to the other nodes.
    pub links: PeerLinks,
    /// What scores.
    pub engine: EngineHandle,
    /// Galleries on disk.
    pub store: Store,
    /// Where templates come from.
    pub holdings: std::sync::Arc<dyn Holdings>,
    /// The shards that run here.
    pub directory: Directory,
    /// Whose turn it is to get content from another node.
    pub turns: Turns,
    /// Whether calls of the raft group are answered. An empty store is kept out of the group until it is known that
    /// this node was never a member: one whose disk was wiped could vote a second time in one term.
    pub raft_open: AtomicBool,
    /// The runtime of the network: connections live on it, so calls that may open one are made there.
    pub network: Handle,
}

impl Context {
    /// Where a node can be reached: as it registered, else as the configuration says.
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let registered =
            self.coordinator.with_state(|state| state.members().get(node).map(|m| m.member.address.clone()));
        let configured = || self.settings.members.iter().find(|m| m.id == node).map(|m| m.address.clone());
        registered.or_else(configured)?.parse().ok()
    }

    /// Asks another node.
    ///
    /// # Errors
    /// Its refusal, or `unavailable` where it gave no answer.
    pub async fn ask(
        &self,
        node: NodeId,
        lane: Lane,
        request: &peer::Request,
        timeout: Duration,
    ) -> Result<peer::Response, Refusal> {
        let Some(address) = self.address(node) else {
            let fix = "see `tvs cluster status` for the members";
            return Err(Refusal::new(RefusalCode::Unavailable, format!("node {node} is not a member"), fix));
        };
        match self.links.call(address, lane, request, timeout).await {
            Ok(peer::Response::Refused(refusal)) => Err(refusal),
            Ok(response) => Ok(response),
            Err(error) => Err(unreachable(node, &error)),
        }
    }
}

fn unreachable(node: NodeId, error: &LinkError) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("node {node}: {error}"), "try again; another node may answer")
}

/// An answer of a kind that does not belong to the question.
pub fn out_of_turn(node: NodeId) -> Refusal {
    let place = format!("node {node} answered out of turn");
    Refusal::new(RefusalCode::Internal, place, "check that all nodes run the same version")
}
