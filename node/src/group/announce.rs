//! A node's announcement of its start.

use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::ids::Incarnation;
use cluster_config::member::Member;
use cluster_config::versions::Version;
use coordinator::Coordinator;
use coordinator_core::membership::Command;

use super::proposer::{CHANGE_TIMEOUT, Proposer};

/// How long a node waits for its own announcement to come back before it repeats it.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(200);

/// Announces this start of the node, and waits until its own state has it: from then on that state is not an old one,
/// from before the start.
pub async fn announce(coordinator: &Coordinator, proposer: &Proposer, member: Member, incarnation: Incarnation) {
    let actor = Actor::node(member.id);
    let mut changes = coordinator.changes();
    loop {
        let known = coordinator.with_state(|state| state.members().get(member.id).cloned());
        let command = match known {
            Some(known) if known.member != member => Command::Register(member.clone()),
            Some(known) if known.incarnation < incarnation => {
                Command::AnnounceStart { node: member.id, incarnation, version: Version::CURRENT }
            }
            Some(_) => return,
            None => Command::Register(member.clone()),
        };
        if let Err(refusal) = proposer.propose(actor, command, Instant::now() + CHANGE_TIMEOUT).await {
            tracing::warn!(%refusal, "this node could not announce itself yet");
        }
        // What was applied at the leader comes here a moment later; without news it is said again.
        let _ = tokio::time::timeout(ANNOUNCE_INTERVAL, changes.changed()).await;
    }
}
