//! The actor of one shard replica: what it holds, who may ask it, and the shell around [`node_core::shard::Replica`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use cluster_config::canary::Canaries;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::wire::peer::{BuildOrder, Built};
use cluster_config::wire::{Refusal, RefusalCode};
use node_core::build::{job, may_begin};
use node_core::shard::{Content, Effect, Message as CoreMessage, Order, Replica};
use tokio::sync::mpsc;

use super::build::{self, Tools};
use super::directory::ShardHandle;
use super::messages::{Build, Destroy, Fetch, Obey, Stage, Store};
use super::segment::Loaded;
use super::serving::{Published, Serving};
use super::store::{Kept, Kind};
use crate::clock;
use crate::engine::EngineHandle;

/// Messages that may wait for one shard: orders, segments, builds. Searches do not come this way.
const MAILBOX_MESSAGES_MAX: usize = 1_024;

/// What lies on disk has been looked at.
#[derive(Message)]
#[rtype(result = "()")]
struct DiskRead(Option<Arc<Loaded>>);

#[derive(Message)]
#[rtype(result = "()")]
struct FetchFailed;

#[derive(Message)]
#[rtype(result = "()")]
struct Woken;

/// Told when an actor ends, for whatever reason; `run` tells this start of it from later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub shard: ShardId,
    /// Which start of its actor.
    pub run: u64,
}

/// Withdraws what is published and sends its [`Ended`] when it is dropped: a panicking handler drops the actor, and
/// nobody else would notice.
struct LifeLine {
    ended: Ended,
    published: Arc<Published>,
    notify: mpsc::UnboundedSender<Ended>,
}

impl Drop for LifeLine {
    fn drop(&mut self) {
        self.published.set(None);
        // The keeper is gone only when the process ends.
        let _ = self.notify.send(self.ended);
    }
}

/// One shard replica.
pub struct ShardActor {
    tools: Arc<Tools>,
    engine: EngineHandle,
    core: Replica,
    serving: Option<Arc<Loaded>>,
    staged: Vec<Arc<Loaded>>,
    published: Arc<Published>,
    building: Arc<AtomicBool>,
    effects: Vec<Effect>,
    _life: LifeLine,
}

impl ShardActor {
    /// Starts the actor on `arbiter`; `notify` hears of its end.
    pub fn spawn(
        arbiter: &ArbiterHandle,
        tools: Arc<Tools>,
        engine: EngineHandle,
        ended: Ended,
        order: Order,
        notify: mpsc::UnboundedSender<Ended>,
    ) -> ShardHandle {
        let published = Arc::new(Published::default());
        let publish = published.clone();
        let address = Self::start_in_arbiter(arbiter, move |context| {
            context.set_mailbox_capacity(MAILBOX_MESSAGES_MAX);
            Self {
                core: Replica::new(tools.coordinator.node_id(), ended.shard, order, Canaries::of_process()),
                tools,
                engine,
                serving: None,
                staged: Vec::new(),
                published: publish.clone(),
                building: Arc::default(),
                effects: Vec::new(),
                _life: LifeLine { ended, published: publish, notify },
            }
        });
        ShardHandle {
            store: address.clone().recipient(),
            fetch: address.clone().recipient(),
            build: address.clone().recipient(),
            obey: address.clone().recipient(),
            destroy: address.recipient(),
            published,
        }
    }

    fn step(&mut self, message: CoreMessage, context: &mut Context<Self>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.step(clock::now(), message, &mut effects);
        for effect in effects.drain(..) {
            self.perform(effect, context);
        }
        self.effects = effects;
        let epoch = self.core.epoch();
        self.published.set(self.serving.clone().map(|loaded| Serving { loaded, epoch }));
    }

