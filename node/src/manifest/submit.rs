//! Submitting a manifest: its journeys are announced, and their galleries built.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{GalleryVersion, JourneyId, ModelVersion};
use cluster_config::journey::{JourneyPlan, JourneyStatus, Listing};
use cluster_config::wire::operator::{Submitted, SubmittedJourney, UnbuiltJourney};
use cluster_config::wire::peer::BuildOrder;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use coordinator_core::{Outcome, State, journeys};
use node_core::reach::Reach;

use super::read::{self, Announcement};
use crate::gallery::orders::Orders;
use crate::group::freshness::Freshness;
use crate::group::proposer::{CHANGE_TIMEOUT, Proposer};

/// How long all galleries of one manifest file may take.
const BUILD_TIMEOUT: Duration = Duration::from_secs(120);

pub struct Submissions {
    /// What is known of journeys.
    pub coordinator: Coordinator,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// Whether this node lacks something.
    pub freshness: Arc<Freshness>,
    /// The way to the owners of shards.
    pub orders: Orders,
    /// The cluster's model.
    pub model: ModelVersion,
}

/// A journey of a file, once all that is to be announced is.
struct Opened {
    plan: JourneyPlan,
    /// Whether this very manifest was known; absent where the plan is changed last.
    duplicate: Option<bool>,
}

impl Submissions {
    /// Reads a manifest file and has the galleries of its journeys built, all of which have to be within `reach`.
    ///
    /// # Errors
    /// A refusal with the place in the file, the journey or the gallery. Then none of its journeys is announced, except
    /// where no gallery of any of them could be built; the same file submitted again goes on with these.
    pub async fn submit(&self, actor: Actor, reach: Reach, bytes: Vec<u8>) -> Result<Submitted, Refusal> {
        let model = self.model;
        let read = tokio::task::spawn_blocking(move || read::read(&bytes, model)).await;
        let announced = read.map_err(|error| {
            let problem = format!("the parser broke off: {error}");
            Refusal::new(RefusalCode::Internal, "manifest", problem, "report the file")
        })??;
        for announcement in &announced.journeys {
            reach.check(&announcement.plan)?;
        }
        let opened = self.open_all(actor, &announced.journeys).await?;
        let deadline = Instant::now() + BUILD_TIMEOUT;
        let built = announced.journeys.iter().zip(opened);
        let built = built.map(|(announcement, opened)| self.build(actor, announcement, opened, deadline));
        let (mut journeys, mut unbuilt) = (Vec::new(), Vec::new());
        for (announcement, built) in announced.journeys.iter().zip(futures::future::join_all(built).await) {
            match built {
                Ok(built) => journeys.push(built),
                Err(refusal) => unbuilt.push(UnbuiltJourney { journey: announcement.plan.id, refusal }),
            }
        }
        match unbuilt.first() {
            Some(first) if journeys.is_empty() => Err(first.refusal.clone()),
            _ => {
                let (warnings, quarantined) = (announced.warnings, announced.quarantined);
                Ok(Submitted { journeys, unbuilt, warnings, quarantined })
            }
        }
    }

    /// Announces all journeys of a file, or none. A gallery is built for a journey that is there. A cancellation
    /// changes the plan last: one that cannot be followed changes nothing.
    async fn open_all(&self, actor: Actor, announced: &[Announcement]) -> Result<Vec<Opened>, Refusal> {
        if announced.iter().any(|announcement| announcement.listing != Listing::Whole) {
            // A change goes on from what is known of the journey, which this node may lack.
            self.freshness.catch_up(Instant::now() + CHANGE_TIMEOUT).await?;
        }
        match self.try_open_all(actor, announced).await {
            Err(refusal) if refusal.code == RefusalCode::Conflict => {
                // This node has not heard of the parts that a gallery has by now.
                self.freshness.catch_up(Instant::now() + CHANGE_TIMEOUT).await?;
                self.try_open_all(actor, announced).await
            }
            opened => opened,
        }
    }

