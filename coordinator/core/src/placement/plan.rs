//! The planner: from the state and the inventory to the next blueprint, and a fixed point: once its commands are
//! applied, planning again on the same inventory changes nothing.
//!
//! It moves as little as possible. A replica leaves a node where the node is gone, is no member, is being drained, or
//! reports a trouble; a shard that has to leave is copied before it is dropped.
//! Besides, all goes back to distinct zones, and what does not board yet to even loads: owners at once, since a
//! hand-over moves no data, and replicas a few at a time.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{Generation, NodeId, UnixMs, Zone};
use cluster_config::limits::{BLUEPRINT_CHANGES_MAX, BOARDING_WINDOW_MS};

use super::blueprint::Placement;
use super::command::{Change, Command};
use super::demand::Demand;
use super::draft::{Draft, Work};
use super::inventory::Inventory;
use super::score::{Bucket, bucket};
use crate::state::State;

/// Shards that are copied at once to come back to distinct zones and even loads: few, since copies take of the network
/// and the processors that boarding needs.
pub const MOVES_IN_FLIGHT_MAX: usize = 8;

/// The commands that lead to the next blueprint; none where the present one is as it should be. `now` is the wall
/// clock's time, by which journeys depart.
pub fn plan(state: &State, inventory: &Inventory, now: UnixMs, canaries: Canaries) -> Vec<Command> {
    let mut planner = Planner { state, inventory, now, canaries, work: work_of(state) };
    let mut drafts = Vec::new();
    for (id, gallery) in state.galleries.iter().filter(|(_, gallery)| gallery.is_open()) {
        let demand = Demand::of(state, id, gallery);
        drafts.extend(state.galleries.shards(id).filter_map(|(shard, _)| planner.draft(demand, shard)));
    }
    planner.count_copies(&drafts);
    // Each step makes a sum of squared loads smaller, or uses one zone more, so this ends by itself, and early.
    for _ in 0..drafts.len() {
        let (has_new_owner, has_new_replica) = (planner.hand_over(&mut drafts), planner.spread(&mut drafts));
        if !has_new_owner && !has_new_replica {
            break;
        }
    }
    let same_epoch = canaries.has(Canary::SameEpoch);
    let change = |draft: &Draft<'_>| draft.change(same_epoch).map(|placement| Change { shard: draft.shard, placement });
    let changes: Vec<Change> = drafts.iter().filter_map(change).collect();
    let first = state.blueprint.generation().0;
    (first..)
        .zip(changes.chunks(BLUEPRINT_CHANGES_MAX))
        .map(|(parent, changes)| Command::Change { parent: Generation(parent), changes: changes.to_vec() })
        .collect()
}

/// What nodes hold and own under the present blueprint.
fn work_of(state: &State) -> Work {
    let mut work = Work::default();
    for (shard, placement) in state.blueprint.iter() {
        let Some(demand) = Demand::of_shard(state, shard) else { continue };
        let (bucket, people) = (bucket(demand.departs_at), demand.people.max(1));
        placement.replicas().for_each(|node| work.held.add(node, bucket, people));
        work.owned.add(placement.owner, bucket, people);
    }
    work
}

/// How far a shard is: what may be done with its replicas.
#[derive(Clone, Copy)]
struct Stage {
    /// See [`Draft::boards`].
    boards: bool,
    /// A version of it is committed.
    is_built: bool,
}

struct Planner<'a> {
    state: &'a State,
    inventory: &'a Inventory,
    now: UnixMs,
    canaries: Canaries,
    work: Work,
}

