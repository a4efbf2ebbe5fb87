//! Orders to build, sent to the owner of a shard: the loop around [`node_core::build::order`].

use std::sync::Arc;
use std::time::Instant;

use cluster_config::ids::NodeId;
use cluster_config::wire::peer::{self, BuildOrder, Built};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use node_core::build::order::{Effect, Event, Sending};
use node_link::Lane;

use super::directory::Directory;
use super::messages::Build;
use crate::peers::links::{Links, out_of_turn};

/// The way to the owners of shards, of which this node may be one. A cheap handle.
#[derive(Clone)]
pub struct Orders {
    coordinator: Coordinator,
    links: Links,
    directory: Arc<Directory>,
}

impl Orders {
    /// The way from the node that has this state, these links and these shards.
    pub fn new(coordinator: Coordinator, links: Links, directory: Arc<Directory>) -> Self {
        Self { coordinator, links, directory }
    }

    fn me(&self) -> NodeId {
        self.coordinator.node_id()
    }

    /// Sends the order to the shard's owner, wherever that is, until the gallery is built.
    ///
    /// # Errors
    /// The owner's refusal, or the last one when the deadline passes.
    pub async fn at_owner(&self, order: BuildOrder, deadline: Instant) -> Result<Built, Refusal> {
        let begun = Instant::now();
        let mut core = Sending::new(self.me(), order.shard, deadline.saturating_duration_since(begun));
        let mut changes = self.coordinator.changes();
        let mut asked: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
        let mut event = Event::Begun;
        loop {
            let mut effects = Vec::new();
            self.coordinator.with_state(|state| core.step(begun.elapsed(), state, event, &mut effects));
            for effect in effects {
                match effect {
                    Effect::Done(result) => return result,
                    Effect::Abandon(_) => asked.clear(),
                    Effect::BuildHere => asked.push(Box::pin(self.ask_here(order.clone()))),
                    Effect::Ask(owner, until) => asked.push(Box::pin(self.ask(owner, order.clone(), begun + until))),
                    Effect::Wake(at) => {
                        let woken = tokio::time::sleep_until((begun + at).into());
                        asked.push(Box::pin(woken.map(|()| Event::Woken)));
                    }
                }
            }
            event = tokio::select! {
                Some(event) = asked.next() => event,
                changed = changes.changed() => {
                    if changed.is_err() {
                        let place = format!("node {}", self.me());
                        return Err(Refusal::new(RefusalCode::Unavailable, place, "it is stopping", "ask another node"));
                    }
                    Event::Changed
                }
            };
        }
    }

    async fn ask_here(&self, order: BuildOrder) -> Event {
        Event::Answered(self.me(), self.here(order).await)
    }

    async fn ask(&self, owner: NodeId, order: BuildOrder, until: Instant) -> Event {
        let left = until.saturating_duration_since(Instant::now());
        let answered = match self.links.ask(owner, Lane::Bulk, &peer::Request::Build(order), left).await {
            Ok(peer::Response::Built(built)) => Ok(built),
            Ok(_) => Err(out_of_turn(owner)),
            Err(refusal) => Err(refusal),
        };
        Event::Answered(owner, answered)
    }

    /// Has a shard that runs on this node build.
    ///
    /// # Errors
    /// The shard's refusal, or `unavailable` where the shard does not run here.
    pub async fn here(&self, order: BuildOrder) -> Result<Built, Refusal> {
        let place = format!("node {}: gallery {}", self.me(), order.shard);
        let absent = || Refusal::new(RefusalCode::Unavailable, place.clone(), "it does not run here yet", "ask again");
        let handle = self.directory.find(order.shard).ok_or_else(absent)?;
        handle.build.send(Build(order)).await.map_err(|_| absent())?
    }
}
