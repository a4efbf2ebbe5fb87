//! Builds: the loop around [`node_core::build::job`], and the bytes that its effects name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use actix::Recipient;
use cluster_config::actor::Actor;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{GalleryVersion, ModelVersion, NodeId};
use cluster_config::journey::Listing;
use cluster_config::wire::peer::{self, BuildOrder, Built};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use coordinator_core::galleries;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use node_core::build::job::{self, Beside, COMMIT_TIMEOUT, Effect, Event, Made, People};
use node_core::build::push;
use node_core::roster;
use node_link::Lane;
use tokio::runtime::Handle;

use super::content::Contents;
use super::messages::Stage;
use super::people::{self, Sources};
use super::segment::{self, Loaded};
use super::store::Kind;
use crate::clock;
use crate::group::proposer::Proposer;
use crate::holdings::Holdings;
use crate::peers::links::Links;

/// Whether a build is under way; ends with the job, however that ends.
pub struct Building(pub Arc<AtomicBool>);

impl Drop for Building {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What the shards of a node work with, above all to build.
pub struct Tools {
    /// The replicated state.
    pub coordinator: Coordinator,
    /// The other nodes, who give rosters and take the new version.
    pub links: Links,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// What this node has of shards.
    pub contents: Arc<Contents>,
    /// Where templates come from.
    pub holdings: Arc<dyn Holdings>,
    /// The cluster's model.
    pub model: ModelVersion,
    /// Numbers in a template.
    pub dims: usize,
    /// The network's runtime.
    pub network: Handle,
}

/// One build: what the core's effects are performed with.
pub struct Job {
    /// What the node's builds work with.
    pub tools: Arc<Tools>,
    pub shard: ShardId,
    /// What to build; absent where the people stay as they are: their templates are due, or every replica is lost.
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
            let coordinator = &work.job.tools.coordinator;
            coordinator.with_state(|state| core.step(begun.elapsed(), state, event, &mut effects));
            for effect in effects {
                let next: BoxFuture<'_, Event> = match effect {
                    Effect::AskRoster(shard, of, version_min) => Box::pin(work.ask_roster(shard, of, version_min)),
                    Effect::Build(version, people, beside, with_templates) => {
                        Box::pin(work.build(version, people, beside, with_templates).map(Event::Built))
                    }
                    Effect::Keep => Box::pin(work.keep().map(Event::Kept)),
                    Effect::Push(to, until) => Box::pin(work.push(to, begun + until)),
                    Effect::Commit(commit) => {
                        running.clear();
                        Box::pin(work.commit(commit))
                    }
                    Effect::Wake(at) => {
                        let woken = tokio::time::sleep_until((begun + at).into());
                        Box::pin(woken.map(|()| Event::Woken))
                    }
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
        let (answer, given) = self.job.tools.contents.ask_roster(of, shard, version_min).await;
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
            Ok((*part, people::people_of(&roster.head)))
        };
        beside.given.iter().map(people).collect()
    }

    async fn commit(&self, commit: galleries::Commit) -> Event {
        let Tools { coordinator, proposer, .. } = self.job.tools.as_ref();
        let (actor, until) = (Actor::node(coordinator.node_id()), Instant::now() + COMMIT_TIMEOUT);
        let committed = proposer.propose(actor, galleries::Command::Commit(commit), until).await;
        Event::Committed(committed.map(|_| ()))
    }

    fn broken(&self, problem: &str) -> Refusal {
        Refusal::new(RefusalCode::Internal, format!("gallery {}", self.job.shard), problem, "submit the manifest again")
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

    async fn build(
        &self,
        version: GalleryVersion,
        people: People,
        beside: Beside,
        with_templates: bool,
    ) -> Result<(), Refusal> {
        let tools = self.job.tools.clone();
        let (order, before) = self.sources(people)?;
        let given = self.given(&beside)?;
        let building = self.job.tools.network.spawn_blocking(move || {
            let made_of = (tools.holdings.as_ref(), tools.model, tools.dims);
            let head = before.as_ref().map(|before| &before.head);
            let sources = tools
                .coordinator
                .with_state(|state| Sources::of(state, made_of, (&order, version), head, &beside, given));
            let sources = Sources { with_templates, ..sources };
            let mut is_dice_broken = false;
            let mut dice = || {
                let drawn = clock::random_u128();
                is_dice_broken |= drawn.is_err();
                drawn.unwrap_or_default() as u64
            };
            let (head, values) = people::build(&sources, &order, before.as_deref(), version, &mut dice)?;
            if is_dice_broken {
                let (place, problem) = (format!("gallery {}", order.shard), "the operating system gives no randomness");
                return Err(Refusal::new(RefusalCode::Internal, place, problem, "look at the node"));
            }
            segment::encode(&head, &values, tools.coordinator.version()).map_err(|error| {
                let place = format!("segment of gallery {}", order.shard);
                Refusal::new(RefusalCode::Internal, place, error.to_string(), "report this to who maintains the nodes")
            })
        });
        let segment = building.await.map_err(|error| self.broken(&format!("the build broke off: {error}")))??;
        self.made.set(peer::Request::StoreSegment(segment)).map_err(|_| self.broken("it is built twice"))
    }

    async fn keep(&self) -> Result<Made, Refusal> {
        let Some(peer::Request::StoreSegment(segment)) = self.made.get() else {
            return Err(self.broken("nothing is built"));
        };
        let job = &self.job;
        let loaded = job.tools.contents.keep(Kind::Gallery, segment.clone(), job.before.clone()).await?;
        let made = Made {
            hash: segment.hash,
            manifest: loaded.head.manifest,
            numbered_by: loaded.head.numbered_by,
            counts: loaded.head.counts(),
        };
        job.stage.send(Stage(loaded)).await.map_err(|_| {
            let place = format!("gallery {}", job.shard);
            Refusal::new(RefusalCode::Unavailable, place, "its actor is restarting", "ask again")
        })?;
        Ok(made)
    }

    async fn push(&self, to: NodeId, until: Instant) -> Event {
        let left = until.saturating_duration_since(Instant::now());
        let answer = match self.made.get() {
            Some(request) => push::Answer::of(&self.job.tools.links.ask(to, Lane::Bulk, request, left).await),
            None => push::Answer::Never,
        };
        Event::PushAnswered(to, answer)
    }
}

fn read_roster(segment: &Segment) -> Result<Loaded, Refusal> {
    segment::decode(segment, None).map_err(|error| {
        let place = format!("roster of gallery {}", segment.shard);
        Refusal::new(RefusalCode::BadValue, place, error.to_string(), error.fix())
    })
}
