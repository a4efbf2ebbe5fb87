//! Finding out that this node was taken out of the cluster. The rules are [`node_core::removal`].

use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use coordinator::Coordinator;
use node_core::removal::{LOOK_INTERVAL_MS, Removal};

use super::presence::Presence;

/// Ends once this node, which was a member, is none any more; gives who says so.
pub async fn removed(coordinator: &Coordinator, presence: &Presence) -> Vec<NodeId> {
    let me = coordinator.node_id();
    let mut removal = Removal::default();
    loop {
        tokio::time::sleep(Duration::from_millis(LOOK_INTERVAL_MS)).await;
        let all: Vec<Member> = coordinator.with_state(|s| s.members().iter().map(|m| m.member.clone()).collect());
        let others: Vec<&Member> = all.iter().filter(|member| member.id != me).collect();
        if others.len() == all.len() {
            return vec![me];
        }
        let answers = futures::future::join_all(others.iter().map(|member| presence.greet(member))).await;
        let hellos = answers.iter().flatten().filter(|hello| hello.initialised);
        if removal.heard(others.len(), hellos.clone().map(|hello| hello.knows_you)) {
            return hellos.filter(|hello| !hello.knows_you).map(|hello| hello.node).collect();
        }
    }
}