    fn perform(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Serve(content) => self.serve(content),
            Effect::Unstage(content) => drop(self.take_staged(content)),
            Effect::Rebuild => self.rebuild(context),
            Effect::BuildDue => self.build_due(context),
            Effect::Fetch { from, version_min } => self.fetch(from, version_min, context),
            Effect::Wake(at) => {
                let delay = Duration::from_millis(at.since(clock::now()));
                context.notify_later(Woken, delay);
            }
        }
    }

    fn take_staged(&mut self, content: Content) -> Option<Arc<Loaded>> {
        let place = self.staged.iter().position(|loaded| content_of(loaded) == content)?;
        Some(self.staged.swap_remove(place))
    }

    fn stage(&mut self, loaded: Arc<Loaded>, context: &mut Context<Self>) {
        let content = content_of(&loaded);
        if self.staged.iter().all(|other| content_of(other) != content) {
            self.staged.push(loaded);
        }
        self.step(CoreMessage::Staged(content), context);
    }

    fn serve(&mut self, content: Content) {
        let Some(loaded) = self.take_staged(content) else { return };
        if let Some(before) = self.serving.replace(loaded.clone()) {
            self.engine.release(&before);
        }
        let (contents, shard, version) = (self.tools.contents.clone(), self.core.shard(), loaded.head.version);
        let dropping = async move { contents.drop_before(Kind::Gallery, shard, version).await };
        self.tools.network.spawn(dropping);
    }

    fn fetch(&self, from: NodeId, version_min: GalleryVersion, context: &mut Context<Self>) {
        let contents = self.tools.contents.clone();
        let shard = self.core.shard();
        let address = context.address();
        let before = self.serving.clone();
        self.tools.network.spawn(async move {
            let fetched = contents.fetch_gallery(from, shard, version_min, before).await;
            // The actor may have been told to end meanwhile.
            let _ = match fetched {
                Ok(loaded) => {
                    metrics::counter!("tvs_shard_fetches_total", "result" => "done").increment(1);
                    address.send(Stage(loaded)).await
                }
                Err(error) => {
                    metrics::counter!("tvs_shard_fetches_total", "result" => "failed").increment(1);
                    tracing::debug!(%shard, %from, %error, "the segment could not be fetched");
                    address.send(FetchFailed).await
                }
            };
        });
    }

    /// Begins a build; absent where one is under way.
    fn begin_build(&self, order: Option<BuildOrder>, context: &Context<Self>) -> Option<build::Job> {
        if self.building.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(build::Job {
            tools: self.tools.clone(),
            shard: self.core.shard(),
            order,
            before: self.serving.clone(),
            stage: context.address().recipient(),
            building: build::Building(self.building.clone()),
        })
    }

    /// Builds the next version out of the people that a roster holder keeps. Where none answers, the core asks again.
    fn rebuild(&self, context: &mut Context<Self>) {
        let Some(job) = self.begin_build(None, context) else { return };
        let shard = self.core.shard();
        let core = job::Job::rebuild(self.me(), shard, self.core.order(), Canaries::of_process());
        self.tools.network.spawn(async move {
            let rebuilt = job.run(core).await;
            let result = if rebuilt.is_ok() { "done" } else { "failed" };
            metrics::counter!("tvs_shard_rebuilds_total", "result" => result).increment(1);
            match rebuilt {
                Ok(built) => tracing::warn!(%shard, version = %built.version, "every replica was lost: built again"),
                Err(refusal) => {
                    tracing::warn!(%shard, %refusal, "every replica is lost, and it is not built again yet")
                }
            }
        });
    }

    /// Builds the templates of the people who are here. Where that comes to nothing, the core asks again.
    fn build_due(&self, context: &mut Context<Self>) {
        let Some(job) = self.begin_build(None, context) else { return };
        let shard = self.core.shard();
        let core = job::Job::due(self.me(), shard, self.core.order(), Canaries::of_process());
        self.tools.network.spawn(async move {
            if let Err(refusal) = job.run(core).await {
                tracing::warn!(%shard, %refusal, "it is time for its templates, and they are not built yet");
            }
        });
    }

    fn me(&self) -> NodeId {
        self.tools.coordinator.node_id()
    }

    fn refuse(&self, code: RefusalCode, problem: &str, fix: &'static str) -> Refusal {
        Refusal::new(code, format!("node {}: gallery {}", self.me(), self.core.shard()), problem, fix)
    }
}

fn content_of(loaded: &Loaded) -> Content {
    Content { version: loaded.head.version, hash: loaded.hash }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let contents = self.tools.contents.clone();
        let replica = self.core.clone();
        let address = context.address();
        self.tools.network.spawn(async move {
            let read = tokio::task::spawn_blocking(move || contents.read_gallery(&replica)).await;
            // The actor may have been told to end meanwhile.
            let _ = address.send(DiskRead(read.ok().flatten())).await;
        });
    }
}

