//! Commands about galleries.

use cluster_config::gallery::ShardId;
use cluster_config::gallery::{GalleryCounts, Modality};
use cluster_config::ids::{ContentHash, Epoch, GalleryVersion, ModelVersion, NodeId, StandingId};
use serde::{Deserialize, Serialize};

/// A change of the galleries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Opens a gallery that belongs to no journey, or gives it further parts.
    OpenStanding {
        id: StandingId,
        /// What its templates are made of.
        modality: Modality,
        /// The model that makes its templates.
        model: ModelVersion,
        /// Parts that it has from now on.
        parts: u16,
    },
    /// Ends a standing gallery: it is to be destroyed.
    CloseStanding(#[cfg_attr(feature = "next", serde(with = "cluster_config::versions::OnlyUntil::<2>"))] StandingId),
    /// The owner has built a version and its standbys have it.
    Commit(Commit),
}

/// See [`Command::Commit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub shard: ShardId,
    /// The generation of ownership under which it was built: an older one is refused (fencing).
    pub epoch: Epoch,
    /// The owner that built it.
    pub node: NodeId,
    /// The version; must be the one after the committed one.
    pub version: GalleryVersion,
    /// SHA-256 of the segment.
    pub hash: ContentHash,
    /// Hash of the manifest that it was built from.
    pub manifest: ContentHash,
    /// What it holds.
    pub counts: GalleryCounts,
    /// The versions of all parts of the gallery, by part, that its people were made from. It is refused where another
    /// part has changed since: nobody may be taken for a newcomer in two parts. Absent where the people are those of
    /// the version before.
    pub made_from: Option<Vec<GalleryVersion>>,
    /// The whole list on which its people stand at their numbers; zero where there is none.
    pub numbered_by: ContentHash,
    /// Whether it has templates. It is refused where it has some before their time, or none after it.
    pub is_built: bool,
    /// Where people of the gallery were lost.
    pub loss: Option<Loss>,
}

/// That a version was made without people whom nobody has any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// How many had boarded the journey, as the owner knew it. It is refused where more have by now: they would not be
    /// known.
    pub boarded: u32,
    /// The list by whose numbers the ledger tells who of them has boarded; zero where there is none.
    pub known_by: ContentHash,
}
