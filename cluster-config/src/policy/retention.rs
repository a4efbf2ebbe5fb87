//! What is kept, and for how long.

use serde::{Deserialize, Serialize};

use super::Error;

/// A fortnight: no manifest comes earlier.
const BUILD_AHEAD_HOURS_MAX: u32 = 336;

/// Four weeks: no journey is so late, and what nobody closes is not to stay.
const CLOSE_AFTER_MINUTES_MAX: u32 = 28 * 24 * 60;

/// A year: what is kept longer belongs to a case.
const PURGE_AFTER_HOURS_MAX: u32 = 8_784;

/// A day: no gate repeats a request so late, and what is not sealed fills the memory of every node.
const SEAL_AFTER_MINUTES_MAX: u32 = 24 * 60;

/// The longest validity of a certificate: before it has ended, a revocation is what keeps it out.
const REVOCATION_DAYS_MIN: u32 = 398;

/// A century: a longer time is a typing error.
const DAYS_MAX: u32 = 36_525;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Hours before departure from which a gallery may be built (R36).
    pub build_ahead_hours_max: u32,
    /// Minutes after its scheduled departure when a journey is closed that nobody has closed: far beyond any delay with
    /// which people still board.
    pub close_after_minutes: u32,
    /// Hours after its scheduled departure when what is kept of a closed journey is destroyed: templates and data of
    /// people who are no citizens (R116). Citizens' are destroyed on closing (R117), and so are those of people whose
    /// nationality is not known.
    pub purge_after_hours: u32,
    /// Days for which a line of counts is kept of a journey of which all else is destroyed.
    pub journey_line_days: u32,
    /// Days for which a device is remembered that was retired.
    pub retired_device_days: u32,
    /// Days for which the revocation of a certificate is kept; that of a name is kept until somebody takes it back.
    pub revocation_days: u32,
    /// Minutes after the end of a journey, or after a record of a standing gallery, until the replicated state forgets
    /// who was there: no gate repeats a request so late.
    pub ledger_seal_after_minutes: u32,
    /// Days for which records of the ledger are kept once they are in a file.
    pub ledger_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            build_ahead_hours_max: 24,
            close_after_minutes: 24 * 60,
            purge_after_hours: 14 * 24,
            journey_line_days: 30,
            retired_device_days: 400,
            revocation_days: 400,
            ledger_seal_after_minutes: 60,
            ledger_days: 400,
        }
    }
}

impl Retention {
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |field, problem, fix| Err(Error { part: "retention", field, problem, fix });
        if !(1..=BUILD_AHEAD_HOURS_MAX).contains(&self.build_ahead_hours_max) {
            return refuse("build_ahead_hours_max", "it is 0, or above 336", "give 1 to 336 hours");
        }
        if !(1..=CLOSE_AFTER_MINUTES_MAX).contains(&self.close_after_minutes) {
            return refuse("close_after_minutes", "it is 0, or above 40320", "give 1 to 40320 minutes");
        }
        if self.purge_after_hours > PURGE_AFTER_HOURS_MAX {
            return refuse("purge_after_hours", "it is above 8784", "give at most 8784 hours, 0 to keep nothing");
        }
        if !(1..=DAYS_MAX).contains(&self.journey_line_days) {
            return refuse("journey_line_days", "it is 0, or above 36525", "give 1 to 36525 days");
        }
        if !(1..=DAYS_MAX).contains(&self.retired_device_days) {
            return refuse("retired_device_days", "it is 0, or above 36525", "give 1 to 36525 days");
        }
        if !(REVOCATION_DAYS_MIN..=DAYS_MAX).contains(&self.revocation_days) {
            let problem = "it is below 398, for which a certificate may be valid, or above 36525";
            return refuse("revocation_days", problem, "give 398 to 36525 days");
        }
        if self.ledger_seal_after_minutes > SEAL_AFTER_MINUTES_MAX {
            return refuse("ledger_seal_after_minutes", "it is above 1440", "give at most 1440 minutes");
        }
        if !(1..=DAYS_MAX).contains(&self.ledger_days) {
            return refuse("ledger_days", "it is 0, or above 36525", "give 1 to 36525 days");
        }
        Ok(())
    }
}