    async fn try_open_all(&self, actor: Actor, announced: &[Announcement]) -> Result<Vec<Opened>, Refusal> {
        let plans: Result<Vec<JourneyPlan>, Refusal> = announced.iter().map(|one| self.plan_after(one)).collect();
        let plans = plans?;
        let is_opened = |announcement: &Announcement| announcement.listing != Listing::Removed;
        let first = plans.iter().zip(announced).filter(|(_, announcement)| is_opened(announcement));
        let first: Vec<JourneyPlan> = first.map(|(plan, _)| plan.clone()).collect();
        let mut known = match first.is_empty() {
            true => Vec::new(),
            false => self.propose(actor, journeys::Command::OpenAll(first)).await?,
        }
        .into_iter();
        let opened = |(plan, announcement)| Opened {
            plan,
            duplicate: if is_opened(announcement) { known.next() } else { None },
        };
        Ok(plans.into_iter().zip(announced).map(opened).collect())
    }

    async fn propose(&self, actor: Actor, command: journeys::Command) -> Result<Vec<bool>, Refusal> {
        match self.proposer.propose(actor, command, Instant::now() + CHANGE_TIMEOUT).await? {
            Outcome::Opened(known) => Ok(known),
            outcome => Ok(vec![outcome == Outcome::KnownManifest]),
        }
    }

    async fn build(
        &self,
        actor: Actor,
        announcement: &Announcement,
        Opened { plan, duplicate }: Opened,
        deadline: Instant,
    ) -> Result<SubmittedJourney, Refusal> {
        // One part after the other: each goes on from the people of all the others.
        let mut built = Vec::with_capacity(usize::from(plan.parts));
        for part in 0..plan.parts {
            let gallery = GalleryId::passengers(plan.id);
            let shard = ShardId { gallery, modality: Modality::Face, model: plan.model, part };
            let (people, listing) = (announcement.people.clone(), announcement.listing);
            let order = BuildOrder { shard, manifest: plan.manifest, people, listing };
            built.push(self.orders.at_owner(order, deadline).await?);
        }
        let duplicate = match duplicate {
            Some(duplicate) => duplicate,
            None => self.propose(actor, journeys::Command::Open(plan.clone())).await?.contains(&true),
        };
        let version = built.iter().map(|built| built.version).min().unwrap_or_default();
        let counts = built.iter().fold(GalleryCounts::default(), |sum, built| sum + built.counts);
        self.applied(plan.id, version).await;
        let stands = |state: &State| (state.status(plan.id), state.next_status(plan.id));
        let (status, next) = self.coordinator.with_state(stands);
        Ok(SubmittedJourney {
            journey: plan.id,
            duplicate,
            status: status.unwrap_or(JourneyStatus::Ready),
            next,
            version,
            people: counts.people,
            templates: counts.rows,
            without_photo: counts.without_photo,
        })
    }

    /// The plan of an announced journey, by what this node knows of it.
    fn plan_after(&self, announcement: &Announcement) -> Result<JourneyPlan, Refusal> {
        self.coordinator.with_state(|state| {
            let id = announcement.plan.id;
            let people = state.passengers(id).map_or(0, |gallery| gallery.counts().people);
            announcement.plan_after(state.journeys().get(id), people)
        })
    }

    /// Waits until this node has applied the commit as well, so that who submitted here can board here at once.
    async fn applied(&self, id: JourneyId, version: GalleryVersion) {
        let mut changes = self.coordinator.changes();
        let applied = |state: &State| {
            state.passengers(id).is_none_or(|gallery| gallery.parts().iter().all(|part| part.version >= version))
        };
        let wait = async {
            while !self.coordinator.with_state(applied) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A node that is cut off catches up later; the gallery is committed all the same.
        let _ = tokio::time::timeout(CHANGE_TIMEOUT, wait).await;
    }
}
