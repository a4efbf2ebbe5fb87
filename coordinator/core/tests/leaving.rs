//! What a node that leaves takes with it: the quorum, the last copy of a gallery, what is on it while it is emptied.

use std::collections::BTreeSet;

use cluster_config::canary::Canaries;
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, Incarnation, NodeId, UnixMs};
use cluster_config::limits::NODE_LOST_AFTER_MS;
use cluster_config::member::Member;
use cluster_config::wire::RefusalCode;
use cluster_config::wire::operator::Voters;
use cluster_config::wire::peer::{Held, Report};
use coordinator_core::placement::{Change, Inventory, Placement, leaving, plan};
use coordinator_core::{State, galleries, journeys, membership, placement};

mod support;
use support::apply;

fn shard() -> ShardId {
    let gallery = GalleryId::passengers(support::plan(1).id);
    ShardId { gallery, modality: Modality::Face, model: support::model(), part: 0 }
}

/// Three nodes; node 1 owns the gallery of a journey, and has built version 1 of it.
fn state() -> State {
    let mut state = State::default();
    for id in 1..=3 {
        let (address, zone) = (format!("10.0.0.{id}:7100"), format!("z{id}").parse().expect("a zone"));
        apply(&mut state, membership::Command::Register(Member { id: NodeId(id), address, zone }));
    }
    apply(&mut state, journeys::Command::Open(support::plan(1)));
    let placement = Placement { epoch: Epoch(1), owner: NodeId(1), standbys: Vec::new(), rosters: Vec::new() };
    let changes = vec![Change { shard: shard(), placement }];
    let parent = state.blueprint().generation();
    apply(&mut state, placement::Command::Change { parent, changes });
    let commit = galleries::Commit {
        shard: shard(),
        epoch: Epoch(1),
        node: NodeId(1),
        version: GalleryVersion(1),
        hash: ContentHash([1; 32]),
        manifest: ContentHash([1; 32]),
        counts: GalleryCounts { people: 10, rows: 10, without_photo: 0 },
        made_from: Some(vec![GalleryVersion(0)]),
        numbered_by: ContentHash([1; 32]),
        loss: None,
        is_built: true,
    };
    apply(&mut state, galleries::Command::Commit(commit));
    assert_eq!(state.part(shard()).map(|part| part.version), Some(GalleryVersion(1)));
    state
}

/// What these nodes report, each with the version of the gallery that it has and its open answers.
fn reports(inventory: &mut Inventory, all: &[(u64, u32, u32)]) {
    for (node, version, open) in all {
        let shards = vec![(shard(), GalleryVersion(*version))];
        inventory.take(Report {
            node: NodeId(*node),
            incarnation: Incarnation(1),
            revision: 1,
            held: Some(Held { shards, troubles: Vec::new() }),
            open: *open,
            clock: UnixMs(0),
        });
    }
}

#[test]
fn a_removal_says_what_the_group_survives_and_is_refused_where_it_would_stop() {
    let voters = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    let mut inventory = Inventory::default();
    inventory.pass(NODE_LOST_AFTER_MS);
    reports(&mut inventory, &[(1, 1, 0), (2, 1, 0), (3, 1, 0)]);
    assert_eq!(leaving::voters(&inventory, 5, &voters(&[1, 2, 3, 4])), Ok(Voters { before: 5, after: 4 }));
    assert_eq!((Voters::tolerated(5), Voters::tolerated(4), Voters::tolerated(1)), (2, 1, 0));
    let refused = leaving::voters(&inventory, 5, &voters(&[1, 2, 4, 5])).expect_err("two of four");
    assert_eq!(refused.code, RefusalCode::Conflict);
    assert!(refused.problem.contains("of the 4 that would be left 2 answer"), "{refused}");
}

#[test]
fn the_last_copy_of_a_gallery_is_not_let_go() {
    let (state, mut inventory) = (state(), Inventory::default());
    reports(&mut inventory, &[(1, 1, 0), (2, 0, 0), (3, 0, 0)]);
    let refused = leaving::keeps_copies(&state, &inventory, NodeId(1)).expect_err("the only copy");
    assert!(refused.place.contains("AA1-20270115-JFK") && refused.fix.as_str().contains("--i-know"), "{refused}");
    assert_eq!(leaving::keeps_copies(&state, &inventory, NodeId(2)), Ok(()), "it has none");
    reports(&mut inventory, &[(3, 1, 0)]);
    assert_eq!(leaving::keeps_copies(&state, &inventory, NodeId(1)), Ok(()));
}

/// A node is empty once another one owns what it owned, nobody counts on it, it leads nothing and owes no answer: a
/// drain that says so earlier is caught here (canary `DrainDoneEarly`).
#[test]
fn a_node_that_is_emptied_is_done_when_nothing_is_left_and_no_earlier() {
    let (mut state, mut inventory) = (state(), Inventory::default());
    reports(&mut inventory, &[(1, 1, 2), (2, 0, 0), (3, 0, 0)]);
    let moves = leaving::preview(&state, &inventory, NodeId(1), UnixMs(0));
    assert!(moves.len() == 1 && moves[0].owned && !moves[0].to.is_empty(), "{moves:?}");
    assert!(!state.members().is_draining(NodeId(1)), "a preview changes nothing");
    apply(&mut state, membership::Command::SetDraining { node: NodeId(1), draining: true });
    let left = |state: &State, inventory: &Inventory, leads| {
        leaving::draining(state, inventory, NodeId(1), leads, Canaries::of_process())
    };
    let first = left(&state, &inventory, true);
    assert_eq!((first.owns, first.stuck, first.open, first.is_done), (1, 1, 2, false));
    let plans = |state: &mut State, inventory: &Inventory| {
        for command in plan(state, inventory, UnixMs(0), Canaries::default()) {
            apply(state, command);
        }
    };
    plans(&mut state, &inventory);
    let copying = left(&state, &inventory, false);
    assert_eq!((copying.owns, copying.unready, copying.is_done), (1, 1, false), "its copies are not ready");
    reports(&mut inventory, &[(2, 1, 0), (3, 1, 0)]);
    plans(&mut state, &inventory);
    let moved = left(&state, &inventory, false);
    assert_eq!((moved.owns, moved.stands_by, moved.open, moved.is_done), (0, 0, 2, false), "it owes two answers");
    reports(&mut inventory, &[(1, 0, 0)]);
    assert!(left(&state, &inventory, false).is_done);
    assert!(!left(&state, &inventory, true).is_done, "it leads");
    apply(&mut state, membership::Command::SetDraining { node: NodeId(1), draining: false });
    assert!(!left(&state, &inventory, false).is_done, "it is not being emptied any more");
}
