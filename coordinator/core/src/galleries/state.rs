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
    /// Where people were lost of whom some had boarded: the list by whose numbers those who stand on it are known
    /// again, or zero. Anybody who comes by another one may have boarded (P1).
    pub lost: Option<ContentHash>,
    /// What it holds.
    pub counts: GalleryCounts,
    /// Whether that version has templates: before its time a gallery has people alone.
    pub is_built: bool,
    /// Nodes that were ever given a replica or its people, and have not confirmed their destruction.
    pub holders: BTreeSet<NodeId>,
    /// Nodes that keep those of its people who are no citizens, since its journey is closed.
    pub keepers: BTreeSet<NodeId>,
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

    /// The same before its time.
    pub(crate) fn announced(self) -> Self {
        Self { status: JourneyStatus::Announced, ..self }
    }

    /// Its time has come.
    pub(crate) fn begin_building(&mut self) {
        if self.status == JourneyStatus::Announced {
            self.status = JourneyStatus::Building;
        }
    }

    /// Where it stands.
    pub fn status(&self) -> JourneyStatus {
        self.status
    }

    /// Whether its replicas are kept, and searched once they are built.
    pub fn is_open(&self) -> bool {
        self.status.is_open()
    }

    /// Whether it has people alone, since it is too early for templates.
    pub fn is_announced(&self) -> bool {
        self.status == JourneyStatus::Announced
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
        if self.status == JourneyStatus::Building && self.parts.iter().all(|part| part.is_built) {
            self.status = JourneyStatus::Ready;
        }
    }

    /// It is searched no more. Where nothing is to be kept, all is to be destroyed.
    pub(super) fn begin_closing(&mut self, closed: Closed, keeps: bool) {
        self.status = if keeps { JourneyStatus::Closed } else { JourneyStatus::Purging };
        self.closed = Some(closed);
    }

    /// What was kept is to be destroyed as well.
    pub(super) fn begin_purging(&mut self) {
        if self.status == JourneyStatus::Closed {
            self.status = JourneyStatus::Purging;
        }
    }

    /// Its end, where it has come.
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// A closed gallery whose every holder has answered is purged.
    pub(super) fn settle_purge(&mut self, canaries: Canaries) {
        let left =
            |part: &Part| part.holders.len() + part.keepers.len() > usize::from(canaries.has(Canary::EarlyPurge));
        let is_closed = matches!(self.status, JourneyStatus::Closed | JourneyStatus::Purging);
        if is_closed && !self.parts.iter().any(left) {
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

    /// A node has destroyed what it held of the shard; `keeps` says that it has those apart who are no citizens. Of a
    /// shard that was kept, it has destroyed that.
    pub(crate) fn settle_receipt(
        &mut self,
        shard: ShardId,
        node: NodeId,
        (receipt, keeps): (Receipt, bool),
        canaries: Canaries,
    ) {
        let (was_kept, searched) = (shard != shard.searched(), shard.searched());
        let Some(gallery) = self.get_mut(searched.gallery) else { return };
        let Some(part) = gallery.part_mut(searched.part) else { return };
        let had = if was_kept { part.keepers.remove(&node) } else { part.holders.remove(&node) };
        if had {
            part.receipts.insert(node, receipt);
        }
        // A receipt that comes twice is not to bring back what is destroyed by now.
        if had && keeps && !was_kept {
            part.keepers.insert(node);
        }
        gallery.settle_purge(canaries);
    }
}
