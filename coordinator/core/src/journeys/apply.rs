//! How commands about journeys are applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::{GalleryId, Modality};
use cluster_config::ids::JourneyId;
use cluster_config::journey::{JourneyPlan, JourneyStatus};
use cluster_config::limits::{GALLERY_PARTS_MAX, JOURNEYS_MAX, MANIFEST_JOURNEYS_MAX};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use super::command::Command;
use crate::galleries::{Gallery, close};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    match command {
        Command::Open(plan) => open(state, plan),
        Command::OpenAll(plans) => open_all(state, plans, canaries),
        Command::Close(journey) => close_journey(state, *journey, canaries),
    }
}

/// All or none: each is judged by the state before the first of them.
fn open_all(state: &mut State, plans: &[JourneyPlan], canaries: Canaries) -> Outcome {
    if let Some(refusal) = may_open_all(state, plans).err().filter(|_| !canaries.has(Canary::HalfAppliedList)) {
        return Outcome::Refused(refusal);
    }
    let mut known = Vec::with_capacity(plans.len());
    for plan in plans {
        match open(state, plan) {
            Outcome::Refused(refusal) => return Outcome::Refused(refusal),
            opened => known.push(opened == Outcome::KnownManifest),
        }
    }
    Outcome::Opened(known)
}

fn may_open_all(state: &State, plans: &[JourneyPlan]) -> Result<(), Refusal> {
    let refuse = |code, problem: String, fix| Err(Refusal::new(code, "journeys", problem, fix));
    if plans.len() > MANIFEST_JOURNEYS_MAX {
        let problem = format!("{} are announced at once, and {MANIFEST_JOURNEYS_MAX} can be", plans.len());
        return refuse(RefusalCode::TooLarge, problem, "split the file");
    }
    let ids: BTreeSet<JourneyId> = plans.iter().map(|plan| plan.id).collect();
    if ids.len() < plans.len() {
        return refuse(RefusalCode::BadValue, "one is announced twice".to_owned(), "announce each of them once");
    }
    plans.iter().try_for_each(|plan| may_open(state, plan))?;
    let new = ids.iter().filter(|id| state.journeys.get(**id).is_none()).count();
    let purged = state.journeys.iter().filter(|plan| state.status(plan.id) == Some(JourneyStatus::Purged)).count();
    if state.journeys.len() - purged + new > JOURNEYS_MAX {
        return Err(no_room());
    }
    Ok(())
}

fn no_room() -> Refusal {
    let problem = format!("{JOURNEYS_MAX} are open or being destroyed, and no more can be");
    Refusal::new(RefusalCode::TooLarge, "journeys", problem, "close some of them")
}

/// Whether a journey may be announced so, apart from how many there are.
fn may_open(state: &State, plan: &JourneyPlan) -> Result<(), Refusal> {
    if plan.parts == 0 || plan.parts > GALLERY_PARTS_MAX {
        let place = format!("parts of journey {}", plan.id);
        let problem = format!("{} is no number of parts", plan.parts);
        let fix = Fix::with(format!("use 1 to {GALLERY_PARTS_MAX}"));
        return Err(Refusal::new(RefusalCode::BadValue, place, problem, fix));
    }
    let Some(known) = state.journeys.get(plan.id) else { return Ok(()) };
    let place = format!("journey {}", plan.id);
    if !state.is_open(plan.id) {
        let fix = "announce another journey; a closed one is never opened again";
        return Err(Refusal::new(RefusalCode::NotOpen, place, "it is closed", fix));
    }
    if known.manifest != plan.manifest && known.parts > plan.parts {
        let problem = format!("its gallery has {} parts by now, and the plan has {}", known.parts, plan.parts);
        return Err(Refusal::new(RefusalCode::Conflict, place, problem, "submit its manifest again"));
    }
    Ok(())
}

fn open(state: &mut State, plan: &JourneyPlan) -> Outcome {
    if let Err(refusal) = may_open(state, plan) {
        return Outcome::Refused(refusal);
    }
    let gallery = GalleryId::passengers(plan.id);
    if let Some(known) = state.journeys.get(plan.id) {
        if known.manifest == plan.manifest {
            return Outcome::KnownManifest;
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
            return Outcome::Refused(no_room());
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
