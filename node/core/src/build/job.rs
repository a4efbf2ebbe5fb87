//! What an owner does with an order to build, or where every replica of its gallery is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_config::canary::Canaries;
use cluster_config::gallery::GalleryCounts;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, NodeId};
use cluster_config::journey::Listing;
use cluster_config::wire::peer::{BuildOrder, Built};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::State;
use coordinator_core::galleries::{Commit, Gallery, Loss, Part};
use coordinator_core::placement::Placement;

use super::push::{self, Push};
use super::seek::{self, Next, Seeking};
use crate::rebuild::{goes_on_from, may_begin_anew};
use crate::shard::Order;

/// How long the commit may take.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose people the next version goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum People {
    /// What this node's replica had when the job began, if it had anything.
    OfReplica,
    /// The roster that this node gave.
    OfRoster(NodeId),
}

/// The other parts of the gallery that a version is made beside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The versions of all parts, by part; 0 where one is not built yet. Empty where a lost gallery is built again:
    /// then the people stay as they are.
    pub versions: Vec<GalleryVersion>,
    /// For each other part that is built the node that gave its people. One that is not here is lost.
    pub given: BTreeMap<u16, NodeId>,
}

/// A version that was built and is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Hash of its segment.
    pub hash: ContentHash,
    /// The manifest that it was built from.
    pub manifest: ContentHash,
    /// The whole list on which its people stand at their numbers; zero where there is none.
    pub numbered_by: ContentHash,
    /// What it holds.
    pub counts: GalleryCounts,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Begun,
    /// A node that was asked for the roster of a shard has answered.
    RosterAnswered(ShardId, NodeId, seek::Answer),
    /// The version is built, or cannot be.
    Built(Result<(), Refusal>),
    /// It is on the disk and staged in the replica, or cannot be.
    Kept(Result<Made, Refusal>),
    /// A standby that was given the version has answered.
    PushAnswered(NodeId, push::Answer),
    /// The commit is applied, or refused, or not known to be.
    Committed(Result<(), Refusal>),
    /// A time that an [`Effect::Wake`] named has come.
    Woken,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Have that node give its roster of the shard, of this version or a later one, within [`seek::ROSTER_TIMEOUT`],
    /// and hold on to what it gives; where it is this node, look at its disk.
    AskRoster(ShardId, NodeId, GalleryVersion),
    /// Build this version, and hold on to it; with templates where the flag is set.
    Build(GalleryVersion, People, Beside, bool),
    /// Check what was built, keep it on the disk, and stage it in the replica.
    Keep,
    /// Give it to this standby, which may take until then.
    Push(NodeId, Duration),
    /// Commit it within [`COMMIT_TIMEOUT`]. Nothing else that is under way matters any more: who has not taken the
    /// version by now fetches it once it is committed.
    Commit(Commit),
    /// Send [`Event::Woken`] at that time.
    Wake(Duration),
    /// The job is done: what is committed, or why nothing is, or is not known to be.
    Done(Result<Built, Refusal>),
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    New,
    /// The people of every lost replica are looked for.
    SeekingAll(Seeking),
    /// The people of the version before are looked for.
    SeekingBefore(Seeking, GalleryVersion),
    /// The people of another part are looked for.
    SeekingBeside(Seeking, GalleryVersion),
    Building(GalleryVersion),
    Keeping(GalleryVersion),
    Pushing(Push, Commit),
    Committing(Built),
    Ended,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    me: NodeId,
    shard: ShardId,
    placement: Placement,
    listing: Listing,
    /// What was ordered; absent where every replica is lost.
    manifest: Option<ContentHash>,
    /// The version that is searched here now; 0 is none.
    served: GalleryVersion,
    people: People,
    /// The version that these people are of.
    known: Option<GalleryVersion>,
    lost: Option<GalleryVersion>,
    beside: Beside,
    loss: Option<Loss>,
    /// Whether it is time for templates.
    with_templates: bool,
    phase: Phase,
    canaries: Canaries,
}

