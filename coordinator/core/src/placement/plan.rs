//! The planner: from the state and the inventory to the next blueprint, and a fixed point: once its commands are
//! applied, planning again on the same inventory changes nothing.
//!
//! It moves as little as possible: a replica leaves a node only where the node is gone, is no member or is being
//! drained, and a shard that has to leave is copied before it is dropped.

use std::collections::BTreeSet;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::ids::{Epoch, Generation, NodeId, UnixMs};
use cluster_config::limits::{BLUEPRINT_CHANGES_MAX, BOARDING_WINDOW_MS};

use super::blueprint::Placement;
use super::command::{Change, Command};
use super::demand::Demand;
use super::inventory::Inventory;
use super::score::{Loads, bucket};
use crate::state::State;

/// The commands that lead to the next blueprint; none where the present one is as it should be. `now` is the wall
/// clock's time, by which journeys depart.
pub fn plan(state: &State, inventory: &Inventory, now: UnixMs, canaries: Canaries) -> Vec<Command> {
    let mut planner = Planner { state, inventory, now, canaries, loads: Loads::of(state) };
    let mut changes = Vec::new();
    for (id, gallery) in state.galleries.iter().filter(|(_, gallery)| gallery.is_open()) {
        let demand = Demand::of(state, id, gallery);
        for (shard, _) in state.galleries.shards(id) {
            if let Some(placement) = planner.place(demand, shard) {
                changes.push(Change { shard, placement });
            }
        }
    }
    let first = state.blueprint.generation().0;
    (first..)
        .zip(changes.chunks(BLUEPRINT_CHANGES_MAX))
        .map(|(parent, changes)| Command::Change { parent: Generation(parent), changes: changes.to_vec() })
        .collect()
}

struct Planner<'a> {
    state: &'a State,
    inventory: &'a Inventory,
    now: UnixMs,
    canaries: Canaries,
    loads: Loads,
}

