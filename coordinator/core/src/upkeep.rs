//! What is due by the state's time, for the leader to propose: the time itself, journeys that nobody closed, chunks of
//! the ledger whose time is over.

use cluster_config::ids::{JourneyId, UnixMs};

use crate::command::Command;
use crate::state::State;
use crate::{clock, journeys, ledger};

/// Commands of a kind in one round at most: a round comes every second, and a leader has other work.
const OF_A_KIND_MAX: usize = 32;

/// A minute and a day, milliseconds.
const MINUTE_MS: u64 = 60 * 1_000;

impl State {
    /// Whether no record of the journey can be asked for again: it is not known any more, or closed for so long that no
    /// retry comes.
    pub fn is_settled(&self, journey: JourneyId) -> bool {
        let Some(gallery) = self.passengers(journey) else { return true };
        let settled_at = |closed_at: UnixMs| {
            UnixMs(closed_at.0.saturating_add(u64::from(self.policy().retention.ledger_seal_after_minutes) * MINUTE_MS))
        };
        gallery.closed().is_some_and(|closed| self.clock().now() >= settled_at(closed.at))
    }

    /// When the journey is closed, where nobody closes it before.
    fn closes_at(&self, journey: JourneyId) -> Option<UnixMs> {
        let plan = self.journeys().get(journey)?;
        let after = u64::from(self.policy().retention.close_after_minutes) * MINUTE_MS;
        self.is_open(journey).then(|| UnixMs(plan.departs_at.0.saturating_add(after)))
    }
}

/// What the leader is to propose now, in this order; `time` is what clocks agree on, where the state is to be told.
pub fn due(state: &State, time: Option<UnixMs>) -> Vec<Command> {
    let now = state.clock().now();
    let time = time.map(|next| clock::Command::Advance(next).into());
    let is_over = |journey: &JourneyId| state.closes_at(*journey).is_some_and(|at| now >= at);
    let over = state.journeys().iter().map(|plan| plan.id).filter(is_over).take(OF_A_KIND_MAX);
    let expired = state.ledger().lines().filter(|(_, line)| !line.is_removed && now >= line.keep_until);
    let expired = expired.map(|(chunk, _)| chunk).take(OF_A_KIND_MAX);
    time.into_iter()
        .chain(over.map(|journey| journeys::Command::Close(journey).into()))
        .chain(expired.map(|chunk| ledger::Command::Expire(chunk).into()))
        .collect()
}
