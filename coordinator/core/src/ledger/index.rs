//! What is derived from the records that are here and from the traces of those that are in files. No snapshot has it.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{EncounterId, PersonMark, SubjectId};

use super::traces::Boarder;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Index {
    positions: BTreeMap<EncounterId, u64>,
    galleries: BTreeMap<GalleryId, OfGallery>,
}

/// What is known of one gallery's encounters.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct OfGallery {
    /// Encounters that can still be asked for.
    records: u64,
    /// Who has boarded. Nobody who is out of scope is among the subjects, and everybody is among the marks; a gallery
    /// whose people were lost knows those in scope by their subject ids again, and marks them anew. Each subject has
    /// its number on the manifest.
    pub subjects: BTreeMap<SubjectId, Option<u32>>,
    pub marks: BTreeSet<PersonMark>,
    pub boardings: u32,
    /// The sealed chunks that have traces of it.
    pub traced_in: BTreeSet<u64>,
}

impl Index {
    pub fn position(&self, encounter: EncounterId) -> Option<u64> {
        self.positions.get(&encounter).copied()
    }

    /// Encounters that are known.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    pub fn of(&self, gallery: GalleryId) -> Option<&OfGallery> {
        self.galleries.get(&gallery)
    }

    pub fn galleries(&self) -> impl Iterator<Item = (GalleryId, &OfGallery)> {
        self.galleries.iter().map(|(gallery, known)| (*gallery, known))
    }

    pub fn add(&mut self, position: u64, gallery: GalleryId, encounter: EncounterId, boarded: Option<Boarder>) {
        self.positions.insert(encounter, position);
        let known = self.galleries.entry(gallery).or_default();
        known.records += 1;
        // A standing gallery's people come again and again.
        let Some(boarder) = boarded.filter(|_| gallery.journey().is_some()) else { return };
        known.boardings += 1;
        known.subjects.extend(boarder.subject.map(|subject| (subject, boarder.ordinal)));
        known.marks.extend(boarder.mark);
    }

    /// A sealed chunk has traces of the gallery.
    pub fn is_traced(&mut self, gallery: GalleryId, chunk: u64) {
        self.galleries.entry(gallery).or_default().traced_in.insert(chunk);
    }

    /// A chunk has no traces of the gallery any more; those that it had are removed. Gives whether another has some.
    pub fn is_traced_no_more(&mut self, gallery: GalleryId, chunk: u64) -> bool {
        let Some(known) = self.galleries.get_mut(&gallery) else { return false };
        known.traced_in.remove(&chunk);
        let is_traced = !known.traced_in.is_empty();
        if known.records == 0 {
            self.galleries.remove(&gallery);
        }
        is_traced
    }

    pub fn remove(&mut self, position: u64, gallery: GalleryId, encounter: EncounterId, boarded: Option<Boarder>) {
        if self.positions.get(&encounter) == Some(&position) {
            self.positions.remove(&encounter);
        }
        let Some(known) = self.galleries.get_mut(&gallery) else { return };
        known.records -= 1;
        if let Some(boarder) = boarded.filter(|_| gallery.journey().is_some()) {
            known.boardings -= 1;
            boarder.subject.map(|subject| known.subjects.remove(&subject));
            boarder.mark.map(|mark| known.marks.remove(&mark));
        }
    }
}
