//! Waiting for a level: a condition that holds from some moment on, looked at again and again until a deadline.

use std::time::{Duration, Instant};

/// Pause between two looks: short against everything that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `look` finds what is wanted; `Err` says what is there instead.
///
/// # Panics
/// At the deadline, with what was seen last.
pub async fn wait_for<T>(level: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(begun.elapsed() < deadline, "after {deadline:?} still not reached: {level}; last seen: {seen}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
