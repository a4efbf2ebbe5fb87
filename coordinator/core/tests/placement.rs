//! Placement as promised: P4 and section 7 of the design. R92, R94.

use std::collections::BTreeMap;

use cluster_config::canary::Canaries;
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, Incarnation, NodeId, StandingId, UnixMs};
use cluster_config::journey::{JourneyPlan, JourneyStatus};
use cluster_config::limits::{NODE_LOST_AFTER_MS, REPLACE_AFTER_MS};
use cluster_config::member::Member;
use cluster_config::wire::peer::Report;
use coordinator_core::placement::{Change, Command, Inventory, Placement};
use coordinator_core::{Outcome, State, galleries, journeys, membership, retention};

mod support;
use support::apply;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;

fn member(id: u64) -> Member {
    let zone = ["a", "b", "c"][(id % 3) as usize].parse().expect("zone");
    Member { id: NodeId(id), address: format!("127.0.0.1:{}", 7_000 + id), zone }
}

fn journey(number: u64, departs_in_ms: u64, people: u32) -> JourneyPlan {
    JourneyPlan { departs_at: UnixMs(NOW.0 + departs_in_ms), people, ..support::plan(number) }
}

/// The commit of a shard's first version by its owner under this placement.
fn first_version(shard: ShardId, placement: &Placement) -> galleries::Command {
    galleries::Command::Commit(galleries::Commit {
        shard,
        epoch: placement.epoch,
        node: placement.owner,
        version: GalleryVersion(1),
        hash: ContentHash([9; 32]),
        manifest: ContentHash([1; 32]),
        counts: GalleryCounts { people: 3, rows: 5, without_photo: 0 },
        made_from: None,
        numbered_by: ContentHash::default(),
    })
}

/// A state and the reports of its nodes, all of which hold whatever the blueprint gives them.
struct World {
    state: State,
    inventory: Inventory,
    silent: Vec<NodeId>,
    now: UnixMs,
}

impl World {
    fn new(nodes: u64) -> Self {
        let mut state = State::default();
        for id in 1..=nodes {
            assert_eq!(apply(&mut state, membership::Command::Register(member(id))), Outcome::Done);
        }
        let mut world = Self { state, inventory: Inventory::default(), silent: Vec::new(), now: NOW };
        world.report();
        world
    }

    fn report(&mut self) {
        for node in self.state.members().ids().filter(|node| !self.silent.contains(node)) {
            let held = self.state.blueprint().iter().filter(|(_, placement)| placement.has(node));
            let shards = held
                .map(|(shard, _)| (shard, self.state.part(shard).map(|part| part.version).unwrap_or_default()))
                .collect();
            self.inventory.take(Report { node, incarnation: Incarnation(1), shards });
        }
    }

    /// Plans and applies until nothing changes, and checks that this is soon.
    fn settle(&mut self) {
        for _ in 0..8 {
            let commands = self.plan();
            if commands.is_empty() {
                return;
            }
            for command in commands {
                assert_eq!(apply(&mut self.state, command.clone()), Outcome::Done, "{command:?}");
            }
            assert_eq!(self.plan(), [], "plan(plan(x)) == plan(x)");
            self.report();
        }
        panic!("the planner does not come to rest");
    }

    fn plan(&self) -> Vec<Command> {
        coordinator_core::placement::plan(&self.state, &self.inventory, self.now, Canaries::default())
    }

    fn open(&mut self, plan: JourneyPlan) -> ShardId {
        let gallery = GalleryId::passengers(plan.id);
        let shard = ShardId { gallery, modality: Modality::Face, model: support::model(), part: 0 };
        assert_eq!(apply(&mut self.state, journeys::Command::Open(plan)), Outcome::Done);
        self.settle();
        shard
    }

    fn commit(&mut self, shard: ShardId) {
        let placement = self.placement(shard);
        assert_eq!(apply(&mut self.state, first_version(shard, &placement)), Outcome::Done);
        self.report();
    }

    fn placement(&self, shard: ShardId) -> Placement {
        self.state.placement(shard).expect("a placement").clone()
    }

    fn pass(&mut self, ms: u64) {
        self.now = UnixMs(self.now.0 + ms);
        self.inventory.pass(self.now.0 - NOW.0);
        self.report();
    }
}

#[test]
fn boarding_flights_get_three_replicas_in_three_zones_and_later_ones_two() {
    let mut world = World::new(5);
    let boarding = world.open(journey(1, HOUR_MS / 2, 200));
    let later = world.open(journey(2, 10 * HOUR_MS, 200));
    let zones: BTreeMap<_, _> = world
        .placement(boarding)
        .replicas()
        .map(|n| (world.state.members().get(n).expect("a member").member.zone, n))
        .collect();
    assert_eq!(zones.len(), 3, "three replicas in three zones");
    assert_eq!(world.placement(later).replicas().count(), 2);
}

