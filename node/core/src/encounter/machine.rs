//! A capture at its entry node, step by step: looked up, searched wherever its gallery is, decided, recorded, answered.
//! Who drives it performs the effects in their order and hands in what came of each; it ends by its deadline at the
//! latest, whatever does not come.

use std::collections::VecDeque;

use cluster_config::canary::Canaries;
use cluster_config::decision::Priority;
use cluster_config::gallery::Fence;
use cluster_config::ids::NodeId;
use cluster_config::limits::UNCONFIRMED_MS_MAX;
use cluster_config::wire::gate::{Answer, Capture, Sample};
use cluster_config::wire::peer::ShardSearch;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::placement::Placement;
use coordinator_core::{Record, RecordOutcome, State};

use super::part::{Part, Terms};
use super::step::{Effect, Event, Look, Moment, Seen};
use super::{Missing, Next, Presented, Purpose, Question, Route, Unrecorded};
use super::{after_record, after_search, as_before, in_file_before, known_before};
use super::{cut_off, not_built, not_open, question, verdict};
use crate::decide::Verdict;
use crate::reach::Reach;
use crate::search::{Merged, merge};

/// How long a node tries to catch up before it sends a gate to another, microseconds: a few round trips within a
/// country, and a fraction of what a gate waits.
pub const CATCH_UP_US: u64 = 250_000;

#[derive(Debug)]
pub struct Machine {
    capture: Capture,
    purpose: Purpose,
    /// The journeys that may be boarded where it was made.
    reach: Reach,
    terms: Terms,
    /// How far the gallery was that was searched for the last record.
    searched: Option<Fence>,
    /// Whether the node caught up for this capture, where it had to.
    caught_up: Option<bool>,
    /// The lowest score of interest; set down where lower ones came to count during the search.
    floor: f32,
    floor_max: f32,
    parts: Vec<Part>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It is looked up whether the encounter is known.
    LookingBack,
    /// It is looked up what to ask of which shards.
    Asking,
    /// The node makes up what it may lack.
    CatchingUp {
        until_us: u64,
        /// Whether nothing is searched where it cannot.
        must: bool,
    },
    /// The parts of the gallery are searched, side by side.
    Searching,
    /// All of them are.
    Deciding(Merged, Fence),
    /// The record is on its way into the ledger.
    Recording(Merged, Verdict),
    /// Its journey was closed meanwhile, perhaps after another node had recorded this very encounter.
    LookingAgain(Refusal),
    Done,
}

impl Machine {
    /// A capture that came to node `me` from a gate that acts within a reach, and that waits until `deadline_us`.
    pub fn new(
        me: NodeId,
        capture: Capture,
        (purpose, reach): (Purpose, Reach),
        deadline_us: u64,
        canaries: Canaries,
    ) -> Self {
        Self {
            capture,
            purpose,
            reach,
            terms: Terms { me, deadline_us, canaries },
            searched: None,
            caught_up: None,
            floor: f32::INFINITY,
            floor_max: f32::INFINITY,
            parts: Vec::new(),
            stage: Stage::Asking,
        }
    }

    /// What the replicas of a part are asked. Absent once nobody is asked any more.
    pub fn search(&self, part: usize) -> Option<&ShardSearch> {
        self.parts.get(part).map(Part::search)
    }

    /// When the gate stops waiting, microseconds.
    pub fn deadline_us(&self) -> u64 {
        self.terms.deadline_us
    }

    /// When to step with [`Event::TimeCame`] if nothing happens before, microseconds.
    pub fn wake_us(&self) -> u64 {
        let deadline_us = self.terms.deadline_us;
        match &self.stage {
            Stage::CatchingUp { until_us, .. } => *until_us,
            Stage::Searching => self.parts.iter().map(|p| p.wake_us(self.terms)).min().unwrap_or(deadline_us),
            _ => deadline_us,
        }
    }

