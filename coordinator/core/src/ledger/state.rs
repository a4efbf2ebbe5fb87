//! The records, and the indexes over them.
//!
//! A chunk is a run of so many records. Once it is full it is sealed: its records are in a file, named by its hash, and
//! here is one line of it, and a trace of each record that may still be asked for. A trace goes once its gallery is
//! settled.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{ContentHash, EncounterId, JourneyId, PersonMark, SubjectId, UnixMs};
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

use super::index::{Index, OfGallery};
use super::names::Names;
use super::record::Record;
use super::traces::{Boarder, Traces};

/// Records in one chunk. Chunks are shared with snapshots, so taking one copies at most this many records. A sealed one
/// is a file of some 400 KiB.
pub const CHUNK_RECORDS: usize = 4_096;

/// Chunks whose traces of one gallery go at once: it is done on the raft thread, in a few milliseconds.
const SETTLED_CHUNKS_MAX: usize = 4;

/// The records and the indexes over them. Cloning shares the full chunks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Ledger {
    chunks: Vec<Chunk>,
    open: Vec<Record>,
    names: Names,
    index: Index,
}

/// A chunk that is full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Chunk {
    Live(Arc<Full>),
    /// With what may still be asked for of it.
    Sealed(Line, Option<Arc<Traces>>),
}

/// The records of a full chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Full {
    pub records: Vec<Record>,
    /// When it was full, by the state's time.
    pub at: UnixMs,
}

/// What stays of a chunk that is sealed. Its records have the positions of their chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// SHA-256 of its file, and the file's name.
    pub hash: ContentHash,
    /// The version in which the file is written.
    pub version: Version,
    pub records: u32,
    /// How many of the records are crossings.
    pub crossings: u32,
    /// The file is kept at least until then.
    pub keep_until: UnixMs,
    /// Whether the file is removed, since its time was over.
    pub is_removed: bool,
}

/// Where the record of a position is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place<'a> {
    Here(&'a Record),
    /// In the file of this chunk.
    Sealed(u64, Line),
}

/// The ledger as snapshots keep it: indexes are rebuilt.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    chunks: Vec<Chunk>,
    open: Vec<Record>,
    names: Names,
}

impl From<Ledger> for Stored {
    fn from(ledger: Ledger) -> Self {
        Self { chunks: ledger.chunks, open: ledger.open, names: ledger.names }
    }
}

impl From<Stored> for Ledger {
    fn from(stored: Stored) -> Self {
        let mut index = Index::default();
        for (chunk, found) in (0..).zip(&stored.chunks) {
            match found {
                Chunk::Live(full) => add_all(&mut index, first_of(chunk), &full.records),
                Chunk::Sealed(_, Some(traces)) => add_traces(&mut index, &stored.names, chunk, traces),
                Chunk::Sealed(_, None) => {}
            }
        }
        add_all(&mut index, first_of(stored.chunks.len() as u64), &stored.open);
        Self { chunks: stored.chunks, open: stored.open, names: stored.names, index }
    }
}

/// The position of a chunk's first record.
fn first_of(chunk: u64) -> u64 {
    chunk.saturating_mul(CHUNK_RECORDS as u64)
}

fn add_all(index: &mut Index, first: u64, records: &[Record]) {
    for (position, record) in (first..).zip(records) {
        index.add(position, record.gallery, record.encounter, Boarder::of(record));
    }
}

fn add_traces(index: &mut Index, names: &Names, chunk: u64, traces: &Traces) {
    for trace in &traces.all {
        // A snapshot that names a gallery which is not there was not made by this; its trace is nobody's.
        let Some(gallery) = names.gallery(trace.gallery) else { continue };
        index.add(first_of(chunk) + u64::from(trace.within), gallery, trace.encounter, trace.boarded);
        index.is_traced(gallery, chunk);
    }
}

