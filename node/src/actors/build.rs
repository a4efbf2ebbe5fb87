//! Builds: the loops around [`node_core::build`], and the bytes that its effects name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use actix::Recipient;
use cluster_config::actor::Actor;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, NodeId};
use cluster_config::journey::Listing;
use cluster_config::wire::peer;
use cluster_config::wire::peer::{BuildOrder, Built};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::galleries;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use node_core::build::job::{self, Beside, COMMIT_TIMEOUT, Effect, Event, Made, People};
use node_core::build::{order, push};
use node_core::roster;
use node_link::Lane;

use super::content;
use super::shard::Stage;
use crate::builder::{self, Sources};
use crate::clock;
use crate::context::Context as Shared;
use crate::proposer::Proposer;
use crate::segment::{self, Loaded};
use crate::store::Kind;

/// Whether a build is under way; ends with the job, however that ends.
pub struct Building(pub Arc<AtomicBool>);

impl Drop for Building {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// One build: what the core's effects are performed with.
pub struct Job {
    /// What the node's parts share.
    pub shared: Arc<Shared>,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// The shard.
    pub shard: ShardId,
    /// What to build; absent where every replica is lost: then the people of a roster are built again.
    pub order: Option<BuildOrder>,
    /// What this node has of the version before.
    pub before: Option<Arc<Loaded>>,
    /// Where the new version is handed in.
    pub stage: Recipient<Stage>,
    /// Held for as long as the build lasts.
    pub building: Building,
}

/// A job with what its effects have brought so far.
struct Work {
    job: Job,
    rosters: Mutex<BTreeMap<(ShardId, NodeId), Segment>>,
    made: OnceLock<peer::Request>,
}

impl Job {
    /// Does what the core says until the job is done.
    ///
    /// # Errors
    /// A refusal with the place. Nothing is committed then, or it is not known.
    pub async fn run(self, mut core: job::Job) -> Result<Built, Refusal> {
        let begun = Instant::now();
        let work = Work { job: self, rosters: Mutex::default(), made: OnceLock::new() };
        let mut running: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
        let mut event = Event::Begun;
        loop {
            let mut effects = Vec::new();
            let state = &work.job.shared.coordinator;
            state.with_state(|state| core.step(begun.elapsed(), state, event, &mut effects));
            for effect in effects {
                let next: BoxFuture<'_, Event> = match effect {
                    Effect::AskRoster(shard, of, version_min) => Box::pin(work.ask_roster(shard, of, version_min)),
                    Effect::Build(version, people, beside) => {
                        Box::pin(work.build(version, people, beside).map(Event::Built))
                    }
                    Effect::Keep => Box::pin(work.keep().map(Event::Kept)),
                    Effect::Push(to, until) => Box::pin(work.push(to, begun + until)),
                    Effect::Commit(commit) => {
                        running.clear();
                        Box::pin(work.commit(commit))
                    }
                    Effect::Wake(at) => Box::pin(wake(begun + at).map(|()| Event::Woken)),
                    Effect::Done(result) => {
                        if result.is_ok() && work.made.get().is_some() {
                            metrics::histogram!("tvs_gallery_build_seconds").record(begun.elapsed().as_secs_f64());
                        }
                        return result;
                    }
                };
                running.push(next);
            }
            // A job that is not done waits for something.
            event = running.next().await.ok_or_else(|| work.broken("the build waits for nothing"))?;
        }
    }
}

impl Work {
    async fn ask_roster(&self, shard: ShardId, of: NodeId, version_min: GalleryVersion) -> Event {
        let (answer, given) = content::ask_roster(&self.job.shared, of, shard, version_min).await;
        if let Some(given) = given {
            self.rosters.lock().unwrap_or_else(PoisonError::into_inner).insert((shard, of), given);
        }
        Event::RosterAnswered(shard, of, answer)
    }

