//! A departure or arrival with a manifest: what is announced of it, and where it stands.

use serde::{Deserialize, Serialize};

use crate::ids::{ContentHash, JourneyId, ModelVersion, PortCode, UnixMs};

/// A journey as it is announced to the cluster: nothing in it is personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JourneyPlan {
    pub id: JourneyId,
    /// Carrier code.
    pub carrier: String,
    /// Flight or voyage number.
    pub number: String,
    /// Where it leaves from.
    pub departure_port: PortCode,
    /// Where it goes.
    pub arrival_port: PortCode,
    /// Scheduled departure.
    pub departs_at: UnixMs,
    /// People on the manifest.
    pub people: u32,
    /// Parts of the gallery.
    pub parts: u16,
    /// The model whose templates the gallery holds.
    pub model: ModelVersion,
    /// Hash of the manifest's own bytes for this journey.
    pub manifest: ContentHash,
}

/// Where a journey stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JourneyStatus {
    /// Announced; it is too early to build its gallery, and only its people are kept.
    Announced,
    /// Its gallery is not complete yet.
    Building,
    /// The gallery is committed.
    Ready,
    /// Closed, and searched no more. Citizens' data are destroyed, others' kept until the policy's time.
    Closed,
    /// Closed; everything is being destroyed.
    Purging,
    /// Every node that ever held a replica has answered with its receipt.
    Purged,
}

impl JourneyStatus {
    /// Its name, as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Closed => "closed",
            Self::Purging => "purging",
            Self::Purged => "purged",
        }
    }

    /// Whether the journey is one that people will board, or do.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Announced | Self::Building | Self::Ready)
    }
}

/// What a journey comes to by itself, and when, where nobody acts before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextStatus {
    pub status: JourneyStatus,
    pub at: UnixMs,
}

/// What is left of a journey once all of it is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When it was to depart.
    pub departs_at: UnixMs,
    /// When it was closed.
    pub closed_at: UnixMs,
    /// When the last node confirmed that what it had is destroyed.
    pub purged_at: UnixMs,
    /// People who were expected.
    pub people: u32,
    /// People who had boarded, those out of scope included.
    pub boarded: u32,
    /// Nodes that confirmed the destruction.
    pub receipts: u16,
    /// Of these, nodes for which an operator did.
    pub attested: u16,
}

/// What the people of a manifest are to those who are known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listing {
    /// Everybody: who is not among them does not travel.
    Whole,
    /// Further people, or other data of people who are known: a part of a series, a change.
    Added,
    /// People who are not expected any more: a cancellation.
    Removed,
}
