//! F4, F6, F34, F36; P14: a node that is copied, restored, wiped, moved or whose folder is taken away knows it, says so
//! in one line, and takes part in nothing; the original works on.

use std::collections::BTreeMap;

use cluster_config::actor::Role;
use cluster_config::decision::{Directive, Recording};
use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::Request;
use harness::copies::copy_folder;
use harness::fault::Fault;
use harness::invariants::p10_clear_refusals;
use harness::level::wait_for;
use harness::live::{Live, tvs};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::Bank;
use harness::{doubles, emptied};
use node_link::certificates::Validity;
use node_stage::Error;

const NODE: NodeId = NodeId(2);

/// Boards people of the bank's first flight, starting with this one, until somebody has boarded for certain.
async fn boards(live: &Live, bank: &Bank, at: NodeId, first: usize) -> usize {
    let gate = live.gate_at(at).await;
    for guest in first..bank.flights[0].guests.len() {
        let answer = gate.board(bank.capture(0, guest, guest as u64, 1)).await.expect("an answer");
        if (answer.directive, answer.recording) == (Directive::Proceed, Recording::Committed) {
            return guest;
        }
    }
    panic!("nobody boards");
}

/// P14, F4: a copy of a running node's folder ends by itself, wherever it says that it is, and the original works on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_ends_and_its_original_works_on() {
    let mut live = Live::start("copies", 3).await;
    let bank = Bank::new(harness::seed(), 1, 60);
    live.submit(NodeId(1), &bank.flights[0].manifest).await.expect("submitted");
    live.replicated().await;
    let folder = tempfile::tempdir().expect("a folder");
    for (number, elsewhere) in [true, false].into_iter().enumerate() {
        let output = live.twin(NODE, &folder.path().join(number.to_string()), elsewhere).await;
        let line = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        assert_eq!(output.status.code(), Some(2), "{line}");
        let words = if elsewhere { "tvs cluster move --id 2" } else { "it runs already" };
        p10_clear_refusals::check_text("a twin", line.lines().next_back().unwrap_or_default(), words);
        // The original is heard, holds its replicas and answers.
        live.ready(3).await;
        live.replicated().await;
        boards(&live, &bank, NODE, 10 * number).await;
        let leader = live.leader().await;
        let status = live.status(leader).await.expect("a status");
        let silent = status.members.iter().find(|member| member.member.id == NODE).expect("a member").silent_ms;
        assert!(silent.is_some_and(|ms| ms < 2_000), "{silent:?}");
    }
}

/// P14, F6: a folder that was put back to an earlier state does not take part again: neither one of before the node's
/// latest start, nor one of before what it has acknowledged since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_folder_is_refused_and_the_rest_boards_on() {
    let mut live = Live::start("copies", 3).await;
    let bank = Bank::new(harness::seed(), 1, 80);
    live.submit(NodeId(1), &bank.flights[0].manifest).await.expect("submitted");
    live.replicated().await;
    let backups = tempfile::tempdir().expect("a folder");
    let (data, [early, late]) = (live.data_dir(NODE), ["early", "late"].map(|name| backups.path().join(name)));
    live.strike(Fault::Stop(NODE)).await;
    copy_folder(&data, &early);
    live.strike(Fault::Start(NODE)).await;
    live.ready(3).await;
    live.strike(Fault::Kill(NODE)).await;
    copy_folder(&data, &late);
    live.strike(Fault::Start(NODE)).await;
    live.ready(3).await;
    let mut guest = 0;
    for _ in 0..3 {
        guest = boards(&live, &bank, NODE, guest).await + 1;
    }
    live.same_ledger().await;
    live.strike(Fault::Kill(NODE)).await;
    let own = backups.path().join("own");
    std::fs::rename(&data, &own).expect("set aside");
    for backup in [&early, &late] {
        copy_folder(backup, &data);
        live.strike(Fault::Start(NODE)).await;
        live.ends_by_itself(NODE, 2, "has gone back in time").await;
        std::fs::remove_dir_all(&data).expect("removed");
        guest = boards(&live, &bank, NodeId(1), guest).await + 1;
    }
    // With its own folder it is the node that it was.
    std::fs::rename(&own, &data).expect("put back");
    live.strike(Fault::Start(NODE)).await;
    live.ready(3).await;
    live.same_ledger().await;
}

/// P14, F6: the same in the same start of the node: only the leader remembers what it acknowledged since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_lacks_what_was_acknowledged_a_moment_ago_is_refused() {
    let mut live = Live::start("copies", 3).await;
    let bank = Bank::new(harness::seed(), 1, 40);
    live.submit(NodeId(1), &bank.flights[0].manifest).await.expect("submitted");
    live.replicated().await;
    let leader = live.leader().await;
    let follower = live.running().into_iter().find(|node| *node != leader).expect("a follower");
    let backup = tempfile::tempdir().expect("a folder");
    let (data, copy) = (live.data_dir(follower), backup.path().join("copy"));
    live.copy_running(follower, &copy).await;
    live.ready(3).await;
    boards(&live, &bank, leader, 0).await;
    live.same_ledger().await;
    live.strike(Fault::Kill(follower)).await;
    std::fs::remove_dir_all(&data).expect("removed");
    copy_folder(&copy, &data);
    live.strike(Fault::Start(follower)).await;
    live.ends_by_itself(follower, 2, "it has acknowledged entry").await;
    boards(&live, &bank, leader, 20).await;
}

