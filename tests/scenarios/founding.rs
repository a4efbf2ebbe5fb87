//! F27, F28; P14: a cluster is founded once, by nodes that agree. Who differs is named, and keeps nobody from working.

use std::time::Duration;

use cluster_config::decision::{Directive, Recording};
use cluster_config::file::Configuration;
use cluster_config::ids::{ClusterId, NodeId};
use cluster_config::wire::operator::Request;
use cluster_config::wire::peer::{self, RaftCall};
use cluster_config::wire::{Channel, RefusalCode};
use harness::fault::Fault;
use harness::invariants::p10_clear_refusals;
use harness::level::wait_for;
use harness::live::{Live, Setting};
use harness::raw::{Raw, frame};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::Bank;
use node_link::GateClient;
use node_stage::Error;

fn setting(nodes: u64) -> Setting {
    Setting::new("founding", nodes)
}

/// Changes a node's configuration file.
fn edit(live: &Live, node: u64, change: impl FnOnce(&mut Configuration)) {
    let path = &live.cluster.node(NodeId(node)).expect("a node").config;
    let text = std::fs::read_to_string(path).expect("a configuration");
    let mut configuration: Configuration = toml::from_str(&text).expect("a configuration");
    change(&mut configuration);
    std::fs::write(path, toml::to_string(&configuration).expect("encoded")).expect("written");
}

/// Has a node list these members alone.
fn list(live: &Live, node: u64, ids: &[u64]) {
    edit(live, node, |configuration| configuration.cluster.members.retain(|member| ids.contains(&member.id.0)));
}

fn log_of(live: &Live, node: u64) -> String {
    std::fs::read_to_string(&live.cluster.node(NodeId(node)).expect("a node").log).expect("a log")
}

