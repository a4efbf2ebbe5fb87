//! How late it is.

use cluster_config::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// Shortest step of the state's time, milliseconds: nothing that goes by it needs to be told more often.
pub const STEP_MS_MIN: u64 = 1_000;

/// The state's time; 0 until the first leader has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    now: UnixMs,
}

impl Clock {
    /// How late it is.
    pub fn now(&self) -> UnixMs {
        self.now
    }

    /// It never goes back.
    pub(super) fn advance(&mut self, now: UnixMs) {
        self.now = self.now.max(now);
    }
}

/// What the leader is to say it is, out of what nodes report of their clocks; nothing where there is no report, or
/// where too little time has passed. This is the one place where clocks become the state's time.
pub fn next(present: UnixMs, reported: &[UnixMs]) -> Option<UnixMs> {
    let latest = reported.iter().copied().max()?;
    (latest.0 >= present.0.saturating_add(STEP_MS_MIN)).then_some(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_in_steps_of_a_second_and_never_back() {
        assert_eq!(next(UnixMs(10_000), &[]), None);
        assert_eq!(next(UnixMs(10_000), &[UnixMs(10_999)]), None);
        assert_eq!(next(UnixMs(10_000), &[UnixMs(11_000)]), Some(UnixMs(11_000)));
        assert_eq!(next(UnixMs(10_000), &[UnixMs(5)]), None);
        let mut clock = Clock::default();
        clock.advance(UnixMs(9));
        clock.advance(UnixMs(3));
        assert_eq!(clock.now(), UnixMs(9));
    }
}