impl Job {
    /// Builds what was ordered. `known` is the version that this node's replica searches.
    pub fn ordered(
        me: NodeId,
        order: &BuildOrder,
        placement: Placement,
        known: Option<GalleryVersion>,
        canaries: Canaries,
    ) -> Self {
        Self {
            me,
            shard: order.shard,
            placement,
            listing: order.listing,
            manifest: Some(order.manifest),
            served: known.unwrap_or_default(),
            people: People::OfReplica,
            known,
            lost: None,
            beside: Beside::default(),
            loss: None,
            with_templates: true,
            phase: Phase::New,
            canaries,
        }
    }

    /// Builds the templates of the people of the committed version, which this node's replica has.
    pub fn due(me: NodeId, shard: ShardId, order: &Order, canaries: Canaries) -> Self {
        let lost = Self::rebuild(me, shard, order, canaries);
        Self { lost: None, known: Some(order.version), ..lost }
    }

    /// Builds anew, out of the people that this node or another keeps as a roster: every replica is lost.
    pub fn rebuild(me: NodeId, shard: ShardId, order: &Order, canaries: Canaries) -> Self {
        Self {
            me,
            shard,
            placement: order.placement.clone(),
            listing: Listing::Whole,
            manifest: None,
            served: GalleryVersion::default(),
            people: People::OfReplica,
            known: None,
            lost: Some(order.version),
            beside: Beside::default(),
            loss: None,
            with_templates: true,
            phase: Phase::New,
            canaries,
        }
    }

    /// Takes what happened at `now` and adds what is to be done. What comes too late changes nothing.
    pub fn step(&mut self, now: Duration, state: &State, event: Event, effects: &mut Vec<Effect>) {
        match (std::mem::replace(&mut self.phase, Phase::Ended), event) {
            (Phase::New, Event::Begun) => self.begin(state, effects),
            (Phase::SeekingAll(mut seeking), Event::RosterAnswered(of, by, answer)) if of == seeking.shard() => {
                let next = seeking.answered(by, answer);
                self.seek_all(state, seeking, next, effects);
            }
            (Phase::SeekingBefore(mut seeking, version), Event::RosterAnswered(of, by, answer))
                if of == seeking.shard() =>
            {
                let next = seeking.answered(by, answer);
                self.seek_before(state, seeking, version, next, effects);
            }
            (Phase::SeekingBeside(mut seeking, version), Event::RosterAnswered(of, by, answer))
                if of == seeking.shard() =>
            {
                let next = seeking.answered(by, answer);
                self.seek_beside(state, seeking, version, next, effects);
            }
            (Phase::Building(version), Event::Built(Ok(()))) => {
                effects.push(Effect::Keep);
                self.phase = Phase::Keeping(version);
            }
            (Phase::Keeping(version), Event::Kept(Ok(made))) => self.push(now, version, made, effects),
            (Phase::Pushing(mut push, commit), Event::PushAnswered(by, answer)) => {
                let orders = push.answered(now, by, answer);
                self.pushed(now, push, commit, orders, effects);
            }
            (Phase::Pushing(mut push, commit), Event::Woken) => {
                let orders = push.woken(now);
                self.pushed(now, push, commit, orders, effects);
            }
            (Phase::Committing(built), Event::Committed(committed)) => {
                effects.push(Effect::Done(committed.map(|()| built)));
            }
            (Phase::Building(_), Event::Built(Err(refusal))) | (Phase::Keeping(_), Event::Kept(Err(refusal))) => {
                effects.push(Effect::Done(Err(refusal)));
            }
            (phase, _) => self.phase = phase,
        }
    }

    fn begin(&mut self, state: &State, effects: &mut Vec<Effect>) {
        let Some(version) = self.lost else { return self.go_on(state, effects) };
        // Those that it has moved away from keep it until its holders do.
        let before = state.part(self.shard).into_iter().flat_map(|committed| committed.holders.iter().copied());
        let holders = self.placement.rosters.iter().copied().chain(before);
        let mut seeking = Seeking::here_and_elsewhere(self.me, self.shard, version, holders);
        let next = seeking.begin();
        self.seek_all(state, seeking, next, effects);
    }

