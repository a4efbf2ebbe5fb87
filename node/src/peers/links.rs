//! Asking the other nodes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use cluster_config::versions::Version;
use cluster_config::wire::{Fix, Refusal, RefusalCode, peer};
use coordinator::Coordinator;
use node_link::{Lane, LinkError, PeerLinks};

/// Connections to the other nodes, by their ids. A cheap handle.
#[derive(Clone)]
pub struct Links {
    links: PeerLinks,
    coordinator: Coordinator,
    configured: Arc<[Member]>,
}

impl Links {
    /// Links to the members of the replicated state, and to the `configured` ones while it does not know them yet.
    pub fn new(links: PeerLinks, coordinator: Coordinator, configured: &[Member]) -> Self {
        Self { links, coordinator, configured: configured.into() }
    }

    /// The version in which the cluster writes: every member understands it.
    pub fn version(&self) -> Version {
        self.coordinator.version()
    }

    /// Where a node can be reached: as it registered, else as the configuration says.
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let registered =
            self.coordinator.with_state(|state| state.members().get(node).map(|m| m.member.address.clone()));
        let configured = || self.configured.iter().find(|m| m.id == node).map(|m| m.address.clone());
        registered.or_else(configured)?.parse().ok()
    }

    /// Whether the configuration names the node.
    pub fn is_configured(&self, node: NodeId) -> bool {
        self.configured.iter().any(|member| member.id == node)
    }

    /// The members that this node knows of; those of the configuration while it belongs to no cluster yet.
    pub fn known(&self) -> BTreeSet<NodeId> {
        let mut known: BTreeSet<NodeId> = self.coordinator.with_state(|state| state.members().ids().collect());
        known.extend(self.coordinator.members().into_keys());
        if known.is_empty() {
            known.extend(self.configured.iter().map(|member| member.id));
        }
        known
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
            return Err(Refusal::new(RefusalCode::Unavailable, format!("node {node}"), "it is not a member", fix));
        };
        match self.links.call((node, address), lane, request, timeout).await {
            Ok(peer::Response::Refused(refusal)) => Err(refusal),
            Ok(response) => Ok(response),
            Err(error) => Err(unreachable(node, &error)),
        }
    }
}

fn unreachable(node: NodeId, error: &LinkError) -> Refusal {
    let fix = Fix::with(format!("try again; another node may answer; {}", error.fix()));
    Refusal::new(RefusalCode::Unavailable, format!("node {node}"), error.problem(), fix)
}

/// An answer of a kind that does not belong to the question.
pub fn out_of_turn(node: NodeId) -> Refusal {
    let fix = "check that all nodes run the same version";
    Refusal::new(RefusalCode::Internal, format!("node {node}"), "it answered out of turn", fix)
}