impl Planner<'_> {
    /// The placement that the shard should have, where it is not the one it has.
    fn place(&mut self, demand: Demand, shard: ShardId) -> Option<Placement> {
        let departure = bucket(demand.departs_at);
        let before = self.state.blueprint.placement(shard);
        let mut replicas: Vec<NodeId> = match before {
            Some(placement) => placement.replicas().filter(|node| !self.is_gone(*node)).collect(),
            None => Vec::new(),
        };

        let wanted = self.replicas_wanted(demand);
        while replicas.iter().filter(|node| !self.is_draining(**node)).count() < wanted {
            let Some(node) = self.best_new(&replicas, departure) else {
                break;
            };
            self.loads.add(node, departure, demand.people, replicas.is_empty());
            replicas.push(node);
        }
        // Nobody can take its place: then it is worth waiting for, since what it keeps on its disk comes back with it.
        for node in before.iter().flat_map(|placement| placement.replicas()) {
            let replaceable = replicas.len() >= wanted || replicas.contains(&node);
            if !replaceable && self.state.members.contains(node) && !self.is_draining(node) {
                replicas.push(node);
            }
        }
        self.drop_surplus(&mut replicas, shard, wanted, before);

        let owner = self.owner(&replicas, shard, before)?;
        let standbys: Vec<NodeId> = replicas.into_iter().filter(|node| *node != owner).collect();
        let epoch = match before {
            None => Epoch(1),
            Some(placement) if placement.owner == owner || self.canaries.has(Canary::SameEpoch) => placement.epoch,
            Some(placement) => Epoch(placement.epoch.0 + 1),
        };
        let rosters = self.rosters(&standbys, owner, before, departure, wanted);
        let after = Placement { epoch, owner, standbys, rosters };
        let set = |nodes: &[NodeId]| nodes.iter().copied().collect::<BTreeSet<_>>();
        let unchanged = before.is_some_and(|placement| {
            placement.owner == after.owner
                && set(&placement.standbys) == set(&after.standbys)
                && set(&placement.rosters) == set(&after.rosters)
        });
        (!unchanged).then_some(after)
    }

    /// Who keeps the shard's people besides the replicas: with those a majority of the members, so that what outlives
    /// the group's quorum outlives the gallery too; and one at least, since two replicas' disks may go bad while all
    /// live.
    fn rosters(
        &self,
        standbys: &[NodeId],
        owner: NodeId,
        before: Option<&Placement>,
        departure: u64,
        replicas_wanted: usize,
    ) -> Vec<NodeId> {
        let majority = self.state.members.len() / 2 + 1;
        let wanted = majority.saturating_sub(replicas_wanted).max(1);
        let mut taken: Vec<NodeId> = standbys.iter().copied().chain([owner]).collect();
        let replicas = taken.len();
        let kept = before.iter().flat_map(|placement| &placement.rosters);
        taken.extend(
            kept.filter(|node| !standbys.contains(node) && **node != owner)
                .filter(|node| !self.is_gone(**node) && !self.is_draining(**node))
                .take(wanted),
        );
        while taken.len() < replicas + wanted {
            let Some(node) = self.best_new(&taken, departure) else {
                break;
            };
            taken.push(node);
        }
        taken.split_off(replicas)
    }

    /// Replicas that a shard should have on nodes that are not being drained. A standing gallery is in use all the
    /// time.
    fn replicas_wanted(&self, demand: Demand) -> usize {
        let window_ends = self.now.0.saturating_add(BOARDING_WINDOW_MS);
        let boards = demand.departs_at.is_none_or(|departs_at| window_ends >= departs_at.0);
        let policy = &self.state.policy;
        usize::from(if boards { policy.replicas_boarding } else { policy.replicas })
    }

    fn is_draining(&self, node: NodeId) -> bool {
        self.state.members.is_draining(node)
    }

    /// Whether the node has left the cluster, or been silent for so long that its replicas are made again elsewhere.
    fn is_gone(&self, node: NodeId) -> bool {
        !self.state.members.contains(node) || self.inventory.is_gone(node)
    }

    /// The best node, among those that hold nothing of the shard, for one more place.
    fn best_new(&self, replicas: &[NodeId], departure: u64) -> Option<NodeId> {
        let zone = |node: &NodeId| self.state.members.get(*node).map(|m| m.member.zone);
        let zones: BTreeSet<_> = replicas.iter().filter_map(zone).collect();
        self.state
            .members
            .iter()
            .map(|known| (known.member.id, known))
            .filter(|(node, known)| !known.draining && !replicas.contains(node) && self.inventory.is_alive(*node))
            .map(|(node, known)| {
                let shares_zone = zones.contains(&known.member.zone) && !self.canaries.has(Canary::OneZone);
                self.loads.preference(node, departure, shares_zone)
            })
            .min()
            .map(|preference| preference.node)
    }

    /// Whether the node can answer searches of the committed version.
    fn is_ready(&self, node: NodeId, shard: ShardId) -> bool {
        let committed = self.state.part(shard).map(|part| part.version).unwrap_or_default();
        self.inventory.is_alive(node) && self.inventory.version(node, shard) >= committed
    }

    /// Takes replicas off draining nodes, and those beyond the wanted number, once enough others are ready.
    fn drop_surplus(&self, replicas: &mut Vec<NodeId>, shard: ShardId, wanted: usize, before: Option<&Placement>) {
        let owner = before.map(|placement| placement.owner);
        let settled = |replicas: &[NodeId]| {
            replicas.iter().filter(|node| !self.is_draining(**node) && self.is_ready(**node, shard)).count()
        };
        let others = self.state.members.iter().filter(|m| !m.draining).count();
        let enough = wanted.min(others).max(1);
        let draining: Vec<NodeId> = replicas.iter().copied().filter(|node| self.is_draining(*node)).collect();
        for node in draining {
            if settled(replicas) >= enough {
                replicas.retain(|other| *other != node);
            }
        }
        while replicas.len() > wanted && settled(replicas) > wanted {
            let Some(surplus) = replicas.iter().rposition(|node| Some(*node) != owner) else {
                break;
            };
            replicas.remove(surplus);
        }
    }

    /// The owner: the present one as long as it lives and stays, else the best replica that is ready, else any that
    /// is alive (it will fetch or rebuild), else the present one, whom nobody can replace yet.
    fn owner(&self, replicas: &[NodeId], shard: ShardId, before: Option<&Placement>) -> Option<NodeId> {
        let present = before.map(|placement| placement.owner).filter(|node| replicas.contains(node));
        if let Some(owner) = present {
            let lives = !self.inventory.is_lost(owner);
            let leaves = self.is_draining(owner);
            if lives && !leaves {
                return Some(owner);
            }
        }
        let order = |node: &&NodeId| (self.is_draining(**node), replicas.iter().position(|other| other == *node));
        let ready = replicas.iter().filter(|node| self.is_ready(**node, shard)).min_by_key(order);
        if let Some(node) = ready {
            return Some(*node);
        }
        if present.is_some() {
            return present;
        }
        let alive = replicas.iter().filter(|node| self.inventory.is_alive(**node)).min_by_key(order);
        alive.or(replicas.first()).copied()
    }
}
