//! When to ask a second node: late enough not to double the load, early enough that a dead node costs little.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Answers that are remembered. The 99th percentile of 128 is nearly the slowest of them, so one slow spell is
/// forgotten after a few seconds at a busy gate.
const ANSWERS: usize = 128;

/// Answers after which the delay is worked out again: sorting 128 numbers costs a thousandth of one answer.
const RECKONED_EVERY: usize = 16;

/// Hedges that may be sent at once: as many as one connection has streams. When a node dies, every request that is
/// under way there may be hedged.
const BUDGET_MAX: i64 = cluster_config::limits::STREAMS_PER_CONNECTION_MAX as i64;

/// Requests that earn one hedge. If the whole cluster is slow, hedges add a tenth to its load at most.
const REQUESTS_PER_HEDGE: i64 = 10;

/// The adaptive delay of one kind of request: three times the 99th percentile of recent answers, within bounds.
#[derive(Debug)]
pub(super) struct Pace {
    recent: Mutex<Recent>,
    delay_us: AtomicU64,
    delay_min: Duration,
    delay_max: Duration,
}

#[derive(Debug)]
struct Recent {
    answers_us: [u32; ANSWERS],
    count: usize,
}

impl Pace {
    /// A pace that begins half-way between its bounds, because nothing is known yet.
    pub(super) fn new(delay_min: Duration, delay_max: Duration) -> Self {
        let start = (delay_min + delay_max) / 2;
        Self {
            recent: Mutex::new(Recent { answers_us: [0; ANSWERS], count: 0 }),
            delay_us: AtomicU64::new(start.as_micros() as u64),
            delay_min,
            delay_max,
        }
    }

    /// Takes note of how long an answer took.
    pub(super) fn answered(&self, took: Duration) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let place = recent.count % ANSWERS;
        recent.answers_us[place] = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        recent.count += 1;
        if !recent.count.is_multiple_of(RECKONED_EVERY) {
            return;
        }
        let mut sorted = recent.answers_us;
        let known = &mut sorted[..recent.count.min(ANSWERS)];
        known.sort_unstable();
        let p99 = Duration::from_micros(u64::from(known[(known.len() - 1) * 99 / 100]));
        let delay = (3 * p99).clamp(self.delay_min, self.delay_max);
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// How long to wait before a second node is asked.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }
}

/// Bounds how much load hedging may add.
#[derive(Debug)]
pub(super) struct Budget {
    /// The hedges that may be sent, in parts; [`REQUESTS_PER_HEDGE`] parts make one hedge.
    parts: AtomicI64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { parts: AtomicI64::new(BUDGET_MAX * REQUESTS_PER_HEDGE) }
    }

    /// One request earns its part.
    pub(super) fn earn(&self) {
        if self.parts.load(Ordering::Relaxed) < BUDGET_MAX * REQUESTS_PER_HEDGE {
            self.parts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one more hedge may be sent. If so, its parts are taken off.
    pub(super) fn spend(&self) -> bool {
        let pay = |parts: i64| (parts >= REQUESTS_PER_HEDGE).then_some(parts - REQUESTS_PER_HEDGE);
        self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_follows_recent_answers_within_its_bounds() {
        let pace = Pace::new(Duration::from_millis(10), Duration::from_millis(60));
        assert_eq!(pace.delay(), Duration::from_millis(35));
        (0..ANSWERS).for_each(|_| pace.answered(Duration::from_micros(500)));
        assert_eq!(pace.delay(), Duration::from_millis(10));
        (0..ANSWERS).for_each(|_| pace.answered(Duration::from_millis(8)));
        assert_eq!(pace.delay(), Duration::from_millis(24));
        (0..ANSWERS).for_each(|_| pace.answered(Duration::from_secs(1)));
        assert_eq!(pace.delay(), Duration::from_millis(60));
    }

    #[test]
    fn hedges_run_out_and_are_earned_back_by_requests() {
        let budget = Budget::new();
        assert_eq!((0..2 * BUDGET_MAX).filter(|_| budget.spend()).count() as i64, BUDGET_MAX);
        (0..REQUESTS_PER_HEDGE).for_each(|_| budget.earn());
        assert!(budget.spend());
        assert!(!budget.spend());
    }
}
