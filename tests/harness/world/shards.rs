//! The replicas of a node: the loop around [`node_core::shard::Replica`], as `node/src/gallery/shard.rs` has it.

use std::rc::Rc;

use cluster_config::canary::Canaries;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, NodeId};
use cluster_config::wire::peer;
use cluster_config::wire::{Channel, Refusal, RefusalCode};
use coordinator_core::galleries::Gallery;
use coordinator_core::{State, retention};
use node_core::build::job::Job;
use node_core::build::seek::is_wanted;
use node_core::keeper::{self, RECEIPT_TIMEOUT};
use node_core::reconcile::may_keep;
use node_core::shard::{Content, Effect, FETCH_TIMEOUT, Message, Order, Replica};

use super::content::{self, Ready};
use super::disk::Kind;
use super::network::Address;
use super::node::Node;
use super::running::Running;
use super::{World, micros};

/// What reading or writing a segment takes, microseconds.
const SEGMENT_US: (u64, u64) = (500, 4_000);

/// What an effect leaves to be done outside of the process's memory.
enum Work {
    Fetch(NodeId, GalleryVersion),
    Wake(u64),
    Rebuild,
    BuildDue,
}

/// A refusal at a shard of a node.
pub fn refuse(code: RefusalCode, node: &Node, shard: ShardId, problem: &str) -> Refusal {
    Refusal::new(code, format!("node {}: gallery {shard}", node.id), problem, "ask again, or another replica")
}