async fn says(live: &Live, node: u64, words: &str) {
    wait_for(&format!("node {node} says {words:?}"), LEVEL_DEADLINE, async || {
        let log = log_of(live, node);
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Waits until these nodes are a cluster of so many voters.
async fn are_one(live: &Live, nodes: &[u64], voters: usize) {
    wait_for(&format!("nodes {nodes:?} are one cluster"), LEVEL_DEADLINE, async || {
        for node in nodes {
            let status = live.status(NodeId(*node)).await.map_err(|error| error.to_string())?;
            let found = status.members.iter().filter(|member| member.voter).count();
            if found != voters || status.leader.is_none() {
                return Err(format!("node {node}: {found} voters, leader {:?}", status.leader));
            }
        }
        Ok(())
    })
    .await;
}

/// Waits until a node has ended by itself because its operator has to change something, and gives its last line.
async fn refuses_to_start(live: &mut Live, node: u64) -> String {
    let node_id = NodeId(node);
    let ended = wait_for("the node ends", LEVEL_DEADLINE, async || {
        live.cluster.ended(node_id).expect("a node").ok_or("it runs".to_owned())
    })
    .await;
    assert_eq!(ended.code(), Some(2));
    live.cluster.forget(node_id).expect("a node");
    log_of(live, node).trim_end().lines().next_back().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_overlapping_member_lists_found_one_cluster_and_whoever_is_not_of_it_is_told_why() {
    let mut live = Live::prepare(&setting(5));
    for node in 1..=5 {
        list(&live, node, if node <= 3 { &[1, 2, 3] } else { &[3, 4, 5] });
    }
    for node in [4, 5, 3, 1, 2].map(NodeId) {
        live.strike(Fault::Start(node)).await;
    }
    are_one(&live, &[1, 2, 3], 3).await;
    for node in [4, 5] {
        says(&live, node, "node 3 lists [1 at ").await;
        let status = live.status(NodeId(node)).await.expect("a status");
        assert_eq!((status.leader, status.members.len()), (None, 0), "node {node} has founded another cluster");
    }
    // People board at the cluster, and not at a node that is of none.
    let bank = Bank::new(harness::seed(), 1, 20);
    live.submit(NodeId(1), &bank.flights[0].manifest).await.expect("submitted");
    let gate = live.gate_at(NodeId(1)).await;
    let mut boarded = false;
    for guest in 0..20 {
        let answer = gate.board(bank.capture(0, guest, 1, 1)).await.expect("an answer");
        boarded |= (answer.directive, answer.recording) == (Directive::Proceed, Recording::Committed);
    }
    assert!(boarded, "nobody boards");
    let address = live.address(NodeId(5));
    let again = GateClient::connect_to_one(address, live.gate_identity().await, Duration::from_secs(2)).await;
    assert!(again.is_err(), "a node of no cluster serves gates");
    // Told so, an operator adds one of them.
    let member = live.cluster.member_of(NodeId(4)).expect("a node");
    live.ask(live_leader(&live).await, Request::AddMember { member, voter: true }).await.expect("added");
    are_one(&live, &[1, 2, 3, 4], 4).await;
}

async fn live_leader(live: &Live) -> NodeId {
    live.status(NodeId(1)).await.expect("a status").leader.expect("a leader")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_one_node_with_a_wrong_file_keeps_nobody_from_starting() {
    let mut live = Live::start_as(setting(3)).await;
    for node in live.running() {
        live.strike(Fault::Kill(node)).await;
    }
    edit(&live, 1, |configuration| configuration.cluster.name = "elsewhere".to_owned());
    live.strike(Fault::Start(NodeId(1))).await;
    let line = refuses_to_start(&mut live, 1).await;
    p10_clear_refusals::check_text("a folder of another name", &line, "cluster.name is \"elsewhere\" here");
    edit(&live, 2, |configuration| configuration.cluster.template_dims = 256);
    live.strike(Fault::Start(NodeId(2))).await;
    let line = refuses_to_start(&mut live, 2).await;
    p10_clear_refusals::check_text("a folder of other templates", &line, "cluster.template_dims is 256 here");
    edit(&live, 2, |configuration| configuration.cluster.template_dims = 512);

    // Without a folder it cannot know better by itself: it meets the others, says who differs, and waits.
    std::fs::remove_dir_all(&live.cluster.node(NodeId(1)).expect("a node").data_dir).expect("its folder");
    for node in [1, 2, 3].map(NodeId) {
        live.strike(Fault::Start(node)).await;
    }
    are_one(&live, &[2, 3], 3).await;
    says(&live, 1, "node 2 has other settings: cluster.name is \"elsewhere\" here and \"local\" there").await;
    assert!(live.cluster.ended(NodeId(1)).expect("a node").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_clusters_refuse_each_other_and_say_so() {
    let mut live = Live::prepare(&setting(2));
    for node in [1, 2] {
        list(&live, node, &[node]);
        live.strike(Fault::Start(NodeId(node))).await;
        are_one(&live, &[node], 1).await;
    }
    let member = live.cluster.member_of(NodeId(2)).expect("a node");
    match live.ask(NodeId(1), Request::AddMember { member: member.clone(), voter: true }).await {
        Err(Error::Refused(refusal)) => {
            p10_clear_refusals::check("another cluster's node", &refusal, RefusalCode::Conflict, "node 2");
            assert!(refusal.problem.contains("belongs to cluster"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    says(&live, 2, "refused a node of another cluster").await;

    live.strike(Fault::Stop(NodeId(2))).await;
    let first = live.cluster.member_of(NodeId(1)).expect("a node");
    edit(&live, 2, |configuration| configuration.cluster.members.push(first));
    live.strike(Fault::Start(NodeId(2))).await;
    says(&live, 2, "node 1 refuses this node: node 2: it belongs to cluster").await;
    says(&live, 1, "refused a node of another cluster").await;
    are_one(&live, &[2], 1).await;

    let identity = live.cluster.identity("node-1").expect("its certificate");
    let call = peer::Request::Raft { cluster: ClusterId(1), call: RaftCall::Vote, body: Vec::new() };
    let raw = Raw::new(live.address(NodeId(1)), &identity);
    let refusal = raw.refusal(Channel::Peer, &frame(Channel::Peer, &call)).await.expect("a refusal");
    p10_clear_refusals::check("a call of another cluster", &refusal, RefusalCode::Conflict, "node 1");
}