impl Ledger {
    /// Number of records, those in files and those that are removed included.
    pub fn len(&self) -> u64 {
        (self.chunks.len() * CHUNK_RECORDS + self.open.len()) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Encounters that may still be asked for.
    pub fn remembered(&self) -> usize {
        self.index.len()
    }

    /// Where the record at `position`, from 0, is.
    pub fn place(&self, position: u64) -> Option<Place<'_>> {
        let position = usize::try_from(position).ok()?;
        let (chunk, within) = (position / CHUNK_RECORDS, position % CHUNK_RECORDS);
        match self.chunks.get(chunk) {
            Some(Chunk::Live(full)) => full.records.get(within).map(Place::Here),
            Some(Chunk::Sealed(line, _)) => Some(Place::Sealed(chunk as u64, *line)),
            None => self.open.get(position.checked_sub(self.chunks.len() * CHUNK_RECORDS)?).map(Place::Here),
        }
    }

    /// The record at `position`, where it is not sealed.
    pub fn get(&self, position: u64) -> Option<&Record> {
        match self.place(position)? {
            Place::Here(record) => Some(record),
            Place::Sealed(..) => None,
        }
    }

    /// The position of an encounter's record, for as long as a retry of it may come.
    pub fn position(&self, encounter: EncounterId) -> Option<u64> {
        self.index.position(encounter)
    }

    /// The record of an encounter, where it is not sealed.
    pub fn find(&self, encounter: EncounterId) -> Option<&Record> {
        self.get(self.position(encounter)?)
    }

    /// Whether the person, by any of what stands for them, has boarded the journey.
    pub fn has_boarded(&self, journey: JourneyId, subject: Option<SubjectId>, mark: Option<PersonMark>) -> bool {
        self.of(journey).is_some_and(|known| {
            subject.is_some_and(|subject| known.subjects.contains_key(&subject))
                || mark.is_some_and(|mark| known.marks.contains(&mark))
        })
    }

    /// The people in scope who have boarded the journey, by their numbers on the manifest.
    pub fn boarded(&self, journey: JourneyId) -> BTreeMap<u32, SubjectId> {
        let subjects = self.of(journey).into_iter().flat_map(|known| &known.subjects);
        subjects.filter_map(|(subject, ordinal)| ordinal.map(|ordinal| (ordinal, *subject))).collect()
    }

    /// People who have boarded the journey, those out of scope included; of a journey that has ended it counts those
    /// who may still be asked for.
    pub fn boardings(&self, journey: JourneyId) -> u32 {
        self.of(journey).map_or(0, |known| known.boardings)
    }

    fn of(&self, journey: JourneyId) -> Option<&OfGallery> {
        self.index.of(GalleryId::passengers(journey))
    }

