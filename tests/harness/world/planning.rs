//! Reports, the planner's loop and reconciling, step for step as in `node/src/process.rs`, `coordinator/src/planner.rs` and
//! `node/src/actors/keeper.rs`.

use std::collections::BTreeSet;
use std::rc::Rc;

use cluster_config::ids::{NodeId, ShardId};
use cluster_config::wire::peer::{self, Report};
use coordinator_core::inventory::Inventory;
use coordinator_core::plan::plan;
use coordinator_core::{Command, Outcome, check};
use node_core::reconcile::{Action, reconcile};

use super::World;
use super::network::Address;
use super::node::{Node, Process};

/// Longest time between two plans (`coordinator/src/planner.rs`).
const PLAN_INTERVAL_MS_MAX: u64 = 1_000;

impl World {
    /// Tells the leader which shards run here, and at which versions.
    pub fn report(self: &Rc<Self>, node: &Node) {
        let report = node.with(|process| {
            let shards = process.running.iter().map(|(shard, running)| (*shard, running.version())).collect();
            Report { node: node.id, incarnation: process.incarnation, shards }
        });
        match (node.leader(), report) {
            (Some(leader), Some(report)) if leader == node.id => self.take_report(node, report),
            (Some(leader), Some(report)) => self.send(Address::Node(node.id), leader, &peer::Request::Report(report)),
            _ => {}
        }
    }
    /// Takes a node's report.
    pub fn take_report(&self, node: &Node, report: Report) {
        node.with(|process| {
            if process.reported.get(&report.node) != Some(&report) {
                process.news = true;
                process.reported.insert(report.node, report.clone());
            }
            process.pass_time(self.now_us());
            process.inventory.take(report);
        });
    }
    /// The planner's loop (`coordinator/src/planner.rs`), looked at with each report.
    pub fn plan(self: &Rc<Self>, node: &Node) {
        let now = self.wall(node);
        let commands = node.with(|process| {
            if !process.raft.leads() {
                process.led_term = None;
                return Vec::new();
            }
            let new_leader = process.led_term != Some(process.raft.term());
            if new_leader {
                process.inventory = Inventory::default();
                process.led_us = self.now_us();
                process.reported.clear();
                process.led_term = Some(process.raft.term());
            }
            process.pass_time(self.now_us());
            let due = now.since(process.planned_at) >= PLAN_INTERVAL_MS_MAX || now < process.planned_at;
            if process.planning || !(new_leader || process.changed || process.news || due) {
                return Vec::new();
            }
            (process.changed, process.news, process.planned_at) = (false, false, now);
            let mut commands = self.member_commands(process);
            commands.extend(plan(&process.state, &process.inventory, now));
            process.planning = !commands.is_empty();
            commands
        });
        let commands = commands.unwrap_or_default();
        if commands.is_empty() {
            return;
        }
        let (world, id, owner) = (self.clone(), node.id, node.owner());
        self.executor.spawn(Some(owner), async move {
            let node = world.node(id);
            for command in commands {
                if let Command::ChangeBlueprint { parent, changes } = &command {
                    // A plan for a state that has moved on is refused by its generation.
                    let judged = node.state(|state| {
                        if state.blueprint.generation == *parent { check::changes(state, changes) } else { Ok(()) }
                    });
                    if let Some(Err(violation)) = judged {
                        world.judge.borrow_mut().planner_broke(&violation);
                        break;
                    }
                }
                match world.propose_here(node, command).await {
                    Ok(Outcome::Refused(_)) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            node.with(|process| process.planning = false);
        });
    }
    /// Keeps the replicated members in step with the group's, as the product's planner loop does.
    fn member_commands(&self, process: &Process) -> Vec<Command> {
        let voters = process.raft.voters();
        let known = |id: &NodeId| process.state.members.contains_key(id);
        let announced =
            voters.iter().filter(|id| !known(id)).map(|id| Command::RegisterMember(self.node(*id).member()));
        let gone = |id: &&NodeId| !voters.contains(id) && process.inventory.is_gone(**id);
        let forgotten = process.state.members.keys().filter(gone).map(|id| Command::RemoveMember(*id));
        announced.chain(forgotten).collect()
    }
    /// Makes what runs on a node fit its state, as the keeper of `node/src/actors/keeper.rs` does.
    pub fn reconcile(self: &Rc<Self>, node: &Node) {
        let actions = node.with(|process| {
            process.reconciled_us = self.now_us();
            let kept: BTreeSet<ShardId> = process.running.keys().chain(&process.on_disk).copied().collect();
            reconcile(&process.state, node.id, &kept, process.caught_up)
        });
        for action in actions.unwrap_or_default() {
            match action {
                Action::Hold(shard, order) => self.hold(node, shard, order),
                Action::KeepRoster(shard, order) => self.keep_roster(node, shard, order),
                Action::Purge(shard) => self.purge(node, shard),
            }
        }
    }
}
