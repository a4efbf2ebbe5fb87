//! Galleries and their shards: what is searched together, and what is owned, replicated and purged together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ContentHash, Epoch, GalleryVersion, JourneyId, ModelVersion, StandingId};

/// Which of a journey's lists of people a gallery holds. Passengers and crew are told apart from the manifest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// Those who are carried.
    Passengers,
    /// Those who work on board.
    Crew,
}

/// What a template was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// A face (ISO/IEC 39794-5).
    Face,
    /// A finger (ISO/IEC 39794-4).
    Finger,
    /// An iris (ISO/IEC 39794-6).
    Iris,
}

impl Modality {
    /// Its name in shard ids, file names and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Face => "face",
            Self::Finger => "finger",
            Self::Iris => "iris",
        }
    }
}

/// A set of people who are searched together: a list of a journey, or a gallery that stands beyond any journey.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GalleryId {
    /// The people on one list of a journey; destroyed after the journey.
    Journey(JourneyId, List),
    /// The people of a land port, the applicants, the derogatory gallery: people come and go one by one.
    Standing(StandingId),
    /// Those of a closed journey's passengers who are no citizens. It lies on disks alone, and no touchpoint searches
    /// it.
    Kept(JourneyId),
}

impl GalleryId {
    pub fn passengers(journey: JourneyId) -> Self {
        Self::Journey(journey, List::Passengers)
    }

    /// The journey whose people these are; none of a standing gallery.
    pub fn journey(self) -> Option<JourneyId> {
        match self {
            Self::Journey(journey, _) | Self::Kept(journey) => Some(journey),
            Self::Standing(_) => None,
        }
    }

    /// The gallery's own id where it stands beyond any journey.
    pub fn standing(self) -> Option<StandingId> {
        match self {
            Self::Journey(..) | Self::Kept(_) => None,
            Self::Standing(standing) => Some(standing),
        }
    }
}

impl fmt::Display for GalleryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journey(journey, List::Passengers) => write!(f, "{journey}"),
            Self::Journey(journey, List::Crew) => write!(f, "{journey}+crew"),
            Self::Standing(standing) => write!(f, "standing+{standing}"),
            Self::Kept(journey) => write!(f, "{journey}+kept"),
        }
    }
}

impl fmt::Debug for GalleryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far a gallery is: sums over its parts that are built. Each part's version and generation of ownership only rise,
/// so that equal sums mean equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fence {
    /// The sum of the versions.
    pub versions: u64,
    /// The sum of the generations of ownership.
    pub epochs: u64,
}

impl Fence {
    /// With one part more.
    pub fn and(self, version: GalleryVersion, epoch: Epoch) -> Self {
        Self { versions: self.versions + u64::from(version.0), epochs: self.epochs.saturating_add(epoch.0) }
    }

    /// Whether any part was older than `other` has it.
    pub fn is_behind(self, other: Self) -> bool {
        self.versions < other.versions || self.epochs < other.epochs
    }
}

/// A gallery or one bounded part of a large one, of one modality and one model: the unit of ownership, replication and
/// purge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    pub gallery: GalleryId,
    /// What its templates were made of.
    pub modality: Modality,
    /// The model that made its templates.
    pub model: ModelVersion,
    /// Which part of the gallery, from 0.
    pub part: u16,
}

impl ShardId {
    /// The journey whose people these are; none of a standing gallery.
    pub fn journey(self) -> Option<JourneyId> {
        self.gallery.journey()
    }

    /// What is kept of this shard of passengers once their journey is closed; absent for any other gallery.
    pub fn kept(self) -> Option<Self> {
        match self.gallery {
            GalleryId::Journey(journey, List::Passengers) => Some(Self { gallery: GalleryId::Kept(journey), ..self }),
            GalleryId::Journey(_, List::Crew) | GalleryId::Standing(_) | GalleryId::Kept(_) => None,
        }
    }

    /// The shard that was searched while the journey was open; another one is its own.
    pub fn searched(self) -> Self {
        match self.gallery {
            GalleryId::Kept(journey) => Self { gallery: GalleryId::passengers(journey), ..self },
            GalleryId::Journey(..) | GalleryId::Standing(_) => self,
        }
    }

    /// A name for files that no other shard has. No id has a `+` in it, so nothing is ambiguous.
    pub fn file_name(self) -> String {
        format!("{}+{}+{}+{}", self.gallery, self.modality.as_str(), self.model, self.part)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.gallery, self.modality.as_str(), self.model, self.part)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How much a gallery or a part of it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GalleryCounts {
    pub people: u32,
    /// Templates in it.
    pub rows: u32,
    /// People without any photograph: they take the biographic path (R42, R47).
    pub without_photo: u32,
}

impl std::ops::Add for GalleryCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            people: self.people.saturating_add(other.people),
            rows: self.rows.saturating_add(other.rows),
            without_photo: self.without_photo.saturating_add(other.without_photo),
        }
    }
}

/// An immutable version of one shard's gallery. The hash is over `bytes`, which `node/src/gallery/segment.rs` writes
/// and reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub shard: ShardId,
    pub version: GalleryVersion,
    /// SHA-256 of `bytes`.
    pub hash: ContentHash,
    /// The content.
    #[serde(with = "crate::raw")]
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Segment {
    /// Prints no content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({} v{}, {} bytes)", self.shard, self.version, self.bytes.len())
    }
}