    /// The roster of a shard that this node gave.
    fn roster(&self, shard: ShardId, by: NodeId) -> Result<Loaded, Refusal> {
        let rosters = self.rosters.lock().unwrap_or_else(PoisonError::into_inner);
        read_roster(rosters.get(&(shard, by)).ok_or_else(|| self.broken("its roster is not here"))?)
    }

    /// The people of the other parts, as far as anybody gave them.
    fn given(&self, beside: &Beside) -> Result<BTreeMap<u16, roster::People>, Refusal> {
        let people = |(part, by): (&u16, &NodeId)| {
            let roster = self.roster(ShardId { part: *part, ..self.job.shard }, *by)?;
            Ok((*part, builder::people_of(&roster.head)))
        };
        beside.given.iter().map(people).collect()
    }

    async fn commit(&self, commit: galleries::Commit) -> Event {
        let until = Instant::now() + COMMIT_TIMEOUT;
        let committed =
            self.job.proposer.propose(Actor::node(self.job.shared.me), galleries::Command::Commit(commit), until).await;
        Event::Committed(committed.map(|_| ()))
    }

    fn broken(&self, problem: &str) -> Refusal {
        let place = format!("gallery {}: {problem}", self.job.shard);
        Refusal::new(RefusalCode::Internal, place, "submit the manifest again")
    }

    /// What to build, and on whose people it goes on.
    fn sources(&self, people: People) -> Result<(BuildOrder, Option<Arc<Loaded>>), Refusal> {
        let before = match people {
            People::OfReplica => self.job.before.clone(),
            People::OfRoster(by) => Some(Arc::new(self.roster(self.job.shard, by)?)),
        };
        if let Some(order) = &self.job.order {
            return Ok((order.clone(), before));
        }
        let head = &before.as_ref().ok_or_else(|| self.broken("nobody's people are here"))?.head;
        let people = head.people.iter().map(|enrolled| enrolled.person.clone()).collect();
        let order = BuildOrder { shard: self.job.shard, manifest: head.manifest, people, listing: Listing::Whole };
        Ok((order, before))
    }

    async fn build(&self, version: GalleryVersion, people: People, beside: Beside) -> Result<(), Refusal> {
        let shared = self.job.shared.clone();
        let (order, before) = self.sources(people)?;
        let given = self.given(&beside)?;
        let building = self.job.shared.network.spawn_blocking(move || {
            let made_of = (shared.holdings.as_ref(), shared.settings.model, shared.settings.template_dims);
            let head = before.as_ref().map(|before| &before.head);
            let sources = shared
                .coordinator
                .with_state(|state| Sources::of(state, made_of, (&order, version), head, &beside, given));
            let mut is_dice_broken = false;
            let mut dice = || {
                let drawn = clock::random_u128();
                is_dice_broken |= drawn.is_err();
                drawn.unwrap_or_default() as u64
            };
            let (head, values) = builder::build(&sources, &order, before.as_deref(), version, &mut dice)?;
            if is_dice_broken {
                let place = format!("gallery {}: the operating system gives no randomness", order.shard);
                return Err(Refusal::new(RefusalCode::Internal, place, "look at the node"));
            }
            segment::encode(&head, &values)
                .map_err(|error| Refusal::new(RefusalCode::Internal, "segment", error.to_string()))
        });
        let place = format!("gallery {}", self.job.shard);
        let broke_off = |error: tokio::task::JoinError| Refusal::new(RefusalCode::Internal, place, error.to_string());
        let segment = building.await.map_err(broke_off)??;
        self.made.set(peer::Request::StoreSegment(segment)).map_err(|_| self.broken("it is built twice"))
    }