impl World {
    /// Starts a shard.
    pub fn run_shard(self: &Rc<Self>, node: &Node, shard: ShardId, run: u64, order: Order) {
        let core = Replica::new(node.id, shard, order, Canaries::of_process());
        let running = Running::new(run, core);
        node.with(|process| process.running.insert(shard, running));
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move { world.read_disk(id, shard, run).await });
    }

    /// Waits for as long as the disk takes with a segment.
    pub async fn segment_latency(&self, node: &Node) {
        let takes_us = self.dice.borrow_mut().between(SEGMENT_US.0, SEGMENT_US.1) + node.disk.borrow().slow_us;
        self.sleep(takes_us).await;
    }

    async fn read_disk(self: &Rc<Self>, id: NodeId, shard: ShardId, run: u64) {
        let node = self.node(id);
        self.segment_latency(node).await;
        let versions = node.disk.borrow().versions(Kind::Gallery, shard);
        let kept: Vec<Content> = versions.into_iter().map(|(version, hash)| Content { version, hash }).collect();
        let of_use = node.with(|process| {
            let running = process.running.get(&shard).filter(|running| running.run() == run)?;
            running.core.to_read(&kept)
        });
        let loaded = of_use.flatten().and_then(|kept| self.load_kept(node, shard, (kept.version, kept.hash)));
        if let Some(loaded) = loaded {
            self.stage(node, shard, Some(run), loaded);
        }
        self.step(node, shard, Some(run), Message::DiskRead);
    }

    /// A segment that is kept and can be opened.
    pub fn kept(&self, node: &Node, kind: Kind, shard: ShardId, of: (GalleryVersion, ContentHash)) -> Option<Segment> {
        let disk = node.disk.borrow();
        let sealed = disk.segment(kind, shard, of)?;
        Some(Segment { shard, version: of.0, hash: of.1, bytes: sealed.bytes.to_vec() })
    }

    fn load_kept(&self, node: &Node, shard: ShardId, of: (GalleryVersion, ContentHash)) -> Option<Ready> {
        content::load(&self.kept(node, Kind::Gallery, shard, of)?, None).ok()
    }

    /// Hands a segment that stands ready to the replica.
    pub fn stage(self: &Rc<Self>, node: &Node, shard: ShardId, run: Option<u64>, loaded: Ready) {
        let content = Content { version: loaded.head.version, hash: loaded.hash };
        let staged = node.with(|process| {
            let running = process.running.get_mut(&shard).filter(|running| run.is_none_or(|run| run == running.run()));
            running.map(|running| running.staged.push(loaded)).is_some()
        });
        if staged == Some(true) {
            self.step(node, shard, run, Message::Staged(content));
        }
    }

    /// Has the core take a message, and does what it says.
    pub fn step(self: &Rc<Self>, node: &Node, shard: ShardId, run: Option<u64>, message: Message) {
        let now = self.wall(node);
        let mut work = Vec::new();
        node.with(|process| {
            let Some(running) = process.running.get_mut(&shard) else { return };
            if run.is_some_and(|run| run != running.run()) {
                return;
            }
            let mut effects = Vec::new();
            running.core.step(now, message, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Serve(content) => {
                        if let Some(loaded) = running.take_staged(content) {
                            node.disk.borrow_mut().drop_before(Kind::Gallery, shard, loaded.head.version);
                            running.serving = Some(loaded);
                        }
                    }
                    Effect::Unstage(content) => drop(running.take_staged(content)),
                    Effect::Rebuild => work.push((running.run(), Work::Rebuild)),
                    Effect::BuildDue => work.push((running.run(), Work::BuildDue)),
                    Effect::Fetch { from, version_min } => work.push((running.run(), Work::Fetch(from, version_min))),
                    Effect::Wake(at) => work.push((running.run(), Work::Wake(at.since(now) * 1_000))),
                }
            }
        });
        for (run, work) in work {
            let (world, id) = (self.clone(), node.id);
            self.executor.spawn(Some(node.owner()), async move {
                let node = world.node(id);
                match work {
                    Work::Rebuild => world.build_again(node, shard, run, Job::rebuild),
                    Work::BuildDue => world.build_again(node, shard, run, Job::due),
                    Work::Wake(delay_us) => {
                        world.sleep(delay_us).await;
                        world.step(node, shard, Some(run), Message::Woken);
                    }
                    Work::Fetch(from, version_min) => match world.fetch(node, shard, from, version_min).await {
                        Some(loaded) => world.stage(node, shard, Some(run), loaded),
                        None => world.step(node, shard, Some(run), Message::FetchFailed),
                    },
                }
            });
        }
    }

    async fn fetch(
        self: &Rc<Self>,
        node: &Node,
        shard: ShardId,
        from: NodeId,
        version_min: GalleryVersion,
    ) -> Option<Ready> {
        let _turn = self.turn(node, from).await;
        self.count("segment fetched");
        let request = peer::Request::FetchSegment { shard, version_min };
        match self.ask(node, from, &request, micros(FETCH_TIMEOUT)).await {
            Ok(peer::Response::Segment(segment)) if is_wanted(shard, version_min, &segment) => {
                self.keep(node, Kind::Gallery, segment).await.ok()
            }
            _ => None,
        }
    }

    /// Checks a segment and keeps it on disk.
    ///
    /// # Errors
    /// Where it is damaged, or the node keeps no replica of it any more.
    pub async fn keep(self: &Rc<Self>, node: &Node, kind: Kind, segment: Segment) -> Result<Ready, Refusal> {
        let shard = segment.shard;
        let before =
            node.with(|process| process.running.get(&shard).and_then(|running| running.serving.clone())).flatten();
        let before = before.filter(|_| kind == Kind::Gallery);
        let loaded = content::load(&segment, before.as_deref())
            .map_err(|error| refuse(RefusalCode::BadValue, node, shard, &error))?;
        self.segment_latency(node).await;
        if node.disk.borrow().full {
            return Err(refuse(RefusalCode::Internal, node, shard, "the disk is full"));
        }
        node.disk.borrow_mut().put_segment(kind, shard, segment.version, segment.hash, Rc::new(segment.bytes));
        if kind == Kind::Gallery {
            self.judge.borrow_mut().kept(node.id, segment.hash);
        }
        if let Err(code) = node.state(|state| may_keep(state, node.id, shard)).unwrap_or(Err(RefusalCode::NotOpen)) {
            node.disk.borrow_mut().destroy(shard);
            return Err(refuse(code, node, shard, "no replica is kept here any more"));
        }
        Ok(loaded)
    }

    /// Destroys what is held of a shard and answers with a receipt; of this content a part is kept.
    pub fn purge(self: &Rc<Self>, node: &Node, shard: ShardId, apart: Option<Content>) {
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let node = world.node(id);
            world.segment_latency(node).await;
            world.is_not_the_last(node, shard);
            let keeps = apart.is_some_and(|content| world.put_apart(node, shard, content));
            node.disk.borrow_mut().destroy(shard);
            let receipt = retention::Command::Receipt { shard, node: id, keeps };
            let until_us = world.now_us() + micros(RECEIPT_TIMEOUT);
            let recorded = world.propose(node, receipt, until_us).await.is_ok();
            world.keeper(node, keeper::Event::Purged(shard, recorded));
        });
    }

    /// Nothing of an open gallery is destroyed that nobody else has (P1).
    fn is_not_the_last(&self, node: &Node, shard: ShardId) {
        let is_open = |state: &State| state.galleries().get(shard.gallery).is_some_and(Gallery::is_open);
        let committed = node.state(|state| state.part(shard).filter(|_| is_open(state)).map(|part| part.version));
        let Some(committed) = committed.flatten().filter(|version| *version > GalleryVersion::default()) else {
            return;
        };
        let mut others = self.nodes.values().filter(|other| other.id != node.id);
        let is_kept = others.any(|other| self.keeps(other, shard, committed));
        self.judge.borrow_mut().keeps_a_copy(node.id, shard, !self.keeps(node, shard, committed) || is_kept);
    }

    /// Keeps a segment that the owner has pushed.
    ///
    /// # Errors
    /// Where the shard does not run here, and as [`World::keep`].
    pub async fn store(self: &Rc<Self>, node: &Node, segment: Segment) -> Result<(), Refusal> {
        let shard = segment.shard;
        let absent = || refuse(RefusalCode::Unavailable, node, shard, "it does not run here");
        let run = node.with(|process| process.running.get(&shard).map(|running| running.run())).flatten();
        let run = run.ok_or_else(absent)?;
        let loaded = self.keep(node, Kind::Gallery, segment).await?;
        self.stage(node, shard, Some(run), loaded);
        Ok(())
    }

    /// Gives the segment that is served.
    ///
    /// # Errors
    /// Where there is none at that version.
    pub async fn give(
        self: &Rc<Self>,
        node: &Node,
        shard: ShardId,
        version_min: GalleryVersion,
    ) -> Result<Segment, Refusal> {
        let served = node.with(|process| process.running.get(&shard).and_then(Running::content)).flatten();
        let absent = || refuse(RefusalCode::Unavailable, node, shard, "the version is not here");
        let of = served.filter(|(version, _)| *version >= version_min).ok_or_else(absent)?;
        self.segment_latency(node).await;
        self.kept(node, Kind::Gallery, shard, of).ok_or_else(absent)
    }

    /// Asks another node.
    ///
    /// # Errors
    /// Its refusal, or `unavailable` where it gave no answer.
    pub async fn ask(
        self: &Rc<Self>,
        node: &Node,
        to: NodeId,
        request: &peer::Request,
        timeout_us: u64,
    ) -> Result<peer::Response, Refusal> {
        match self.call(Address::Node(node.id), to, Channel::Peer, request, timeout_us).await {
            Some(peer::Response::Refused(refusal)) => Err(refusal),
            Some(response) => Ok(response),
            None => {
                Err(Refusal::new(RefusalCode::Unavailable, format!("node {to}"), "it gives no answer", "try again"))
            }
        }
    }
}
