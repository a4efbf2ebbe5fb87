//! What an owner does with an order to build: build, keep, push to the standbys, commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Recipient;
use cluster_config::ids::{GalleryVersion, NodeId, ShardId};
use cluster_config::wire::peer::{self, BuildOrder, Built, Listing, Segment};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::Command;
use coordinator_core::blueprint::Placement;
use coordinator_core::command::GalleryCommit;
use coordinator_core::state::ShardState;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use node_core::rebuild::{goes_on_from, may_begin_anew};
use node_core::shard::Order;
use node_link::Lane;

use super::content;
use super::shard::Stage;
use crate::builder::{self, Sources};
use crate::context::Context as Shared;
use crate::proposer::Proposer;
use crate::segment::{self, Loaded};
use crate::store::Kind;

/// How long standbys are waited for. One that is not there by then fetches the version once it is committed.
const PUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the other standbys are waited for once one has the version; as long again as that one took, if that is more.
const PUSH_GRACE: Duration = Duration::from_millis(300);

/// Pause before a standby that does not know its order yet is asked again.
const PUSH_PAUSE: Duration = Duration::from_millis(20);

/// How long the commit may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a build is under way; ends with the job, however that ends.
pub struct Building(pub Arc<AtomicBool>);

impl Drop for Building {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// One build.
pub struct Job {
    /// What the node's parts share.
    pub shared: Arc<Shared>,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// What to build.
    pub order: BuildOrder,
    /// The placement under which this node owns the shard.
    pub placement: Placement,
    /// The version that is served now; 0 is none.
    pub served: GalleryVersion,
    /// What this node has of the version before: its people keep their subject ids.
    pub before: Option<Arc<Loaded>>,
    /// Where the new version is handed in.
    pub stage: Recipient<Stage>,
    /// Held for as long as the build lasts.
    pub _building: Building,
}

impl Job {
    /// Builds and commits; the very manifest that is committed and served already is answered at once.
    ///
    /// # Errors
    /// A refusal with the place. Nothing is committed then.
    pub async fn run(self) -> Result<Built, Refusal> {
        let started = Instant::now();
        let shard = self.order.shard;
        let committed = self.shared.coordinator.with_state(|state| state.shard(shard).cloned());
        let Some(committed) = committed else {
            let fix = "submit the manifest again; the journey is gone";
            return Err(Refusal::new(RefusalCode::NotFound, format!("gallery {shard}"), fix));
        };
        if committed.manifest == self.order.manifest && self.served == committed.version {
            return Ok(built(&committed));
        }
        let version = GalleryVersion(committed.version.0 + 1);
        let before = self.people_before(&committed).await?;
        let segment = self.build(version, before).await?;
        let loaded = content::keep(&self.shared, Kind::Gallery, segment.clone(), self.before.clone()).await?;
        let commit = GalleryCommit {
            shard,
            epoch: self.placement.epoch,
            node: self.shared.me,
            version,
            hash: segment.hash,
            manifest: self.order.manifest,
            people: loaded.head.people.len() as u32,
            rows: loaded.head.rows(),
            without_photo: loaded.head.without_photo(),
        };
        self.stage.send(Stage(loaded)).await.map_err(|_| {
            Refusal::new(RefusalCode::Unavailable, format!("gallery {shard}"), "ask again: its actor is restarting")
        })?;
        self.push(segment).await?;
        let built = Built { version, people: commit.people, rows: commit.rows, without_photo: commit.without_photo };
        self.proposer.propose(Command::CommitGallery(commit), Instant::now() + COMMIT_TIMEOUT).await?;
        metrics::histogram!("tvs_gallery_build_seconds").record(started.elapsed().as_secs_f64());
        Ok(built)
    }

    /// The people of the committed version, out of what this node has or another keeps.
    async fn people_before(&self, committed: &ShardState) -> Result<Option<Arc<Loaded>>, Refusal> {
        let (shared, shard) = (&self.shared, self.order.shard);
        if goes_on_from(self.before.as_ref().map(|before| before.head.version), committed.version) {
            return Ok(self.before.clone());
        }
        let holders = committed.holders.iter().copied();
        let kept = match content::roster_here(shared, shard, committed.version).await {
            Ok(kept) => Ok(kept),
            Err(_) => content::fetch_roster(shared, shard, committed.version, holders).await,
        };
        let silent = match kept {
            Ok(kept) => return Ok(Some(Arc::new(read_roster(&kept)?))),
            Err(silent) => silent,
        };
        shared.coordinator.with_state(|state| may_begin_anew(state, shard, &silent, self.order.listing))?;
        Ok(self.before.clone())
    }

    async fn build(&self, version: GalleryVersion, before: Option<Arc<Loaded>>) -> Result<Segment, Refusal> {
        let shared = self.shared.clone();
        let order = self.order.clone();
        let place = format!("gallery {}", order.shard);
        let internal = |problem: String| Refusal::new(RefusalCode::Internal, place.clone(), problem);
        let building = self.shared.network.spawn_blocking(move || {
            let id = order.shard.journey;
            let (policy, departs_at, boarded) = shared.coordinator.with_state(|state| {
                let departs_at = state.journeys.get(&id).map(|journey| journey.plan.departs_at).unwrap_or_default();
                let boarded = if before.is_none() { state.ledger.boarded(id) } else { BTreeMap::new() };
                (state.policy.clone(), departs_at, boarded)
            });
            let sources = Sources {
                holdings: shared.holdings.as_ref(),
                policy: &policy,
                departs_at,
                model: shared.settings.model,
                dims: shared.settings.template_dims,
                boarded,
            };
            let (head, values) = builder::build(&sources, &order, before.as_deref(), version)?;
            segment::encode(&head, &values)
                .map_err(|error| Refusal::new(RefusalCode::Internal, "segment", error.to_string()))
        });
        building.await.map_err(|error| internal(error.to_string()))?
    }