    /// Reads of the replicated state what it wants to know.
    pub fn look(&self, look: Look, state: &State) -> Seen {
        let (capture, canaries) = (&self.capture, self.terms.canaries);
        match look {
            Look::Answered => match (self.purpose, in_file_before(state, capture)) {
                (Purpose::Board(_), Some(position)) => Seen::InFile(position),
                (Purpose::Board(Presented { request, .. }), None) => {
                    Seen::Answered(known_before(state, capture, request, self.terms.me, canaries))
                }
                (Purpose::Identify, _) => Seen::Answered(None),
            },
            Look::Question => Seen::Question(question(state, capture.journey, self.reach, canaries)),
            Look::Placement { part } => {
                let shard = self.search(part).map(|search| search.shard);
                let placement = shard.and_then(|shard| state.placement(shard).cloned());
                Seen::Placement { part, placement }
            }
            Look::Verdict => Seen::Verdict(match &self.stage {
                Stage::Deciding(merged, _) => verdict(state, capture, merged, self.floor, canaries),
                _ => None,
            }),
        }
    }

    /// Takes what has happened, and says what is to be done.
    pub fn step(&mut self, now: Moment, event: Event, out: &mut VecDeque<Effect>) {
        let terms = self.terms;
        match event {
            Event::Began => self.begin(now, out),
            Event::Looked(Seen::Answered(answered)) => self.looked_back(answered, out),
            Event::Looked(Seen::InFile(position)) => out.push_back(Effect::Read(position)),
            Event::Looked(Seen::Question(question)) => self.asked(now, question, out),
            Event::Looked(Seen::Placement { part, placement }) => self.placed(part, placement, out),
            Event::Looked(Seen::Verdict(verdict)) => self.decided(now, verdict, out),
            Event::SearchedHere { part, here } => {
                self.search_on(part, out, |part, out| part.searched_here(now.us, here, terms, out));
            }
            Event::Answered { part, replica, result } => {
                self.search_on(part, out, |part, out| part.answered(now.us, replica, result, terms, out));
            }
            Event::CaughtUp(caught_up) => self.caught_up(now, caught_up, out),
            Event::Recorded(outcome) => self.recorded(outcome, out),
            Event::Read(stored) => self.read(stored, out),
            Event::TimeCame => self.time_came(now, out),
        }
    }

    fn begin(&mut self, now: Moment, out: &mut VecDeque<Effect>) {
        match self.purpose {
            // What a leader has not confirmed for long may be out of date. A boarding is confirmed by its record.
            Purpose::Identify if now.unconfirmed_us > UNCONFIRMED_MS_MAX * 1_000 => self.catch_up(now, true, out),
            Purpose::Identify => out.push_back(Effect::Look(Look::Question)),
            Purpose::Board(_) => {
                self.stage = Stage::LookingBack;
                out.push_back(Effect::Look(Look::Answered));
            }
        }
    }

    fn looked_back(&mut self, answered: Option<Result<Answer, Refusal>>, out: &mut VecDeque<Effect>) {
        match (std::mem::replace(&mut self.stage, Stage::Asking), answered) {
            (Stage::LookingBack | Stage::LookingAgain(_), Some(answer)) => self.answer(answer, out),
            (Stage::LookingBack, None) => out.push_back(Effect::Look(Look::Question)),
            (Stage::LookingAgain(refusal), None) => self.answer(Err(refusal), out),
            (other, _) => self.stage = other,
        }
    }

    /// A record was read that is in a file: of this very request, or of another one under the encounter's id (P12).
    fn read(&mut self, stored: Result<Record, Refusal>, out: &mut VecDeque<Effect>) {
        let Purpose::Board(Presented { request, .. }) = self.purpose else { return };
        let Terms { me, canaries, .. } = self.terms;
        let answered = stored.and_then(|stored| {
            let answer = as_before(&stored, &self.capture, request, me, canaries)?;
            Ok((stored, answer))
        });
        match (&self.stage, answered) {
            (Stage::LookingBack | Stage::LookingAgain(_), answered) => {
                self.answer(answered.map(|(_, answer)| answer), out);
            }
            (Stage::Recording(..), Ok((stored, _))) => self.recorded(Ok(RecordOutcome::Stored(stored)), out),
            (Stage::Recording(..), Err(refusal)) => self.answer(Err(refusal), out),
            _ => {}
        }
    }

