//! Waiting for a level: a condition that holds from some moment on, looked at again and again until a deadline.

use std::time::{Duration, Instant};

/// Pause between two looks: short against everything that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A level that was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("after {deadline:?} still not reached: {level}; last seen: {seen}")]
pub struct Missed {
    /// What was waited for.
    pub level: String,
    /// How long.
    pub deadline: Duration,
    /// What was there instead.
    pub seen: String,
}

/// Waits until `look` finds what is wanted; its `Err` says what is there instead.
///
/// # Errors
/// [`Missed`] at the deadline, with what was seen last.
pub async fn wait_for<T>(
    level: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, Missed> {
    let begun = Instant::now();
    loop {
        let seen = match look().await {
            Ok(found) => return Ok(found),
            Err(seen) => seen,
        };
        if begun.elapsed() >= deadline {
            return Err(Missed { level: level.to_owned(), deadline, seen });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
