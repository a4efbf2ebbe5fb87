//! Members as a leader that leaves sees them. P3.

use std::collections::BTreeSet;

use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use coordinator_core::State;
use coordinator_core::membership::Command;

mod support;

/// P3: a leader that stops hands over, though every other node is being drained: nobody waits for an election.
#[test]
fn a_leader_leaves_its_office_to_who_serves_and_else_to_anybody() {
    let mut state = State::default();
    for id in [1, 2, 3] {
        let address = format!("127.0.0.1:{}", 7_100 + id);
        let member = Member { id: NodeId(id), address, zone: "a".parse().expect("a zone") };
        support::apply(&mut state, Command::Register(member));
    }
    let voters: BTreeSet<NodeId> = [1, 2, 3].map(NodeId).into();
    let heir = |state: &State| state.members().heir(&voters, NodeId(1));
    assert_eq!(heir(&state), Some(NodeId(2)));
    for (drained, left) in [(2, 3), (3, 2)] {
        support::apply(&mut state, Command::SetDraining { node: NodeId(drained), draining: true });
        assert_eq!(heir(&state), Some(NodeId(left)), "node {drained} is drained too");
    }
    assert_eq!(state.members().heir(&[NodeId(1)].into(), NodeId(1)), None);
}
