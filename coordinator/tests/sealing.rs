//! Chunks of the ledger leave the state for files on every node, and survive there what nodes survive.

mod support;

use coordinator::{Coordinator, upkeep};
use coordinator_core::ledger::CHUNK_RECORDS;
use coordinator_core::{Record, RecordOutcome};
use support::{Group, applied_everywhere, commit, journey, leader, record};

/// More than one chunk, in batches.
async fn fill(nodes: &[Coordinator]) {
    for first in (0..CHUNK_RECORDS as u64 + 200).step_by(200) {
        let records: Vec<Record> = (first..first + 200).map(record).collect();
        while leader(nodes).await.record_batch(records.clone()).await.is_err() {}
    }
}

/// What a node has of the first chunk, in its file.
fn in_file(node: &Coordinator) -> Vec<Record> {
    let line = node.with_state(|state| *state.ledger().line(0).expect("it is sealed"));
    node.chunks().records(0, &line).expect("it reads").expect("the file is here")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_has_the_file_of_a_sealed_chunk_also_after_a_restart_behind_a_snapshot() {
    let group = Group::new();
    let nodes = group.found(3).await;
    commit(&nodes, journey()).await;
    fill(&nodes).await;
    let is_sealed = |node: &Coordinator| node.with_state(|state| state.ledger().line(0).is_some());
    let round = async || {
        let leader = leader(&nodes).await;
        upkeep::round(&leader, Some(leader.now())).await.expect("a round");
    };
    while !is_sealed(&leader(&nodes).await) {
        round().await;
    }
    let again = leader(&nodes).await.record_batch(vec![record(5)]).await.expect("it is answered");
    assert_eq!(again, [RecordOutcome::Sealed(5)], "P12: its journey is open, and a retry may come");
    applied_everywhere(&nodes, leader(&nodes).await.applied_index()).await;
    let wanted: Vec<Record> = (0..CHUNK_RECORDS as u64).map(record).collect();
    for node in &nodes {
        assert!(node.with_state(|state| state.ledger().find(record(5).encounter).is_none()), "it has left the state");
        assert_eq!(in_file(node), wanted, "before it is written, too");
        // Nothing else writes the file: without the snapshot the log still has the records.
        node.make_snapshot().await.expect("a snapshot");
    }
    for node in nodes {
        let before = node.with_state(Clone::clone);
        group.kill(&node).await;
        let again = group.start(node.node_id().0);
        applied_everywhere(std::slice::from_ref(&again), node.applied_index()).await;
        assert_eq!(again.with_state(|state| state.ledger().clone()), *before.ledger());
        assert_eq!(in_file(&again), wanted);
        assert_eq!(again.chunks().hashes().expect("listed").len(), 1);
    }
}