#[test]
fn the_owners_of_one_departure_bank_are_spread_over_the_nodes() {
    let mut world = World::new(3);
    let mut owners: BTreeMap<NodeId, u32> = BTreeMap::new();
    for number in 0..12 {
        let shard = world.open(journey(number, HOUR_MS / 2, 100));
        *owners.entry(world.placement(shard).owner).or_default() += 1;
    }
    assert_eq!(owners.values().copied().collect::<Vec<_>>(), [4, 4, 4]);
}

#[test]
fn the_people_stand_on_a_majority_of_the_members_and_on_one_without_a_replica() {
    for (nodes, rosters) in [(2, 0), (3, 1), (5, 1), (7, 2), (9, 3)] {
        let mut world = World::new(nodes);
        let shard = world.open(journey(1, 10 * HOUR_MS, 100));
        let placement = world.placement(shard);
        assert_eq!((placement.standbys.len(), placement.rosters.len()), (1, rosters), "{nodes} nodes");
        assert!(!placement.rosters.iter().any(|node| placement.has(*node)), "{placement:?}");
    }
}

#[test]
fn a_roster_holder_that_is_gone_is_replaced_and_counts_until_its_receipt() {
    let mut world = World::new(4);
    let shard = world.open(journey(1, 10 * HOUR_MS, 100));
    world.commit(shard);
    let before = world.placement(shard);
    let [lost] = before.rosters[..] else { panic!("{before:?}") };
    world.silent.push(lost);
    world.pass(REPLACE_AFTER_MS);
    world.settle();
    let after = world.placement(shard);
    assert!(after.rosters.len() == 1 && after.rosters != before.rosters, "{after:?}");
    assert_eq!((after.owner, after.epoch), (before.owner, before.epoch), "ownership is not touched");
    let held: Vec<NodeId> = world.state.part(shard).expect("a shard").holders.iter().copied().collect();
    assert!(held.len() == 4 && held.contains(&lost), "{held:?}");
}

#[test]
fn a_silent_owner_is_followed_by_a_ready_standby_in_the_next_epoch_and_replaced_only_when_gone() {
    let mut world = World::new(4);
    let shard = world.open(journey(1, 10 * HOUR_MS, 100));
    world.commit(shard);
    let before = world.placement(shard);
    world.silent.push(before.owner);
    world.pass(NODE_LOST_AFTER_MS - 1);
    world.settle();
    assert_eq!(world.placement(shard), before, "too early to tell");
    world.pass(1);
    world.settle();
    let promoted = world.placement(shard);
    assert_eq!((promoted.owner, promoted.epoch), (before.standbys[0], Epoch(2)));
    assert!(promoted.has(before.owner), "it may be back in a moment");
    world.pass(REPLACE_AFTER_MS);
    world.settle();
    let replaced = world.placement(shard);
    assert!(!replaced.has(before.owner));
    assert_eq!((replaced.owner, replaced.epoch, replaced.replicas().count()), (promoted.owner, promoted.epoch, 2));
}

#[test]
fn a_node_that_comes_back_moves_nothing() {
    let mut world = World::new(3);
    let shard = world.open(journey(1, HOUR_MS / 2, 100));
    world.commit(shard);
    let lost = world.placement(shard).owner;
    world.silent.push(lost);
    world.pass(NODE_LOST_AFTER_MS);
    world.settle();
    let during = world.placement(shard);
    world.silent.clear();
    world.pass(1);
    world.settle();
    assert_eq!(world.placement(shard), during);
}

#[test]
fn a_lost_node_that_nobody_can_replace_keeps_its_place_and_is_not_made_owner_again() {
    let mut world = World::new(3);
    let shard = world.open(journey(1, HOUR_MS / 2, 100));
    world.commit(shard);
    let lost = world.placement(shard).owner;
    world.silent.push(lost);
    world.pass(10 * REPLACE_AFTER_MS);
    world.settle();
    let during = world.placement(shard);
    assert!(during.has(lost) && during.owner != lost, "{during:?}");
    world.silent.clear();
    world.pass(1);
    world.settle();
    assert_eq!(world.placement(shard), during, "what it has on its disk is still wanted");
}

#[test]
fn draining_hands_over_before_it_lets_go() {
    let mut world = World::new(3);
    let shard = world.open(journey(1, 10 * HOUR_MS, 100));
    world.commit(shard);
    let before = world.placement(shard);
    assert_eq!(
        apply(&mut world.state, membership::Command::SetDraining { node: before.owner, draining: true }),
        Outcome::Done
    );
    let commands = world.plan();
    let [Command::Change { changes, .. }] = commands.as_slice() else { panic!("{commands:?}") };
    assert!(changes[0].placement.has(before.owner), "copied before it is dropped");
    world.settle();
    let after = world.placement(shard);
    assert!(!after.has(before.owner) && after.replicas().count() == 2, "{after:?}");
    assert_eq!(after.owner, before.standbys[0], "the replica that was ready takes over");
}

