//! How commands about galleries are applied.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::gallery::{GalleryId, Modality};
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, ModelVersion, NodeId, StandingId};
use cluster_config::limits::GALLERY_PARTS_MAX;
use cluster_config::wire::{Fix, RefusalCode};

use super::command::{Command, Commit};
use super::state::{Closed, Gallery};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    match command {
        Command::OpenStanding { id, modality, model, parts } => open_standing(state, *id, (*modality, *model), *parts),
        Command::CloseStanding(id) => close_standing(state, *id, canaries),
        Command::Commit(built) => commit(state, built, canaries),
    }
}

fn open_standing(state: &mut State, id: StandingId, made: (Modality, ModelVersion), parts: u16) -> Outcome {
    let place = format!("standing gallery {id}");
    if parts == 0 || parts > GALLERY_PARTS_MAX {
        let problem = format!("{parts} is no number of parts");
        let fix = Fix::with(format!("use 1 to {GALLERY_PARTS_MAX}"));
        return Outcome::refused(RefusalCode::BadValue, format!("parts of {place}"), problem, fix);
    }
    let gallery = GalleryId::Standing(id);
    let Some(known) = state.galleries.get_mut(gallery) else {
        state.galleries.open(gallery, Gallery::new(made.0, made.1, parts));
        return Outcome::Done;
    };
    if !known.is_open() {
        return Outcome::refused(RefusalCode::NotOpen, place, "it is closed", "open one of another name");
    }
    if (known.modality(), known.model()) != made {
        let problem = format!("it holds {} templates of {}", known.modality().as_str(), known.model());
        return Outcome::refused(RefusalCode::Conflict, place, problem, "open one of another name");
    }
    known.grow(parts);
    Outcome::Done
}

fn close_standing(state: &mut State, id: StandingId, canaries: Canaries) -> Outcome {
    if !close(state, GalleryId::Standing(id), false, canaries) {
        let place = format!("standing gallery {id}");
        let fix = "see `tvs gallery list` for the galleries";
        return Outcome::refused(RefusalCode::NotFound, place, "it is not known", fix);
    }
    Outcome::Done
}

/// Ends a gallery: it is not searched any more, nobody is to hold it, and who held it owes a receipt. `keeps` says that
/// each may have those apart who are no citizens. False where it is not known.
pub(crate) fn close(state: &mut State, id: GalleryId, keeps: bool, canaries: Canaries) -> bool {
    let boardings = id.journey().map_or(0, |journey| state.ledger.boardings(journey));
    let closed = Closed { at: state.clock.now(), boardings };
    let shards: Vec<ShardId> = state.galleries.shards(id).map(|(shard, _)| shard).collect();
    let Some(gallery) = state.galleries.get_mut(id) else { return false };
    if gallery.is_open() {
        gallery.begin_closing(closed, keeps);
        gallery.settle_purge(canaries);
        state.blueprint.remove(&shards);
    }
    true
}

/// What was kept of a closed gallery is to be destroyed.
pub(crate) fn purge(state: &mut State, id: GalleryId, canaries: Canaries) {
    if let Some(gallery) = state.galleries.get_mut(id) {
        gallery.begin_purging();
        gallery.settle_purge(canaries);
    }
}

fn commit(state: &mut State, commit: &Commit, canaries: Canaries) -> Outcome {
    let place = format!("gallery {} version {} of node {}", commit.shard, commit.version, commit.node);
    let placement = state.blueprint.placement(commit.shard).map(|placement| (placement.owner, placement.epoch));
    if placement != Some((commit.node, commit.epoch)) && !canaries.has(Canary::NoFencing) {
        let (owner, epoch) = placement.unwrap_or((NodeId(0), Epoch(0)));
        let problem = format!("node {owner} owns it in epoch {epoch}");
        return Outcome::refused(RefusalCode::Conflict, place, problem, "leave the build to its owner");
    }
    let boardings = commit.shard.journey().map_or(0, |journey| state.ledger.boardings(journey));
    let Some(gallery) = state.galleries.get_mut(commit.shard.gallery) else {
        let fix = "submit the journey's manifest first";
        return Outcome::refused(RefusalCode::NotFound, place, "its gallery is not known", fix);
    };
    if (gallery.modality(), gallery.model()) != (commit.shard.modality, commit.shard.model) {
        let problem = format!("its gallery holds {} templates of {}", gallery.modality().as_str(), gallery.model());
        let fix = "build it with the modality and model of its gallery";
        return Outcome::refused(RefusalCode::Conflict, place, problem, fix);
    }
    if commit.is_built == gallery.is_announced() {
        let problem = if commit.is_built { "it is too early for its templates" } else { "it has no templates" };
        return Outcome::refused(RefusalCode::Conflict, place, problem, "build it again");
    }
    let own = commit.shard.part;
    let changed = commit.made_from.as_ref().and_then(|versions| gallery.changed_since(own, versions));
    let Some(part) = gallery.part_mut(own) else {
        let fix = "see `tvs gallery show` for its parts";
        return Outcome::refused(RefusalCode::NotFound, place, "the gallery has no such part", fix);
    };
    if part.version == commit.version && part.hash == commit.hash {
        return Outcome::Done;
    }
    let next = GalleryVersion(part.version.0.saturating_add(1));
    if commit.version != next {
        let problem = format!("version {} does not follow on version {}", commit.version, part.version);
        return Outcome::refused(RefusalCode::Conflict, place, problem, Fix::with(format!("build version {next}")));
    }
    if let Some(other) = changed {
        let problem = format!("part {other} has changed meanwhile");
        return Outcome::refused(RefusalCode::Conflict, place, problem, "build it again");
    }
    if commit.loss.is_some_and(|loss| loss.boarded != boardings) {
        let problem = format!("{boardings} have boarded meanwhile, and its people were lost");
        return Outcome::refused(RefusalCode::Conflict, place, problem, "build it again");
    }
    if let Some(loss) = commit.loss.filter(|loss| loss.boarded > 0) {
        let known_by_one = part.lost.is_none_or(|before| before == loss.known_by);
        part.lost = Some(if known_by_one { loss.known_by } else { ContentHash::default() });
    }
    part.version = commit.version;
    part.hash = commit.hash;
    part.manifest = commit.manifest;
    part.numbered_by = commit.numbered_by;
    part.counts = commit.counts;
    part.is_built = commit.is_built;
    gallery.settle_build();
    Outcome::Done
}
