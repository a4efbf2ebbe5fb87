//! When to ask a second replica: an adaptive delay (Dean and Barroso, "The Tail at Scale", 2013); and whom to ask last:
//! a node that was silent when its turn came is most likely dead, and every request would wait out the delay for it.

use std::collections::BTreeMap;

use cluster_config::ids::NodeId;

/// Floor of the delay, microseconds: below it every scheduling hiccup would double the work.
const DELAY_US_MIN: u64 = 3_000;

/// Ceiling of the delay, microseconds. An identification must take at most 150 ms while its owner is dead (promise
/// P3), and its gate may have waited for a dead node before: 25 ms leave room for the second replica's own answer.
const DELAY_US_MAX: u64 = 25_000;

/// How long a node that was silent is asked last, microseconds. Most of what makes a node silent lasts longer; one that
/// is well again is first again by then.
const SILENCE_US: u64 = 1_000_000;

/// What a node knows of how soon the others answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hedge {
    delay: HedgeDelay,
    /// Nodes that had not answered by the delay, and since when: microseconds of any clock that does not go back.
    silent_since_us: BTreeMap<NodeId, u64>,
}

impl Hedge {
    /// How long to wait before a second replica is asked, microseconds.
    pub fn delay_us(&self) -> u64 {
        self.delay.delay_us()
    }

    /// A node has answered after `latency_us` microseconds.
    pub fn answered(&mut self, node: NodeId, latency_us: u64) {
        self.delay.observe(latency_us);
        self.silent_since_us.remove(&node);
    }

    /// A node had not answered by the delay.
    pub fn was_silent(&mut self, node: NodeId, now_us: u64) {
        self.silent_since_us.insert(node, now_us);
    }

    /// Whether the node was silent a short while ago and has not answered since.
    pub fn is_silent(&self, node: NodeId, now_us: u64) -> bool {
        self.silent_since_us.get(&node).is_some_and(|since| now_us < since + SILENCE_US)
    }
}

/// Estimates a high quantile of recent latencies and derives the delay from it.
///
/// The estimate moves up by 49 steps for a sample above it and down by one for a sample below, so that it comes to
/// rest where one sample in fifty lies above: the 98th percentile (stochastic approximation, Robbins and Monro 1951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HedgeDelay {
    quantile_us: u64,
}

impl Default for HedgeDelay {
    fn default() -> Self {
        Self { quantile_us: DELAY_US_MAX / 4 }
    }
}

impl HedgeDelay {
    /// Takes the latency of an answer, microseconds.
    fn observe(&mut self, latency_us: u64) {
        let step = (self.quantile_us / 256).max(1);
        self.quantile_us = if latency_us > self.quantile_us {
            (self.quantile_us + 49 * step).min(DELAY_US_MAX)
        } else {
            self.quantile_us.saturating_sub(step)
        };
    }

    fn delay_us(&self) -> u64 {
        (2 * self.quantile_us).clamp(DELAY_US_MIN, DELAY_US_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_is_known_until_it_answers_or_a_while_has_passed() {
        let mut hedge = Hedge::default();
        hedge.was_silent(NodeId(1), 5);
        hedge.was_silent(NodeId(2), 5);
        hedge.answered(NodeId(2), 700);
        assert!(hedge.is_silent(NodeId(1), 5 + SILENCE_US - 1) && !hedge.is_silent(NodeId(1), 5 + SILENCE_US));
        assert!(!hedge.is_silent(NodeId(2), 5));
    }

    #[test]
    fn the_delay_follows_the_tail_and_keeps_its_bounds() {
        let mut delay = HedgeDelay::default();
        for number in 0..20_000u64 {
            delay.observe(if number % 100 == 0 { 9_000 } else { 200 });
        }
        assert!(delay.delay_us() < 6_000, "one slow answer in a hundred does not set the delay: {}", delay.delay_us());
        for _ in 0..20_000 {
            delay.observe(11_000);
        }
        assert!(delay.delay_us() > 20_000, "slow answers stretch it: {}", delay.delay_us());
        for _ in 0..1_000 {
            delay.observe(10_000_000);
        }
        assert_eq!(delay.delay_us(), DELAY_US_MAX);
    }
}
