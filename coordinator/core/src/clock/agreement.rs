//! What the clocks of a majority agree on: how the leader finds out how late it is.
//!
//! No single clock decides. The state's time follows the clocks of a majority by steps of seconds; where they agree on
//! a time far from it, they have to do so for a while before it is believed; without a majority it stands still.

use cluster_config::ids::UnixMs;

/// Shortest step of the state's time, milliseconds: nothing that goes by it needs to be told more often.
pub const STEP_MS_MIN: u64 = 1_000;

/// Longest step that is believed at once, milliseconds: what passes while a leader is elected, and then some.
pub const STEP_MS_MAX: u64 = 10_000;

/// How long a majority has to agree on any other time, milliseconds.
pub const AGREED_FOR_MS: u64 = 30_000;

/// Clocks agree where they are no further apart, milliseconds: networks and schedulers delay reports that long.
pub const APART_MS_MAX: u64 = 2_000;

/// The leader's view of the clocks; it begins anew with each leader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Since when a majority has agreed on a time that is no step away, by a clock that does not go back.
    since_ms: Option<u64>,
}

impl Agreement {
    /// What the state's time is to become; absent where it stays. `now_ms` is any clock that does not go back,
    /// `present` the state's time, `clocks` what those members show that report, of `members` in all.
    pub fn look(&mut self, now_ms: u64, present: UnixMs, clocks: &[UnixMs], members: usize) -> Option<UnixMs> {
        let Some(agreed) = agreed(clocks, members) else {
            self.since_ms = None;
            return None;
        };
        let is_step = agreed.0 >= present.0 && agreed.0 - present.0 <= STEP_MS_MAX;
        // Nothing has gone by the state's time before it was first told.
        if is_step || present == UnixMs::default() {
            self.since_ms = None;
            return (agreed.0 >= present.0.saturating_add(STEP_MS_MIN)).then_some(agreed);
        }
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since_ms) < AGREED_FOR_MS {
            return None;
        }
        self.since_ms = None;
        Some(agreed)
    }
}

/// The time that more than half of the members agree on: the middle one of the most clocks that agree.
pub fn agreed(clocks: &[UnixMs], members: usize) -> Option<UnixMs> {
    let mut clocks = clocks.to_vec();
    clocks.sort_unstable();
    let from = |first: usize| {
        let rest = &clocks[first..];
        &rest[..rest.partition_point(|clock| clock.0 - rest[0].0 <= APART_MS_MAX)]
    };
    // Of equally many the earliest.
    let most = (0..clocks.len()).rev().map(from).max_by_key(|group| group.len())?;
    (most.len() > members / 2).then(|| most[most.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const YEARS_MS: u64 = 30 * 365 * 24 * 3_600 * 1_000;

    fn clocks(offsets: &[i64]) -> Vec<UnixMs> {
        offsets.iter().map(|offset| UnixMs(NOW.saturating_add_signed(*offset))).collect()
    }

    fn look(agreement: &mut Agreement, now_ms: u64, present: u64, clocks: &[UnixMs], members: usize) -> Option<u64> {
        agreement.look(now_ms, UnixMs(present), clocks, members).map(|now| now.0)
    }

    #[test]
    fn time_goes_on_in_steps_of_a_second_with_the_middle_clock_of_a_majority() {
        let mut agreement = Agreement::default();
        let three = clocks(&[-300, 0, 200]);
        assert_eq!(look(&mut agreement, 0, 0, &three, 3), Some(NOW), "nothing went by it before");
        assert_eq!(look(&mut agreement, 0, NOW - 999, &three, 3), None);
        assert_eq!(look(&mut agreement, 0, NOW - 1_000, &three, 3), Some(NOW));
        assert_eq!(
            look(&mut agreement, 0, NOW + 100, &three, 3),
            None,
            "it does not go back for a moment's difference"
        );
    }

    /// F31.
    #[test]
    fn one_wrong_clock_moves_nothing_whoever_leads() {
        for wrong in [-(YEARS_MS as i64), YEARS_MS as i64, 60_000, -60_000] {
            let mut agreement = Agreement::default();
            let (mut present, mut now_ms) = (NOW - 1_000, 0);
            for _ in 0..200 {
                // The leader's own comes first.
                if let Some(next) = look(&mut agreement, now_ms, present, &clocks(&[wrong, 0, 100]), 3) {
                    present = next;
                }
                now_ms += 1_000;
            }
            assert!(present.abs_diff(NOW) <= APART_MS_MAX, "{wrong}: {present}");
        }
    }

    #[test]
    fn without_a_majority_that_agrees_it_stands_still() {
        let mut agreement = Agreement::default();
        for (offsets, members) in [(vec![0], 3), (vec![0, 5_000], 2), (vec![0, 3_000, 6_000], 3), (vec![], 1)] {
            assert_eq!(look(&mut agreement, 0, NOW - 5_000, &clocks(&offsets), members), None, "{offsets:?}");
        }
        assert_eq!(look(&mut agreement, 0, NOW - 5_000, &clocks(&[0]), 1), Some(NOW));
    }

    #[test]
    fn a_majority_that_agrees_for_a_while_moves_it_by_any_amount() {
        for present in [NOW - YEARS_MS, NOW + YEARS_MS] {
            let mut agreement = Agreement::default();
            let three = clocks(&[0, 10, 20]);
            assert_eq!(look(&mut agreement, 5_000, present, &three, 3), None);
            assert_eq!(look(&mut agreement, 5_000 + AGREED_FOR_MS - 1, present, &three, 3), None);
            assert_eq!(look(&mut agreement, 6_000, present, &clocks(&[0, 9_000, 18_000]), 3), None, "they disagree");
            assert_eq!(look(&mut agreement, 40_000, present, &three, 3), None, "it counts from the beginning");
            assert_eq!(look(&mut agreement, 40_000 + AGREED_FOR_MS, present, &three, 3), Some(NOW + 10));
        }
    }
}