    fn seek_all(&mut self, state: &State, seeking: Seeking, next: Next, effects: &mut Vec<Effect>) {
        match next {
            Next::Found(by, version) => {
                (self.people, self.known) = (People::OfRoster(by), Some(version));
                return self.go_on(state, effects);
            }
            Next::Nobody(_) => {
                let (place, problem) = (format!("gallery {}", self.shard), "no other node gives its people");
                let refusal = Refusal::new(RefusalCode::Unavailable, place, problem, "submit its manifest again");
                effects.push(Effect::Done(Err(refusal)));
                return;
            }
            Next::Ask(nodes) => ask(&seeking, nodes, effects),
            Next::Wait => {}
        }
        self.phase = Phase::SeekingAll(seeking);
    }

    /// Answers at once where there is nothing to build, else goes on from the people of the version before.
    fn go_on(&mut self, state: &State, effects: &mut Vec<Effect>) {
        let Some(committed) = state.part(self.shard) else {
            let place = format!("gallery {}", self.shard);
            let refusal =
                Refusal::new(RefusalCode::NotFound, place, "its journey is gone", "submit the manifest again");
            effects.push(Effect::Done(Err(refusal)));
            return;
        };
        let is_announced = state.galleries().get(self.shard.gallery).is_some_and(Gallery::is_announced);
        self.with_templates = !is_announced;
        let is_there = committed.is_built == self.with_templates;
        if is_there && self.manifest == Some(committed.manifest) && self.served == committed.version {
            effects.push(Effect::Done(Ok(built(committed))));
            return;
        }
        let version = GalleryVersion(committed.version.0 + 1);
        if goes_on_from(self.known, committed.version) {
            return self.look_beside(state, version, effects);
        }
        let holders = committed.holders.iter().copied();
        let mut seeking = Seeking::here_and_elsewhere(self.me, self.shard, committed.version, holders);
        let next = seeking.begin();
        self.seek_before(state, seeking, version, next, effects);
    }

    fn seek_before(
        &mut self,
        state: &State,
        seeking: Seeking,
        version: GalleryVersion,
        next: Next,
        effects: &mut Vec<Effect>,
    ) {
        match next {
            Next::Found(by, _) => {
                self.people = People::OfRoster(by);
                return self.look_beside(state, version, effects);
            }
            Next::Nobody(_) if seeking.is_early() => return effects.push(Effect::Done(Err(too_early(&seeking)))),
            Next::Nobody(silent) => {
                match self.begin_anew(state, self.shard, &silent) {
                    Ok(()) => self.look_beside(state, version, effects),
                    Err(refusal) => effects.push(Effect::Done(Err(refusal))),
                }
                return;
            }
            Next::Ask(nodes) => ask(&seeking, nodes, effects),
            Next::Wait => {}
        }
        self.phase = Phase::SeekingBefore(seeking, version);
    }

    /// Looks at the other parts of the gallery, where anybody can be a newcomer: they may be known there.
    fn look_beside(&mut self, state: &State, version: GalleryVersion, effects: &mut Vec<Effect>) {
        if self.manifest.is_some() {
            let parts = state.galleries().shards(self.shard.gallery);
            self.beside.versions = parts.map(|(_, part)| part.version).collect();
        }
        self.seek_next(state, version, 0, effects);
    }

    /// Looks for the people of the first built part from `from` on; builds where there is none.
    fn seek_next(&mut self, state: &State, version: GalleryVersion, from: u16, effects: &mut Vec<Effect>) {
        let own = self.shard.part;
        let mut built = (0..).zip(&self.beside.versions).filter(|(part, version)| *part != own && version.0 > 0);
        let Some((part, version_min)) = built.find(|(part, _)| *part >= from) else {
            effects.push(Effect::Build(version, self.people, self.beside.clone(), self.with_templates));
            self.phase = Phase::Building(version);
            return;
        };
        let shard = ShardId { part, ..self.shard };
        let holders = state.part(shard).into_iter().flat_map(|committed| committed.holders.iter().copied());
        let mut seeking = Seeking::here_and_elsewhere(self.me, shard, *version_min, holders);
        let next = seeking.begin();
        self.seek_beside(state, seeking, version, next, effects);
    }

