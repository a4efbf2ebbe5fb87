//! How commands about journeys are applied.

use std::collections::BTreeSet;

use cluster_config::actor::Actor;
use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::{GalleryId, Modality};
use cluster_config::ids::{JourneyId, UnixMs};
use cluster_config::journey::{Ended, JourneyPlan, JourneyStatus};
use cluster_config::limits::{GALLERY_PARTS_MAX, JOURNEYS_MAX, MANIFEST_JOURNEYS_MAX};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use super::command::Command;
use super::state::share_of;
use crate::galleries::{self, Gallery};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, by: Actor, canaries: Canaries) -> Outcome {
    match command {
        Command::Open(plan) => open(state, plan, by),
        Command::OpenAll(plans) => open_all(state, plans, by, canaries),
        Command::Build { journey, early } => build(state, *journey, *early),
        Command::Close(journey) => close(state, *journey, canaries),
        Command::Purge(journey) => purge(state, *journey, canaries),
        Command::Forget(journey) => forget(state, *journey),
        Command::ForgetLines => {
            let before = state.lines_end();
            state.journeys.forget_lines(before);
            Outcome::Done
        }
    }
}

/// All or none: each is judged by the state before the first of them.
fn open_all(state: &mut State, plans: &[JourneyPlan], by: Actor, canaries: Canaries) -> Outcome {
    if let Some(refusal) = may_open_all(state, plans, by).err().filter(|_| !canaries.has(Canary::HalfAppliedList)) {
        return Outcome::Refused(refusal);
    }
    let mut known = Vec::with_capacity(plans.len());
    for plan in plans {
        match open(state, plan, by) {
            Outcome::Refused(refusal) => return Outcome::Refused(refusal),
            opened => known.push(opened == Outcome::KnownManifest),
        }
    }
    Outcome::Opened(known)
}

fn may_open_all(state: &State, plans: &[JourneyPlan], by: Actor) -> Result<(), Refusal> {
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
    has_room(state, ids.iter().filter(|id| state.journeys.get(**id).is_none()).count(), by)
}

/// Whether so many more journeys may be open, altogether and of this submitter.
fn has_room(state: &State, new: usize, by: Actor) -> Result<(), Refusal> {
    let (open, own, share) = (state.journeys.open(), state.journeys.open_of(by), share_of(by));
    if new > 0 && own + new > share {
        let problem = format!("{own} of {by} are open, with these {}, and its share is {share}", own + new);
        let fix = "close those that have ended, or wait until they close by themselves";
        return Err(Refusal::new(RefusalCode::TooLarge, "journeys", problem, fix));
    }
    if new > 0 && open + new > JOURNEYS_MAX {
        let problem = format!("{JOURNEYS_MAX} are open, and no more can be");
        return Err(Refusal::new(RefusalCode::TooLarge, "journeys", problem, "close some of them"));
    }
    Ok(())
}

/// Whether a journey may be announced so, apart from how many there are.
fn may_open(state: &State, plan: &JourneyPlan) -> Result<(), Refusal> {
    if plan.parts == 0 || plan.parts > GALLERY_PARTS_MAX {
        let place = format!("parts of journey {}", plan.id);
        let problem = format!("{} is no number of parts", plan.parts);
        let fix = Fix::with(format!("use 1 to {GALLERY_PARTS_MAX}"));
        return Err(Refusal::new(RefusalCode::BadValue, place, problem, fix));
    }
    let place = format!("journey {}", plan.id);
    let known = state.journeys.get(plan.id);
    if state.journeys.ended(plan.id).is_some() || (known.is_some() && !state.is_open(plan.id)) {
        let fix = "announce another journey; a closed one is never opened again";
        return Err(Refusal::new(RefusalCode::NotOpen, place, "it is closed", fix));
    }
    let Some(known) = known else { return Ok(()) };
    if known.manifest != plan.manifest && known.parts > plan.parts {
        let problem = format!("its gallery has {} parts by now, and the plan has {}", known.parts, plan.parts);
        return Err(Refusal::new(RefusalCode::Conflict, place, problem, "submit its manifest again"));
    }
    Ok(())
}