    /// Hands the segment to the standbys. One of them at least must have it before it is committed: a version that only
    /// its owner has would be lost with it.
    async fn push(&self, segment: Segment) -> Result<(), Refusal> {
        let shard = segment.shard;
        let request = peer::Request::StoreSegment(segment);
        let begun = Instant::now();
        let deadline = begun + PUSH_TIMEOUT;
        let standbys = &self.placement.standbys;
        let mut pushes: FuturesUnordered<_> =
            standbys.iter().map(|node| push_to(&self.shared, *node, &request, deadline)).collect();
        let (mut is_kept, mut until) = (standbys.is_empty(), deadline);
        while let Ok(Some(kept)) = tokio::time::timeout_at(until.into(), pushes.next()).await {
            if kept {
                is_kept = true;
                until = until.min(Instant::now() + PUSH_GRACE.max(begun.elapsed()));
            }
        }
        if is_kept {
            return Ok(());
        }
        let place = format!("gallery {shard}: no standby took the new version");
        Err(Refusal::new(RefusalCode::Unavailable, place, "ask again; the blueprint will name others"))
    }
}

async fn push_to(shared: &Shared, node: NodeId, request: &peer::Request, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match shared.ask(node, Lane::Bulk, request, left).await {
            Ok(peer::Response::Done) => return true,
            Err(refusal) if refusal.code.retryable() && Instant::now() + PUSH_PAUSE < deadline => {
                tokio::time::sleep(PUSH_PAUSE).await;
            }
            Ok(_) | Err(_) => return false,
        }
    }
}

fn built(committed: &ShardState) -> Built {
    Built {
        version: committed.version,
        people: committed.people,
        rows: committed.rows,
        without_photo: committed.without_photo,
    }
}

fn read_roster(segment: &Segment) -> Result<Loaded, Refusal> {
    segment::decode(segment, None).map_err(|error| {
        Refusal::new(RefusalCode::BadValue, format!("roster of gallery {}", segment.shard), error.to_string())
    })
}

/// Builds anew, out of the people that this node or another keeps as a roster, where every replica is lost.
///
/// # Errors
/// Where nobody keeps the committed version's people; or as [`Job::run`].
pub async fn from_roster(
    shared: Arc<Shared>,
    proposer: Proposer,
    shard: ShardId,
    order: Order,
    stage: Recipient<Stage>,
    building: Building,
) -> Result<Built, Refusal> {
    let segment = match content::roster_here(&shared, shard, order.version).await {
        Ok(segment) => segment,
        Err(_) => {
            let holders = order.placement.rosters.clone().into_iter();
            let fetched = content::fetch_roster(&shared, shard, order.version, holders).await;
            fetched.map_err(|_| {
                let place = format!("gallery {shard}: no other node gives its people");
                Refusal::new(RefusalCode::Unavailable, place, "submit its manifest again")
            })?
        }
    };
    let roster = read_roster(&segment)?;
    let people = roster.head.people.iter().map(|enrolled| enrolled.person.clone()).collect();
    let job = Job {
        shared,
        proposer,
        order: BuildOrder { shard, manifest: roster.head.manifest, people, listing: Listing::Whole },
        placement: order.placement,
        served: GalleryVersion::default(),
        before: Some(Arc::new(roster)),
        stage,
        _building: building,
    };
    job.run().await
}

/// Sends the order to the shard's owner, wherever that is, until the gallery is built.
///
/// # Errors
/// The owner's refusal, or the last one when the deadline passes.
pub async fn at_owner(shared: &Arc<Shared>, order: BuildOrder, deadline: Instant) -> Result<Built, Refusal> {
    let shard = order.shard;
    let mut last = Refusal::new(
        RefusalCode::Unavailable,
        format!("gallery {shard} is not placed on any node"),
        "look at `tvs cluster status`: are there nodes, and a leader?",
    );
    while Instant::now() < deadline {
        let owner = shared.coordinator.with_state(|state| state.blueprint.placements.get(&shard).map(|p| p.owner));
        let built = match owner {
            Some(owner) if owner == shared.me => build_here(shared, order.clone()).await,
            Some(owner) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let request = peer::Request::Build(order.clone());
                let asked = shared.ask(owner, Lane::Bulk, &request, left);
                while_owner(shared, shard, owner, asked).await.and_then(|response| match response {
                    peer::Response::Built(built) => Ok(built),
                    _ => Err(crate::context::out_of_turn(owner)),
                })
            }
            None => Err(last.clone()),
        };
        match built {
            Ok(built) => return Ok(built),
            Err(refusal) if refusal.code.retryable() || refusal.code == RefusalCode::Conflict => last = refusal,
            Err(refusal) => return Err(refusal),
        }
        tokio::time::sleep(PUSH_PAUSE).await;
    }
    Err(last)
}

/// Waits for `asked` for as long as that node owns the shard: a dead owner's successor builds in its place.
async fn while_owner<T>(
    shared: &Shared,
    shard: ShardId,
    owner: NodeId,
    asked: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut asked = std::pin::pin!(asked);
    let mut changes = shared.coordinator.changes();
    loop {
        tokio::select! {
            answered = &mut asked => return answered,
            changed = changes.changed() => {
                let now = shared.coordinator.with_state(|s| s.blueprint.placements.get(&shard).map(|p| p.owner));
                if changed.is_err() || now != Some(owner) {
                    let place = format!("gallery {shard}: node {owner} does not own it any more");
                    return Err(Refusal::new(RefusalCode::Unavailable, place, "ask the new owner"));
                }
            }
        }
    }
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
