//! Commands about the ledger.

use cluster_config::gallery::GalleryId;
use cluster_config::ids::ContentHash;
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

use super::record::Record;

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Encounters, in this order.
    Record(Vec<Record>),
    /// The records of a full chunk leave the state. The leader has its file.
    Seal {
        chunk: u64,
        /// SHA-256 of the file.
        hash: ContentHash,
        /// The version in which the file is written.
        version: Version,
    },
    /// The time of a sealed chunk is over: its file is removed, and its line stays.
    Expire(u64),
    /// Some records of a gallery that are in files will not be asked for again: the state forgets them.
    Settle(GalleryId),
    /// A correction of one of them.
    #[cfg(feature = "next")]
    Amend(#[serde(with = "cluster_config::versions::OnlySince::<2>")] cluster_config::decision::Amendment),
}
