//! P14: a node that was copied, restored, wiped, moved or removed is told apart from the member that the cluster knows.

use cluster_config::canary::Canaries;
use cluster_config::ids::{FolderId, Incarnation, NodeId};
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use cluster_config::wire::RefusalCode;
use coordinator_core::membership::{Command, Evidence, Started};
use coordinator_core::{Outcome, State};

mod support;
use support::apply;

fn member() -> Member {
    Member { id: NodeId(2), address: "10.0.0.2:7100".to_owned(), zone: "b".parse().expect("a zone") }
}

fn past(folder: u128, started: u64, last_entry: u64) -> Past {
    Past { folder: FolderId(folder), started: Incarnation(started), last_entry }
}

fn announce(state: &mut State, incarnation: u64, past: Past) -> Outcome {
    let (node, version) = (member().id, Version::CURRENT);
    apply(state, Command::AnnounceStart { node, incarnation: Incarnation(incarnation), version, past })
}

/// Node 2 works in folder 7, was started at 10 and at 20, and has acknowledged entry 300.
fn state() -> State {
    let mut state = State::default();
    apply(&mut state, Command::Register(member()));
    assert_eq!(announce(&mut state, 10, past(7, 0, 0)), Outcome::Done);
    assert_eq!(announce(&mut state, 20, past(7, 10, 90)), Outcome::Done);
    apply(&mut state, Command::Mark([(NodeId(2), 300)].into()));
    state
}

/// What speaks against node 2, started at 30.
fn doubt(member: &Member, past: Past, initialised: bool, evidence: Evidence) -> Option<(RefusalCode, String)> {
    let started = Started { member, incarnation: Incarnation(30), past, initialised };
    let refusal = state().members().doubt(started, evidence, Canaries::default());
    refusal.map(|refusal| (refusal.code, refusal.problem))
}

fn says(found: Option<(RefusalCode, String)>, words: &str) {
    let (code, problem) = found.expect("a doubt");
    assert_eq!(code, RefusalCode::Conflict);
    assert!(problem.contains(words), "{problem}");
}

#[test]
fn the_member_itself_may_start_again_and_none_of_its_doubles() {
    let here = Evidence { in_group: true, applied: 400, acknowledged: 0 };
    assert_eq!(doubt(&member(), past(7, 20, 300), true, here), None);
    assert_eq!(doubt(&member(), past(7, 25, 350), true, here), None, "a start that it could not announce");
    says(doubt(&member(), past(7, 10, 350), true, here), "the folder's last start is 10, the cluster knows one of 20");
    says(
        doubt(&member(), past(7, 20, 299), true, here),
        "its log ends at entry 299, and it has acknowledged entry 300",
    );
    let leads = Evidence { acknowledged: 330, ..here };
    says(doubt(&member(), past(7, 20, 329), true, leads), "it has acknowledged entry 330");
    assert_eq!(doubt(&member(), past(7, 20, 330), true, leads), None);
    says(doubt(&member(), past(8, 0, 0), false, here), "its data folder is empty");
    says(doubt(&member(), past(8, 20, 400), true, here), "another one than that in which it worked");
    let moved = Member { address: "10.0.0.9:7100".to_owned(), ..member() };
    says(
        doubt(&moved, past(7, 20, 300), true, here),
        "knows it at 10.0.0.2:7100 in zone b, and it has started at 10.0",
    );
    let other_zone = Member { zone: "a".parse().expect("a zone"), ..member() };
    says(doubt(&other_zone, past(7, 20, 300), true, here), "in zone a");
}

#[test]
fn a_node_that_was_taken_out_is_told_and_a_newcomer_is_none() {
    let stranger = Member { id: NodeId(5), address: "10.0.0.5:7100".to_owned(), ..member() };
    let here = Evidence { in_group: false, applied: 400, acknowledged: 0 };
    let (code, problem) = doubt(&stranger, past(9, 20, 300), true, here).expect("a doubt");
    assert_eq!((code, problem.as_str()), (RefusalCode::NotFound, "it was taken out of the cluster"));
    assert_eq!(doubt(&stranger, past(9, 0, 0), false, here), None, "it is new");
    let being_added = Evidence { in_group: true, ..here };
    assert_eq!(doubt(&stranger, past(9, 20, 300), true, being_added), None);
    let behind = Evidence { applied: 200, ..here };
    assert_eq!(doubt(&stranger, past(9, 20, 300), true, behind), None, "who knows less cannot tell");
}

#[test]
fn a_start_out_of_an_earlier_folder_is_not_announced() {
    let mut state = state();
    assert!(matches!(announce(&mut state, 40, past(7, 10, 500)), Outcome::Refused(_)));
    assert!(matches!(announce(&mut state, 40, past(8, 20, 500)), Outcome::Refused(_)));
    assert_eq!(state.members().get(NodeId(2)).map(|known| known.incarnation), Some(Incarnation(20)));
    assert_eq!(announce(&mut state, 15, past(7, 0, 0)), Outcome::Done, "word of an earlier start came late");
    assert_eq!(announce(&mut state, 20, past(7, 10, 90)), Outcome::Done, "said again");
    assert_eq!(announce(&mut state, 40, past(7, 20, 500)), Outcome::Done);
    let moved = Member { address: "10.0.0.9:7100".to_owned(), ..member() };
    apply(&mut state, Command::Register(moved.clone()));
    let known = state.members().get(NodeId(2)).expect("a member");
    assert_eq!((&known.member, known.incarnation, known.mark), (&moved, Incarnation(40), 300), "a move keeps the rest");
}
