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
    /// Announced; its gallery is not complete yet.
    Building,
    /// The gallery is committed.
    Ready,
    /// Closed; galleries are being destroyed.
    Closing,
    /// Every node that ever held a replica has answered with its receipt.
    Purged,
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
