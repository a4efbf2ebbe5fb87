//! The clock and the randomness of a stage.

use std::time::{SystemTime, UNIX_EPOCH};

use cluster_config::ids::UnixMs;

/// The time now; 0 where the machine's clock stands before 1970.
pub fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A random number from the operating system, for ports and folders that only have to differ.
///
/// # Errors
/// Where the system gives no randomness.
pub fn random_u128() -> Result<u128, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
