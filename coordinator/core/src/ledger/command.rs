//! Commands about the ledger.

use serde::{Deserialize, Serialize};

use super::record::Record;

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Encounters, in this order.
    Record(Vec<Record>),
}
