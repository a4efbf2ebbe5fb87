//! How commands about journeys are applied.

use std::sync::Arc;

use cluster_config::canary::Canaries;
use cluster_config::gallery::{GalleryId, Modality};
use cluster_config::ids::JourneyId;
use cluster_config::journey::{JourneyPlan, JourneyStatus};
use cluster_config::limits::{GALLERY_PARTS_MAX, JOURNEYS_MAX};
use cluster_config::wire::{Fix, RefusalCode};

use super::command::Command;
use crate::galleries::{Gallery, close};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    match command {
        Command::Open(plan) => open(state, plan),
        Command::Close(journey) => close_journey(state, *journey, canaries),
    }
}

fn open(state: &mut State, plan: &JourneyPlan) -> Outcome {
    if plan.parts == 0 || plan.parts > GALLERY_PARTS_MAX {
        let place = format!("parts of journey {}", plan.id);
        let problem = format!("{} is no number of parts", plan.parts);
        let fix = Fix::with(format!("use 1 to {GALLERY_PARTS_MAX}"));
        return Outcome::refused(RefusalCode::BadValue, place, problem, fix);
    }
    let gallery = GalleryId::passengers(plan.id);
    if let Some(known) = state.journeys.get(plan.id) {
        let place = format!("journey {}", plan.id);
        if !state.is_open(plan.id) {
            let fix = "announce another journey; a closed one is never opened again";
            return Outcome::refused(RefusalCode::NotOpen, place, "it is closed", fix);
        }
        if known.manifest == plan.manifest {
            return Outcome::KnownManifest;
        }
        if known.parts > plan.parts {
            let problem = format!("its gallery has {} parts by now, and the plan has {}", known.parts, plan.parts);
            return Outcome::refused(RefusalCode::Conflict, place, problem, "submit its manifest again");
        }
        // A gallery grows in parts and never shrinks: people stay in the part in which they are.
        if let Some(known) = state.galleries.get_mut(gallery) {
            known.grow(plan.parts);
        }
        state.journeys.0.insert(plan.id, Arc::new(plan.clone()));
        return Outcome::Done;
    }
    if state.journeys.len() >= JOURNEYS_MAX {
        let Some(oldest) = oldest_purged(state) else {
            return Outcome::refused(
                RefusalCode::TooLarge,
                "journeys",
                format!("{JOURNEYS_MAX} are open or being destroyed, and no more can be"),
                "close some of them",
            );
        };
        state.journeys.0.remove(&oldest);
        state.galleries.forget(GalleryId::passengers(oldest));
    }
    state.galleries.open(gallery, Gallery::new(Modality::Face, plan.model, plan.parts));
    state.journeys.0.insert(plan.id, Arc::new(plan.clone()));
    Outcome::Done
}

fn oldest_purged(state: &State) -> Option<JourneyId> {
    let purged = state.journeys.iter().filter(|plan| state.status(plan.id) == Some(JourneyStatus::Purged));
    purged.min_by_key(|plan| (plan.departs_at, plan.id)).map(|plan| plan.id)
}

fn close_journey(state: &mut State, journey: JourneyId, canaries: Canaries) -> Outcome {
    if !close(state, GalleryId::passengers(journey), canaries) {
        return Outcome::refused(
            RefusalCode::NotFound,
            format!("journey {journey}"),
            "it is not known",
            "see `tvs gallery list` for the journeys",
        );
    }
    Outcome::Done
}
