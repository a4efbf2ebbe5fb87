//! The keeper: what runs on this node, what lies on its disk, and what it does to make both fit the replicated state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use coordinator_core::State;

use crate::reconcile::{Action, reconcile};
use crate::shard::{Content, Order};

/// How long one try to deliver a purge receipt lasts; the next look at the state tries again.
pub const RECEIPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Copies of a gallery that others have to keep before a node destroys its own, or as many as there are holders: with
/// one alone a single disk would be enough to lose it.
const COPIES_MIN: usize = 2;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is time to look at the state; the flag says that it is known not to be an old one.
    Look(bool),
    /// The replica that was started with this number has ended by itself.
    Ended(ShardId, u64),
    /// A replica could not be told its order.
    NotTold(ShardId),
    /// A roster is kept at this version, or could not be got.
    RosterKept(ShardId, Option<GalleryVersion>),
    /// What was held of a shard is destroyed, but for what is kept apart; the flag says that the receipt is in the
    /// state.
    Purged(ShardId, bool),
    /// So many of those who were asked with [`Effect::AskWhoKeeps`] keep that version.
    KeptElsewhere(ShardId, GalleryVersion, usize),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a replica under this order; the number tells this start from others.
    Start(ShardId, u64, Order),
    /// Tell a replica that runs its order.
    Tell(ShardId, Order),
    /// End the replica, if there is one.
    End(ShardId),
    /// Get the people of the order's version from one of its replicas, and keep them.
    KeepRoster(ShardId, Order),
    /// Drop the templates that lie on the disk; the people stay.
    DropReplica(ShardId),
    /// Destroy all that is held of the shard, and have the receipt recorded.
    Purge(ShardId),
    /// Ask the holders that the order names whether they keep its version.
    AskWhoKeeps(ShardId, Order),
    /// Put those apart who are no citizens, where this version is here; destroy all else, and have the receipt
    /// recorded.
    Reduce(ShardId, Content),
}

/// A replica that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    run: u64,
    /// The order that it was told last; absent where it could not be told.
    told: Option<Order>,
}

/// The people of a shard, as they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Roster {
    version: GalleryVersion,
    fetching: bool,
}

/// How far it is known that others keep what this node is to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Asked,
    /// They keep this version.
    Kept(GalleryVersion),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    me: NodeId,
    running: BTreeMap<ShardId, Running>,
    on_disk: BTreeSet<ShardId>,
    rosters: BTreeMap<ShardId, Roster>,
    purging: BTreeSet<ShardId>,
    leaving: BTreeMap<ShardId, Leaving>,
    runs: u64,
    caught_up: bool,
    canaries: Canaries,
}

impl Keeper {
    /// The keeper of a node that has just started, with what lies on its disk.
    pub fn new(me: NodeId, on_disk: BTreeSet<ShardId>, canaries: Canaries) -> Self {
        Self {
            me,
            running: BTreeMap::new(),
            on_disk,
            rosters: BTreeMap::new(),
            purging: BTreeSet::new(),
            leaving: BTreeMap::new(),
            runs: 0,
            caught_up: false,
            canaries,
        }
    }

    /// Replicas that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether the replica that was started with this number is the one that runs.
    pub fn runs(&self, shard: ShardId, run: u64) -> bool {
        self.running.get(&shard).is_some_and(|running| running.run == run)
    }