    /// The chunks that are sealed.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &Line)> {
        (0..).zip(&self.chunks).filter_map(|(chunk, found)| match found {
            Chunk::Sealed(line, _) => Some((chunk, line)),
            Chunk::Live(_) => None,
        })
    }

    /// The first chunk from `from` on that is full and not sealed.
    pub fn first_full(&self, from: u64) -> Option<(u64, Arc<Full>)> {
        let chunks = (0..).zip(&self.chunks).skip(usize::try_from(from).unwrap_or(usize::MAX));
        let mut live = chunks.filter_map(|(chunk, found)| match found {
            Chunk::Live(full) => Some((chunk, full.clone())),
            Chunk::Sealed(..) => None,
        });
        live.next()
    }

    /// The records of a chunk that is full and not sealed.
    pub fn full(&self, chunk: u64) -> Option<Arc<Full>> {
        match self.chunks.get(usize::try_from(chunk).ok()?)? {
            Chunk::Live(full) => Some(full.clone()),
            Chunk::Sealed(..) => None,
        }
    }

    /// The line of a chunk that is sealed.
    pub fn line(&self, chunk: u64) -> Option<&Line> {
        match self.chunks.get(usize::try_from(chunk).ok()?)? {
            Chunk::Live(_) => None,
            Chunk::Sealed(line, _) => Some(line),
        }
    }

    /// Whether a record of a sealed chunk may still be asked for.
    pub fn is_traced(&self, chunk: u64) -> bool {
        self.traces(chunk).is_some()
    }

    fn traces(&self, chunk: u64) -> Option<&Arc<Traces>> {
        match self.chunks.get(usize::try_from(chunk).ok()?)? {
            Chunk::Live(_) => None,
            Chunk::Sealed(_, traces) => traces.as_ref(),
        }
    }

    /// The galleries that have traces, and by when the oldest of each were recorded.
    pub fn traced(&self) -> impl Iterator<Item = (GalleryId, UnixMs)> {
        let oldest = |known: &OfGallery| known.traced_in.first().and_then(|chunk| self.traces(*chunk));
        self.index.galleries().filter_map(move |(gallery, known)| Some((gallery, oldest(known)?.full_at)))
    }

    /// Puts a line and traces in the place of a chunk.
    pub(super) fn seal(&mut self, chunk: u64, line: Line) {
        let Some(full) = self.full(chunk) else { return };
        let traces = Traces::of(&full.records, full.at, &mut self.names);
        full.records.iter().for_each(|record| self.index.is_traced(record.gallery, chunk));
        self.chunks[chunk as usize] = Chunk::Sealed(line, Some(Arc::new(traces)));
    }

    /// Takes away the traces of a gallery that were recorded by `until`, oldest first, from so many chunks; false where
    /// there is none.
    pub(super) fn settle(&mut self, gallery: GalleryId, until: UnixMs) -> bool {
        let traced_in = self.index.of(gallery).into_iter().flat_map(|known| &known.traced_in);
        let is_over = |chunk: &&u64| self.traces(**chunk).is_some_and(|traces| traces.full_at <= until);
        let over: Vec<u64> = traced_in.take(SETTLED_CHUNKS_MAX).take_while(is_over).copied().collect();
        for chunk in &over {
            self.forget(*chunk, gallery);
        }
        !over.is_empty()
    }

    fn forget(&mut self, chunk: u64, gallery: GalleryId) {
        let Some(Chunk::Sealed(_, traces)) = self.chunks.get_mut(chunk as usize) else { return };
        let number = self.names.known(gallery);
        let Some((its, rest)) = traces.as_ref().zip(number).map(|(traces, number)| traces.without(number)) else {
            return;
        };
        *traces = rest.map(Arc::new);
        for trace in its {
            let position = first_of(chunk) + u64::from(trace.within);
            self.index.remove(position, gallery, trace.encounter, trace.boarded);
        }
        if !self.index.is_traced_no_more(gallery, chunk) {
            self.names.forget(gallery);
        }
    }

    /// The time of a sealed chunk is over.
    pub(super) fn expire(&mut self, chunk: u64) {
        let found = usize::try_from(chunk).ok().and_then(|chunk| self.chunks.get_mut(chunk));
        if let Some(Chunk::Sealed(line, _)) = found {
            line.is_removed = true;
        }
    }

    /// Adds a record whose encounter is not known yet; `now` is the state's time.
    pub(crate) fn push(&mut self, record: Record, now: UnixMs) {
        self.index.add(self.len(), record.gallery, record.encounter, Boarder::of(&record));
        self.open.push(record);
        if self.open.len() == CHUNK_RECORDS {
            let full = Full { records: std::mem::take(&mut self.open), at: now };
            self.chunks.push(Chunk::Live(Arc::new(full)));
        }
    }

    /// Corrects a record; false where there is none, or it is sealed.
    #[cfg(feature = "next")]
    pub(crate) fn amend(&mut self, amendment: &cluster_config::decision::Amendment) -> bool {
        let Some(position) = self.position(amendment.encounter) else { return false };
        let (chunk, place) = (position as usize / CHUNK_RECORDS, position as usize % CHUNK_RECORDS);
        let record = match self.chunks.get_mut(chunk) {
            Some(Chunk::Live(full)) => Arc::make_mut(full).records.get_mut(place),
            Some(Chunk::Sealed(..)) => None,
            None => self.open.get_mut(place),
        };
        record.is_some_and(|record| {
            record.attempt = amendment.attempt;
            true
        })
    }

    /// A copy for a snapshot: records and traces without indexes, cheap whatever the ledger's length.
    pub(crate) fn freeze(&self) -> Self {
        let (chunks, open, names) = (self.chunks.clone(), self.open.clone(), self.names.clone());
        Self { chunks, open, names, index: Index::default() }
    }
}
