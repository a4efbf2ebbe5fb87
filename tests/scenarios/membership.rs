//! R92; P1, P3, P4: operators add, drain and remove nodes and hand leadership over while the bank boards, and no gate
//! notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::{MemberStatus, Request};
use harness::emulator::Conditions;
use harness::fault::Fault;
use harness::invariants::p4_epochs::Owners;
use harness::invariants::{p1_exactly_once, p3_no_failed_request, p10_clear_refusals};
use harness::level::wait_for;
use harness::live::{Live, Setting};
use harness::target::{LEVEL_DEADLINE, Target};
use harness::workload::{self, Bank};
use node_stage::Error;

/// Runs a `tvs cluster` command against a node; it must be done. Gives what it printed.
fn operate(live: &Live, node: NodeId, words: &[&str]) -> String {
    let connection = live.connection(node, "operator");
    let arguments = ["cluster"].into_iter().chain(words.iter().copied());
    let arguments: Vec<&str> = arguments.chain(connection.iter().map(String::as_str)).collect();
    live.journal.write(words.join(" "));
    let output = live.tvs(&arguments);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_is_added_drained_and_removed_while_the_bank_boards() {
    let mut live = Live::start("membership", 3).await;
    let (_, mut boarding) = workload::begin(&live, 4, 150, Duration::from_millis(40)).await;
    let mut owners = Owners::of(&live).await;
    boarding.reached(10).await;

    let newcomer = live.cluster.prepare_newcomer().expect("a fourth node's files");
    let (fourth, id) = (newcomer.id, newcomer.id.to_string());
    live.strike(Fault::Start(fourth)).await;
    wait_for("the fourth node listens", LEVEL_DEADLINE, async || {
        live.status(fourth).await.map(|_| ()).map_err(|failure| failure.to_string())
    })
    .await;
    let address = newcomer.address.clone();
    let zone = newcomer.zone.to_string();
    let added = operate(&live, NodeId(1), &["add", "--id", &id, "--address", &address, "--zone", &zone]);
    assert!(added.contains("3 voters, tolerates 1 → 4 voters, tolerates 1"), "{added}");
    live.ready(4).await;
    owners.look(&live).await;

    let preview = operate(&live, NodeId(2), &["drain", &id, "--dry-run"]);
    assert!(preview.contains("nothing was changed"), "{preview}");
    let drained = operate(&live, NodeId(2), &["drain", &id]);
    assert!(drained.trim_end().ends_with("it may be stopped"), "{drained}");
    owners.look(&live).await;
    let leader = live.leader().await;
    let status = live.status(leader).await.expect("a status");
    let member = status.members.iter().find(|member| member.member.id == fourth).expect("a member");
    assert!(member.owner_of + member.standby_of == 0 && leader != fourth, "it said done too early: {member:?}");
    let removed = operate(&live, NodeId(3), &["remove", &id]);
    assert!(removed.contains("4 voters, tolerates 1 → 3 voters, tolerates 1"), "{removed}");
    live.strike(Fault::Stop(fourth)).await;
    live.ready(3).await;
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    owners.check(&live, &history).await;
    p1_exactly_once::check(&history, &live.same_ledger().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_and_an_owner_drained_while_the_bank_boards() {
    let live = Live::start("membership", 3).await;
    let bank = Arc::new(Bank::new(harness::seed(), 4, 120));
    workload::submit(&live, &bank).await;
    let gates = workload::gates(&live, &bank).await;
    let leader = live.leader().await;
    let heir = live.running().into_iter().find(|node| *node != leader).expect("another node");
    let mut owners = Owners::default();
    owners.look(&live).await;

    let mut boarding = workload::board(&bank, gates, Duration::from_millis(30));
    boarding.reached(25).await;
    let handed_over = Instant::now();
    live.journal.write(format!("leader {leader} hands over to {heir}"));
    live.ask(heir, Request::TransferLeader(heir)).await.expect("handed over");
    let took = handed_over.elapsed();
    assert_eq!(live.leader().await, heir);
    boarding.reached(50).await;
    let owner = workload::first_owner(&live, &bank).await;
    let drained = Instant::now();
    live.journal.write(format!("owner {owner} is drained"));
    live.ask(leader, Request::Drain { node: owner, draining: true }).await.expect("draining");
    wait_for("the drained owner holds nothing", LEVEL_DEADLINE, async || {
        owners.look(&live).await;
        let status = live.status(live.leader().await).await.map_err(|failure| failure.to_string())?;
        let member = status.members.iter().find(|member| member.member.id == owner).ok_or("not a member")?;
        if member.owner_of == 0 && status.leader != Some(owner) { Ok(()) } else { Err(format!("{member:?}")) }
    })
    .await;
    let drain_took = drained.elapsed();
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    owners.check(&live, &history).await;
    p1_exactly_once::check(&history, &live.same_ledger().await);
    for (what, from, length) in [("transfer", handed_over, took), ("drain", drained, drain_took)] {
        let window = length.max(Duration::from_millis(500));
        let line = p3_no_failed_request::check_planned(&history, from, window);
        println!("{what}: {line}");
    }
}

/// P10: a change of the members that cannot be made is refused, and nothing is half done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_members_that_cannot_be_made_is_refused_and_changes_nothing() {
    let mut live = Live::start("membership", 3).await;
    let silent = live.cluster.prepare_newcomer().expect("a fourth node's files");
    let leader = live.leader().await;
    let before = live.status(leader).await.expect("a status").members;
    let [first, second] = [0, 1].map(|index| before[index].member.clone());
    let add = |member: Member| Request::AddMember { member, voter: true };
    for (case, request, code, place) in [
        ("nobody runs there", add(silent.clone()), RefusalCode::Unavailable, "node 4"),
        (
            "a voter is moved to where nobody runs",
            add(Member { address: silent.address.clone(), ..first.clone() }),
            RefusalCode::Conflict,
            "node 1",
        ),
        (
            "a voter is moved to where another runs",
            add(Member { address: second.address.clone(), ..first }),
            RefusalCode::Conflict,
            "node 1",
        ),
        (
            "another runs where the newcomer should",
            add(Member { address: second.address, ..silent }),
            RefusalCode::Conflict,
            "node 4",
        ),
        (
            "who is removed is no member",
            Request::RemoveMember { node: NodeId(9), i_know: false },
            RefusalCode::NotFound,
            "member 9",
        ),
    ] {
        match live.ask(leader, request).await {
            Err(Error::Refused(refusal)) => p10_clear_refusals::check(case, &refusal, code, place),
            other => panic!("{case}: {other:?}"),
        }
    }
    let known = |members: Vec<MemberStatus>| -> Vec<_> { members.into_iter().map(|m| (m.member, m.voter)).collect() };
    let after = live.status(live.leader().await).await.expect("a status").members;
    assert_eq!(known(after), known(before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_a_slow_line_is_added_although_the_others_know_it_before_it_knows_itself() {
    let mut live = Live::start_as(Setting { network: true, ..Setting::new("membership", 3) }).await;
    let newcomer = live.cluster.prepare_newcomer().expect("a fourth node's files");
    live.equip(newcomer.id);
    // Several round trips lie between the moment in which the leader knows of a learner and that in which the learner
    // has its first entry; the newcomer greets the others all the while.
    let slow = Conditions { delay: Duration::from_millis(60), ..Conditions::default() };
    live.strike(Fault::Worsen(newcomer.id, slow)).await;
    live.strike(Fault::Start(newcomer.id)).await;
    wait_for("the fourth node listens", LEVEL_DEADLINE, async || {
        live.status(newcomer.id).await.map(|_| ()).map_err(|failure| failure.to_string())
    })
    .await;
    let adding = live.ask(live.leader().await, Request::AddMember { member: newcomer.clone(), voter: true });
    let added = tokio::time::timeout(LEVEL_DEADLINE, adding).await;
    let ended = live.cluster.ended(newcomer.id).expect("a node");
    assert!(ended.is_none(), "the newcomer took itself for a node whose disk was wiped: {ended:?}");
    added.expect("added in time").expect("added");
    live.ready(4).await;
}
