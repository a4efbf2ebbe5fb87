//! The shards of a node: the shell around [`node_core::shard::Replica`], step for step as in
//! `node/src/actors/{keeper,shard,build}.rs`.

use std::rc::Rc;

use cluster_config::ids::{ContentHash, GalleryVersion, NodeId, ShardId};
use cluster_config::wire::peer::{self, BuildOrder, Built, Segment};
use cluster_config::wire::{Channel, Refusal, RefusalCode};
use coordinator_core::Command;
use coordinator_core::blueprint::Placement;
use coordinator_core::command::GalleryCommit;
use coordinator_core::state::ShardState;
use futures::future::join_all;
use node_core::rebuild::{goes_on_from, may_begin_anew};
use node_core::reconcile::may_keep;
use node_core::shard::{Content, Effect, Message, Order, Phase, Replica};

use super::World;
use super::content::{self, Ready};
use super::disk::Kind;
use super::network::Address;
use super::node::Node;

/// The bounds of `node/src/actors/{keeper,shard,build}.rs`, microseconds.
const FETCH_TIMEOUT_US: u64 = 10_000_000;
const PUSH_TIMEOUT_US: u64 = 3_000_000;
const PUSH_PAUSE_US: u64 = 20_000;
const COMMIT_TIMEOUT_US: u64 = 10_000_000;
const RECEIPT_TIMEOUT_US: u64 = 5_000_000;

/// What reading or writing a segment takes, microseconds.
const SEGMENT_US: (u64, u64) = (500, 4_000);

/// A shard that runs on a node.
pub struct Running {
    run: u64,
    told: Order,
    core: Replica,
    serving: Option<Ready>,
    staged: Vec<Ready>,
    disk_read: bool,
    waiting: Option<Order>,
    building: bool,
}

impl Running {
    /// The version that can be searched; 0 is none.
    pub fn version(&self) -> GalleryVersion {
        self.serving.as_ref().map(|loaded| loaded.head.version).unwrap_or_default()
    }

    /// Version and hash of what can be searched.
    pub fn content(&self) -> Option<(GalleryVersion, ContentHash)> {
        self.serving.as_ref().map(|loaded| (loaded.head.version, loaded.hash))
    }

    /// What can be searched, and under which epoch.
    pub fn serving(&self) -> Option<(Ready, cluster_config::ids::Epoch)> {
        self.serving.clone().map(|loaded| (loaded, self.core.epoch()))
    }
}

impl Running {
    fn take_staged(&mut self, content: Content) -> Option<Ready> {
        let is = |loaded: &Ready| loaded.head.version == content.version && loaded.hash == content.hash;
        let place = self.staged.iter().position(is)?;
        Some(self.staged.swap_remove(place))
    }

    /// Begins a build without being asked; absent where one is under way.
    pub fn begin_build(&mut self, run: u64) -> Option<Order> {
        let begins = self.run == run && !std::mem::replace(&mut self.building, true);
        begins.then(|| self.core.order().clone())
    }
}

/// What an effect leaves to be done outside of the process's memory.
enum Work {
    Fetch(NodeId, GalleryVersion),
    Wake(u64),
    Rebuild,
}

fn refuse(code: RefusalCode, node: &Node, shard: ShardId, problem: &str) -> Refusal {
    Refusal::new(code, format!("node {}: gallery {shard}: {problem}", node.id), "ask again, or another replica")
}

impl World {
    /// Starts the shard where it does not run, else tells it its order.
    pub fn hold(self: &Rc<Self>, node: &Node, shard: ShardId, order: Order) {
        enum Next {
            Nothing,
            Obey,
            Start(u64),
        }
        let next = node.with(|process| {
            if process.purging.contains(&shard) {
                return Next::Nothing;
            }
            if let Some(running) = process.running.get_mut(&shard) {
                if running.told == order {
                    return Next::Nothing;
                }
                running.told = order.clone();
                if !running.disk_read {
                    running.waiting = Some(order.clone());
                    return Next::Nothing;
                }
                return Next::Obey;
            }
            process.runs += 1;
            let running = Running {
                run: process.runs,
                told: order.clone(),
                core: Replica::new(node.id, shard, order.clone()),
                serving: None,
                staged: Vec::new(),
                disk_read: false,
                waiting: None,
                building: false,
            };
            process.running.insert(shard, running);
            process.on_disk.insert(shard);
            Next::Start(process.runs)
        });
        match next {
            Some(Next::Obey) => self.step(node, shard, None, Message::Ordered(order)),
            Some(Next::Start(run)) => {
                let (world, id) = (self.clone(), node.id);
                self.executor.spawn(Some(node.owner()), async move { world.read_disk(id, shard, run, order).await });
            }
            Some(Next::Nothing) | None => {}
        }
    }

