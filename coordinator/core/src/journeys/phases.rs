//! When a journey comes from one phase to the next by itself: by the state's time and the policy alone.

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{JourneyId, UnixMs};
use cluster_config::journey::{JourneyStatus, NextStatus};

use crate::state::State;

const MINUTE_MS: u64 = 60 * 1_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

impl State {
    /// What a journey comes to by itself, and when; absent where nothing is due, or nobody knows it.
    pub fn next_status(&self, journey: JourneyId) -> Option<NextStatus> {
        let (plan, status) = (self.journeys.get(journey)?, self.status(journey)?);
        let (status, at) = match status {
            JourneyStatus::Announced => (JourneyStatus::Building, self.builds_at(plan.departs_at)),
            JourneyStatus::Building | JourneyStatus::Ready => (JourneyStatus::Closed, self.closes_at(plan.departs_at)),
            JourneyStatus::Closed => (JourneyStatus::Purging, self.purges_at(plan.departs_at)),
            JourneyStatus::Purging | JourneyStatus::Purged => return None,
        };
        Some(NextStatus { status, at })
    }

    /// Whether it is too early for the templates of a journey that departs then. Before the state has been told the
    /// time, nobody knows.
    pub(super) fn is_too_early(&self, departs_at: UnixMs) -> bool {
        let now = self.clock.now();
        now != UnixMs::default() && now < self.builds_at(departs_at)
    }

    fn builds_at(&self, departs_at: UnixMs) -> UnixMs {
        let ahead_ms = u64::from(self.policy.retention.build_ahead_hours_max) * HOUR_MS;
        UnixMs(departs_at.0.saturating_sub(ahead_ms))
    }

    fn closes_at(&self, departs_at: UnixMs) -> UnixMs {
        later(departs_at, u64::from(self.policy.retention.close_after_minutes) * MINUTE_MS)
    }

    /// When what is kept of a closed journey that departs then is destroyed.
    pub(super) fn purges_at(&self, departs_at: UnixMs) -> UnixMs {
        later(departs_at, u64::from(self.policy.retention.purge_after_hours) * HOUR_MS)
    }

    /// Whether no record of the journey can be asked for again.
    pub(crate) fn is_settled(&self, journey: JourneyId) -> bool {
        self.settled_until(GalleryId::passengers(journey)).is_some()
    }

    /// Lines of journeys that were purged at this time or before go.
    pub(crate) fn lines_end(&self) -> UnixMs {
        let kept_ms = u64::from(self.policy.retention.journey_line_days) * DAY_MS;
        UnixMs(self.clock.now().0.saturating_sub(kept_ms))
    }
}

fn later(time: UnixMs, by_ms: u64) -> UnixMs {
    UnixMs(time.0.saturating_add(by_ms))
}
