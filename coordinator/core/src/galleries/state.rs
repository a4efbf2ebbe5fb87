//! What is committed of each gallery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::gallery::ShardId;
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality};
use cluster_config::ids::{ContentHash, GalleryVersion, JourneyId, ModelVersion, NodeId, UnixMs};
use cluster_config::journey::JourneyStatus;
use serde::{Deserialize, Serialize};

/// What is committed of one part of a gallery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// The committed version; 0 where nothing is built yet.
    pub version: GalleryVersion,
    /// Hash of that version's segment.
    pub hash: ContentHash,
    /// The manifest that it was built from.
    pub manifest: ContentHash,
    /// The whole list on which its people stand at their numbers; zero where there is none.
    pub numbered_by: ContentHash,
    /// Where people were lost of whom some had boarded: the list by whose numbers those who stand on it are known again,
    /// or zero. Anybody who comes by another one may have boarded (P1).
    pub lost: Option<ContentHash>,
    /// What it holds.
    pub counts: GalleryCounts,
    /// Nodes that were ever given a replica or its people, and have not confirmed their destruction.
    pub holders: BTreeSet<NodeId>,
    /// What stands for the destruction of those that were held.
    pub receipts: BTreeMap<NodeId, Receipt>,
}

/// That a node's replica of a shard, or its people, is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Since when.
    pub at: UnixMs,
    /// Whether an operator has stated it, in place of a node that has left for good.
    pub attested: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gallery {
    modality: Modality,
    model: ModelVersion,
    status: JourneyStatus,
    parts: Vec<Part>,
    closed: Option<Closed>,
}

/// The end of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Since when, by the state's time.
    pub at: UnixMs,
    /// People of its journey who had boarded by then, those out of scope included.
    pub boardings: u32,
}

impl Gallery {
    /// A gallery of which nothing is built yet.
    pub(crate) fn new(modality: Modality, model: ModelVersion, parts: u16) -> Self {
        let parts = vec![Part::default(); usize::from(parts)];
        Self { modality, model, status: JourneyStatus::Building, parts, closed: None }
    }

    /// Where it stands.
    pub fn status(&self) -> JourneyStatus {
        self.status
    }

    /// Whether it is searched and its replicas are kept.
    pub fn is_open(&self) -> bool {
        matches!(self.status, JourneyStatus::Building | JourneyStatus::Ready)
    }

    /// What its templates are made of.
    pub fn modality(&self) -> Modality {
        self.modality
    }

    /// The model that makes its templates.
    pub fn model(&self) -> ModelVersion {
        self.model
    }

    /// What is committed, by part from 0.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What all of its parts hold.
    pub fn counts(&self) -> GalleryCounts {
        self.parts.iter().fold(GalleryCounts::default(), |sum, part| sum + part.counts)
    }

    /// The first part, other than `own`, that is at another version than these say, by part.
    pub(super) fn changed_since(&self, own: u16, versions: &[GalleryVersion]) -> Option<usize> {
        let seen = |part: usize| versions.get(part).copied().unwrap_or_default();
        let mut parts = self.parts.iter().enumerate();
        parts
            .find(|(number, part)| *number != usize::from(own) && part.version != seen(*number))
            .map(|(number, _)| number)
    }

    pub(super) fn part_mut(&mut self, part: u16) -> Option<&mut Part> {
        self.parts.get_mut(usize::from(part))
    }

    /// Gives it further parts; it never loses one. What is built goes on being searched meanwhile.
    pub(crate) fn grow(&mut self, parts: u16) {
        if usize::from(parts) > self.parts.len() {
            self.parts.resize(usize::from(parts), Part::default());
        }
    }

    /// Whether all parts are built.
    pub(super) fn settle_build(&mut self) {
        if self.status == JourneyStatus::Building && self.parts.iter().all(|part| part.version.0 > 0) {
            self.status = JourneyStatus::Ready;
        }
    }

    pub(super) fn begin_closing(&mut self, closed: Closed) {
        self.status = JourneyStatus::Closing;
        self.closed = Some(closed);
    }

    /// Its end, where it has come.
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// A closed gallery whose every holder has answered is purged.
    pub(super) fn settle_purge(&mut self, canaries: Canaries) {
        let left = |part: &Part| part.holders.len() > usize::from(canaries.has(Canary::EarlyPurge));
        if self.status == JourneyStatus::Closing && !self.parts.iter().any(left) {
            self.status = JourneyStatus::Purged;
        }
    }
}

/// All galleries. Each is shared with the copies that snapshots are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Galleries(pub(super) BTreeMap<GalleryId, Arc<Gallery>>);

impl Galleries {
    pub fn get(&self, gallery: GalleryId) -> Option<&Gallery> {
        self.0.get(&gallery).map(Arc::as_ref)
    }

    /// The gallery of a journey's passengers.
    pub fn of_passengers(&self, journey: JourneyId) -> Option<&Gallery> {
        self.get(GalleryId::passengers(journey))
    }

    /// What is committed of a shard.
    pub fn part(&self, shard: ShardId) -> Option<&Part> {
        let gallery = self.get(shard.gallery)?;
        let same = gallery.modality == shard.modality && gallery.model == shard.model;
        gallery.parts.get(usize::from(shard.part)).filter(|_| same)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = (GalleryId, &Gallery)> {
        self.0.iter().map(|(id, gallery)| (*id, gallery.as_ref()))
    }

    /// The shards of one gallery, and what is committed of each.
    pub fn shards(&self, id: GalleryId) -> impl Iterator<Item = (ShardId, &Part)> {
        self.get(id).into_iter().flat_map(move |gallery| {
            let shard = move |part| ShardId { gallery: id, modality: gallery.modality, model: gallery.model, part };
            (0..).map(shard).zip(&gallery.parts)
        })
    }

    /// The shards of all galleries, and what is committed of each.
    pub fn all_shards(&self) -> impl Iterator<Item = (ShardId, &Part)> {
        self.0.keys().flat_map(|id| self.shards(*id))
    }

    pub(crate) fn open(&mut self, id: GalleryId, gallery: Gallery) {
        self.0.insert(id, Arc::new(gallery));
    }

    pub(crate) fn forget(&mut self, id: GalleryId) {
        self.0.remove(&id);
    }

    pub(crate) fn get_mut(&mut self, id: GalleryId) -> Option<&mut Gallery> {
        self.0.get_mut(&id).map(Arc::make_mut)
    }

    /// From now on these nodes hold the shard, or its people.
    pub(crate) fn held_by(&mut self, shard: ShardId, holders: impl Iterator<Item = NodeId>) {
        if let Some(part) = self.get_mut(shard.gallery).and_then(|gallery| gallery.part_mut(shard.part)) {
            for holder in holders {
                part.holders.insert(holder);
                part.receipts.remove(&holder);
            }
        }
    }

    /// A node has destroyed what it held of the shard.
    pub(crate) fn settle_receipt(&mut self, shard: ShardId, node: NodeId, receipt: Receipt, canaries: Canaries) {
        let Some(gallery) = self.get_mut(shard.gallery) else { return };
        if let Some(part) = gallery.part_mut(shard.part)
            && part.holders.remove(&node)
        {
            part.receipts.insert(node, receipt);
        }
        gallery.settle_purge(canaries);
    }
}