#[test]
fn a_commit_of_an_earlier_epoch_or_of_another_node_is_refused() {
    let mut world = World::new(3);
    let shard = world.open(journey(1, HOUR_MS / 2, 100));
    let old = world.placement(shard);
    world.silent.push(old.owner);
    world.pass(NODE_LOST_AFTER_MS);
    world.settle();
    assert_eq!(world.placement(shard).epoch, Epoch(old.epoch.0 + 1));
    let outcome = apply(&mut world.state, first_version(shard, &old));
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[test]
fn a_blueprint_that_skips_the_epoch_or_doubles_a_replica_is_refused() {
    let mut world = World::new(3);
    let shard = world.open(journey(1, HOUR_MS / 2, 100));
    let before = world.placement(shard);
    let generation = world.state.blueprint().generation();
    let mut refuse = |placement: Placement| {
        let command = Command::Change { parent: generation, changes: vec![Change { shard, placement }] };
        let state = world.state.clone();
        assert!(matches!(apply(&mut world.state, command), Outcome::Refused(_)));
        assert_eq!(world.state, state, "nothing is half-applied");
    };
    refuse(Placement { owner: before.standbys[0], standbys: vec![before.owner], ..before.clone() });
    refuse(Placement { standbys: vec![before.owner], ..before.clone() });
    refuse(Placement { standbys: vec![NodeId(77)], ..before.clone() });
    refuse(Placement { rosters: vec![before.owner], ..before.clone() });
    refuse(Placement { epoch: Epoch(5), ..before });
}

#[test]
fn a_gallery_is_purged_only_when_every_node_that_ever_held_it_has_said_so() {
    let mut world = World::new(4);
    let shard = world.open(journey(1, HOUR_MS / 2, 100));
    world.commit(shard);
    let first = world.placement(shard).owner;
    world.silent.push(first);
    world.pass(REPLACE_AFTER_MS);
    world.settle();
    let id = shard.journey().expect("a journey's");
    assert_eq!(apply(&mut world.state, journeys::Command::Close(id)), Outcome::Done);
    let holders: Vec<NodeId> = world.state.part(shard).expect("a part").holders.iter().copied().collect();
    assert!(holders.len() == 4 && holders.contains(&first), "the lost node counts: {holders:?}");
    for node in holders {
        assert_ne!(world.state.status(id), Some(JourneyStatus::Purged));
        assert_eq!(apply(&mut world.state, retention::Command::Receipt { shard, node }), Outcome::Done);
    }
    assert_eq!(world.state.status(id), Some(JourneyStatus::Purged));
}

/// R45.
#[test]
fn a_standing_gallery_is_placed_like_a_boarding_flight_grows_by_parts_and_ends_with_receipts() {
    let mut world = World::new(4);
    let (id, model) = ("LAREDO-PEDESTRIAN".parse::<StandingId>().expect("an id"), support::model());
    let open = |parts| galleries::Command::OpenStanding { id, modality: Modality::Face, model, parts };
    let shard = |part| ShardId { gallery: GalleryId::Standing(id), modality: Modality::Face, model, part };
    assert_eq!(apply(&mut world.state, open(1)), Outcome::Done);
    world.settle();
    assert_eq!(world.placement(shard(0)).replicas().count(), 3, "it is in use at any time");
    world.commit(shard(0));
    assert_eq!(apply(&mut world.state, open(2)), Outcome::Done);
    world.settle();
    world.commit(shard(1));
    assert_eq!(world.state.galleries().get(shard(0).gallery).expect("a gallery").counts().people, 6);
    let other = galleries::Command::OpenStanding { id, modality: Modality::Finger, model, parts: 2 };
    assert!(matches!(apply(&mut world.state, other), Outcome::Refused(_)), "one gallery, one modality, one model");
    assert_eq!(apply(&mut world.state, galleries::Command::CloseStanding(id)), Outcome::Done);
    assert!(world.state.blueprint().is_empty());
    for shard in [shard(0), shard(1)] {
        for node in world.state.part(shard).expect("a part").holders.clone() {
            assert_eq!(apply(&mut world.state, retention::Command::Receipt { shard, node }), Outcome::Done);
        }
    }
    let status = world.state.galleries().get(GalleryId::Standing(id)).expect("a gallery").status();
    assert_eq!(status, JourneyStatus::Purged);
}