    async fn keep(&self) -> Result<Made, Refusal> {
        let Some(peer::Request::StoreSegment(segment)) = self.made.get() else {
            return Err(self.broken("nothing is built"));
        };
        let job = &self.job;
        let loaded = content::keep(&job.shared, Kind::Gallery, segment.clone(), job.before.clone()).await?;
        let made = Made {
            hash: segment.hash,
            manifest: loaded.head.manifest,
            numbered_by: loaded.head.numbered_by,
            counts: loaded.head.counts(),
        };
        job.stage.send(Stage(loaded)).await.map_err(|_| {
            let place = format!("gallery {}", job.shard);
            Refusal::new(RefusalCode::Unavailable, place, "ask again: its actor is restarting")
        })?;
        Ok(made)
    }

    async fn push(&self, to: NodeId, until: Instant) -> Event {
        let left = until.saturating_duration_since(Instant::now());
        let answer = match self.made.get() {
            Some(request) => push::Answer::of(&self.job.shared.ask(to, Lane::Bulk, request, left).await),
            None => push::Answer::Never,
        };
        Event::PushAnswered(to, answer)
    }
}

fn read_roster(segment: &Segment) -> Result<Loaded, Refusal> {
    segment::decode(segment, None).map_err(|error| {
        Refusal::new(RefusalCode::BadValue, format!("roster of gallery {}", segment.shard), error.to_string())
    })
}

/// Sends the order to the shard's owner, wherever that is, until the gallery is built.
///
/// # Errors
/// The owner's refusal, or the last one when the deadline passes.
pub async fn at_owner(shared: &Arc<Shared>, order: BuildOrder, deadline: Instant) -> Result<Built, Refusal> {
    let begun = Instant::now();
    let mut core = order::Sending::new(shared.me, order.shard, deadline.saturating_duration_since(begun));
    let mut changes = shared.coordinator.changes();
    let mut asked: FuturesUnordered<BoxFuture<'_, order::Event>> = FuturesUnordered::new();
    let mut event = order::Event::Begun;
    loop {
        let mut effects = Vec::new();
        shared.coordinator.with_state(|state| core.step(begun.elapsed(), state, event, &mut effects));
        for effect in effects {
            match effect {
                order::Effect::Done(result) => return result,
                order::Effect::Abandon(_) => asked.clear(),
                order::Effect::BuildHere => asked.push(Box::pin(ask_here(shared, order.clone()))),
                order::Effect::Ask(owner, until) => {
                    asked.push(Box::pin(ask(shared, owner, order.clone(), begun + until)))
                }
                order::Effect::Wake(at) => asked.push(Box::pin(wake(begun + at).map(|()| order::Event::Woken))),
            }
        }
        event = tokio::select! {
            Some(event) = asked.next() => event,
            changed = changes.changed() => {
                if changed.is_err() {
                    let place = format!("node {}: it ends", shared.me);
                    return Err(Refusal::new(RefusalCode::Unavailable, place, "ask another node"));
                }
                order::Event::Changed
            }
        };
    }
}

async fn wake(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}

async fn ask_here(shared: &Shared, order: BuildOrder) -> order::Event {
    order::Event::Answered(shared.me, build_here(shared, order).await)
}

async fn ask(shared: &Shared, owner: NodeId, order: BuildOrder, until: Instant) -> order::Event {
    let left = until.saturating_duration_since(Instant::now());
    let answered = match shared.ask(owner, Lane::Bulk, &peer::Request::Build(order), left).await {
        Ok(peer::Response::Built(built)) => Ok(built),
        Ok(_) => Err(crate::context::out_of_turn(owner)),
        Err(refusal) => Err(refusal),
    };
    order::Event::Answered(owner, answered)
}

/// Has a shard that runs on this node build.
///
/// # Errors
/// As [`Job::run`], or `unavailable` where the shard does not run here.
pub async fn build_here(shared: &Shared, order: BuildOrder) -> Result<Built, Refusal> {
    let place = format!("node {}: gallery {}", shared.me, order.shard);
    let absent = || Refusal::new(RefusalCode::Unavailable, place.clone(), "it does not run here yet; ask again");
    let handle = shared.directory.find(order.shard).ok_or_else(absent)?;
    handle.build.send(super::shard::Build(order)).await.map_err(|_| absent())?
}
