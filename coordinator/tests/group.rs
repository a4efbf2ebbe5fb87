//! Groups of coordinators in one process: election, commits, failover, transfer, growth, restarts and snapshots.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{Incarnation, NodeId, UnixMs};
use cluster_config::limits::{CHUNK_BYTES, LEDGER_BATCH_RECORDS_MAX};
use cluster_config::wire::peer::{Held, Report};
use coordinator::{Error, Planner, ProposeError, Watchlist};
use coordinator_core::{Outcome, RecordOutcome, membership};
use futures::future::join_all;
use support::{Group, actor, applied_everywhere, commit, journey, leader, member, record, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_elect_commit_and_survive_their_leader() {
    let group = Group::new();
    let nodes = group.found(3).await;
    assert_eq!(commit(&nodes, membership::Command::Register(member(1))).await, Outcome::Done);
    assert_eq!(commit(&nodes, journey()).await, Outcome::Done);
    let first = leader(&nodes).await;
    let stored = first.record(record(1)).await.expect("recorded");
    assert_eq!(stored, RecordOutcome::Stored(record(1)));
    let index = first.applied_index();
    let term = first.term();

    group.kill(&first).await;
    let rest: Vec<_> = nodes.iter().filter(|n| n.node_id() != first.node_id()).cloned().collect();
    let second = leader(&rest).await;
    assert!(second.term() > term);
    assert_ne!(second.node_id(), first.node_id());
    assert_eq!(commit(&rest, membership::Command::Register(member(2))).await, Outcome::Done);
    let found = second.with_state(|state| state.ledger().find(record(1).encounter).cloned());
    assert_eq!(found, Some(record(1)), "what was committed survives");

    let again = group.start(first.node_id().0);
    applied_everywhere(std::slice::from_ref(&again), index.max(second.applied_index())).await;
    let one = again.with_state(Clone::clone);
    assert_eq!(one, second.with_state(Clone::clone), "the same commands give the same state");
    until("the returned node knows the leader", || again.leader() == second.leader()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_refuse_and_name_the_leader() {
    let group = Group::new();
    let nodes = group.found(3).await;
    let lead = leader(&nodes).await;
    for node in nodes.iter().filter(|n| n.node_id() != lead.node_id()) {
        until("the follower knows the leader", || node.leader() == Some(lead.node_id())).await;
        let wanted = ProposeError::NotLeader(Some(lead.node_id()));
        assert_eq!(node.propose(actor(), journey()).await, Err(wanted.clone()));
        assert_eq!(node.record(record(1)).await, Err(wanted.clone()));
        assert_eq!(node.read_barrier().await, Err(wanted));
        let error = node.transfer_leader(node.node_id()).await;
        assert!(matches!(error, Err(Error::NotLeader(Some(id))) if id == lead.node_id()));
    }
    assert!(lead.initialise(&[member(1)]).await.is_ok(), "founding twice changes nothing");
    assert_eq!(lead.voters().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request_and_quickly() {
    let group = Group::new();
    let nodes = group.found(3).await;
    let old = leader(&nodes).await;
    let to = nodes.iter().find(|n| n.node_id() != old.node_id()).expect("another");
    applied_everywhere(&nodes, old.applied_index()).await;
    let asked = Instant::now();
    old.transfer_leader(to.node_id()).await.expect("transfer");
    until("the new leader leads", || to.is_leader()).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(300), "it must not wait for an election: {took:?}");
    assert_eq!(commit(&nodes, journey()).await, Outcome::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_leader_commits_nothing_and_steps_back() {
    let group = Group::new();
    let nodes = group.found(3).await;
    commit(&nodes, journey()).await;
    let old = leader(&nodes).await;
    group.network.cut(old.node_id());
    let lost = old.record(record(7)).await;
    assert!(
        matches!(lost, Err(ProposeError::Unavailable | ProposeError::NotLeader(_))),
        "without a quorum nothing is confirmed: {lost:?}"
    );
    assert!(old.read_barrier().await.is_err(), "nor read");
    let rest: Vec<_> = nodes.iter().filter(|n| n.node_id() != old.node_id()).cloned().collect();
    let new = leader(&rest).await;
    assert_eq!(new.record(record(8)).await, Ok(RecordOutcome::Stored(record(8))));
    let term = new.term();
    group.network.heal();
    until("the old leader follows", || old.leader() == new.leader() && !old.is_leader()).await;
    applied_everywhere(&nodes, new.applied_index()).await;
    assert_eq!(new.term(), term, "pre-vote: the returning node disturbs nobody");
    assert!(old.with_state(|state| state.ledger().find(record(8).encounter).is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_as_learner_becomes_a_voter_and_leaves() {
    let group = Group::new();
    let mut nodes = group.found(1).await;
    let lead = leader(&nodes).await;
    commit(&nodes, journey()).await;
    nodes.push(group.start(2));
    assert!(!nodes[1].initialised());
    lead.add_member(actor(), member(2), false).await.expect("learner");
    assert_eq!(lead.learners().into_iter().collect::<Vec<_>>(), [NodeId(2)]);
    applied_everywhere(&nodes, lead.applied_index()).await;
    assert!(nodes[1].initialised());
    lead.add_member(actor(), member(2), true).await.expect("voter");
    lead.add_member(actor(), member(2), true).await.expect("a repeat is not an error");
    assert_eq!(lead.voters().len(), 2);
    let moved = cluster_config::member::Member { address: "127.0.0.1:9".to_owned(), ..member(2) };
    lead.move_member(actor(), moved.clone()).await.expect("another address");
    assert_eq!(lead.members()[&NodeId(2)].address, moved.address);
    assert_eq!(lead.with_state(|s| s.members().get(NodeId(2)).map(|known| known.member.clone())), Some(moved));
    lead.remove_member(actor(), NodeId(2)).await.expect("leaves");
    assert_eq!(lead.voters().into_iter().collect::<Vec<_>>(), [NodeId(1)]);
    assert!(lead.learners().is_empty());
    assert!(lead.with_state(|s| !s.members().contains(NodeId(2))));
    assert_eq!(commit(&nodes, membership::Command::Register(member(1))).await, Outcome::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_share_entries_and_each_caller_gets_its_own_answer() {
    let group = Group::new();
    let nodes = group.found(3).await;
    commit(&nodes, journey()).await;
    let lead = leader(&nodes).await;
    let before = lead.applied_index().expect("applied");
    let count = 2_000;
    let answers = join_all((0..count).map(|n| lead.record(record(n)))).await;
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(answer, Ok(RecordOutcome::Stored(record(number))));
    }
    let entries = lead.applied_index().expect("applied") - before;
    let fewest = count.div_ceil(LEDGER_BATCH_RECORDS_MAX as u64);
    assert!((fewest..count / 4).contains(&entries), "{entries} entries for {count} records");
    assert_eq!(lead.with_state(|state| state.ledger().len()), count);
    let repeated = lead.record(record(5)).await;
    assert_eq!(repeated, Ok(RecordOutcome::Stored(record(5))));
    assert_eq!(lead.with_state(|state| state.ledger().len()), count, "a repeat adds nothing");
    let mut unknown = record(9_999);
    unknown.gallery = GalleryId::passengers("XX1-20261124-JFK".parse().expect("journey"));
    assert_eq!(lead.record(unknown).await, Ok(RecordOutcome::NotOpen));
    let flood = join_all((0..20_000).map(|n| lead.record(record(n)))).await;
    assert!(flood.contains(&Err(ProposeError::Busy)), "the queue is bounded");
    assert!(flood.iter().all(|a| matches!(a, Ok(RecordOutcome::Stored(_)) | Err(ProposeError::Busy))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_restarts_with_everything_it_confirmed() {
    let group = Group::new();
    let nodes = group.found(1).await;
    commit(&nodes, journey()).await;
    join_all((0..500).map(|n| nodes[0].record(record(n)))).await;
    let before = nodes[0].with_state(Clone::clone);
    let index = nodes[0].applied_index();
    group.kill(&nodes[0]).await;
    let again = group.start(1);
    assert!(again.initialised());
    leader(std::slice::from_ref(&again)).await;
    assert!(again.applied_index() > index);
    assert_eq!(again.with_state(Clone::clone), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_for_long_catches_up_from_a_snapshot() {
    let group = Group::new();
    let nodes = group.found(3).await;
    commit(&nodes, journey()).await;
    let lead = leader(&nodes).await;
    let away = nodes.iter().find(|n| n.node_id() != lead.node_id()).expect("follower").clone();
    applied_everywhere(&nodes, lead.applied_index()).await;
    let left_at = away.applied_index();
    group.kill(&away).await;
    // Past the second snapshot the log before the first is purged, and with it what the absent node is missing.
    while lead.applied_index() < Some(2 * coordinator::group::raft::SNAPSHOT_AFTER_ENTRIES + 500) {
        let command = membership::Command::SetDraining { node: NodeId(77), draining: true };
        let written = join_all((0..1_000).map(|_| lead.propose(actor(), command.clone()))).await;
        let refused = written.iter().find(|w| !matches!(w, Ok(_) | Err(ProposeError::Unavailable)));
        assert_eq!(refused, None);
    }
    until("the leader has two snapshots", || {
        lead.snapshot_index() > Some(coordinator::group::raft::SNAPSHOT_AFTER_ENTRIES + 5_000)
    })
    .await;
    until("the leader has purged", || lead.purged_index() > left_at).await;
    let rest: Vec<_> = nodes.iter().filter(|n| n.node_id() != away.node_id()).cloned().collect();
    for first in (0..8_000).step_by(200) {
        let records = (first..first + 200).map(record).collect::<Vec<_>>();
        while leader(&rest).await.record_batch(records.clone()).await.is_err() {}
    }
    applied_everywhere(&rest, leader(&rest).await.applied_index()).await;
    for node in &rest {
        node.make_snapshot().await.expect("a snapshot with the records");
    }
    let lead = leader(&rest).await;
    let again = group.start(away.node_id().0);
    applied_everywhere(std::slice::from_ref(&again), lead.applied_index()).await;
    // What it has applied is known before the snapshot is told of.
    until("it came by snapshot", || again.snapshot_index().is_some()).await;
    // F7: it came in one message, which took the longer the larger the state was.
    let messages = group.network.snapshot_messages.lock().expect("lock").clone();
    assert!(messages.len() >= 3, "{messages:?}");
    assert!(messages.iter().all(|bytes| *bytes < CHUNK_BYTES + 1_024), "{messages:?}");
    assert_eq!(again.with_state(Clone::clone), lead.with_state(Clone::clone));

    group.kill(&again).await;
    let again = group.start(away.node_id().0);
    applied_everywhere(std::slice::from_ref(&again), lead.applied_index()).await;
    assert_eq!(again.with_state(Clone::clone), lead.with_state(Clone::clone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_planner_announces_members_places_shards_and_moves_them_off_a_lost_node() {
    let group = Group::new();
    let nodes = group.found(3).await;
    let watch = Watchlist::new(Arc::new(|reason| panic!("{reason}")));
    let start =
        |node: &coordinator::Coordinator| Planner::start(node.clone(), Arc::default(), &watch).expect("planner");
    let planners: Vec<Planner> = nodes.iter().map(start).collect();
    let lead = leader(&nodes).await;
    until("the members are announced", || lead.with_state(|s| s.members().len() == 3)).await;
    commit(&nodes, journey()).await;
    // Everyone reports to everyone; only the leader's planner keeps it.
    let mut silent = None;
    let mut owner = None;
    for phase in 0..2 {
        until("the shard is placed on live nodes", || {
            for node in nodes.iter().map(|n| n.node_id()).filter(|id| Some(*id) != silent) {
                let report = Report {
                    node,
                    incarnation: Incarnation(1),
                    revision: 1,
                    held: Some(Held::default()),
                    open: 0,
                    clock: UnixMs(0),
                };
                assert!(planners.iter().all(|planner| planner.report(report.clone())));
            }
            let placed = lead.with_state(|s| s.blueprint().iter().next().map(|(_, placement)| placement.clone()));
            owner = placed.as_ref().map(|placement| placement.owner);
            placed.is_some_and(|placement| Some(placement.owner) != silent)
        })
        .await;
        if phase == 0 {
            silent = owner;
            // A wall clock that is set back hides nobody's silence.
            group.clock.fetch_sub(3_600_000, Ordering::SeqCst);
        }
    }
    assert_ne!(owner, silent);
    assert_eq!(lead.with_state(|s| s.blueprint().len()), 1);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is installed");
    assert!(copied.success());
}

/// P14, F6: the leader and the others work on beside a follower whose log has gone back behind what it acknowledged.
/// Nodes look at each other before such a one starts; this is what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_has_lost_what_it_acknowledged_harms_nobody_else() {
    let group = Group::new();
    let nodes = group.found(3).await;
    commit(&nodes, journey()).await;
    let lead = leader(&nodes).await;
    let follower = nodes.iter().find(|node| node.node_id() != lead.node_id()).expect("a follower").clone();
    let id = follower.node_id();
    applied_everywhere(&nodes, lead.applied_index()).await;
    group.kill(&follower).await;
    drop(follower);
    let (data, backup) = (group.data_dir(id.0), group.data_dir(100));
    copy(&data, &backup);
    let again = group.start(id.0);
    for number in 1..20 {
        lead.record(record(number)).await.expect("recorded");
    }
    applied_everywhere(std::slice::from_ref(&again), lead.applied_index()).await;
    group.kill(&again).await;
    drop(again);
    std::fs::remove_dir_all(&data).expect("removed");
    copy(&backup, &data);
    let _back_in_time = group.start(id.0);
    let stored = lead.record(record(20)).await.expect("recorded by the two that are left");
    assert_eq!(stored, RecordOutcome::Stored(record(20)));
}