    fn seek_beside(
        &mut self,
        state: &State,
        seeking: Seeking,
        version: GalleryVersion,
        next: Next,
        effects: &mut Vec<Effect>,
    ) {
        let part = seeking.shard().part;
        match next {
            Next::Found(by, given) => {
                self.beside.given.insert(part, by);
                self.beside.versions[usize::from(part)] = given;
                return self.seek_next(state, version, part + 1, effects);
            }
            Next::Nobody(_) if seeking.is_early() => return effects.push(Effect::Done(Err(too_early(&seeking)))),
            Next::Nobody(silent) => {
                match self.begin_anew(state, seeking.shard(), &silent) {
                    Ok(()) => self.seek_next(state, version, part + 1, effects),
                    Err(refusal) => effects.push(Effect::Done(Err(refusal))),
                }
                return;
            }
            Next::Ask(nodes) => ask(&seeking, nodes, effects),
            Next::Wait => {}
        }
        self.phase = Phase::SeekingBeside(seeking, version);
    }

    /// Goes on without the people of a part, where that may be.
    fn begin_anew(&mut self, state: &State, part: ShardId, silent: &[NodeId]) -> Result<(), Refusal> {
        may_begin_anew(state, part, silent, self.listing, self.canaries)?;
        let numbered_by =
            state.part(part).map(|committed| committed.numbered_by).filter(|by| Some(*by) == self.manifest);
        let known_before = self.loss.is_none_or(|before| Some(before.known_by) == self.manifest);
        self.loss = Some(Loss {
            boarded: part.journey().map_or(0, |journey| state.ledger().boardings(journey)),
            known_by: numbered_by.filter(|_| known_before).unwrap_or_default(),
        });
        Ok(())
    }

    fn push(&mut self, now: Duration, version: GalleryVersion, made: Made, effects: &mut Vec<Effect>) {
        let commit = Commit {
            shard: self.shard,
            epoch: self.placement.epoch,
            node: self.me,
            version,
            hash: made.hash,
            manifest: made.manifest,
            counts: made.counts,
            made_from: self.manifest.map(|_| self.beside.versions.clone()),
            numbered_by: made.numbered_by,
            loss: self.loss,
            is_built: self.with_templates,
        };
        let (push, orders) = Push::begin(now, &self.placement.standbys, self.canaries);
        self.pushed(now, push, commit, orders, effects);
    }

    fn pushed(&mut self, now: Duration, push: Push, commit: Commit, orders: push::Orders, effects: &mut Vec<Effect>) {
        match push.outcome(now) {
            None => {
                effects.extend(orders.push.into_iter().map(|node| Effect::Push(node, push.deadline())));
                effects.extend(orders.wake.into_iter().map(Effect::Wake));
                self.phase = Phase::Pushing(push, commit);
            }
            Some(true) => {
                self.phase = Phase::Committing(Built { version: commit.version, counts: commit.counts });
                effects.push(Effect::Commit(commit));
            }
            Some(false) => {
                let (place, problem) = (format!("gallery {}", self.shard), "no standby took the new version");
                let fix = "ask again; the blueprint will name others";
                effects.push(Effect::Done(Err(Refusal::new(RefusalCode::Unavailable, place, problem, fix))));
            }
        }
    }
}

fn ask(seeking: &Seeking, nodes: Vec<NodeId>, effects: &mut Vec<Effect>) {
    let ask = |node| Effect::AskRoster(seeking.shard(), node, seeking.version_min());
    effects.extend(nodes.into_iter().map(ask));
}

/// The refusal where a node that lives has not heard of the version yet whose people are looked for: they are not lost,
/// and somebody who counted as lost would get a second subject id, or a second part (P15).
fn too_early(seeking: &Seeking) -> Refusal {
    let (place, problem) = (format!("gallery {}", seeking.shard()), "a node that may have its people is behind");
    Refusal::new(RefusalCode::Unavailable, place, problem, "ask again")
}

fn built(committed: &Part) -> Built {
    Built { version: committed.version, counts: committed.counts }
}

#[cfg(test)]
mod tests;
