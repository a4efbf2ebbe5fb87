//! When to ask a second replica: an adaptive delay (Dean and Barroso, "The Tail at Scale", 2013).

/// Floor of the delay, microseconds: below it every scheduling hiccup would double the work.
const DELAY_US_MIN: u64 = 3_000;

/// Ceiling of the delay, microseconds. An identification must take at most 150 ms while its owner is dead (promise
/// P3): 40 ms of waiting leave room for the second replica's own answer.
const DELAY_US_MAX: u64 = 40_000;

/// Estimates a high quantile of recent latencies and derives the delay from it.
///
/// The estimate moves up by 49 steps for a sample above it and down by one for a sample below, so that it comes to
/// rest where one sample in fifty lies above: the 98th percentile (stochastic approximation, Robbins and Monro 1951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HedgeDelay {
    quantile_us: u64,
}

impl Default for HedgeDelay {
    fn default() -> Self {
        Self { quantile_us: DELAY_US_MAX / 4 }
    }
}

impl HedgeDelay {
    /// Takes the latency of an answer, microseconds.
    pub fn observe(&mut self, latency_us: u64) {
        let step = (self.quantile_us / 256).max(1);
        self.quantile_us = if latency_us > self.quantile_us {
            (self.quantile_us + 49 * step).min(DELAY_US_MAX)
        } else {
            self.quantile_us.saturating_sub(step)
        };
    }

    /// How long to wait before a second replica is asked, microseconds.
    pub fn delay_us(&self) -> u64 {
        (2 * self.quantile_us).clamp(DELAY_US_MIN, DELAY_US_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_follows_the_tail_and_keeps_its_bounds() {
        let mut delay = HedgeDelay::default();
        for number in 0..20_000u64 {
            delay.observe(if number % 100 == 0 { 9_000 } else { 200 });
        }
        assert!(delay.delay_us() < 6_000, "one slow answer in a hundred does not set the delay: {}", delay.delay_us());
        for _ in 0..20_000 {
            delay.observe(15_000);
        }
        assert!(delay.delay_us() > 25_000, "slow answers stretch it: {}", delay.delay_us());
        for _ in 0..1_000 {
            delay.observe(10_000_000);
        }
        assert_eq!(delay.delay_us(), DELAY_US_MAX);
    }
}
