//! The search of one part of a gallery: its replicas are asked one after the other, round after round.

use std::collections::VecDeque;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::{Epoch, NodeId};
use cluster_config::wire::peer::{ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::placement::Placement;

use super::step::{Effect, Here, Look};
use crate::hedge::Hedge;
use crate::search::route;

/// Pause before replicas that all failed are asked again, microseconds; by then the blueprint may name others.
const ROUND_PAUSE_US: u64 = 10_000;

/// How long replicas that were all asked are waited for before the blueprint is looked at again, microseconds: those
/// that are silent may have been replaced, and one that refused because it was a moment behind is not any more.
/// Together with the hedge's delay it leaves room within the 150 ms of an identification during a failover (promise
/// P3).
const LOOK_AGAIN_US: u64 = 50_000;

/// How long another node may be silent before it is asked a second time, microseconds: its process may have ended with
/// the question and be back by now. A slow one is asked a few times at most before a gate stops waiting.
const ASK_AGAIN_US: u64 = 400_000;

/// What all parts of one search have in common.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The entry node.
    pub me: NodeId,
    /// When the gate stops waiting, microseconds.
    pub deadline_us: u64,
    /// The fault that is planted.
    pub canaries: Canaries,
}

/// See the module. A step that fails ends the whole search.
#[derive(Debug)]
pub struct Part {
    number: usize,
    search: ShardSearch,
    placement: Placement,
    /// Why the replica that failed last did so.
    last: Refusal,
    /// Who was asked and has not answered, the latest last, and when.
    asked: Vec<(NodeId, u64)>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The entry node itself is tried.
    Here,
    Asking(Round),
    /// All of them failed.
    Paused {
        until_us: u64,
    },
    /// The blueprint is looked at again.
    Looking,
    Found(ShardFound),
}

#[derive(Debug)]
struct Round {
    /// Who is to be asked yet.
    next: std::vec::IntoIter<NodeId>,
    /// When something is done although nobody has answered.
    patience_us: u64,
    delay_us: u64,
}

impl Part {
    /// Begins with the entry node itself.
    pub fn begin(number: usize, search: ShardSearch, placement: Placement, out: &mut VecDeque<Effect>) -> Self {
        let place = format!("gallery {}", search.shard);
        let last = Refusal::new(RefusalCode::Unavailable, place, "no replica has answered", "try again");
        out.push_back(Effect::SearchHere { part: number });
        Self { number, search, placement, last, asked: Vec::new(), phase: Phase::Here }
    }

    /// What its replicas are asked.
    pub fn search(&self) -> &ShardSearch {
        &self.search
    }

    /// Where its replicas are, as far as the entry node knew.
    pub fn epoch(&self) -> Epoch {
        self.placement.epoch
    }

    /// When the clock has to be looked at, microseconds.
    pub fn wake_us(&self, terms: Terms) -> u64 {
        match &self.phase {
            Phase::Asking(round) => round.patience_us,
            Phase::Paused { until_us } => *until_us,
            Phase::Here | Phase::Looking | Phase::Found(_) => terms.deadline_us,
        }
    }

    /// Whether it is found.
    pub fn is_found(&self) -> bool {
        matches!(self.phase, Phase::Found(_))
    }

    /// Whether it is found, and replicas that were asked before have not answered.
    pub fn still_asks(&self) -> bool {
        self.is_found() && !self.asked.is_empty()
    }

    /// What was found, where it is.
    pub fn found(&self) -> Option<&ShardFound> {
        match &self.phase {
            Phase::Found(found) => Some(found),
            _ => None,
        }
    }

    /// As [`Self::found`].
    pub fn into_found(self) -> Option<ShardFound> {
        match self.phase {
            Phase::Found(found) => Some(found),
            _ => None,
        }
    }

    /// Why it is not found yet.
    pub fn into_last(self) -> Refusal {
        self.last
    }

    /// The entry node itself was tried.
    pub fn searched_here(
        &mut self,
        now_us: u64,
        here: Here,
        terms: Terms,
        out: &mut VecDeque<Effect>,
    ) -> Result<(), Refusal> {
        if !matches!(self.phase, Phase::Here) {
            return Ok(());
        }
        match here {
            Here::AtOnce(Ok(found)) => {
                self.phase = Phase::Found(found);
                Ok(())
            }
            Here::AtOnce(Err(refusal)) => {
                self.last = refusal;
                self.phase = Phase::Asking(Round { next: Vec::new().into_iter(), patience_us: 0, delay_us: 0 });
                self.ask_next(now_us, terms, out)
            }
            Here::Not { ready, hedge } => {
                self.phase = Phase::Asking(self.round(now_us, ready, &hedge, terms));
                self.ask_next(now_us, terms, out)
            }
        }
    }