    /// Takes what happened and adds what is to be done, in this order.
    pub fn step(&mut self, state: &State, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Look(caught_up) => {
                self.caught_up |= caught_up;
                self.look(state, effects);
            }
            Event::Ended(shard, run) => {
                if self.runs(shard, run) {
                    self.running.remove(&shard);
                    effects.push(Effect::End(shard));
                    self.look(state, effects);
                }
            }
            Event::NotTold(shard) => {
                if let Some(running) = self.running.get_mut(&shard) {
                    running.told = None;
                }
            }
            Event::RosterKept(shard, version) => {
                if let Some(roster) = self.rosters.get_mut(&shard) {
                    roster.fetching = false;
                    roster.version = version.unwrap_or(roster.version);
                }
            }
            Event::Purged(shard, recorded) => {
                self.purging.remove(&shard);
                if recorded {
                    self.on_disk.remove(&shard);
                    self.look(state, effects);
                }
            }
            Event::KeptElsewhere(shard, version, kept) => {
                self.leaving.remove(&shard);
                let holders = state.placement(shard).map_or(0, |placement| placement.holders().count());
                if kept >= COPIES_MIN.min(holders) {
                    self.leaving.insert(shard, Leaving::Kept(version));
                    self.look(state, effects);
                    self.leaving.remove(&shard);
                }
            }
        }
    }

    fn look(&mut self, state: &State, effects: &mut Vec<Effect>) {
        let kept: BTreeSet<ShardId> = self.running.keys().chain(&self.on_disk).copied().collect();
        for action in reconcile(state, self.me, &kept, self.caught_up, self.canaries) {
            match action {
                Action::Hold(shard, order) => self.hold(shard, order, effects),
                Action::KeepRoster(shard, order) => self.keep_roster(shard, order, effects),
                Action::Leave(shard, order) => self.leave(shard, order, effects),
                Action::Purge(shard) => self.purge(shard, Effect::Purge(shard), effects),
                Action::Reduce(shard, content) => {
                    // Whether it comes to that or not, what may lie on the disk is known.
                    self.on_disk.extend(shard.kept());
                    self.purge(shard, Effect::Reduce(shard, content), effects);
                }
            }
        }
    }

    /// Ends the replica, and destroys what is kept once others keep it.
    fn leave(&mut self, shard: ShardId, order: Order, effects: &mut Vec<Effect>) {
        let is_safe = match self.leaving.get(&shard) {
            Some(Leaving::Kept(version)) => *version >= order.version,
            Some(Leaving::Asked) => return,
            None => false,
        };
        if is_safe || self.canaries.has(Canary::LastCopyPurged) {
            return self.purge(shard, Effect::Purge(shard), effects);
        }
        if self.purging.contains(&shard) {
            return;
        }
        if self.running.remove(&shard).is_some() {
            effects.push(Effect::End(shard));
        }
        self.leaving.insert(shard, Leaving::Asked);
        effects.push(Effect::AskWhoKeeps(shard, order));
    }

    fn hold(&mut self, shard: ShardId, order: Order, effects: &mut Vec<Effect>) {
        if self.purging.contains(&shard) {
            return;
        }
        if let Some(running) = self.running.get_mut(&shard) {
            if running.told.as_ref() != Some(&order) {
                running.told = Some(order.clone());
                effects.push(Effect::Tell(shard, order));
            }
            return;
        }
        self.runs += 1;
        self.running.insert(shard, Running { run: self.runs, told: Some(order.clone()) });
        self.on_disk.insert(shard);
        effects.push(Effect::Start(shard, self.runs, order));
    }

    /// Keeps the people of a shard that other nodes have replicas of. A replica that this node had before goes once
    /// they are kept.
    fn keep_roster(&mut self, shard: ShardId, order: Order, effects: &mut Vec<Effect>) {
        if self.purging.contains(&shard) || order.version == GalleryVersion::default() {
            return;
        }
        let roster = self.rosters.entry(shard).or_default();
        if roster.fetching {
            return;
        }
        if roster.version < order.version {
            roster.fetching = true;
            self.on_disk.insert(shard);
            effects.push(Effect::KeepRoster(shard, order));
        } else if self.running.remove(&shard).is_some() {
            effects.extend([Effect::End(shard), Effect::DropReplica(shard)]);
        }
    }

    fn purge(&mut self, shard: ShardId, destruction: Effect, effects: &mut Vec<Effect>) {
        if !self.purging.insert(shard) {
            return;
        }
        self.running.remove(&shard);
        self.rosters.remove(&shard);
        effects.extend([Effect::End(shard), destruction]);
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::ContentHash;
    use coordinator_core::{journeys, membership, retention};

    use super::*;
    use crate::fixture;

    fn shard() -> ShardId {
        fixture::shard(0)
    }

    /// A journey whose gallery is committed at this version, with its replica at one node and its roster at another.
    fn state(replica: u64, roster: u64, version: u32) -> State {
        fixture::state(&fixture::placement(replica, &[], &[roster]), version)
    }

    fn keeper() -> Keeper {
        Keeper::new(NodeId(1), BTreeSet::new(), Canaries::default())
    }

    fn step(keeper: &mut Keeper, state: &State, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        keeper.step(state, event, &mut effects);
        effects
    }

    #[test]
    fn a_replica_is_started_once_told_once_and_started_again_where_it_ended() {
        let mut keeper = keeper();
        let v1 = state(1, 2, 1);
        let started = step(&mut keeper, &v1, Event::Look(true));
        assert!(matches!(started[..], [Effect::Start(_, 1, _)]), "{started:?}");
        assert_eq!(step(&mut keeper, &v1, Event::Look(true)), []);
        let v2 = state(1, 2, 2);
        assert!(matches!(step(&mut keeper, &v2, Event::Look(true))[..], [Effect::Tell(..)]));
        assert_eq!(step(&mut keeper, &v2, Event::Look(true)), []);
        step(&mut keeper, &v2, Event::NotTold(shard()));
        assert!(matches!(step(&mut keeper, &v2, Event::Look(true))[..], [Effect::Tell(..)]), "it is told again");
        assert_eq!(step(&mut keeper, &v2, Event::Ended(shard(), 9)), [], "another start of it");
        let again = step(&mut keeper, &v2, Event::Ended(shard(), 1));
        assert!(matches!(again[..], [Effect::End(_), Effect::Start(_, 2, _)]), "{again:?}");
    }

    #[test]
    fn a_replica_goes_once_its_people_are_kept_and_not_before() {
        let mut keeper = keeper();
        step(&mut keeper, &state(1, 2, 1), Event::Look(true));
        let moved = state(2, 1, 1);
        assert!(matches!(step(&mut keeper, &moved, Event::Look(true))[..], [Effect::KeepRoster(..)]));
        assert_eq!(step(&mut keeper, &moved, Event::Look(true)), [], "it is on its way");
        step(&mut keeper, &moved, Event::RosterKept(shard(), None));
        let again = step(&mut keeper, &moved, Event::Look(true));
        assert!(matches!(again[..], [Effect::KeepRoster(..)]), "nobody gave it: {again:?}");
        step(&mut keeper, &moved, Event::RosterKept(shard(), Some(GalleryVersion(1))));
        let goes = [Effect::End(shard()), Effect::DropReplica(shard())];
        assert_eq!(step(&mut keeper, &moved, Event::Look(true)), goes);
        assert_eq!(step(&mut keeper, &moved, Event::Look(true)), []);
    }

    /// P1: the blueprint had moved on while a majority was away; the first to come back destroyed the last copy.
    #[test]
    fn what_others_are_to_have_is_destroyed_once_they_have_it() {
        let mut keeper = keeper();
        step(&mut keeper, &state(1, 2, 3), Event::Look(true));
        let moved = state(3, 2, 3);
        let asks = step(&mut keeper, &moved, Event::Look(true));
        assert!(matches!(asks[..], [Effect::End(_), Effect::AskWhoKeeps(..)]), "{asks:?}");
        assert_eq!(step(&mut keeper, &moved, Event::Look(true)), [], "they are asked");
        let kept = |kept| Event::KeptElsewhere(shard(), GalleryVersion(3), kept);
        assert_eq!(step(&mut keeper, &moved, kept(1)), []);
        let again = step(&mut keeper, &moved, Event::Look(true));
        assert!(matches!(again[..], [Effect::AskWhoKeeps(..)]), "one copy is too few: {again:?}");
        let newer = state(3, 2, 4);
        let again = step(&mut keeper, &newer, kept(2));
        assert!(matches!(again[..], [Effect::AskWhoKeeps(..)]), "they keep an older version: {again:?}");
        let back = step(&mut keeper, &state(1, 2, 4), Event::Look(true));
        assert!(matches!(back[..], [Effect::Start(..)]), "it is to have it again: {back:?}");
        step(&mut keeper, &newer, Event::KeptElsewhere(shard(), GalleryVersion(4), 0));
        let purge = [Effect::End(shard()), Effect::Purge(shard())];
        step(&mut keeper, &newer, Event::Look(true));
        assert_eq!(step(&mut keeper, &newer, Event::KeptElsewhere(shard(), GalleryVersion(4), 2)), purge);
    }

    /// R116, R117, P6.
    #[test]
    fn what_is_kept_of_a_closed_journey_stays_until_all_of_it_is_to_be_destroyed() {
        let (mut keeper, mut state) = (keeper(), state(1, 2, 1));
        step(&mut keeper, &state, Event::Look(true));
        fixture::apply(&mut state, journeys::Command::Close(fixture::journey()));
        let content = Content { version: GalleryVersion(1), hash: ContentHash([1; 32]) };
        let reduce = [Effect::End(shard()), Effect::Reduce(shard(), content)];
        assert_eq!(step(&mut keeper, &state, Event::Look(true)), reduce);
        assert_eq!(step(&mut keeper, &state, Event::Look(true)), [], "it is under way");
        let apart = shard().kept().expect("a journey's");
        let receipt = |shard, keeps| retention::Command::Receipt { shard, node: NodeId(1), keeps };
        fixture::apply(&mut state, receipt(shard(), true));
        assert_eq!(step(&mut keeper, &state, Event::Purged(shard(), true)), []);
        assert_eq!(step(&mut keeper, &state, Event::Look(true)), [], "it is kept");
        let mut again = Keeper::new(NodeId(1), BTreeSet::from([apart]), Canaries::default());
        assert_eq!(step(&mut again, &state, Event::Look(true)), [], "by the next start of the process as well");
        fixture::apply(&mut state, membership::Command::SetDraining { node: NodeId(1), draining: true });
        assert_eq!(step(&mut keeper, &state, Event::Look(true)), [], "nobody else keeps it");

        let purge = [Effect::End(apart), Effect::Purge(apart)];
        let other = retention::Command::Receipt { shard: shard(), node: NodeId(2), keeps: true };
        fixture::apply(&mut state, other);
        assert_eq!(step(&mut keeper, &state, Event::Look(true)), purge, "a node that is emptied leaves it to another");
        fixture::apply(&mut state, journeys::Command::Purge(fixture::journey()));
        assert_eq!(step(&mut again, &state, Event::Look(true)), purge);
        fixture::apply(&mut state, receipt(apart, false));
        assert_eq!(step(&mut again, &state, Event::Purged(apart, true)), []);
    }

    #[test]
    fn a_purge_is_tried_until_its_receipt_is_recorded_and_nothing_starts_meanwhile() {
        let mut keeper = Keeper::new(NodeId(1), BTreeSet::from([shard()]), Canaries::default());
        let unknown = State::default();
        assert_eq!(step(&mut keeper, &unknown, Event::Look(false)), [], "the state may be an old one");
        let purge = [Effect::End(shard()), Effect::Purge(shard())];
        assert_eq!(step(&mut keeper, &unknown, Event::Look(true)), purge);
        assert_eq!(step(&mut keeper, &state(1, 2, 1), Event::Look(true)), []);
        assert_eq!(step(&mut keeper, &unknown, Event::Purged(shard(), false)), []);
        assert_eq!(step(&mut keeper, &unknown, Event::Look(true)), purge);
        assert_eq!(step(&mut keeper, &unknown, Event::Purged(shard(), true)), []);
        assert_eq!(step(&mut keeper, &unknown, Event::Look(true)), []);
    }
}
