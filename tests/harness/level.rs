//! Waiting for a level in a scenario: one that is not reached ends it.

use std::time::Duration;

use node_stage::level;

/// Waits until `look` finds what is wanted; its `Err` says what is there instead.
///
/// # Panics
/// At the deadline, with what was seen last.
pub async fn wait_for<T>(level: &str, deadline: Duration, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    level::wait_for(level, deadline, look).await.unwrap_or_else(|missed| panic!("{missed}"))
}
