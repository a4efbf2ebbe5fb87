//! What became of a command.

use cluster_config::wire::{Fix, Refusal, RefusalCode};
use serde::{Deserialize, Serialize};

use crate::ledger::RecordOutcome;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Applied, or applied before.
    Done,
    /// The journey was announced with this very manifest before.
    KnownManifest,
    /// One for each record, in order.
    Recorded(Vec<RecordOutcome>),
    /// All journeys are announced; of each, whether it was with this very manifest before.
    Opened(Vec<bool>),
    /// Nothing was changed; why.
    Refused(Refusal),
}

impl Outcome {
    /// Nothing is changed, for this reason.
    pub(crate) fn refused(
        code: RefusalCode,
        place: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<Fix>,
    ) -> Self {
        Self::Refused(Refusal::new(code, place, problem, fix))
    }
}
