//! Placement as promised: P4 and section 7 of the design. R92, R94.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::canary::Canaries;
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, Incarnation, NodeId, StandingId, UnixMs};
use cluster_config::journey::{JourneyPlan, JourneyStatus};
use cluster_config::limits::{NODE_LOST_AFTER_MS, REPLACE_AFTER_MS};
use cluster_config::member::{Member, Trouble};
use cluster_config::wire::peer::{Held, Report};
use coordinator_core::placement::{Change, Command, Inventory, MOVES_IN_FLIGHT_MAX, Placement};
use coordinator_core::{Outcome, State, galleries, journeys, membership, retention};

mod support;
use support::apply;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;

/// Rounds of planning after which nothing may change any more: a few hundred shards, of which some move at once.
const ROUNDS_MAX: usize = 200;

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
        loss: None,
        is_built: true,
    })
}

/// A state and the reports of its nodes, all of which hold whatever the blueprint gives them.
struct World {
    state: State,
    inventory: Inventory,
    silent: Vec<NodeId>,
    unfit: Vec<NodeId>,
    now: UnixMs,
}

impl World {
    fn new(nodes: u64) -> Self {
        Self::of((1..=nodes).map(member))
    }

    fn of(members: impl IntoIterator<Item = Member>) -> Self {
        let mut state = State::default();
        for member in members {
            assert_eq!(apply(&mut state, membership::Command::Register(member)), Outcome::Done);
        }
        let (silent, unfit) = (Vec::new(), Vec::new());
        let mut world = Self { state, inventory: Inventory::default(), silent, unfit, now: NOW };
        world.report();
        world
    }

    fn report(&mut self) {
        for node in self.state.members().ids().filter(|node| !self.silent.contains(node)) {
            let held = self.state.blueprint().iter().filter(|(_, placement)| placement.has(node));
            let shards = held
                .map(|(shard, _)| (shard, self.state.part(shard).map(|part| part.version).unwrap_or_default()))
                .collect();
            let troubles = self.unfit.iter().filter(|unfit| **unfit == node).map(|_| Trouble::Store).collect();
            self.inventory.take(Report {
                node,
                incarnation: Incarnation(1),
                revision: 1,
                held: Some(Held { shards, troubles }),
                open: 0,
                clock: UnixMs(0),
            });
        }
    }

    /// Plans and applies until nothing changes, and checks that this is soon, and that little is copied at once.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let commands = self.plan();
            if commands.is_empty() {
                return;
            }
            for command in commands {
                assert_eq!(apply(&mut self.state, command.clone()), Outcome::Done, "{command:?}");
            }
            assert_eq!(self.plan(), [], "plan(plan(x)) == plan(x)");
            let replicas = usize::from(self.state.policy().placement.replicas_boarding);
            let copied = self.state.blueprint().iter().filter(|(_, placement)| placement.replicas().count() > replicas);
            assert!(copied.count() <= MOVES_IN_FLIGHT_MAX, "too much is copied at once");
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
        assert_eq!(apply(&mut world.state, retention::Command::Receipt { shard, node, keeps: false }), Outcome::Done);
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
            assert_eq!(
                apply(&mut world.state, retention::Command::Receipt { shard, node, keeps: false }),
                Outcome::Done
            );
        }
    }
    let status = world.state.galleries().get(GalleryId::Standing(id)).expect("a gallery").status();
    assert_eq!(status, JourneyStatus::Purged);
}

/// Two zones: the last node stands alone in the second.
fn lopsided(nodes: u64) -> World {
    World::of((1..=nodes).map(|id| {
        let zone = if id == nodes { "b" } else { "a" };
        Member { zone: zone.parse().expect("a zone"), ..member(id) }
    }))
}

/// Journeys of later, several in each bucket, all built.
fn announce(world: &mut World, count: u64) {
    for number in 0..count {
        let shard =
            world.open(journey(number, 5 * HOUR_MS + (number / 4) * HOUR_MS / 4, 100 + 10 * (number as u32 % 7)));
        world.commit(shard);
    }
    world.settle();
}

/// Nodes fall silent for so long, and are back; everything comes to rest before and after.
fn lose(world: &mut World, nodes: &[NodeId], silence_ms: u64) {
    world.silent.extend(nodes);
    world.pass(silence_ms);
    world.settle();
    world.silent.clear();
    world.pass(1);
    world.settle();
}

