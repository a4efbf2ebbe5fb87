//! How long who has failed waits before the next attempt.

use std::time::Duration;

/// The pause, a quarter longer or shorter by chance, so that those who failed together do not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let mut chance = [128];
    // Without randomness from the system the pause is as it is.
    let _ = aws_lc_rs::rand::fill(&mut chance);
    pause * (384 + u32::from(chance[0])) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_quarter_longer_or_shorter_at_most_and_not_always_the_same() {
        let pause = Duration::from_millis(100);
        let pauses: Vec<_> = (0..64).map(|_| jittered(pause)).collect();
        assert!(pauses.iter().all(|one| (pause * 3 / 4..=pause * 5 / 4).contains(one)), "{pauses:?}");
        assert!(pauses.iter().any(|one| *one != pauses[0]));
    }
}
