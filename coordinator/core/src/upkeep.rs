//! What is due by the state's time, for the leader to propose: the time itself, journeys that nobody closed, what the
//! ledger is to forget, and chunks of it whose time is over.

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{JourneyId, UnixMs};

use crate::command::Command;
use crate::galleries::Gallery;
use crate::state::State;
use crate::{clock, journeys, ledger};

/// Commands of a kind in one round at most: a round comes every second, and a leader has other work.
const OF_A_KIND_MAX: usize = 32;

/// A minute and a day, milliseconds.
const MINUTE_MS: u64 = 60 * 1_000;

impl State {
    /// Whether a record of the gallery is taken.
    pub fn takes(&self, gallery: GalleryId) -> bool {
        match gallery.journey() {
            Some(journey) => self.is_open(journey),
            None => self.galleries().get(gallery).is_some_and(Gallery::is_open),
        }
    }

    /// No record of the gallery will be asked for again that was made by then; absent where any may be. Of a journey
    /// that is each once it is not known any more, or closed for so long that no retry comes; of a standing gallery,
    /// which does not end, each that is old enough.
    pub fn settled_until(&self, gallery: GalleryId) -> Option<UnixMs> {
        let after_ms = u64::from(self.policy().retention.ledger_seal_after_minutes) * MINUTE_MS;
        let now = self.clock().now();
        match (self.galleries().get(gallery), gallery) {
            (None, _) => Some(now),
            (Some(_), GalleryId::Standing(_)) => now.0.checked_sub(after_ms).map(UnixMs),
            (Some(known), GalleryId::Journey(..)) => {
                let closed = known.closed()?;
                Some(now).filter(|now| now.0 >= closed.at.0.saturating_add(after_ms))
            }
        }
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
    let ledger = state.ledger();
    let expired = ledger.lines().filter(|(_, line)| !line.is_removed && now >= line.keep_until);
    let expired = expired.map(|(chunk, _)| chunk).filter(|chunk| !ledger.is_traced(*chunk)).take(OF_A_KIND_MAX);
    time.into_iter()
        .chain(over.map(|journey| journeys::Command::Close(journey).into()))
        .chain(settled(state))
        .chain(expired.map(|chunk| ledger::Command::Expire(chunk).into()))
        .collect()
}

/// What the ledger is to forget now; each command takes some of it.
pub fn settled(state: &State) -> Vec<Command> {
    let is_settled = |(gallery, by): &(GalleryId, UnixMs)| state.settled_until(*gallery).is_some_and(|at| at >= *by);
    let galleries = state.ledger().traced().filter(is_settled).map(|(gallery, _)| gallery);
    galleries.take(OF_A_KIND_MAX).map(|gallery| ledger::Command::Settle(gallery).into()).collect()
}
