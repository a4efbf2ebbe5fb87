//! What is due by the state's time, for the leader to propose: the time itself, journeys that come to their next phase,
//! what the ledger is to forget, and what is over: lines, retired devices, revocations, chunks of the ledger.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::GalleryId;
use cluster_config::ids::{JourneyId, UnixMs};
use cluster_config::journey::JourneyStatus;
use cluster_config::limits::CLOSED_JOURNEYS_MAX;

use crate::command::Command;
use crate::galleries::Gallery;
use crate::state::State;
use crate::{clock, devices, journeys, ledger, revocations};

/// Commands of a kind in one round at most: a round comes every second, and a leader has other work.
const OF_A_KIND_MAX: usize = 32;

/// A minute, milliseconds.
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
            (Some(known), GalleryId::Journey(..) | GalleryId::Kept(_)) => {
                let closed = known.closed()?;
                Some(now).filter(|now| now.0 >= closed.at.0.saturating_add(after_ms))
            }
        }
    }
}

/// What the leader is to propose now, in this order; `time` is what clocks agree on, where the state is to be told.
pub fn due(state: &State, time: Option<UnixMs>, canaries: Canaries) -> Vec<Command> {
    let now = state.clock().now();
    let time = time.map(|next| clock::Command::Advance(next).into());
    let ledger = state.ledger();
    let expired = ledger.lines().filter(|(_, line)| !line.is_removed && now >= line.keep_until);
    let expired = expired.map(|(chunk, _)| chunk).filter(|chunk| !ledger.is_traced(*chunk)).take(OF_A_KIND_MAX);
    let lines_end = state.lines_end();
    let has_old_line = state.journeys().lines().any(|(_, line)| line.purged_at <= lines_end);
    time.into_iter()
        .chain(phases(state, canaries))
        .chain(settled(state))
        .chain(has_old_line.then(|| journeys::Command::ForgetLines.into()))
        .chain(state.has_forgotten_device().then(|| devices::Command::Forget.into()))
        .chain(state.has_old_revocation().then(|| revocations::Command::Forget.into()))
        .chain(expired.map(|chunk| ledger::Command::Expire(chunk).into()))
        .collect()
}

/// Journeys that come to their next phase.
fn phases(state: &State, canaries: Canaries) -> Vec<Command> {
    let now = state.clock().now();
    let (mut build, mut close, mut purge, mut forget) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut closed: Vec<(UnixMs, JourneyId)> = Vec::new();
    for plan in state.journeys().iter() {
        let status = state.status(plan.id);
        if status == Some(JourneyStatus::Closed) {
            closed.push((plan.departs_at, plan.id));
        }
        if status == Some(JourneyStatus::Purged) && state.is_settled(plan.id) {
            forget.push(journeys::Command::Forget(plan.id));
        }
        let Some(next) = state.next_status(plan.id) else { continue };
        let is_early = next.status == JourneyStatus::Purging && canaries.has(Canary::PurgedEarly);
        if now < next.at && !is_early {
            continue;
        }
        match next.status {
            JourneyStatus::Building => build.push(journeys::Command::Build { journey: plan.id, early: false }),
            JourneyStatus::Closed => close.push(journeys::Command::Close(plan.id)),
            _ => purge.push(journeys::Command::Purge(plan.id)),
        }
    }
    if closed.len() > CLOSED_JOURNEYS_MAX {
        closed.sort_unstable();
        let surplus = closed.len() - CLOSED_JOURNEYS_MAX;
        purge.extend(closed.into_iter().take(surplus).map(|(_, journey)| journeys::Command::Purge(journey)));
    }
    let all = [close, build, purge, forget].into_iter();
    all.flat_map(|kind| kind.into_iter().take(OF_A_KIND_MAX).map(Command::from)).collect()
}

/// What the ledger is to forget now; each command takes some of it.
pub fn settled(state: &State) -> Vec<Command> {
    let is_settled = |(gallery, by): &(GalleryId, UnixMs)| state.settled_until(*gallery).is_some_and(|at| at >= *by);
    let galleries = state.ledger().traced().filter(is_settled).map(|(gallery, _)| gallery);
    galleries.take(OF_A_KIND_MAX).map(|gallery| ledger::Command::Settle(gallery).into()).collect()
}
