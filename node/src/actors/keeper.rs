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
use coordinator_core::retention;
use node_core::keeper::{self as core, Effect, Event, RECEIPT_TIMEOUT};
use node_core::shard::Order;
use tokio::sync::mpsc;

use super::content;
use super::shard::{Destroy, Ended, Obey, ShardActor};
use crate::context::Context as Shared;
use crate::proposer::Proposer;
use crate::store::Kind;

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

/// See the module.
pub struct Keeper {
    shared: Arc<Shared>,
    proposer: Proposer,
    arbiter: ArbiterHandle,
    core: core::Keeper,
    effects: Vec<Effect>,
    notify: mpsc::UnboundedSender<Ended>,
}

impl Keeper {
    /// Starts the keeper on `arbiter`, together with the tasks that tell it of changes.
    pub fn spawn(
        arbiter: &ArbiterHandle,
        shared: Arc<Shared>,
        proposer: Proposer,
        on_disk: BTreeSet<ShardId>,
    ) -> Recipient<Reconcile> {
        let (notify, mut ended) = mpsc::unbounded_channel();
        let keeper = Self {
            shared: shared.clone(),
            proposer,
            arbiter: arbiter.clone(),
            core: core::Keeper::new(shared.me, on_disk, Canaries::of_process()),
            effects: Vec::new(),
            notify,
        };
        let address = Self::start_in_arbiter(arbiter, move |_| keeper);
        let told = address.clone();
        shared.network.spawn(async move {
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
        self.shared.coordinator.with_state(|state| self.core.step(state, event, &mut effects));
        for effect in effects.drain(..) {
            match effect {
                Effect::Start(shard, run, order) => self.start_replica(Ended { shard, run }, order),
                Effect::Tell(shard, order) => self.tell(shard, order),
                Effect::End(shard) => self.end(shard),
                Effect::KeepRoster(shard, order) => self.keep_roster(shard, order, context),
                Effect::DropReplica(shard) => self.drop_replica(shard),
                Effect::Purge(shard) => self.purge(shard, context),
            }
        }
        self.effects = effects;
        metrics::gauge!("tvs_shards_running").set(self.core.running() as f64);
    }

    fn start_replica(&self, ended: Ended, order: Order) {
        let (shared, proposer) = (self.shared.clone(), self.proposer.clone());
        let handle = ShardActor::spawn(&self.arbiter, shared, proposer, ended, order, self.notify.clone());
        self.shared.directory.insert(ended.shard, handle);
    }

    fn tell(&mut self, shard: ShardId, order: Order) {
        let told = self.shared.directory.find(shard).is_some_and(|handle| handle.obey.try_send(Obey(order)).is_ok());
        if !told {
            let mut effects = Vec::new();
            self.shared.coordinator.with_state(|state| self.core.step(state, Event::NotTold(shard), &mut effects));
        }
    }

    /// Ends the shard's actor.
    fn end(&self, shard: ShardId) {
        if let Some(handle) = self.shared.directory.remove(shard) {
            // An actor whose queue is full still ends: its last address goes with the handle.
            let _ = handle.destroy.try_send(Destroy);
        }
    }

    fn keep_roster(&self, shard: ShardId, order: Order, context: &Context<Self>) {
        let shared = self.shared.clone();
        let address = context.address();
        self.shared.network.spawn(async move {
            let kept = content::keep_roster(&shared, shard, &order).await;
            if let Err(refusal) = &kept {
                tracing::debug!(%shard, %refusal, "the roster is not kept yet; it is asked for again");
            }
            // The keeper ends only with the process.
            let _ = address.send(Happened(Event::RosterKept(shard, kept.ok()))).await;
        });
    }

    fn drop_replica(&self, shard: ShardId) {
        let shared = self.shared.clone();
        self.shared.network.spawn_blocking(move || {
            if let Err(error) = shared.store.drop_before(Kind::Gallery, shard, GalleryVersion(u32::MAX)) {
                tracing::error!(%shard, %error, "the replica's content could not be dropped");
            }
        });
    }

    fn purge(&self, shard: ShardId, context: &Context<Self>) {
        let shared = self.shared.clone();
        let proposer = self.proposer.clone();
        let address = context.address();
        self.shared.network.spawn(async move {
            let destroyed = destroy(&shared, &proposer, shard).await;
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

async fn destroy(shared: &Arc<Shared>, proposer: &Proposer, shard: ShardId) -> Result<(), Refusal> {
    let store = shared.clone();
    let destroyed = tokio::task::spawn_blocking(move || store.store.destroy(shard)).await;
    let failed = |problem: String| {
        let place = format!("node {}: gallery {shard} is not destroyed", shared.me);
        Refusal::new(cluster_config::wire::RefusalCode::Internal, place, problem)
    };
    destroyed.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
    let receipt = retention::Command::Receipt { shard, node: shared.me };
    proposer.propose(actor::Actor::node(shared.me), receipt, Instant::now() + RECEIPT_TIMEOUT).await.map(|_| ())
}
