//! Finding out that this node was taken out of the cluster. The rules are [`node_core::removal`].

use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use cluster_config::wire::RefusalCode;
use cluster_config::wire::peer::Hello;
use coordinator::Coordinator;
use node_core::joining::Answer;
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
        let answers = futures::future::join_all(others.iter().map(|member| presence.greet(&member.address))).await;
        let hellos = answers.iter().flatten().filter_map(|answer| match answer {
            Answer::Hello(hello) if hello.initialised => Some(hello),
            Answer::Hello(_) | Answer::Refused(_) => None,
        });
        // Any other doubt is about this start of the node, not about its being a member.
        let knows_me = |hello: &Hello| hello.doubt.as_ref().is_none_or(|doubt| doubt.code != RefusalCode::NotFound);
        if removal.heard(others.len(), hellos.clone().map(|hello| knows_me(hello))) {
            return hellos.filter(|hello| !knows_me(hello)).map(|hello| hello.node()).collect();
        }
    }
}
