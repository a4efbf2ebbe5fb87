//! Commands about the ledger.

use serde::{Deserialize, Serialize};

use super::record::Record;

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Encounters, in this order.
    Record(Vec<Record>),
    /// A correction of one of them.
    #[cfg(feature = "next")]
    Amend(#[serde(with = "cluster_config::versions::OnlySince::<2>")] cluster_config::decision::Amendment),
}