    /// A node that lags behind does not know the newest journeys and galleries: before it says so to a gate, which
    /// would ask nobody else, it makes up what it lacks and looks again (P5).
    fn asked(&mut self, now: Moment, question: Result<Question, Missing>, out: &mut VecDeque<Effect>) {
        match question {
            _ if !matches!(self.stage, Stage::Asking) => {}
            // What was refused as too old would be found again.
            Ok(question) if self.has_searched(&question) && self.caught_up.is_none() => self.catch_up(now, false, out),
            Ok(question) => self.search_all(now, question, out),
            Err(Missing::NotYet(_)) if self.caught_up.is_none() => {
                self.catch_up(now, false, out);
            }
            Err(missing) => self.end(Err(missing.into_refusal(self.caught_up == Some(true))), out),
        }
    }

    /// Whether a record was refused that was searched no further back than this.
    fn has_searched(&self, question: &Question) -> bool {
        self.searched.is_some_and(|searched| !searched.is_behind(question.fence()))
    }

    fn catch_up(&mut self, now: Moment, must: bool, out: &mut VecDeque<Effect>) {
        let until_us = self.terms.deadline_us.min(now.us + CATCH_UP_US);
        self.stage = Stage::CatchingUp { until_us, must };
        out.push_back(Effect::CatchUp { until_us });
    }

    fn caught_up(&mut self, now: Moment, caught_up: bool, out: &mut VecDeque<Effect>) {
        let Stage::CatchingUp { must, .. } = self.stage else { return };
        if must && !caught_up {
            return self.end(Err(cut_off(self.terms.me, now.unconfirmed_us)), out);
        }
        self.caught_up = Some(caught_up);
        self.stage = Stage::Asking;
        out.push_back(Effect::Look(Look::Question));
    }

    fn search_all(&mut self, now: Moment, question: Question, out: &mut VecDeque<Effect>) {
        self.floor = question.floor.min(self.floor_max);
        self.stage = Stage::Searching;
        let routes = question.shards.into_iter().enumerate();
        self.parts = routes.map(|(number, route)| self.part(now, number, route, out)).collect();
        self.merge_if_found(out);
    }

    fn part(
        &self,
        now: Moment,
        number: usize,
        (shard, version_min, placement): Route,
        out: &mut VecDeque<Effect>,
    ) -> Part {
        let Sample::Template { model, values } = &self.capture.sample;
        let priority = match self.purpose {
            Purpose::Identify => Priority::Identify,
            Purpose::Board(_) => Priority::Board,
        };
        let left_ms = self.terms.deadline_us.saturating_sub(now.us) / 1_000;
        let wait_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
        let (model, probe, floor) = (*model, values.clone(), self.floor);
        let search = ShardSearch { shard, version_min, model, probe, floor, priority, wait_ms };
        Part::begin(number, search, placement, out)
    }

    /// Has one part go on. Where it fails, so does the whole search.
    fn search_on(
        &mut self,
        part: usize,
        out: &mut VecDeque<Effect>,
        step: impl FnOnce(&mut Part, &mut VecDeque<Effect>) -> Result<(), Refusal>,
    ) {
        let Some(part) = self.parts.get_mut(part) else { return };
        match step(part, out) {
            Ok(()) => self.merge_if_found(out),
            Err(refusal) => self.end(Err(refusal), out),
        }
    }

    fn placed(&mut self, part: usize, placement: Option<Placement>, out: &mut VecDeque<Effect>) {
        let closed = not_open(self.capture.journey);
        self.search_on(part, out, |part, out| {
            part.placed(placement.ok_or(closed)?, out);
            Ok(())
        });
    }

    fn merge_if_found(&mut self, out: &mut VecDeque<Effect>) {
        if !matches!(self.stage, Stage::Searching) || !self.parts.iter().all(Part::is_found) {
            return;
        }
        if self.parts.iter().any(Part::still_asks) {
            out.push_back(Effect::Forget);
        }
        let fence = self.parts.iter().fold(Fence::default(), |fence, part| match part.found() {
            Some(found) => fence.and(found.version, found.epoch.max(part.epoch())),
            None => fence,
        });
        let found = std::mem::take(&mut self.parts).into_iter().filter_map(Part::into_found);
        match merge(found.collect(), self.terms.canaries) {
            Some(merged) => {
                self.stage = Stage::Deciding(merged, fence);
                out.push_back(Effect::Look(Look::Verdict));
            }
            None => self.end(Err(not_built(self.capture.journey)), out),
        }
    }