impl Handler<Obey> for ShardActor {
    type Result = ();

    fn handle(&mut self, Obey(order): Obey, context: &mut Context<Self>) {
        self.step(CoreMessage::Ordered(order), context);
        tracing::debug!(shard = %self.core.shard(), phase = ?self.core.phase(), epoch = %self.core.epoch(), "ordered");
    }
}

impl Handler<Stage> for ShardActor {
    type Result = ();

    fn handle(&mut self, Stage(loaded): Stage, context: &mut Context<Self>) {
        self.stage(loaded, context);
    }
}

impl Handler<DiskRead> for ShardActor {
    type Result = ();

    fn handle(&mut self, DiskRead(loaded): DiskRead, context: &mut Context<Self>) {
        if let Some(loaded) = loaded {
            self.stage(loaded, context);
        }
        self.step(CoreMessage::DiskRead, context);
    }
}

impl Handler<FetchFailed> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: FetchFailed, context: &mut Context<Self>) {
        self.step(CoreMessage::FetchFailed, context);
    }
}

impl Handler<Woken> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Woken, context: &mut Context<Self>) {
        self.step(CoreMessage::Woken, context);
    }
}

impl Handler<Store> for ShardActor {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, Store(segment): Store, context: &mut Context<Self>) -> Self::Result {
        let contents = self.tools.contents.clone();
        let address = context.address();
        let refusal = self.refuse(RefusalCode::Unavailable, "the actor is ending", "ask again");
        let before = self.serving.clone();
        Box::pin(async move {
            let loaded = contents.keep(Kind::Gallery, segment, before).await?;
            address.send(Stage(loaded)).await.map_err(|_| refusal)
        })
    }
}

impl Handler<Fetch> for ShardActor {
    type Result = ResponseFuture<Result<Segment, Refusal>>;

    fn handle(&mut self, Fetch(version_min): Fetch, _: &mut Context<Self>) -> Self::Result {
        let contents = self.tools.contents.clone();
        let absent = self.refuse(RefusalCode::Unavailable, "the version is not here", "ask another replica");
        let Some(loaded) = self.serving.clone().filter(|loaded| loaded.head.version >= version_min) else {
            return Box::pin(async { Err(absent) });
        };
        Box::pin(async move {
            let (shard, version, hash) = (loaded.head.shard, loaded.head.version, loaded.hash);
            let kept = Kept { kind: Kind::Gallery, shard, version, hash };
            contents.kept(kept, absent.place.clone()).await?.ok_or(absent)
        })
    }
}

impl Handler<Build> for ShardActor {
    type Result = ResponseFuture<Result<Built, Refusal>>;

    fn handle(&mut self, Build(order): Build, context: &mut Context<Self>) -> Self::Result {
        if let Err(refusal) = may_begin(&self.core, self.building.load(Ordering::Acquire)) {
            return Box::pin(async { Err(refusal) });
        }
        let placement = self.core.order().placement.clone();
        let known = self.serving.as_ref().map(|loaded| loaded.head.version);
        let core = job::Job::ordered(self.me(), &order, placement, known, Canaries::of_process());
        let Some(job) = self.begin_build(Some(order), context) else {
            let refusal = self.refuse(RefusalCode::Unavailable, "another build is under way", "ask again");
            return Box::pin(async { Err(refusal) });
        };
        let shard = self.core.shard();
        let running = self.tools.network.spawn(job.run(core));
        Box::pin(async move {
            running.await.unwrap_or_else(|error| {
                let (place, problem) = (format!("gallery {shard}"), format!("the build broke off: {error}"));
                Err(Refusal::new(RefusalCode::Internal, place, problem, "submit the manifest again"))
            })
        })
    }
}

impl Handler<Destroy> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Destroy, context: &mut Context<Self>) {
        self.published.set(None);
        for loaded in self.serving.take().into_iter().chain(std::mem::take(&mut self.staged)) {
            self.engine.release(&loaded);
        }
        context.stop();
    }
}
