//! Builds of a node: the loops around [`node_core::build`], as `node/src/gallery/build.rs` has them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use cluster_config::canary::Canaries;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::journey::Listing;
use cluster_config::wire::peer;
use cluster_config::wire::peer::{BuildOrder, Built};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::galleries;
use futures::FutureExt;
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{FuturesUnordered, StreamExt};
use node::gallery::people::{self, Sources};
use node::holdings::Holdings;
use node::holdings::synthetic::model;
use node_core::build::job::{Beside, COMMIT_TIMEOUT, Effect, Event, Job, Made, People};
use node_core::build::{may_begin, order, push};

use super::content::{self, Ready};
use super::disk::Kind;
use super::node::Node;
use super::shards::refuse;
use super::{World, micros};
use node_core::shard::Order;

/// How often one who waits for an owner looks whether there is another by now, microseconds: in place of being told.
const OWNER_LOOK_US: u64 = 5_000;

/// One build: what the core's effects are performed with, and what they have brought so far.
struct Work<'a> {
    world: &'a Rc<World>,
    node: &'a Node,
    run: u64,
    shard: ShardId,
    order: Option<BuildOrder>,
    before: Option<Ready>,
    rosters: RefCell<BTreeMap<(ShardId, NodeId), Segment>>,
    made: OnceCell<peer::Request>,
}

impl World {
    /// Builds the next version of a shard that this node owns; answered once it is committed.
    ///
    /// # Errors
    /// A refusal; nothing is committed then, or it is not known.
    pub async fn build_here(self: &Rc<Self>, node: &Node, order: BuildOrder) -> Result<Built, Refusal> {
        let shard = order.shard;
        let begun = node.with(|process| {
            let absent = || refuse(RefusalCode::Unavailable, node, shard, "it does not run here yet");
            let running = process.running.get_mut(&shard).ok_or_else(absent)?;
            may_begin(running.core(), running.building)?;
            running.building = true;
            let (placement, before) = (running.core().order().placement.clone(), running.loaded());
            let known = before.as_ref().map(|loaded| loaded.head.version);
            let core = Job::ordered(node.id, &order, placement, known, Canaries::of_process());
            Ok((running.run(), before, core))
        });
        let (run, before, core) = begun.unwrap_or_else(|| Err(gone(node, shard)))?;
        self.build(node, shard, run, Some(order), before, core).await
    }

    /// Builds the next version out of the people of this one: templates are due, or every replica is lost.
    pub fn build_again(
        self: &Rc<Self>,
        node: &Node,
        shard: ShardId,
        run: u64,
        job: fn(NodeId, ShardId, &Order, Canaries) -> Job,
    ) {
        let begun = node.with(|process| {
            let running = process.running.get_mut(&shard).filter(|running| running.run() == run)?;
            let begins = !std::mem::replace(&mut running.building, true);
            let core = job(node.id, shard, running.core().order(), Canaries::of_process());
            begins.then(|| (core, running.loaded()))
        });
        let Some(Some((core, before))) = begun else { return };
        let (world, id) = (self.clone(), node.id);
        self.executor.spawn(Some(node.owner()), async move {
            let rebuilt = world.build(world.node(id), shard, run, None, before, core).await;
            world.count(if rebuilt.is_ok() { "gallery built again" } else { "gallery not built again yet" });
        });
    }

    /// Does what the core says until the job is done.
    async fn build(
        self: &Rc<Self>,
        node: &Node,
        shard: ShardId,
        run: u64,
        order: Option<BuildOrder>,
        before: Option<Ready>,
        core: Job,
    ) -> Result<Built, Refusal> {
        let (rosters, made) = (RefCell::default(), OnceCell::new());
        let built = Work { world: self, node, run, shard, order, before, rosters, made }.run(core).await;
        node.with(|process| {
            if let Some(running) = process.running.get_mut(&shard).filter(|running| running.run() == run) {
                running.building = false;
            }
        });
        built
    }

    /// Sends the order to the shard's owner, wherever that is, until the gallery is built.
    ///
    /// # Errors
    /// The owner's refusal, or the last one when the deadline passes.
    pub async fn build_at_owner(
        self: &Rc<Self>,
        node: &Node,
        order: BuildOrder,
        deadline_us: u64,
    ) -> Result<Built, Refusal> {
        use order::{Effect, Event};
        let shard = order.shard;
        let mut core = order::Sending::new(node.id, shard, std::time::Duration::from_micros(deadline_us));
        let mut asked: FuturesUnordered<LocalBoxFuture<'_, Event>> = FuturesUnordered::new();
        let mut event = Event::Begun;
        loop {
            let mut effects = Vec::new();
            let stepped = node.state(|state| core.step(self.now(), state, event, &mut effects));
            stepped.ok_or_else(|| gone(node, shard))?;
            for effect in effects {
                let next: LocalBoxFuture<'_, Event> = match effect {
                    Effect::Done(result) => return result,
                    Effect::Abandon(_) => {
                        asked.clear();
                        continue;
                    }
                    Effect::BuildHere => {
                        let built = self.build_here(node, order.clone());
                        Box::pin(built.map(|built| Event::Answered(node.id, built)))
                    }
                    Effect::Ask(owner, until) => {
                        let request = peer::Request::Build(order.clone());
                        Box::pin(async move {
                            let left_us = micros(until).saturating_sub(self.now_us());
                            let answered = match self.ask(node, owner, &request, left_us).await {
                                Ok(peer::Response::Built(built)) => Ok(built),
                                Ok(_) => Err(refuse(RefusalCode::Internal, node, shard, "answered out of turn")),
                                Err(refusal) => Err(refusal),
                            };
                            Event::Answered(owner, answered)
                        })
                    }
                    Effect::Wake(at) => Box::pin(self.wait_until(micros(at)).map(|()| Event::Woken)),
                };
                asked.push(next);
            }
            event = match select(asked.next(), std::pin::pin!(self.sleep(OWNER_LOOK_US))).await {
                Either::Left((Some(event), _)) => event,
                Either::Left((None, look)) => {
                    look.await;
                    Event::Changed
                }
                Either::Right(_) => Event::Changed,
            };
        }
    }

    async fn wait_until(&self, at_us: u64) {
        self.sleep(at_us.saturating_sub(self.now_us())).await;
    }
}

