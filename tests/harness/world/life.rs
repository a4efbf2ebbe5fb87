//! A journey's life in the world: the leader's upkeep (`coordinator/src/upkeep.rs`), what a node keeps of a closed
//! journey (`node/src/gallery/content.rs`), and what is judged of both.

use std::rc::Rc;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::decision::Recording;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, JourneyId, NodeId, UnixMs};
use cluster_config::journey::JourneyStatus;
use cluster_config::versions::Version;
use cluster_config::wire::gate::Answer;
use coordinator_core::{Outcome, State, upkeep};
use node::gallery::segment;
use node_core::roster::scope::is_kept;
use node_core::shard::Content;

use super::content::{self, BEGINS};
use super::disk::Kind;
use super::judge::Judge;
use super::node::Node;
use super::{World, policy};

/// How often the leader looks what is due, microseconds.
const INTERVAL_US: u64 = 1_000_000;

/// How much later it is once all flights are closed, milliseconds: the time of all that is kept is over.
const LONG_AFTER_MS: u64 = 16 * 24 * 3_600_000;

impl World {
    /// What the clocks agree on.
    fn state_time(&self) -> UnixMs {
        let later_ms = if self.flown.get() < self.content.flights.len() { 0 } else { LONG_AFTER_MS };
        UnixMs(BEGINS.0 + self.now_us() / 1_000 + later_ms)
    }

    /// Has a leader propose what is due, once in a while.
    pub fn upkeep(self: &Rc<Self>, node: &Node) {
        let begins = node.with(|process| {
            let is_due = process.raft.leads() && process.upkept_us + INTERVAL_US <= self.now_us();
            is_due.then(|| process.upkept_us = self.now_us()).is_some()
        });
        if begins != Some(true) {
            return;
        }
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let (node, time) = (world.node(id), world.state_time());
            let due = node.state(|state| upkeep::due(state, Some(time), Canaries::of_process()));
            for command in due.unwrap_or_default() {
                match world.propose_here(node, Actor::node(id), command).await {
                    Ok(Outcome::Refused(_)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        });
    }

    /// Keeps those of a closed journey's shard who are no citizens.
    pub fn put_apart(&self, node: &Node, shard: ShardId, Content { version, hash }: Content) -> bool {
        let Some(apart) = shard.kept() else { return false };
        let is_done = !node.disk.borrow().versions(Kind::Gallery, apart).is_empty();
        let kept = self.kept(node, Kind::Gallery, shard, (version, hash)).filter(|_| !node.disk.borrow().full);
        let Some(loaded) = kept.and_then(|segment| content::load(&segment, None).ok()) else { return is_done };
        let scope = policy().scope;
        let stays = |person: &_| is_kept(&scope, person, Canaries::of_process());
        let segment = segment::apart(&loaded, apart, stays, Version::CURRENT).expect("a segment encodes");
        node.disk.borrow_mut().put_segment(Kind::Gallery, apart, segment.version, segment.hash, Rc::new(segment.bytes));
        self.count("journey kept in part");
        true
    }

    /// Waits until a flight's gallery can be searched, as any node knows.
    pub async fn wait_until_built(&self, journey: JourneyId) {
        let is_built = |node: &Node| node.state(|state| state.status(journey)) == Some(Some(JourneyStatus::Ready));
        while !self.nodes.values().any(is_built) {
            self.sleep(200_000).await;
        }
    }
}

impl Judge {
    /// A node has given its receipt for a shard that was searched, and may keep a part of it.
    pub fn put_apart(&mut self, node: &Node, shard: ShardId) {
        let Some(apart) = shard.kept() else { return };
        self.look("R117: what is kept of a closed journey has no citizen in it");
        let disk = node.disk.borrow();
        assert!(!disk.shards().contains(&shard), "P6: node {} gave its receipt, and still holds {shard}", node.id);
        for (version, hash) in disk.versions(Kind::Gallery, apart) {
            let people = people_of(node.id, &disk, apart, (version, hash));
            let citizen =
                people.iter().position(|nationality| nationality.as_deref().is_none_or(|n| n.starts_with("US")));
            assert!(citizen.is_none(), "R117: a citizen is kept by node {} of {shard}", node.id);
        }
    }

    /// What is kept of a journey is to be destroyed.
    pub fn purge_begun(&mut self, is_asked_for: bool, journey: JourneyId, state: &State) {
        self.look("R116: nothing is destroyed before its time, but where somebody wants it");
        let Some(plan) = state.journeys().get(journey) else { return };
        let kept_ms = u64::from(state.policy().retention.purge_after_hours) * 3_600_000;
        let is_due = state.clock().now().0 >= plan.departs_at.0 + kept_ms;
        assert!(is_due || is_asked_for, "R116: {journey} is destroyed at {:?}, before its time", state.clock().now());
    }

    /// An entry node has answered a capture; its journey was closed, as it knew, when the capture came.
    pub fn answered_after_close(&mut self, node: &Node, answer: &Answer) {
        self.look("P6: a closed journey is searched no more");
        let is_of_ledger = answer.recording == Recording::Committed;
        assert!(is_of_ledger, "P6: node {} has searched a closed journey: {answer:?}", node.id);
    }

    /// A gallery was committed in this state.
    pub fn committed_in_time(&mut self, shard: ShardId, is_built: bool, state: &State) {
        self.look("R36: no template is made before the journey's time");
        let Some(plan) = shard.journey().and_then(|journey| state.journeys().get(journey)) else { return };
        let ahead_ms = u64::from(state.policy().retention.build_ahead_hours_max) * 3_600_000;
        let now = state.clock().now();
        let is_early = now.0 + ahead_ms < plan.departs_at.0 && !self.untimed.contains(&plan.id);
        assert!(!is_early || !is_built, "R36: {shard} has templates at {now:?}, and departs at {:?}", plan.departs_at);
    }
}

/// The nationalities of those in a segment.
fn people_of(
    node: NodeId,
    disk: &super::disk::Disk,
    shard: ShardId,
    of: (GalleryVersion, cluster_config::ids::ContentHash),
) -> Vec<Option<String>> {
    let sealed = disk.segment(Kind::Gallery, shard, of).unwrap_or_else(|| panic!("node {node} cannot open {shard}"));
    let bytes = sealed.bytes.to_vec();
    let segment = cluster_config::gallery::Segment { shard, version: of.0, hash: of.1, bytes };
    let loaded = content::load(&segment, None).expect("it reads");
    loaded.head.people.iter().map(|enrolled| enrolled.person.nationality.clone()).collect()
}