    /// Waits for as long as the disk takes with a segment.
    pub async fn segment_latency(&self, node: &Node) {
        let takes_us = self.dice.borrow_mut().between(SEGMENT_US.0, SEGMENT_US.1) + node.disk.borrow().slow_us;
        self.sleep(takes_us).await;
    }

    async fn read_disk(self: &Rc<Self>, id: NodeId, shard: ShardId, run: u64, order: Order) {
        let node = self.node(id);
        self.segment_latency(node).await;
        let versions = node.disk.borrow().versions(Kind::Gallery, shard);
        let committed = versions.iter().find(|kept| **kept == (order.version, order.hash));
        let later = versions.iter().rev().find(|kept| kept.0 > order.version);
        let loaded = committed.or(later).and_then(|kept| self.load_kept(node, shard, *kept));
        let waiting = node.with(|process| {
            let running = process.running.get_mut(&shard).filter(|running| running.run == run)?;
            running.disk_read = true;
            Some(running.waiting.take().unwrap_or_else(|| running.core.order().clone()))
        });
        let Some(Some(order)) = waiting else { return };
        if let Some(loaded) = loaded {
            self.stage(node, shard, Some(run), loaded);
        }
        self.step(node, shard, Some(run), Message::Ordered(order));
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

    fn stage(self: &Rc<Self>, node: &Node, shard: ShardId, run: Option<u64>, loaded: Ready) {
        let content = Content { version: loaded.head.version, hash: loaded.hash };
        let staged = node.with(|process| {
            let running = process.running.get_mut(&shard).filter(|running| run.is_none_or(|run| run == running.run));
            running.map(|running| running.staged.push(loaded)).is_some()
        });
        if staged == Some(true) {
            self.step(node, shard, run, Message::Staged(content));
        }
    }

    /// Has the core take a message, and does what it says.
    fn step(self: &Rc<Self>, node: &Node, shard: ShardId, run: Option<u64>, message: Message) {
        let now = self.wall(node);
        let mut work = Vec::new();
        node.with(|process| {
            let Some(running) = process.running.get_mut(&shard) else { return };
            if run.is_some_and(|run| run != running.run) {
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
                    Effect::Rebuild => work.push((running.run, Work::Rebuild)),
                    Effect::Fetch { from, version_min } => work.push((running.run, Work::Fetch(from, version_min))),
                    Effect::Wake(at) => work.push((running.run, Work::Wake(at.since(now) * 1_000))),
                }
            }
        });
        for (run, work) in work {
            let (world, id) = (self.clone(), node.id);
            self.executor.spawn(Some(node.owner()), async move {
                let node = world.node(id);
                match work {
                    Work::Rebuild => world.rebuild(node, shard, run),
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
        self.count("segment fetched");
        let request = peer::Request::FetchSegment { shard, version_min };
        match self.ask(node, from, &request, FETCH_TIMEOUT_US).await {
            Ok(peer::Response::Segment(segment)) if segment.shard == shard && segment.version >= version_min => {
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
        if let Err(code) = node.state(|state| may_keep(state, node.id, shard)).unwrap_or(Err(RefusalCode::NotOpen)) {
            node.disk.borrow_mut().destroy(shard);
            return Err(refuse(code, node, shard, "no replica is kept here any more"));
        }
        Ok(loaded)
    }

    /// Destroys what is held of a shard and answers with a receipt.
    pub fn purge(self: &Rc<Self>, node: &Node, shard: ShardId) {
        let begins = node.with(|process| {
            process.running.remove(&shard);
            process.rosters.remove(&shard);
            process.purging.insert(shard)
        });
        if begins != Some(true) {
            return;
        }
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let node = world.node(id);
            world.segment_latency(node).await;
            node.disk.borrow_mut().destroy(shard);
            let receipt = Command::PurgeReceipt { shard, node: id, at: world.wall(node) };
            let delivered = world.propose(node, receipt, world.now_us() + RECEIPT_TIMEOUT_US).await.is_ok();
            node.with(|process| {
                process.purging.remove(&shard);
                if delivered {
                    process.on_disk.remove(&shard);
                }
            });
            if delivered {
                world.reconcile(node);
            }
        });
    }

    /// Keeps a segment that the owner has pushed.
    ///
    /// # Errors
    /// Where the shard does not run here, and as [`World::keep`].
    pub async fn store(self: &Rc<Self>, node: &Node, segment: Segment) -> Result<(), Refusal> {
        let shard = segment.shard;
        let absent = || refuse(RefusalCode::Unavailable, node, shard, "it does not run here");
        let run = node.with(|process| process.running.get(&shard).map(|running| running.run)).flatten();
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

    /// Builds the next version of a shard that this node owns; answered once it is committed.
    ///
    /// # Errors
    /// A refusal; nothing is committed then, or it is not known.
    pub async fn build_here(self: &Rc<Self>, node: &Node, order: BuildOrder) -> Result<Built, Refusal> {
        let shard = order.shard;
        let begun = node.with(|process| {
            let absent = || refuse(RefusalCode::Unavailable, node, shard, "it does not run here yet");
            let running = process.running.get_mut(&shard).ok_or_else(absent)?;
            let problem = if !running.core.is_owner() {
                Some("another node owns it")
            } else if !running.disk_read || (running.core.phase() == Phase::Fetching && !running.core.has_given_up()) {
                Some("the committed version is being fetched")
            } else if running.building {
                Some("another build is under way")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(refuse(RefusalCode::Unavailable, node, shard, problem));
            }
            running.building = true;
            Ok((running.run, running.core.order().placement.clone(), running.core.version(), running.serving.clone()))
        });
        let gone = || Err(refuse(RefusalCode::Unavailable, node, shard, "the process ends"));
        let (run, placement, served, before) = begun.unwrap_or_else(gone)?;
        let built = self.build_job(node, run, order, placement, served, before).await;
        self.end_build(node, shard, run);
        built
    }

    /// A build has ended.
    pub fn end_build(&self, node: &Node, shard: ShardId, run: u64) {
        node.with(|process| {
            if let Some(running) = process.running.get_mut(&shard).filter(|running| running.run == run) {
                running.building = false;
            }
        });
    }

    /// Builds and commits, with `before` or what is left of it as the version before, and `served` the version that is
    /// searched now.
    ///
    /// # Errors
    /// As [`World::build_here`].
    pub async fn build_job(
        self: &Rc<Self>,
        node: &Node,
        run: u64,
        order: BuildOrder,
        placement: Placement,
        served: GalleryVersion,
        before: Option<Ready>,
    ) -> Result<Built, Refusal> {
        let shard = order.shard;
        let committed = node.state(|state| state.shard(shard).cloned()).flatten();
        let committed = committed.ok_or_else(|| refuse(RefusalCode::NotFound, node, shard, "the journey is gone"))?;
        let built = |version, people, rows, without_photo| Built { version, people, rows, without_photo };
        if committed.manifest == order.manifest && served == committed.version {
            return Ok(built(committed.version, committed.people, committed.rows, committed.without_photo));
        }
        let version = GalleryVersion(committed.version.0 + 1);
        let before = self.people_before(node, &order, &committed, before).await?;
        self.segment_latency(node).await;
        let head = before.as_ref().map(|loaded| &loaded.head);
        let people = &order.people;
        let population = &self.content.population;
        let boarded = node.state(|state| state.ledger.boarded(shard.journey)).unwrap_or_default();
        let segment = {
            let mut dice = self.dice.borrow_mut();
            content::build(population, &mut dice, shard, order.manifest, people, head, &boarded, version)
        };
        let loaded = self.keep(node, Kind::Gallery, segment.clone()).await?;
        let commit = GalleryCommit {
            shard,
            epoch: placement.epoch,
            node: node.id,
            version,
            hash: segment.hash,
            manifest: order.manifest,
            people: loaded.head.people.len() as u32,
            rows: loaded.head.rows(),
            without_photo: loaded.head.without_photo(),
        };
        self.judge.borrow_mut().built(&segment);
        self.stage(node, shard, Some(run), loaded);
        let request = peer::Request::StoreSegment(segment);
        let pushes = placement.standbys.iter().map(|standby| self.push(node, *standby, &request));
        let kept = join_all(pushes).await.into_iter().filter(|kept| *kept).count();
        if kept == 0 && !placement.standbys.is_empty() {
            return Err(refuse(RefusalCode::Unavailable, node, shard, "no standby took the new version"));
        }
        let made = built(version, commit.people, commit.rows, commit.without_photo);
        self.propose(node, Command::CommitGallery(commit), self.now_us() + COMMIT_TIMEOUT_US).await?;
        Ok(made)
    }

    async fn people_before(
        self: &Rc<Self>,
        node: &Node,
        order: &BuildOrder,
        committed: &ShardState,
        before: Option<Ready>,
    ) -> Result<Option<Ready>, Refusal> {
        let shard = order.shard;
        if goes_on_from(before.as_ref().map(|before| before.head.version), committed.version) {
            return Ok(before);
        }
        let kept = match self.roster_here(node, shard, committed.version).await {
            Ok(kept) => Ok(kept),
            Err(_) => self.fetch_roster(node, shard, committed.version, committed.holders.iter().copied()).await,
        };
        let silent = match kept {
            Ok(kept) => return Ok(content::load(&kept, None).ok()),
            Err(silent) => silent,
        };
        let gone = || Err(refuse(RefusalCode::Unavailable, node, shard, "the process ends"));
        node.state(|state| may_begin_anew(state, shard, &silent, order.listing)).unwrap_or_else(gone)?;
        Ok(before)
    }

    async fn push(self: &Rc<Self>, node: &Node, standby: NodeId, request: &peer::Request) -> bool {
        let deadline_us = self.now_us() + PUSH_TIMEOUT_US;
        loop {
            let left_us = deadline_us.saturating_sub(self.now_us());
            match self.ask(node, standby, request, left_us).await {
                Ok(peer::Response::Done) => return true,
                Err(refusal) if refusal.code.retryable() && self.now_us() + PUSH_PAUSE_US < deadline_us => {
                    self.sleep(PUSH_PAUSE_US).await;
                }
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Sends the order to the shard's owner, wherever that is, until the gallery is built (`build::at_owner`).
    ///
    /// # Errors
    /// The owner's refusal, or the last one when the deadline passes.
    pub async fn build_at_owner(
        self: &Rc<Self>,
        node: &Node,
        order: BuildOrder,
        deadline_us: u64,
    ) -> Result<Built, Refusal> {
        let shard = order.shard;
        let mut last = refuse(RefusalCode::Unavailable, node, shard, "it is not placed on any node");
        while self.now_us() < deadline_us {
            let owner = self.owner(node, shard);
            let built = match owner {
                Some(owner) if owner == node.id => self.build_here(node, order.clone()).await,
                Some(owner) => {
                    let left_us = deadline_us - self.now_us();
                    let request = peer::Request::Build(order.clone());
                    let asked = self.ask(node, owner, &request, left_us);
                    let asked = self.while_holds(asked, || self.owner(node, shard) == Some(owner));
                    match asked.await {
                        Some(Ok(peer::Response::Built(built))) => Ok(built),
                        Some(Ok(_)) => Err(refuse(RefusalCode::Internal, node, shard, "answered out of turn")),
                        Some(Err(refusal)) => Err(refusal),
                        None => Err(refuse(RefusalCode::Unavailable, node, shard, "the owner changed")),
                    }
                }
                None => Err(last.clone()),
            };
            match built {
                Ok(built) => return Ok(built),
                Err(refusal) if refusal.code.retryable() || refusal.code == RefusalCode::Conflict => last = refusal,
                Err(refusal) => return Err(refusal),
            }
            self.sleep(PUSH_PAUSE_US).await;
        }
        Err(last)
    }

    fn owner(&self, node: &Node, shard: ShardId) -> Option<NodeId> {
        node.state(|state| state.blueprint.placements.get(&shard).map(|placement| placement.owner)).flatten()
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
            None => Err(Refusal::new(RefusalCode::Unavailable, format!("node {to}: no answer"), "try again")),
        }
    }
}