    /// A round leaves out who has yet to answer, for a while: asking twice does not make a replica quicker.
    fn round(&self, now_us: u64, ready: bool, hedge: &Hedge, terms: Terms) -> Round {
        let mut replicas = route(&self.placement, terms.me, ready, |node| hedge.is_silent(node, now_us));
        let waits = |replica: NodeId, asked_us: u64| replica == terms.me || now_us < asked_us + ASK_AGAIN_US;
        replicas.retain(|replica| !self.asked.iter().any(|(asked, at_us)| asked == replica && waits(*asked, *at_us)));
        Round { next: replicas.into_iter(), patience_us: terms.deadline_us, delay_us: hedge.delay_us() }
    }

    /// A replica has answered.
    pub fn answered(
        &mut self,
        now_us: u64,
        replica: NodeId,
        result: Result<ShardFound, Refusal>,
        terms: Terms,
        out: &mut VecDeque<Effect>,
    ) -> Result<(), Refusal> {
        let place = self.asked.iter().position(|(asked, _)| *asked == replica);
        let Some(place) = place.filter(|_| !self.is_found()) else { return Ok(()) };
        let (_, asked_us) = self.asked.remove(place);
        match result {
            Ok(found) => {
                if replica != terms.me {
                    out.push_back(Effect::Heard { replica, latency_us: now_us.saturating_sub(asked_us) });
                }
                self.phase = Phase::Found(found);
                Ok(())
            }
            Err(refusal) => {
                self.last = refusal;
                self.ask_next(now_us, terms, out)
            }
        }
    }

    /// Asks the next replica of the round. It is over once there is none and all have failed.
    fn ask_next(&mut self, now_us: u64, terms: Terms, out: &mut VecDeque<Effect>) -> Result<(), Refusal> {
        let Phase::Asking(round) = &mut self.phase else { return Ok(()) };
        if let Some(replica) = round.next.next() {
            if !self.asked.is_empty() {
                out.push_back(Effect::Hedged);
            }
            let left_ms = terms.deadline_us.saturating_sub(now_us) / 1_000;
            let wait_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
            out.push_back(Effect::Ask { part: self.number, replica, wait_ms });
            self.asked.push((replica, now_us));
        }
        if self.asked.is_empty() {
            return self.all_failed(now_us, terms);
        }
        let patience_us = if round.next.len() > 0 { round.delay_us } else { LOOK_AGAIN_US };
        let waits_for_ever = terms.canaries.has(Canary::NoHedge);
        let until_us = if waits_for_ever { u64::MAX } else { now_us + patience_us };
        round.patience_us = terms.deadline_us.min(until_us);
        Ok(())
    }

    fn all_failed(&mut self, now_us: u64, terms: Terms) -> Result<(), Refusal> {
        let until_us = now_us + ROUND_PAUSE_US;
        if !self.last.code.retryable() || until_us >= terms.deadline_us {
            return Err(self.last.clone());
        }
        self.phase = Phase::Paused { until_us };
        Ok(())
    }

    /// Time has passed; the deadline is not there yet.
    pub fn time_came(&mut self, now_us: u64, terms: Terms, out: &mut VecDeque<Effect>) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Asking(round) if now_us >= round.patience_us && round.next.len() > 0 => {
                out.extend(self.asked.last().map(|(replica, _)| Effect::Silent(*replica)));
                self.ask_next(now_us, terms, out)
            }
            Phase::Asking(Round { patience_us: at_us, .. }) | Phase::Paused { until_us: at_us } if now_us >= *at_us => {
                self.look_again(terms, out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn look_again(&mut self, terms: Terms, out: &mut VecDeque<Effect>) {
        if terms.canaries.has(Canary::OldRoute) {
            self.phase = Phase::Here;
            out.push_back(Effect::SearchHere { part: self.number });
        } else {
            self.phase = Phase::Looking;
            out.push_back(Effect::Look(Look::Placement { part: self.number }));
        }
    }

    /// The next round goes to where the part is by now.
    pub fn placed(&mut self, placement: Placement, out: &mut VecDeque<Effect>) {
        if matches!(self.phase, Phase::Looking) {
            self.placement = placement;
            self.phase = Phase::Here;
            out.push_back(Effect::SearchHere { part: self.number });
        }
    }
}
