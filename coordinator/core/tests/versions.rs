//! In which version a cluster writes: one that every member understands. P13.

#[cfg(feature = "next")]
use cluster_config::ids::UnixMs;
use cluster_config::ids::{FolderId, Incarnation, NodeId};
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
#[cfg(feature = "next")]
use coordinator_core::Entry;
use coordinator_core::membership::Command;
use coordinator_core::{Outcome, State};

mod support;

fn register(state: &mut State, id: u64) {
    let address = format!("127.0.0.1:{}", 7_100 + id);
    let member = Member { id: NodeId(id), address, zone: "a".parse().expect("a zone") };
    assert_eq!(support::apply(state, Command::Register(member)), Outcome::Done);
}

fn start(state: &mut State, id: u64, incarnation: u64, version: u8) {
    let past = Past { folder: FolderId(1), started: Incarnation(incarnation), last_entry: 0 };
    let (node, incarnation, version) = (NodeId(id), Incarnation(incarnation), Version(version));
    assert_eq!(support::apply(state, Command::AnnounceStart { node, incarnation, version, past }), Outcome::Done);
}

#[test]
fn a_cluster_writes_what_its_oldest_member_understands_and_never_goes_back() {
    let mut state = State::default();
    register(&mut state, 1);
    assert_eq!(state.version(), None);
    start(&mut state, 1, 10, 4);
    assert_eq!(state.version(), Some(Version(4)), "a cluster is founded by nodes of one release");
    for id in [2, 3] {
        register(&mut state, id);
        start(&mut state, id, 10, 4);
    }
    for id in [1, 2] {
        start(&mut state, id, 20, 5);
        assert_eq!(state.version(), Some(Version(4)), "node 3 is of the release before");
    }
    start(&mut state, 2, 15, 4);
    start(&mut state, 3, 20, 5);
    assert_eq!(state.version(), Some(Version(5)), "word of node 2's earlier start came late");
    start(&mut state, 1, 30, 4);
    assert_eq!(state.version(), Some(Version(5)), "the log has entries of version 5");
}

#[test]
fn a_newcomer_that_has_not_started_holds_the_version_and_one_that_leaves_frees_it() {
    let mut state = State::default();
    register(&mut state, 1);
    start(&mut state, 1, 10, 4);
    register(&mut state, 2);
    start(&mut state, 1, 20, 5);
    assert_eq!(state.version(), Some(Version(4)), "nobody knows what node 2 understands");
    start(&mut state, 2, 10, 4);
    assert_eq!(state.version(), Some(Version(4)));
    assert_eq!(support::apply(&mut state, Command::Remove(NodeId(2))), Outcome::Done);
    assert_eq!(state.version(), Some(Version(5)));
}

/// While nobody knows the version, a node with an empty folder would take its own for the cluster's.
#[test]
fn a_founder_that_dies_before_its_first_start_does_not_keep_the_version_unknown() {
    let mut state = State::default();
    [1, 2, 3].into_iter().for_each(|id| register(&mut state, id));
    start(&mut state, 1, 10, 4);
    assert_eq!(state.version(), Some(Version(4)));
}

/// What has been dropped is not applied by a node that can still read it: no other node would see it in the log.
#[cfg(feature = "next")]
#[test]
fn a_command_that_came_in_an_older_form_is_refused_where_its_form_was_dropped() {
    let close = coordinator_core::galleries::Command::CloseStanding("LAREDO".parse().expect("an id"));
    let entry = |version| {
        let actor = cluster_config::actor::Actor::node(NodeId(1));
        Entry::new(actor, UnixMs(1), close.clone().into()).in_version(version)
    };
    assert!(entry(Version(1)).is_ok());
    let refused = entry(Version::CURRENT).expect_err("version 2 has no such command").to_string();
    assert!(refused.contains("a version before 2"), "{refused}");
}
