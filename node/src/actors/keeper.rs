//! The keeper: makes the shards that run on this node fit the replicated state, and starts again what died.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use cluster_config::ids::{GalleryVersion, ShardId};
use cluster_config::wire::Refusal;
use coordinator_core::Command;
use node_core::reconcile::{Action, reconcile};
use node_core::shard::Order;
use tokio::sync::mpsc;

use super::content;
use super::shard::{Destroy, Ended, Obey, ShardActor};
use crate::clock;
use crate::context::Context as Shared;
use crate::proposer::Proposer;
use crate::store::Kind;

/// How long one try to deliver a purge receipt lasts; the next reconciliation tries again.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(5);

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

/// A purge has ended, with its receipt delivered or not.
#[derive(Message)]
#[rtype(result = "()")]
struct PurgeEnded {
    shard: ShardId,
    destroyed: bool,
}

/// A roster has been fetched, at this version, or could not be.
#[derive(Message)]
#[rtype(result = "()")]
struct RosterKept {
    shard: ShardId,
    kept: Option<GalleryVersion>,
}

/// A roster as the keeper knows it.
#[derive(Default)]
struct Roster {
    version: GalleryVersion,
    fetching: bool,
}

/// A shard's actor as the keeper knows it.
struct Running {
    run: u64,
    order: Order,
}

/// See the module.
pub struct Keeper {
    shared: Arc<Shared>,
    proposer: Proposer,
    arbiter: ArbiterHandle,
    running: BTreeMap<ShardId, Running>,
    on_disk: BTreeSet<ShardId>,
    rosters: BTreeMap<ShardId, Roster>,
    purging: BTreeSet<ShardId>,
    runs: u64,
    caught_up: bool,
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
            running: BTreeMap::new(),
            on_disk,
            rosters: BTreeMap::new(),
            purging: BTreeSet::new(),
            runs: 0,
            caught_up: false,
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

    fn hold(&mut self, shard: ShardId, order: Order) {
        if self.purging.contains(&shard) {
            return;
        }
        if let Some(running) = self.running.get_mut(&shard) {
            if running.order != order
                && let Some(handle) = self.shared.directory.find(shard)
                && handle.obey.try_send(Obey(order.clone())).is_ok()
            {
                running.order = order;
            }
            return;
        }
        self.runs += 1;
        let ended = Ended { shard, run: self.runs };
        let shared = self.shared.clone();
        let proposer = self.proposer.clone();
        let handle = ShardActor::spawn(&self.arbiter, shared, proposer, ended, order.clone(), self.notify.clone());
        self.shared.directory.insert(shard, handle);
        self.running.insert(shard, Running { run: self.runs, order });
        self.on_disk.insert(shard);
    }

    /// Keeps the people of a shard that other nodes have replicas of. A replica that this node had before goes once they
    /// are kept.
    fn keep_roster(&mut self, shard: ShardId, order: Order, context: &mut Context<Self>) {
        if self.purging.contains(&shard) || order.version == GalleryVersion::default() {
            return;
        }
        let roster = self.rosters.entry(shard).or_default();
        if roster.fetching {
            return;
        }
        if roster.version < order.version {
            roster.fetching = true;
            self.on_disk.insert(shard);
            let shared = self.shared.clone();
            let address = context.address();
            self.shared.network.spawn(async move {
                let kept = content::keep_roster(&shared, shard, &order).await;
                if let Err(refusal) = &kept {
                    tracing::debug!(%shard, %refusal, "the roster is not kept yet; it is asked for again");
                }
                // The keeper ends only with the process.
                let _ = address.send(RosterKept { shard, kept: kept.ok() }).await;
            });
        } else if self.running.remove(&shard).is_some() {
            self.end(shard);
            let shared = self.shared.clone();
            self.shared.network.spawn_blocking(move || {
                if let Err(error) = shared.store.drop_before(Kind::Gallery, shard, GalleryVersion(u32::MAX)) {
                    tracing::error!(%shard, %error, "the replica's content could not be dropped");
                }
            });
        }
    }

    /// Ends the shard's actor.
    fn end(&self, shard: ShardId) {
        if let Some(handle) = self.shared.directory.remove(shard) {
            // An actor whose queue is full still ends: its last address goes with the handle.
            let _ = handle.destroy.try_send(Destroy);
        }
    }

    fn purge(&mut self, shard: ShardId, context: &mut Context<Self>) {
        if !self.purging.insert(shard) {
            return;
        }
        self.running.remove(&shard);
        self.rosters.remove(&shard);
        self.end(shard);
        let shared = self.shared.clone();
        let proposer = self.proposer.clone();
        let address = context.address();
        self.shared.network.spawn(async move {
            let destroyed = match destroy(&shared, &proposer, shard).await {
                Ok(()) => true,
                Err(refusal) => {
                    tracing::warn!(%shard, %refusal, "the purge is tried again");
                    false
                }
            };
            // The keeper ends only with the process.
            let _ = address.send(PurgeEnded { shard, destroyed }).await;
        });
    }
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<Reconcile> for Keeper {
    type Result = ();

    fn handle(&mut self, Reconcile { caught_up }: Reconcile, context: &mut Context<Self>) {
        self.caught_up |= caught_up;
        let kept: BTreeSet<ShardId> = self.running.keys().chain(&self.on_disk).copied().collect();
        let actions =
            self.shared.coordinator.with_state(|state| reconcile(state, self.shared.me, &kept, self.caught_up));
        for action in actions {
            match action {
                Action::Hold(shard, order) => self.hold(shard, order),
                Action::KeepRoster(shard, order) => self.keep_roster(shard, order, context),
                Action::Purge(shard) => self.purge(shard, context),
            }
        }
        metrics::gauge!("tvs_shards_running").set(self.running.len() as f64);
    }
}

impl Handler<ShardEnded> for Keeper {
    type Result = ();

    fn handle(&mut self, ShardEnded(ended): ShardEnded, context: &mut Context<Self>) {
        if self.running.get(&ended.shard).is_some_and(|running| running.run == ended.run) {
            metrics::counter!("tvs_shard_restarts_total").increment(1);
            tracing::error!(shard = %ended.shard, "the shard's actor died and is started again");
            self.running.remove(&ended.shard);
            self.shared.directory.remove(ended.shard);
            context.notify(Reconcile { caught_up: self.caught_up });
        }
    }
}

impl Handler<RosterKept> for Keeper {
    type Result = ();

    fn handle(&mut self, RosterKept { shard, kept }: RosterKept, _: &mut Context<Self>) {
        if let Some(roster) = self.rosters.get_mut(&shard) {
            roster.fetching = false;
            roster.version = kept.unwrap_or(roster.version);
        }
    }
}

impl Handler<PurgeEnded> for Keeper {
    type Result = ();

    fn handle(&mut self, ended: PurgeEnded, context: &mut Context<Self>) {
        self.purging.remove(&ended.shard);
        if ended.destroyed {
            self.on_disk.remove(&ended.shard);
            context.notify(Reconcile { caught_up: self.caught_up });
        }
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
    let receipt = Command::PurgeReceipt { shard, node: shared.me, at: clock::now() };
    proposer.propose(receipt, Instant::now() + RECEIPT_TIMEOUT).await.map(|_| ())
}