    fn decided(&mut self, now: Moment, verdict: Option<Verdict>, out: &mut VecDeque<Effect>) {
        match (std::mem::replace(&mut self.stage, Stage::Asking), verdict) {
            (Stage::Deciding(merged, fence), Some(verdict)) => {
                let (capture, canaries) = (&self.capture, self.terms.canaries);
                match after_search(self.terms.me, capture, self.purpose, now.wall, (&merged, fence), verdict, canaries)
                {
                    Next::Answer(answer) => self.end(Ok(answer), out),
                    Next::Record(record) => {
                        (self.searched, self.caught_up) = (Some(record.fence), None);
                        self.stage = Stage::Recording(merged, verdict);
                        out.push_back(Effect::Record(record));
                    }
                }
            }
            (Stage::Deciding(..), None) => {
                self.floor_max = f32::NEG_INFINITY;
                out.push_back(Effect::Look(Look::Question));
            }
            (other, _) => self.stage = other,
        }
    }

    fn recorded(&mut self, outcome: Result<RecordOutcome, Refusal>, out: &mut VecDeque<Effect>) {
        let Stage::Recording(merged, verdict) = &self.stage else { return };
        let recorded = outcome.map(|outcome| after_record(&self.capture, merged, *verdict, outcome));
        match recorded {
            Ok(Ok(answer)) => self.end(Ok(answer), out),
            // Whoever was searched for may have left the list meanwhile, or come onto it.
            Ok(Err(Unrecorded::Behind)) => {
                self.stage = Stage::Asking;
                out.push_back(Effect::Look(Look::Question));
            }
            Ok(Err(Unrecorded::InFile(position))) => out.push_back(Effect::Read(position)),
            // That this node was taken out is nothing that a gate could mend: another node answers it.
            Err(refusal) if refusal.code == RefusalCode::NotMember => {
                self.end(
                    Err(Refusal::new(RefusalCode::Unavailable, refusal.place, refusal.problem, "ask another node")),
                    out,
                );
            }
            Ok(Err(Unrecorded::Refused(refusal))) | Err(refusal) => self.end(Err(refusal), out),
        }
    }

    fn time_came(&mut self, now: Moment, out: &mut VecDeque<Effect>) {
        if now.us >= self.terms.deadline_us {
            return self.too_late(out);
        }
        match &self.stage {
            Stage::CatchingUp { until_us, .. } if now.us >= *until_us => self.caught_up(now, false, out),
            Stage::Searching => {
                let terms = self.terms;
                for part in 0..self.parts.len() {
                    self.search_on(part, out, |part, out| part.time_came(now.us, terms, out));
                }
            }
            _ => {}
        }
    }

    /// The gate stops waiting.
    fn too_late(&mut self, out: &mut VecDeque<Effect>) {
        let late = |problem: &str| {
            let fix = "try again, or ask another node";
            Refusal::new(RefusalCode::Unavailable, "capture", problem, fix)
        };
        let refusal = match &self.stage {
            Stage::Done => return,
            Stage::Searching => {
                let missing = std::mem::take(&mut self.parts).into_iter().find(|part| !part.is_found());
                missing.map_or_else(|| late("the search took until the deadline"), Part::into_last)
            }
            Stage::Recording(..) => late("the group did not confirm by the deadline"),
            _ => late("the deadline came before the gallery was searched"),
        };
        self.end(Err(refusal), out);
    }

    /// What it has come to. A boarding whose journey is closed may have been recorded before that.
    fn end(&mut self, answer: Result<Answer, Refusal>, out: &mut VecDeque<Effect>) {
        self.parts.clear();
        match answer {
            Err(refusal) if refusal.code == RefusalCode::NotOpen && matches!(self.purpose, Purpose::Board(_)) => {
                self.stage = Stage::LookingAgain(refusal);
                out.push_back(Effect::Look(Look::Answered));
            }
            answer => self.answer(answer, out),
        }
    }

    fn answer(&mut self, answer: Result<Answer, Refusal>, out: &mut VecDeque<Effect>) {
        self.stage = Stage::Done;
        out.push_back(Effect::Answer(answer));
    }
}

#[cfg(test)]
mod tests;
