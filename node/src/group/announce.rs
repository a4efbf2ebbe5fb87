//! A node's announcement of its start.

use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::member::Past;
use cluster_config::versions::Version;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use coordinator_core::membership::Command;

use super::proposer::{CHANGE_TIMEOUT, Proposer};

/// How long a node waits for its own announcement to come back before it repeats it.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(200);

/// Announces this start of the node, and waits until its own state has it: from then on that state is not an old one,
/// from before the start. Where it is reached and in which zone is not for it to say: the leader announces that as the
/// raft group has it.
///
/// # Errors
/// Where this start is not one of the member that the cluster knows.
pub async fn announce(
    coordinator: &Coordinator,
    proposer: &Proposer,
    incarnation: Incarnation,
    past: Past,
) -> Result<(), Refusal> {
    let node = coordinator.node_id();
    let mut changes = coordinator.changes();
    loop {
        match known(coordinator, node) {
            Some(known) if known > incarnation => return Err(superseded(node)),
            Some(known) if known == incarnation => return Ok(()),
            Some(_) => {
                let command = Command::AnnounceStart { node, incarnation, version: Version::CURRENT, past };
                match proposer.propose(Actor::node(node), command, Instant::now() + CHANGE_TIMEOUT).await {
                    Err(refusal) if refusal.code == RefusalCode::Conflict => return Err(refusal),
                    Err(refusal) => tracing::warn!(%refusal, "this node could not announce itself yet"),
                    Ok(_) => {}
                }
            }
            None => {}
        }
        // What was applied at the leader comes here a moment later; without news it is said again.
        let _ = tokio::time::timeout(ANNOUNCE_INTERVAL, changes.changed()).await;
    }
}

/// Waits until another process has started as this node, and says so.
pub async fn other_start(coordinator: &Coordinator, incarnation: Incarnation) -> Refusal {
    let node = coordinator.node_id();
    let mut changes = coordinator.changes();
    loop {
        if known(coordinator, node).is_some_and(|known| known > incarnation) {
            return superseded(node);
        }
        if changes.changed().await.is_err() {
            // The group has stopped, and says so by itself.
            std::future::pending::<()>().await;
        }
    }
}

fn known(coordinator: &Coordinator, node: NodeId) -> Option<Incarnation> {
    coordinator.with_state(|state| state.members().get(node).map(|known| known.incarnation))
}

fn superseded(node: NodeId) -> Refusal {
    let problem = "another process has started as this node since";
    let fix = "leave one of the two running; run `tvs node rejoin` on the other";
    Refusal::new(RefusalCode::Conflict, format!("node {node}"), problem, fix)
}