/// P14: an empty folder, and one of another cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_and_a_foreign_folder_are_refused_and_the_node_comes_back_under_a_new_id() {
    let mut live = Live::start("copies", 3).await;
    let other = Live::start("copies", 3).await;
    let bank = Bank::new(harness::seed(), 1, 40);
    live.submit(NodeId(1), &bank.flights[0].manifest).await.expect("submitted");
    live.replicated().await;
    let data = live.data_dir(NODE);
    live.strike(Fault::Kill(NODE)).await;
    std::fs::remove_dir_all(&data).expect("wiped");
    live.strike(Fault::Start(NODE)).await;
    live.ends_by_itself(NODE, 2, "its data folder is empty").await;

    std::fs::remove_dir_all(&data).expect("wiped");
    copy_folder(&other.data_dir(NODE), &data);
    live.strike(Fault::Start(NODE)).await;
    live.ends_by_itself(NODE, 2, "belongs to cluster").await;
    boards(&live, &bank, NodeId(1), 0).await;

    let new = NodeId(4);
    let config = live.cluster.node(NODE).expect("a node").config.display().to_string();
    let rejoin = ["node", "rejoin", "--config", &config, "--id", "4"];
    p10_clear_refusals::check_command("no certificate yet", &tvs(&rejoin), "tvs certs issue");
    live.cluster.authority().issue(Role::Node, "node-4", Validity::Days(1)).expect("issued");
    let done = tvs(&rejoin);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("tvs cluster remove 2") && said.contains("data.of-node-2-1"), "{said}");
    assert!(data.with_file_name("data.of-node-2-1").join("raft").is_dir(), "nothing is destroyed");
    let member = Member { id: new, ..live.cluster.member_of(NODE).expect("a node") };
    live.remove(NODE).await;
    // It is the same machine: the harness goes on calling it node 2.
    live.cluster.restart(NODE).expect("started");
    let leader = live.leader().await;
    wait_for("node 4 is added", LEVEL_DEADLINE, async || {
        let added = live.ask(leader, Request::AddMember { member: member.clone(), voter: true }).await;
        added.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    live.ready(3).await;
    live.replicated().await;
}

/// F36: a process whose folder was taken away ends, since what it acknowledges would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_folder_is_removed_or_replaced_ends_with_a_reason() {
    let mut live = Live::start("copies", 3).await;
    let [first, second] = [2, 3].map(NodeId);
    std::fs::remove_dir_all(live.data_dir(first)).expect("removed");
    live.ends_by_itself(first, 1, "was removed under the running node").await;
    live.ready(3).await;
    let data = live.data_dir(second);
    let aside = data.with_file_name("aside");
    std::fs::rename(&data, &aside).expect("set aside");
    copy_folder(&aside, &data);
    live.ends_by_itself(second, 1, "was replaced under the running node").await;
}

/// F34: where a member is reached is said in one place, and changed by one command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_moved_is_refused_until_the_cluster_is_told() {
    let mut live = Live::start("copies", 3).await;
    let there = Member { address: "127.0.0.1:9".to_owned(), ..live.cluster.member_of(NODE).expect("a node") };
    let leader = live.leader().await;
    for (case, request) in [
        ("it works where it is", Request::MoveMember(there.clone())),
        ("it is a member elsewhere", Request::AddMember { member: there.clone(), voter: true }),
    ] {
        match live.ask(leader, request).await {
            Err(Error::Refused(refusal)) => p10_clear_refusals::check(case, &refusal, RefusalCode::Conflict, "node 2"),
            other => panic!("{case}: {other:?}"),
        }
    }
    live.strike(Fault::Stop(NODE)).await;
    let there = live.cluster.relocate(NODE).expect("another address");
    live.strike(Fault::Start(NODE)).await;
    live.ends_by_itself(NODE, 2, "tvs cluster move --id 2").await;
    let applied = live.status(live.leader().await).await.expect("a status").applied_index;
    let (connection, zone) = (live.connection(NodeId(1), "operator"), there.zone.to_string());
    let words = ["cluster", "move", "--id", "2", "--address", &there.address, "--zone", &zone];
    let words: Vec<&str> = words.into_iter().chain(connection.iter().map(String::as_str)).collect();
    // It counts as stopped once it has been silent for a while.
    wait_for("the cluster is told", LEVEL_DEADLINE, async || {
        let moved = live.tvs(&words);
        if moved.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&moved.stderr).into_owned()) }
    })
    .await;
    live.strike(Fault::Start(NODE)).await;
    live.ready(3).await;
    live.same_ledger().await;
    // Nobody quarrels about it: a few entries, not ten a second.
    let after = live.status(live.leader().await).await.expect("a status").applied_index;
    assert!(after < applied + 40, "{} entries", after - applied);
}

/// P3: 100 small worlds of a node that is emptied.
#[test]
fn a_node_that_is_emptied_may_be_stopped_when_nothing_of_it_is_left() {
    for seed in 1..=100 {
        assert_eq!(emptied::run(seed), Ok(()), "seed {seed}");
    }
}

/// P14: 400 small worlds of folders that are copied, put back and wiped.
#[test]
fn no_double_takes_part_and_every_member_may_come_back() {
    let mut counts = BTreeMap::new();
    for seed in 1..=400 {
        let (happened, failure) = doubles::run(seed);
        assert_eq!(failure, None, "seed {seed}");
        for (what, count) in happened {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    for what in ["twin refused", "folder put back", "folder wiped", "own folder taken", "refused", "commits"] {
        assert!(counts.get(what).is_some_and(|count| *count > 100), "{what}: {counts:?}");
    }
}
