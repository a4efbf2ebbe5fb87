//! The keeper: makes the shards that run on this node fit the replicated state, and starts again what died.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use cluster_config::actor;
use cluster_config::canary::Canaries;
use cluster_config::gallery::ShardId;
use cluster_config::ids::GalleryVersion;
use cluster_config::wire::Refusal;
use coordinator::Watchlist;
use coordinator_core::retention;
use node_core::keeper::{self as core, Effect, Event, RECEIPT_TIMEOUT};
use node_core::shard::{Content, Order};
use tokio::sync::mpsc;

use super::build::Tools;
use super::directory::Directory;
use super::messages::{Destroy, Obey};
use super::shard::{Ended, ShardActor};
use super::store::Kind;
use crate::engine::EngineHandle;

/// Look at the state and make this node fit it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconcile {
    /// Whether the state is known not to be an old one.
    pub caught_up: bool,
}

/// A shard's actor has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct ShardEnded(Ended);

/// Something that the keeper had begun has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Happened(Event);

pub struct Keeper {
    tools: Arc<Tools>,
    engine: EngineHandle,
    directory: Arc<Directory>,
    arbiter: ArbiterHandle,
    core: core::Keeper,
    effects: Vec<Effect>,
    notify: mpsc::UnboundedSender<Ended>,
}

impl Keeper {
    /// Starts the keeper on `arbiter`, together with the tasks that tell it of changes.
    pub fn spawn(
        arbiter: &ArbiterHandle,
        tools: Arc<Tools>,
        watch: &Watchlist,
        engine: EngineHandle,
        directory: Arc<Directory>,
        on_disk: BTreeSet<ShardId>,
    ) -> Recipient<Reconcile> {
        let (notify, mut ended) = mpsc::unbounded_channel();
        let network = tools.network.clone();
        let keeper = Self {
            core: core::Keeper::new(tools.coordinator.node_id(), on_disk, Canaries::of_process()),
            tools,
            engine,
            directory,
            arbiter: arbiter.clone(),
            effects: Vec::new(),
            notify,
        };
        let address = Self::start_in_arbiter(arbiter, move |_| keeper);
        let (told, watched) = (address.clone(), watch.watch("keeper"));
        network.spawn(async move {
            let _watched = watched;
            while let Some(ended) = ended.recv().await {
                if told.send(ShardEnded(ended)).await.is_err() {
                    return;
                }
            }
        });
        address.recipient()
    }

    fn step(&mut self, event: Event, context: &mut Context<Self>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.tools.coordinator.with_state(|state| self.core.step(state, event, &mut effects));
        for effect in effects.drain(..) {
            match effect {
                Effect::Start(shard, run, order) => self.start_replica(Ended { shard, run }, order),
                Effect::Tell(shard, order) => self.tell(shard, order),
                Effect::End(shard) => self.end(shard),
                Effect::KeepRoster(shard, order) => self.keep_roster(shard, order, context),
                Effect::DropReplica(shard) => self.drop_replica(shard),
                Effect::AskWhoKeeps(shard, order) => self.ask_who_keeps(shard, order, context),
                Effect::Purge(shard) => self.purge(shard, None, context),
                Effect::Reduce(shard, content) => self.purge(shard, Some(content), context),
            }
        }
        self.effects = effects;
        metrics::gauge!("tvs_shards_running").set(self.core.running() as f64);
    }

    fn start_replica(&self, ended: Ended, order: Order) {
        let (tools, engine) = (self.tools.clone(), self.engine.clone());
        let handle = ShardActor::spawn(&self.arbiter, tools, engine, ended, order, self.notify.clone());
        self.directory.insert(ended.shard, handle);
    }

    fn tell(&mut self, shard: ShardId, order: Order) {
        let told = self.directory.find(shard).is_some_and(|handle| handle.obey.try_send(Obey(order)).is_ok());
        if !told {
            let mut effects = Vec::new();
            self.tools.coordinator.with_state(|state| self.core.step(state, Event::NotTold(shard), &mut effects));
        }
    }

    /// Ends the shard's actor.
    fn end(&self, shard: ShardId) {
        if let Some(handle) = self.directory.remove(shard) {
            // An actor whose queue is full still ends: its last address goes with the handle.
            let _ = handle.destroy.try_send(Destroy);
        }
    }

    fn keep_roster(&self, shard: ShardId, order: Order, context: &Context<Self>) {
        let contents = self.tools.contents.clone();
        let address = context.address();
        self.tools.network.spawn(async move {
            let kept = contents.keep_roster(shard, &order).await;
            if let Err(refusal) = &kept {
                tracing::debug!(%shard, %refusal, "the roster is not kept yet; it is asked for again");
            }
            // The keeper ends only with the process.
            let _ = address.send(Happened(Event::RosterKept(shard, kept.ok()))).await;
        });
    }

    fn ask_who_keeps(&self, shard: ShardId, order: Order, context: &Context<Self>) {
        let contents = self.tools.contents.clone();
        let address = context.address();
        self.tools.network.spawn(async move {
            let kept = contents.kept_by(shard, &order).await;
            // The keeper ends only with the process.
            let _ = address.send(Happened(Event::KeptElsewhere(shard, order.version, kept))).await;
        });
    }

    fn drop_replica(&self, shard: ShardId) {
        let contents = self.tools.contents.clone();
        let dropping = async move { contents.drop_before(Kind::Gallery, shard, GalleryVersion(u32::MAX)).await };
        self.tools.network.spawn(dropping);
    }

    /// Destroys what is held of a shard; of this content those who are no citizens are kept apart.
    fn purge(&self, shard: ShardId, apart: Option<Content>, context: &Context<Self>) {
        let tools = self.tools.clone();
        let address = context.address();
        self.tools.network.spawn(async move {
            let destroyed = destroy(&tools, shard, apart).await;
            if let Err(refusal) = &destroyed {
                tracing::warn!(%shard, %refusal, "the purge is tried again");
            }
            // The keeper ends only with the process.
            let _ = address.send(Happened(Event::Purged(shard, destroyed.is_ok()))).await;
        });
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<Reconcile> for Keeper {
    type Result = ();

    fn handle(&mut self, Reconcile { caught_up }: Reconcile, context: &mut Context<Self>) {
        self.step(Event::Look(caught_up), context);
    }
}

impl Handler<Happened> for Keeper {
    type Result = ();

    fn handle(&mut self, Happened(event): Happened, context: &mut Context<Self>) {
        self.step(event, context);
    }
}

impl Handler<ShardEnded> for Keeper {
    type Result = ();

    fn handle(&mut self, ShardEnded(ended): ShardEnded, context: &mut Context<Self>) {
        if self.core.runs(ended.shard, ended.run) {
            metrics::counter!("tvs_shard_restarts_total").increment(1);
            tracing::error!(shard = %ended.shard, "the shard's actor died and is started again");
        }
        self.step(Event::Ended(ended.shard, ended.run), context);
    }
}

async fn destroy(tools: &Tools, shard: ShardId, apart: Option<Content>) -> Result<(), Refusal> {
    let keeps = match apart {
        Some(content) => tools.contents.put_apart(shard, content).await?,
        None => false,
    };
    tools.contents.destroy(shard).await?;
    let node = tools.coordinator.node_id();
    let (receipt, until) = (retention::Command::Receipt { shard, node, keeps }, Instant::now() + RECEIPT_TIMEOUT);
    tools.proposer.propose(actor::Actor::node(node), receipt, until).await.map(|_| ())
}