fn gone(node: &Node, shard: ShardId) -> Refusal {
    refuse(RefusalCode::Unavailable, node, shard, "the process ends")
}

impl Work<'_> {
    async fn run(&self, mut core: Job) -> Result<Built, Refusal> {
        let mut running: FuturesUnordered<LocalBoxFuture<'_, Event>> = FuturesUnordered::new();
        let mut event = Event::Begun;
        loop {
            let mut effects = Vec::new();
            let stepped = self.node.state(|state| core.step(self.world.now(), state, event, &mut effects));
            stepped.ok_or_else(|| gone(self.node, self.shard))?;
            for effect in effects {
                let next: LocalBoxFuture<'_, Event> = match effect {
                    Effect::AskRoster(shard, of, version_min) => Box::pin(self.ask_roster(shard, of, version_min)),
                    Effect::Build(version, people, beside, with_templates) => {
                        Box::pin(self.build(version, people, (beside, with_templates)).map(Event::Built))
                    }
                    Effect::Keep => Box::pin(self.keep().map(Event::Kept)),
                    Effect::Push(to, until) => Box::pin(self.push(to, micros(until))),
                    Effect::Commit(commit) => {
                        running.clear();
                        Box::pin(self.commit(commit))
                    }
                    Effect::Wake(at) => Box::pin(self.world.wait_until(micros(at)).map(|()| Event::Woken)),
                    Effect::Done(result) => return result,
                };
                running.push(next);
            }
            event = running.next().await.expect("a job that is not done waits for something");
        }
    }

    async fn ask_roster(&self, shard: ShardId, of: NodeId, version_min: GalleryVersion) -> Event {
        let (answer, given) = self.world.ask_roster(self.node, of, shard, version_min).await;
        if let Some(given) = given {
            self.rosters.borrow_mut().insert((shard, of), given);
        }
        Event::RosterAnswered(shard, of, answer)
    }

    /// The roster of a shard that this node gave.
    fn roster(&self, shard: ShardId, by: NodeId) -> Result<Ready, Refusal> {
        let roster = content::load(&self.rosters.borrow()[&(shard, by)], None);
        roster.map_err(|error| refuse(RefusalCode::BadValue, self.node, shard, &error))
    }

    /// What to build, and on whose people it goes on.
    fn sources(&self, people: People) -> Result<(BuildOrder, Option<Ready>), Refusal> {
        let before = match people {
            People::OfReplica => self.before.clone(),
            People::OfRoster(by) => Some(self.roster(self.shard, by)?),
        };
        if let Some(order) = &self.order {
            return Ok((order.clone(), before));
        }
        let head = &before.as_ref().expect("a lost gallery is built out of a roster").head;
        let people = head.people.iter().map(|enrolled| enrolled.person.clone()).collect();
        let order = BuildOrder { shard: self.shard, manifest: head.manifest, people, listing: Listing::Whole };
        Ok((order, before))
    }

    async fn build(
        &self,
        version: GalleryVersion,
        people: People,
        (beside, with_templates): (Beside, bool),
    ) -> Result<(), Refusal> {
        let (world, shard) = (self.world, self.shard);
        let (order, before) = self.sources(people)?;
        world.segment_latency(self.node).await;
        let mut given = BTreeMap::new();
        for (part, by) in &beside.given {
            let roster = self.roster(ShardId { part: *part, ..shard }, *by)?;
            given.insert(*part, people::people_of(&roster.head));
        }
        let head = before.as_ref().map(|loaded| &loaded.head);
        let made_of = (&world.content.holdings as &dyn Holdings, model(), content::DIMS);
        let sources = self.node.state(|state| Sources::of(state, made_of, (&order, version), head, &beside, given));
        let sources = Sources { with_templates, ..sources.ok_or_else(|| gone(self.node, shard))? };
        let segment = content::build(&sources, &mut world.dice.borrow_mut(), &order, before.as_deref(), version)?;
        self.made.set(peer::Request::StoreSegment(segment)).expect("it is built once");
        Ok(())
    }

    async fn keep(&self) -> Result<Made, Refusal> {
        let Some(peer::Request::StoreSegment(segment)) = self.made.get() else { unreachable!("nothing is built") };
        let loaded = self.world.keep(self.node, Kind::Gallery, segment.clone()).await?;
        let made = Made {
            hash: segment.hash,
            manifest: loaded.head.manifest,
            numbered_by: loaded.head.numbered_by,
            counts: loaded.head.counts(),
        };
        self.world.judge.borrow_mut().built(segment);
        self.world.stage(self.node, self.shard, Some(self.run), loaded);
        Ok(made)
    }

    async fn push(&self, to: NodeId, until_us: u64) -> Event {
        let request = self.made.get().expect("it is built");
        let left_us = until_us.saturating_sub(self.world.now_us());
        Event::PushAnswered(to, push::Answer::of(&self.world.ask(self.node, to, request, left_us).await))
    }

    async fn commit(&self, commit: galleries::Commit) -> Event {
        let until_us = self.world.now_us() + micros(COMMIT_TIMEOUT);
        let committed = self.world.propose(self.node, galleries::Command::Commit(commit), until_us).await;
        Event::Committed(committed.map(|_| ()))
    }
}
