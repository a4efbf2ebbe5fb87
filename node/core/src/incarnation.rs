//! Numbering the starts of a node's process, so that messages of an earlier one can be told apart.

use cluster_config::ids::{Incarnation, UnixMs};

/// The incarnation of a start at `now`, where `before` was the latest that the node's disk knows of (0 is none): later
/// than that one whatever the clock says, since a clock may have been set back.
pub fn next(before: Incarnation, now: UnixMs) -> Incarnation {
    Incarnation(now.0.max(before.0.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_does_not_turn_a_new_process_into_an_old_one() {
        let first = next(Incarnation::default(), UnixMs(5_000));
        assert_eq!(first, Incarnation(5_000));
        assert_eq!(next(first, UnixMs(9_000)), Incarnation(9_000));
        assert_eq!(next(first, UnixMs(1_000)), Incarnation(5_001));
    }
}