/// In how many journeys replicas stand in one zone alone; and the people whom each node owns.
fn quality(world: &World) -> (usize, BTreeMap<NodeId, u64>) {
    let mut alone = 0;
    let mut owned: BTreeMap<NodeId, u64> = world.state.members().ids().map(|node| (node, 0)).collect();
    for (shard, placement) in world.state.blueprint().iter() {
        let zone = |node| world.state.members().get(node).expect("a member").member.zone;
        let zones: BTreeSet<_> = placement.replicas().map(zone).collect();
        alone += usize::from(zones.len() == 1);
        let journey = shard.journey().and_then(|id| world.state.journeys().get(id)).expect("a journey");
        *owned.entry(placement.owner).or_default() += u64::from(journey.people);
    }
    (alone, owned)
}

/// Nobody owns a third more or less than the others, give or take one journey: buckets come before totals.
fn assert_even(owned: &BTreeMap<NodeId, u64>) {
    let mean = owned.values().sum::<u64>() / owned.len() as u64;
    assert!(owned.values().all(|people| people.abs_diff(mean) <= mean / 3 + 160), "{owned:?}");
}

/// F30.
#[test]
fn zones_and_owners_come_back_after_any_loss_and_return() {
    for (nodes, seed) in [(3, 1), (4, 2), (5, 3), (7, 4), (7, 5)] {
        for make in [World::new as fn(u64) -> World, lopsided] {
            let mut world = make(nodes);
            announce(&mut world, 60);
            assert_eq!(quality(&world).0, 0, "a fresh plan uses distinct zones");
            for turn in 0..6 {
                // Any one or two nodes, the only one of its zone included, for a moment or for good.
                let dice = seed * 31 + turn * 7;
                let first = NodeId(if turn == 0 { nodes } else { dice % nodes + 1 });
                let second = NodeId((dice / 3) % nodes + 1);
                let lost = if nodes > 4 && turn % 2 == 1 { vec![first, second] } else { vec![first] };
                lose(&mut world, &lost, if turn % 3 == 2 { NODE_LOST_AFTER_MS } else { REPLACE_AFTER_MS });
            }
            let (alone, owned) = quality(&world);
            assert_eq!(alone, 0, "{nodes} nodes: journeys stay in one zone");
            assert_even(&owned);
        }
    }
}

/// F30: nearly all of the work is the owners'.
#[test]
fn owners_are_even_from_the_start_where_zones_are_not() {
    let mut world = World::of(
        [(1, "a"), (2, "a"), (3, "b")].map(|(id, zone)| Member { zone: zone.parse().expect("a zone"), ..member(id) }),
    );
    announce(&mut world, 90);
    assert_even(&quality(&world).1);
}

#[test]
fn what_boards_is_not_moved_for_the_sake_of_zones_or_loads() {
    let mut world = lopsided(4);
    announce(&mut world, 12);
    world.silent.push(NodeId(4));
    world.pass(REPLACE_AFTER_MS);
    world.settle();
    // Meanwhile all of them board.
    world.pass(10 * HOUR_MS);
    world.settle();
    let during = world.state.blueprint().clone();
    world.silent.clear();
    world.pass(1);
    world.settle();
    let kept = |node| {
        let owners = during.iter().filter(|(_, placement)| placement.owner == node).count();
        (owners, world.state.blueprint().iter().filter(|(_, placement)| placement.owner == node).count())
    };
    for node in [1, 2, 3] {
        let (before, after) = kept(NodeId(node));
        assert_eq!(before, after, "node {node}");
    }
}

/// F29.
#[test]
fn a_node_that_cannot_keep_galleries_is_given_none_and_what_it_builds_moves() {
    let mut world = World::new(4);
    let boarding = world.open(journey(1, HOUR_MS / 2, 100));
    world.commit(boarding);
    let unfit = world.placement(boarding).owner;
    let building = (2..).map(|number| world.open(journey(number, 10 * HOUR_MS, 100)));
    let building = building.take(40).collect::<Vec<_>>();
    let owned: Vec<ShardId> = building.into_iter().filter(|shard| world.placement(*shard).owner == unfit).collect();
    assert!(!owned.is_empty());
    world.unfit.push(unfit);
    world.pass(1);
    world.settle();
    assert_eq!(world.placement(boarding).owner, unfit, "a gallery in memory can be searched");
    for shard in owned {
        assert!(!world.placement(shard).has(unfit), "{:?}", world.placement(shard));
        world.commit(shard);
    }
    let later = world.open(journey(90, 10 * HOUR_MS, 100));
    assert!(!world.placement(later).has(unfit));
    world.unfit.clear();
    world.pass(1);
    world.settle();
    let fit = world.state.blueprint().iter().filter(|(_, placement)| placement.has(unfit)).count();
    assert!(fit > 1, "it is given galleries again");
}
