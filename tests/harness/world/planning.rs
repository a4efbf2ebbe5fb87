//! Reports, the planner's loop and the keeper: the loops around [`coordinator_core::placement::Planning`] and
//! [`node_core::keeper`].

use std::rc::Rc;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::ids::{GalleryVersion, NodeId, UnixMs};
use cluster_config::wire::peer::{self, Held, Report};
use coordinator_core::Outcome;
use coordinator_core::placement::{Group, Heard, Inventory, Round};
use node_core::keeper::{Effect, Event};
use node_core::shard::Message;

use super::World;
use super::disk::Kind;
use super::network::Address;
use super::node::Node;

impl World {
    /// Tells the leader which shards run here, and at which versions.
    pub fn report(self: &Rc<Self>, node: &Node) {
        let leader = node.leader();
        let report = node.with(|process| {
            let leader = leader?;
            let led = (leader, process.raft.term());
            let shards = process.running.iter().map(|(shard, running)| (*shard, running.version())).collect();
            let (me, held) = ((node.id, process.incarnation), Held { shards, troubles: Vec::new() });
            Some((leader, process.reporting.look(led, me, held, 0, UnixMs(0))?))
        });
        match report.flatten() {
            Some((leader, report)) if leader == node.id => self.take_report(node, report),
            Some((leader, report)) => self.send(Address::Node(node.id), leader, &peer::Request::Report(report)),
            None => {}
        }
    }

    /// Takes a report. Its answer takes no time here: a later one would only have the report said once more.
    pub fn take_report(self: &Rc<Self>, node: &Node, report: Report) {
        let (from, revision) = (report.node, report.revision);
        let Some(heard) = node.with(|process| process.planning.report(self.now_us() / 1_000, report)) else { return };
        let knows = heard != Heard::Unknown;
        self.node(from).with(|process| process.reporting.answered((node.id, process.raft.term()), revision, knows));
        match heard {
            Heard::News => self.plan(node),
            Heard::Again => {}
            Heard::Unknown => self.report(self.node(from)),
        }
    }
    /// The planner's loop (`coordinator/src/planner.rs`), looked at whenever something has happened.
    pub fn plan(self: &Rc<Self>, node: &Node) {
        let now_ms = self.now_us() / 1_000;
        let due = node.with(|process| {
            let term = process.raft.leads().then(|| process.raft.term());
            process.planning.leads(now_ms, term);
            process.planning.look(now_ms, &process.state)
        });
        let Some(Some(inventory)) = due else { return };
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            world.round(world.node(id), inventory).await;
            world.node(id).with(|process| process.planning.round_ended());
        });
    }
    /// Proposes what a plan gives, in order, until one is not taken.
    async fn round(self: &Rc<Self>, node: &Node, inventory: Inventory) {
        let now = self.wall(node);
        let round = node.with(|process| {
            let member = |id: NodeId| (id, Some(self.node(id).member()));
            let members = process.raft.voters().iter().copied().map(member).collect();
            let group = Group { members, ..Group::default() };
            Round::new(&process.state, inventory, &group, now, Canaries::of_process())
        });
        let Some(mut round) = round else { return };
        loop {
            let next = match node.state(|state| round.next(state)) {
                Some(Err(violation)) => self.judge.borrow_mut().planner_broke(&violation),
                Some(Ok(next)) => next,
                None => None,
            };
            let Some(command) = next else { return };
            match self.propose_here(node, Actor::node(node.id), command).await {
                Ok(Outcome::Refused(_)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
    /// Makes what runs on a node fit its state.
    pub fn reconcile(self: &Rc<Self>, node: &Node) {
        node.with(|process| process.reconciled_us = self.now_us());
        self.keeper(node, Event::Look(false));
    }
    /// Tells the node's keeper what happened, and does what it says.
    pub fn keeper(self: &Rc<Self>, node: &Node, event: Event) {
        let mut effects = Vec::new();
        node.with(|process| process.keeper.step(&process.state, event, &mut effects));
        for effect in effects {
            match effect {
                Effect::Start(shard, run, order) => self.run_shard(node, shard, run, order),
                Effect::Tell(shard, order) => self.step(node, shard, None, Message::Ordered(order)),
                Effect::End(shard) => {
                    node.with(|process| process.running.remove(&shard));
                }
                Effect::KeepRoster(shard, order) => self.keep_roster(node, shard, order),
                Effect::DropReplica(shard) => {
                    node.disk.borrow_mut().drop_before(Kind::Gallery, shard, GalleryVersion(u32::MAX));
                }
                Effect::AskWhoKeeps(shard, order) => self.ask_who_keeps(node, shard, order),
                Effect::Purge(shard) => self.purge(node, shard, None),
                Effect::Reduce(shard, content) => self.purge(node, shard, Some(content)),
            }
        }
    }
}