impl<'a> Planner<'a> {
    /// What the shard is to have, by itself; absent where no node can take it.
    fn draft(&mut self, demand: Demand, shard: ShardId) -> Option<Draft<'a>> {
        let (bucket, people) = (bucket(demand.departs_at), demand.people.max(1));
        let before = self.state.blueprint.placement(shard);
        let stage = Stage { boards: self.boards(demand), is_built: self.is_built(shard) };
        let policy = &self.state.policy.placement;
        let wanted = usize::from(if stage.boards { policy.replicas_boarding } else { policy.replicas });
        let mut replicas: Vec<NodeId> = match before {
            Some(placement) => placement.replicas().filter(|node| !self.is_gone(*node)).collect(),
            None => Vec::new(),
        };
        while replicas.iter().filter(|node| !self.leaves(**node, stage)).count() < wanted {
            let Some(node) = self.best_new(&replicas, bucket) else {
                break;
            };
            self.work.held.add(node, bucket, people);
            replicas.push(node);
        }
        // Nobody can take its place: then it is worth waiting for, since what it keeps on its disk comes back with it.
        for node in before.iter().flat_map(|placement| placement.replicas()) {
            let replaceable = replicas.len() >= wanted || replicas.contains(&node);
            if !replaceable && self.state.members.contains(node) && !self.is_draining(node) {
                replicas.push(node);
            }
        }
        let present = before.map(|placement| placement.owner);
        self.drop_surplus(&mut replicas, shard, wanted, stage, present);
        let left = before.iter().flat_map(|placement| placement.replicas()).filter(|node| !replicas.contains(node));
        left.for_each(|node| self.work.held.remove(node, bucket, people));
        let owner = self.owner(&replicas, shard, stage, present, bucket)?;
        if present != Some(owner) {
            present.into_iter().for_each(|node| self.work.owned.remove(node, bucket, people));
            self.work.owned.add(owner, bucket, people);
        }
        let rosters = self.rosters(&replicas, before, bucket, wanted);
        Some(Draft { shard, bucket, people, boards: stage.boards, wanted, owner, replicas, rosters, before })
    }

    /// Gives shards that do not board to less loaded owners among their replicas. Whether any changed hands.
    fn hand_over(&mut self, drafts: &mut [Draft<'a>]) -> bool {
        let mut has_changed = false;
        for draft in drafts.iter_mut() {
            if !self.may_change_hands(draft) {
                continue;
            }
            let Draft { owner, bucket, people, .. } = *draft;
            let others = draft.replicas.iter().copied().filter(|node| *node != owner);
            let fit = others.filter(|node| self.is_ready(*node, draft.shard) && !self.is_unfit(*node));
            let best = fit.min_by_key(|node| self.work.owned.preference(*node, bucket, false));
            if let Some(node) = best.filter(|node| self.work.owned.improves(owner, *node, bucket, people)) {
                self.work.owned.remove(owner, bucket, people);
                self.work.owned.add(node, bucket, people);
                draft.owner = node;
                has_changed = true;
            }
        }
        has_changed
    }

    fn may_change_hands(&self, draft: &Draft<'_>) -> bool {
        let is_at_rest = self.is_built(draft.shard) && !draft.boards && !draft.has_surplus();
        draft.before.is_none() || is_at_rest
    }

    /// Counts loads as they are once the copies on their way have arrived.
    fn count_copies(&mut self, drafts: &[Draft<'a>]) {
        for draft in drafts.iter().filter(|draft| draft.has_surplus()) {
            if let Some(leaves) = self.surplus_of(&draft.replicas, Some(draft.owner)) {
                self.work.held.remove(leaves, draft.bucket, draft.people);
            }
        }
    }

    /// Begins to copy shards to other zones, and those that do not board to less loaded nodes; the replica that is one
    /// too many is dropped once the copy is there. Whether there are any.
    fn spread(&mut self, drafts: &mut [Draft<'a>]) -> bool {
        let mut in_flight = drafts.iter().filter(|draft| draft.has_surplus()).count();
        let mut has_changed = false;
        for draft in drafts.iter_mut() {
            if in_flight >= MOVES_IN_FLIGHT_MAX {
                break;
            }
            let Some((leaves, comes)) = self.better(draft) else { continue };
            self.work.held.remove(leaves, draft.bucket, draft.people);
            self.work.held.add(comes, draft.bucket, draft.people);
            draft.replicas.push(comes);
            // It may still have what it was to drop before.
            let stage = Stage { boards: draft.boards, is_built: true };
            self.drop_surplus(&mut draft.replicas, draft.shard, draft.wanted, stage, Some(draft.owner));
            draft.rosters = self.rosters(&draft.replicas, draft.before, draft.bucket, draft.wanted);
            in_flight += usize::from(draft.has_surplus());
            has_changed = true;
        }
        has_changed
    }

    /// The replica that should go elsewhere, and where.
    fn better(&self, draft: &Draft<'_>) -> Option<(NodeId, NodeId)> {
        let stage = Stage { boards: draft.boards, is_built: self.is_built(draft.shard) };
        let settled = |node: &NodeId| self.is_ready(*node, draft.shard) && !self.leaves(*node, stage);
        let is_at_rest = draft.replicas.len() == draft.wanted && draft.replicas.iter().all(settled);
        if !is_at_rest || !stage.is_built {
            return None;
        }
        let zones_before = self.zones(&draft.replicas).len();
        let moves = self.candidates(&draft.replicas).filter_map(|comes| {
            let mut after = draft.replicas.clone();
            after.push(comes);
            let leaves = self.surplus_of(&after, Some(draft.owner)).filter(|node| *node != comes)?;
            after.retain(|node| *node != leaves);
            let zones = self.zones(&after).len();
            let is_better = match zones.cmp(&zones_before) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal if draft.boards => false,
                std::cmp::Ordering::Equal => self.work.held.improves(leaves, comes, draft.bucket, draft.people),
                std::cmp::Ordering::Greater => true,
            };
            let preference = self.work.held.preference(comes, draft.bucket, false);
            is_better.then_some((Reverse(zones), preference, leaves, comes))
        });
        moves.min().map(|(_, _, leaves, comes)| (leaves, comes))
    }

    /// Who keeps the shard's people besides the replicas: with those a majority of the members, so that what outlives
    /// the group's quorum outlives the gallery too; and one at least, since two replicas' disks may go bad while all
    /// live.
    fn rosters(
        &self,
        replicas: &[NodeId],
        before: Option<&Placement>,
        bucket: Bucket,
        replicas_wanted: usize,
    ) -> Vec<NodeId> {
        let majority = self.state.members.len() / 2 + 1;
        let wanted = majority.saturating_sub(replicas_wanted).max(1);
        let mut taken = replicas.to_vec();
        let kept = before.iter().flat_map(|placement| &placement.rosters);
        taken.extend(
            kept.filter(|node| !replicas.contains(node))
                .filter(|node| !self.is_gone(**node) && !self.is_draining(**node))
                .take(wanted),
        );
        while taken.len() < replicas.len() + wanted {
            let Some(node) = self.best_new(&taken, bucket) else {
                break;
            };
            taken.push(node);
        }
        taken.split_off(replicas.len())
    }

    /// Whether the journey boards by now, or the gallery is in use all the time.
    fn boards(&self, demand: Demand) -> bool {
        let window_ends = self.now.0.saturating_add(BOARDING_WINDOW_MS);
        demand.departs_at.is_none_or(|departs_at| window_ends >= departs_at.0)
    }

    fn is_built(&self, shard: ShardId) -> bool {
        self.state.part(shard).is_some_and(|part| part.version.0 > 0)
    }

    fn is_draining(&self, node: NodeId) -> bool {
        self.state.members.is_draining(node)
    }

    /// Whether the node says that it cannot do its work. It gets no shard.
    fn is_unfit(&self, node: NodeId) -> bool {
        self.inventory.is_unfit(node)
    }

    /// Whether a replica has to leave the node, though it lives. What boards stays where only a trouble is reported: a
    /// gallery in memory can be searched.
    fn leaves(&self, node: NodeId, stage: Stage) -> bool {
        self.is_draining(node) || (self.is_unfit(node) && !(stage.boards && stage.is_built))
    }

    /// Whether the node has left the cluster, or been silent for so long that its replicas are made again elsewhere.
    fn is_gone(&self, node: NodeId) -> bool {
        !self.state.members.contains(node) || self.inventory.is_gone(node)
    }

    fn zone(&self, node: NodeId) -> Option<Zone> {
        self.state.members.get(node).map(|known| known.member.zone)
    }

    fn zones(&self, nodes: &[NodeId]) -> BTreeSet<Zone> {
        nodes.iter().filter_map(|node| self.zone(*node)).collect()
    }

    /// The nodes that could take a shard which these hold.
    fn candidates(&self, holders: &[NodeId]) -> impl Iterator<Item = NodeId> {
        let fit = self.state.members.iter().filter(|known| !known.draining).map(|known| known.member.id);
        fit.filter(|node| !holders.contains(node) && self.inventory.is_alive(*node) && !self.is_unfit(*node))
    }

    /// The best node, among those that hold nothing of the shard, for one more place.
    fn best_new(&self, holders: &[NodeId], bucket: Bucket) -> Option<NodeId> {
        let zones = self.zones(holders);
        let preference = |node: NodeId| {
            let shares_zone = self.zone(node).is_some_and(|zone| zones.contains(&zone));
            self.work.held.preference(node, bucket, shares_zone && !self.canaries.has(Canary::OneZone))
        };
        self.candidates(holders).map(preference).min().map(|preference| preference.node)
    }

    /// Whether the node can answer searches of the committed version.
    fn is_ready(&self, node: NodeId, shard: ShardId) -> bool {
        let committed = self.state.part(shard).map(|part| part.version).unwrap_or_default();
        self.inventory.is_alive(node) && self.inventory.version(node, shard) >= committed
    }

    /// The replica to drop where there is one too many: the oldest of those without which the most zones are left,
    /// never the owner.
    fn surplus_of(&self, replicas: &[NodeId], owner: Option<NodeId>) -> Option<NodeId> {
        let others = replicas.iter().copied().enumerate().filter(|(_, node)| Some(*node) != owner);
        let key = |(place, node): &(usize, NodeId)| {
            let rest: Vec<NodeId> = replicas.iter().copied().filter(|other| other != node).collect();
            (Reverse(self.zones(&rest).len()), *place)
        };
        others.min_by_key(key).map(|(_, node)| node)
    }

    /// Takes replicas off nodes that they leave, and those beyond the wanted number, once enough others are ready.
    fn drop_surplus(
        &self,
        replicas: &mut Vec<NodeId>,
        shard: ShardId,
        wanted: usize,
        stage: Stage,
        owner: Option<NodeId>,
    ) {
        let stays = |node: &NodeId| !self.leaves(*node, stage);
        let settled =
            |replicas: &[NodeId]| replicas.iter().filter(|node| stays(node) && self.is_ready(**node, shard)).count();
        let others = self.state.members.iter().filter(|m| !self.leaves(m.member.id, stage)).count();
        let enough = wanted.min(others).max(1);
        let leaving: Vec<NodeId> = replicas.iter().copied().filter(|node| !stays(node)).collect();
        for node in leaving {
            if settled(replicas) >= enough {
                replicas.retain(|other| *other != node);
            }
        }
        while replicas.len() > wanted && settled(replicas) > wanted {
            let Some(surplus) = self.surplus_of(replicas, owner) else {
                break;
            };
            replicas.retain(|node| *node != surplus);
        }
    }

    /// The owner: the present one as long as it lives and stays, else the least loaded replica that is ready, else any
    /// that is alive (it will fetch or rebuild), else the present one, whom nobody can replace yet.
    fn owner(
        &self,
        replicas: &[NodeId],
        shard: ShardId,
        stage: Stage,
        present: Option<NodeId>,
        bucket: Bucket,
    ) -> Option<NodeId> {
        let present = present.filter(|node| replicas.contains(node));
        if let Some(owner) = present.filter(|node| !self.inventory.is_lost(*node) && !self.leaves(*node, stage)) {
            return Some(owner);
        }
        let order = |node: &NodeId| (self.leaves(*node, stage), self.work.owned.preference(*node, bucket, false));
        let ready = replicas.iter().copied().filter(|node| self.is_ready(*node, shard)).min_by_key(order);
        if ready.or(present).is_some() {
            return ready.or(present);
        }
        let alive = replicas.iter().copied().filter(|node| self.inventory.is_alive(*node)).min_by_key(order);
        alive.or(replicas.first().copied())
    }
}