fn open(state: &mut State, plan: &JourneyPlan, by: Actor) -> Outcome {
    let new = usize::from(state.journeys.get(plan.id).is_none());
    if let Err(refusal) = may_open(state, plan).and_then(|()| has_room(state, new, by)) {
        return Outcome::Refused(refusal);
    }
    let (gallery, is_too_early) = (GalleryId::passengers(plan.id), state.is_too_early(plan.departs_at));
    if let Some(known) = state.journeys.get(plan.id) {
        if known.manifest == plan.manifest {
            return Outcome::KnownManifest;
        }
        // A gallery grows in parts and never shrinks: people stay in the part in which they are.
        if let Some(known) = state.galleries.get_mut(gallery) {
            known.grow(plan.parts);
            // It may depart earlier now.
            if !is_too_early {
                known.begin_building();
            }
        }
        state.journeys.announce(plan.clone(), by);
        return Outcome::Done;
    }
    let opened = Gallery::new(Modality::Face, plan.model, plan.parts);
    state.galleries.open(gallery, if is_too_early { opened.announced() } else { opened });
    state.journeys.announce(plan.clone(), by);
    Outcome::Done
}

fn unknown(journey: JourneyId) -> Outcome {
    let fix = "see `tvs gallery list` for the journeys";
    Outcome::refused(RefusalCode::NotFound, format!("journey {journey}"), "it is not known", fix)
}

fn build(state: &mut State, journey: JourneyId, early: bool) -> Outcome {
    let Some(departs_at) = state.journeys.get(journey).map(|plan| plan.departs_at) else { return unknown(journey) };
    let place = format!("journey {journey}");
    if !state.is_open(journey) {
        return Outcome::refused(RefusalCode::NotOpen, place, "it is closed", "announce another journey");
    }
    if !early && state.is_too_early(departs_at) {
        return Outcome::refused(RefusalCode::Conflict, place, "it is too early", "wait until its time has come");
    }
    if let Some(gallery) = state.galleries.get_mut(GalleryId::passengers(journey)) {
        gallery.begin_building();
    }
    Outcome::Done
}

fn close(state: &mut State, journey: JourneyId, canaries: Canaries) -> Outcome {
    let Some(departs_at) = state.journeys.get(journey).map(|plan| plan.departs_at) else {
        return if state.journeys.ended(journey).is_some() { Outcome::Done } else { unknown(journey) };
    };
    let is_built = state.passengers(journey).is_some_and(|gallery| gallery.parts().iter().any(|part| part.is_built));
    let keeps = is_built && state.clock.now() < state.purges_at(departs_at);
    end(state, journey, keeps, canaries);
    Outcome::Done
}

fn end(state: &mut State, journey: JourneyId, keeps: bool, canaries: Canaries) {
    if state.is_open(journey) {
        state.journeys.close(journey);
    }
    galleries::close(state, GalleryId::passengers(journey), keeps, canaries);
}

fn purge(state: &mut State, journey: JourneyId, canaries: Canaries) -> Outcome {
    if state.journeys.get(journey).is_none() {
        return if state.journeys.ended(journey).is_some() { Outcome::Done } else { unknown(journey) };
    }
    end(state, journey, false, canaries);
    galleries::purge(state, GalleryId::passengers(journey), canaries);
    Outcome::Done
}

fn forget(state: &mut State, journey: JourneyId) -> Outcome {
    if state.journeys.ended(journey).is_some() {
        return Outcome::Done;
    }
    let (Some(plan), Some(gallery)) = (state.journeys.get(journey), state.passengers(journey)) else {
        return unknown(journey);
    };
    if gallery.status() != JourneyStatus::Purged || !state.is_settled(journey) {
        let problem = "something is held of it, or a retry of one of its records may come";
        let place = format!("journey {journey}");
        return Outcome::refused(RefusalCode::Conflict, place, problem, "wait until all of it is destroyed");
    }
    let ended = line_of(plan.departs_at, gallery);
    state.galleries.forget(GalleryId::passengers(journey));
    state.journeys.end(journey, ended);
    Outcome::Done
}

fn line_of(departs_at: UnixMs, gallery: &Gallery) -> Ended {
    let (closed_at, boarded) = gallery.closed().map_or_else(Default::default, |closed| (closed.at, closed.boardings));
    let receipts = || gallery.parts().iter().flat_map(|part| &part.receipts);
    let nodes = |attested: bool| {
        let nodes: BTreeSet<_> = receipts().filter(|(_, given)| !attested || given.attested).map(|(n, _)| n).collect();
        nodes.len() as u16
    };
    Ended {
        departs_at,
        closed_at,
        purged_at: receipts().map(|(_, receipt)| receipt.at).max().unwrap_or(closed_at),
        people: gallery.counts().people,
        boarded,
        receipts: nodes(false),
        attested: nodes(true),
    }
}
