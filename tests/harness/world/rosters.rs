//! Rosters: the people of a shard on nodes without a replica, as `node/src/gallery/content.rs` has them.

use std::rc::Rc;

use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::versions::Version;
use cluster_config::wire::Refusal;
use cluster_config::wire::peer;
use futures::stream::{FuturesUnordered, StreamExt};
use node::gallery::segment;
use node_core::build::seek::{Answer, Next, ROSTER_TIMEOUT, Seeking, not_kept};
use node_core::keeper;
use node_core::rebuild::committed_at_least;
use node_core::shard::Order;

use super::disk::Kind;
use super::node::Node;
use super::{World, micros};

impl World {
    /// Keeps the people of the order's version.
    pub fn keep_roster(self: &Rc<Self>, node: &Node, shard: ShardId, order: Order) {
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let node = world.node(id);
            let seeking = Seeking::elsewhere(id, shard, order.version, order.placement.replicas());
            let kept = match world.fetch_roster(node, seeking).await {
                Ok(roster) => world.keep(node, Kind::Roster, roster).await.ok(),
                Err(_) => None,
            };
            let version = kept.map(|loaded| loaded.head.version);
            if let Some(version) = version {
                world.count("roster kept");
                node.disk.borrow_mut().drop_before(Kind::Roster, shard, version);
            }
            world.keeper(node, keeper::Event::RosterKept(shard, version));
        });
    }

    /// Asks those whom the order names whether they keep its version.
    pub fn ask_who_keeps(self: &Rc<Self>, node: &Node, shard: ShardId, order: Order) {
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let node = world.node(id);
            let request = peer::Request::Keeps { shard, version_min: order.version };
            let holders = order.placement.holders().filter(|holder| *holder != id);
            let asked = holders.map(|holder| world.ask(node, holder, &request, micros(ROSTER_TIMEOUT)));
            let answers = futures::future::join_all(asked).await;
            let kept = answers.iter().filter(|answer| answer.is_ok()).count();
            world.keeper(node, keeper::Event::KeptElsewhere(shard, order.version, kept));
        });
    }

    /// Whether the node has the people of a shard, at this version or a later one.
    pub fn keeps(&self, node: &Node, shard: ShardId, version_min: GalleryVersion) -> bool {
        let running = node.with(|process| process.running.get(&shard).map(|running| running.version())).flatten();
        let disk = node.disk.borrow();
        let kept = [Kind::Gallery, Kind::Roster].into_iter().flat_map(|kind| disk.versions(kind, shard));
        kept.map(|(version, _)| version).chain(running).any(|version| version >= version_min)
    }

    /// The roster of a version, from whichever node gives it first.
    ///
    /// # Errors
    /// The nodes that have not said that they do not have it.
    async fn fetch_roster(self: &Rc<Self>, node: &Node, mut seeking: Seeking) -> Result<Segment, Vec<NodeId>> {
        let (shard, version_min) = (seeking.shard(), seeking.version_min());
        let ask = |other| async move { (other, self.ask_roster(node, other, shard, version_min).await) };
        let mut asked = FuturesUnordered::new();
        let (mut next, mut given) = (seeking.begin(), None);
        loop {
            match (next, given) {
                (Next::Found(..), Some(segment)) => return Ok(segment),
                (Next::Nobody(silent), _) => return Err(silent),
                (Next::Ask(nodes), _) => asked.extend(nodes.into_iter().map(ask)),
                (Next::Found(..), None) | (Next::Wait, _) => {}
            }
            let (other, (answer, segment)) = asked.next().await.expect("somebody is asked");
            (next, given) = (seeking.answered(other, answer), segment);
        }
    }

    /// Asks a node for the roster of a version or a later one; where it is this node, looks at its disk.
    pub async fn ask_roster(
        self: &Rc<Self>,
        node: &Node,
        of: NodeId,
        shard: ShardId,
        version_min: GalleryVersion,
    ) -> (Answer, Option<Segment>) {
        let answered = if of == node.id {
            self.roster_here(node, shard, version_min).await.map(peer::Response::Segment)
        } else {
            let request = peer::Request::FetchRoster { shard, version_min };
            self.ask(node, of, &request, micros(ROSTER_TIMEOUT)).await
        };
        let answer = Answer::of(shard, version_min, &answered);
        match answered {
            Ok(peer::Response::Segment(segment)) => (answer, Some(segment)),
            Ok(_) | Err(_) => (answer, None),
        }
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
            return Ok(segment::roster(&loaded.head, Version::CURRENT).expect("a roster encodes"));
        }
        self.segment_latency(node).await;
        let versions = node.disk.borrow().versions(Kind::Roster, shard);
        let newest = versions.last().filter(|(version, _)| *version >= version_min);
        let kept = newest.and_then(|of| self.kept(node, Kind::Roster, shard, *of));
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let committed = node.state(|state| committed_at_least(state, shard, version_min)).flatten();
        let Some(committed) = committed else { return Err(not_kept(node.id, shard, false)) };
        let gallery = self.kept(node, Kind::Gallery, shard, committed);
        let loaded = gallery.and_then(|segment| super::content::load(&segment, None).ok());
        let roster = loaded.map(|loaded| segment::roster(&loaded.head, Version::CURRENT).expect("a roster encodes"));
        roster.ok_or_else(|| not_kept(node.id, shard, true))
    }
}
