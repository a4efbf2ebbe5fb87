//! Rosters: the people of a shard on nodes without a replica, step for step as in `node/src/actors/{keeper,content}.rs`.

use std::rc::Rc;

use cluster_config::ids::{GalleryVersion, NodeId, ShardId};
use cluster_config::wire::peer::{self, BuildOrder, Listing, Segment};
use cluster_config::wire::{Refusal, RefusalCode};
use futures::stream::{FuturesUnordered, StreamExt};
use node::segment;
use node_core::shard::Order;

use super::World;
use super::content::{self, Ready};
use super::disk::Kind;
use super::node::Node;

/// How long a node may take to give a roster (`node/src/actors/content.rs`), microseconds.
const ROSTER_TIMEOUT_US: u64 = 3_000_000;

/// A roster as the node's keeper knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Roster {
    version: GalleryVersion,
    fetching: bool,
}

impl World {
    /// Keeps the people of the order's version. A replica that this node had before goes once they are kept.
    pub fn keep_roster(self: &Rc<Self>, node: &Node, shard: ShardId, order: Order) {
        let fetches = node.with(|process| {
            if process.purging.contains(&shard) || order.version == GalleryVersion::default() {
                return false;
            }
            let roster = process.rosters.entry(shard).or_default();
            if roster.fetching {
                return false;
            }
            if roster.version < order.version {
                roster.fetching = true;
                process.on_disk.insert(shard);
                return true;
            }
            if process.running.remove(&shard).is_some() {
                node.disk.borrow_mut().drop_before(Kind::Gallery, shard, GalleryVersion(u32::MAX));
            }
            false
        });
        if fetches != Some(true) {
            return;
        }
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let node = world.node(id);
            let kept = match world.fetch_roster(node, shard, order.version, order.placement.replicas()).await {
                Ok(roster) => world.keep(node, Kind::Roster, roster).await.ok(),
                Err(_) => None,
            };
            let version = kept.map(|loaded| loaded.head.version);
            if let Some(version) = version {
                world.count("roster kept");
                node.disk.borrow_mut().drop_before(Kind::Roster, shard, version);
            }
            node.with(|process| {
                if let Some(roster) = process.rosters.get_mut(&shard) {
                    roster.fetching = false;
                    roster.version = version.unwrap_or(roster.version);
                }
            });
        });
    }

    /// The roster of a version or a later one, from whichever node gives it first.
    ///
    /// # Errors
    /// The nodes that have not said that they do not have it.
    pub async fn fetch_roster(
        self: &Rc<Self>,
        node: &Node,
        shard: ShardId,
        version_min: GalleryVersion,
        nodes: impl Iterator<Item = NodeId>,
    ) -> Result<Segment, Vec<NodeId>> {
        let mut silent = Vec::new();
        let request = peer::Request::FetchRoster { shard, version_min };
        let others = nodes.filter(|other| *other != node.id);
        let ask = |other| {
            let request = &request;
            async move { (other, self.ask(node, other, request, ROSTER_TIMEOUT_US).await) }
        };
        let mut asked: FuturesUnordered<_> = others.map(ask).collect();
        while let Some((other, given)) = asked.next().await {
            match given {
                Ok(peer::Response::Segment(segment)) if segment.shard == shard && segment.version >= version_min => {
                    return Ok(segment);
                }
                Err(refusal) if refusal.code == RefusalCode::NotFound => {}
                Ok(_) | Err(_) => silent.push(other),
            }
        }
        Err(silent)
    }

    /// The people of a shard as this node has them, of a replica or a roster.
    ///
    /// # Errors
    /// Where they are not here at this version.
    pub async fn roster_here(
        self: &Rc<Self>,
        node: &Node,
        shard: ShardId,
        version_min: GalleryVersion,
    ) -> Result<Segment, Refusal> {
        let serving = node.with(|process| process.running.get(&shard).and_then(|running| running.serving()));
        if let Some((loaded, _)) = serving.flatten().filter(|(loaded, _)| loaded.head.version >= version_min) {
            return Ok(segment::roster(&loaded.head).expect("a roster encodes"));
        }
        self.segment_latency(node).await;
        let versions = node.disk.borrow().versions(Kind::Roster, shard);
        let newest = versions.last().filter(|(version, _)| *version >= version_min);
        let kept = newest.and_then(|of| self.kept(node, Kind::Roster, shard, *of));
        let place = format!("node {}: roster of gallery {shard}", node.id);
        kept.ok_or_else(|| Refusal::new(RefusalCode::NotFound, place, "ask another holder"))
    }

    /// Builds the next version out of the people that this node or another keeps as a roster.
    pub fn rebuild(self: &Rc<Self>, node: &Node, shard: ShardId, run: u64) {
        let order = node.with(|process| process.running.get_mut(&shard).and_then(|running| running.begin_build(run)));
        let Some(Some(order)) = order else { return };
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let node = world.node(id);
            let rebuilt = world.rebuild_job(node, shard, run, order).await;
            world.count(if rebuilt.is_some() { "gallery built again" } else { "gallery not built again yet" });
            world.end_build(node, shard, run);
        });
    }

    async fn rebuild_job(self: &Rc<Self>, node: &Node, shard: ShardId, run: u64, order: Order) -> Option<()> {
        let roster = match self.roster_here(node, shard, order.version).await {
            Ok(roster) => roster,
            Err(_) => {
                self.fetch_roster(node, shard, order.version, order.placement.rosters.iter().copied()).await.ok()?
            }
        };
        let roster: Ready = content::load(&roster, None).ok()?;
        let people = roster.head.people.iter().map(|enrolled| enrolled.person.clone()).collect();
        let build = BuildOrder { shard, manifest: roster.head.manifest, people, listing: Listing::Whole };
        let job = self.build_job(node, run, build, order.placement, GalleryVersion::default(), Some(roster));
        job.await.ok().map(|_| ())
    }
}
