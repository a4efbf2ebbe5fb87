//! The records, and the indexes over them.
//!
//! A chunk is a run of so many records. While one of them may still be asked for, its records are here, and the indexes
//! have them. Then it is sealed: its records are in a file, named by its hash, and here is one line of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_config::decision::Directive;
use cluster_config::ids::{ContentHash, EncounterId, JourneyId, PersonMark, SubjectId, UnixMs};
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

use super::record::Record;

/// Records in one chunk. Chunks are shared with snapshots, so taking one copies at most this many records. A sealed one
/// is a file of some 400 KiB.
pub const CHUNK_RECORDS: usize = 4_096;

/// The records and the indexes over them. Cloning shares the full chunks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Ledger {
    chunks: Vec<Chunk>,
    open: Vec<Record>,
    index: Index,
}

/// A chunk that is full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Chunk {
    Live(Arc<Full>),
    Sealed(Line),
}

/// The records of a full chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Record>", into = "Vec<Record>")]
pub struct Full {
    pub records: Vec<Record>,
    /// Their journeys: with one open, the chunk stays.
    journeys: BTreeSet<JourneyId>,
}

impl From<Vec<Record>> for Full {
    fn from(records: Vec<Record>) -> Self {
        let journeys = records.iter().map(|record| record.journey).collect();
        Self { records, journeys }
    }
}

impl From<Full> for Vec<Record> {
    fn from(full: Full) -> Self {
        full.records
    }
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

/// What is derived from the records that are here.
#[derive(Debug, Clone, PartialEq, Default)]
struct Index {
    positions: BTreeMap<EncounterId, u64>,
    boarded: BTreeMap<JourneyId, Boarded>,
}

/// Who has boarded one journey. Nobody who is out of scope is among the subjects, and everybody is among the marks; a
/// gallery whose people were lost knows those in scope by their subject ids again, and marks them anew.
#[derive(Debug, Clone, PartialEq, Default)]
struct Boarded {
    /// With their numbers on the manifest.
    subjects: BTreeMap<SubjectId, Option<u32>>,
    marks: BTreeSet<PersonMark>,
    boardings: u32,
}

/// The ledger as snapshots keep it: indexes are rebuilt.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    chunks: Vec<Chunk>,
    open: Vec<Record>,
}

impl From<Ledger> for Stored {
    fn from(ledger: Ledger) -> Self {
        Self { chunks: ledger.chunks, open: ledger.open }
    }
}

impl From<Stored> for Ledger {
    fn from(stored: Stored) -> Self {
        let mut ledger = Self { chunks: stored.chunks, open: stored.open, index: Index::default() };
        let mut index = Index::default();
        ledger.here().for_each(|(position, record)| index.add(position, record));
        ledger.index = index;
        ledger
    }
}

impl Index {
    fn add(&mut self, position: u64, record: &Record) {
        self.positions.insert(record.encounter, position);
        if record.directive == Directive::Proceed {
            let boarded = self.boarded.entry(record.journey).or_default();
            boarded.boardings += 1;
            boarded.subjects.extend(record.subject.map(|subject| (subject, record.manifest_ordinal)));
            boarded.marks.extend(record.mark);
        }
    }

    fn remove(&mut self, position: u64, record: &Record) {
        if self.positions.get(&record.encounter) == Some(&position) {
            self.positions.remove(&record.encounter);
        }
        if record.directive != Directive::Proceed {
            return;
        }
        let Some(boarded) = self.boarded.get_mut(&record.journey) else { return };
        boarded.boardings -= 1;
        record.subject.map(|subject| boarded.subjects.remove(&subject));
        record.mark.map(|mark| boarded.marks.remove(&mark));
        // A journey leaves as a whole, record by record: each is closed.
        if boarded.boardings == 0 {
            self.boarded.remove(&record.journey);
        }
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

    /// Where the record at `position`, from 0, is.
    pub fn place(&self, position: u64) -> Option<Place<'_>> {
        let position = usize::try_from(position).ok()?;
        let (chunk, within) = (position / CHUNK_RECORDS, position % CHUNK_RECORDS);
        match self.chunks.get(chunk) {
            Some(Chunk::Live(full)) => full.records.get(within).map(Place::Here),
            Some(Chunk::Sealed(line)) => Some(Place::Sealed(chunk as u64, *line)),
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

    /// The record of an encounter, where it is not sealed.
    pub fn find(&self, encounter: EncounterId) -> Option<&Record> {
        self.get(*self.index.positions.get(&encounter)?)
    }

    /// Whether the person, by any of what stands for them, has boarded the journey.
    pub fn has_boarded(&self, journey: JourneyId, subject: Option<SubjectId>, mark: Option<PersonMark>) -> bool {
        self.index.boarded.get(&journey).is_some_and(|boarded| {
            subject.is_some_and(|subject| boarded.subjects.contains_key(&subject))
                || mark.is_some_and(|mark| boarded.marks.contains(&mark))
        })
    }

    /// The people in scope who have boarded the journey, by their numbers on the manifest.
    pub fn boarded(&self, journey: JourneyId) -> BTreeMap<u32, SubjectId> {
        let boarded = self.index.boarded.get(&journey).into_iter().flat_map(|boarded| &boarded.subjects);
        boarded.filter_map(|(subject, ordinal)| ordinal.map(|ordinal| (ordinal, *subject))).collect()
    }

    /// People who have boarded the journey, those out of scope included; of a journey that has ended it counts those
    /// whose records are not sealed yet.
    pub fn boardings(&self, journey: JourneyId) -> u32 {
        self.index.boarded.get(&journey).map_or(0, |boarded| boarded.boardings)
    }

    /// The chunks that are sealed.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &Line)> {
        (0..).zip(&self.chunks).filter_map(|(chunk, found)| match found {
            Chunk::Sealed(line) => Some((chunk, line)),
            Chunk::Live(_) => None,
        })
    }

    /// The first chunk from `from` on whose journeys are all settled: none of its records will be asked for again.
    pub fn first_settled(&self, from: u64, is_settled: impl Fn(JourneyId) -> bool) -> Option<(u64, Arc<Full>)> {
        let chunks = (0..).zip(&self.chunks).skip(usize::try_from(from).unwrap_or(usize::MAX));
        let mut live = chunks.filter_map(|(chunk, found)| match found {
            Chunk::Live(full) => Some((chunk, full)),
            Chunk::Sealed(_) => None,
        });
        let found = live.find(|(_, full)| full.journeys.iter().all(|journey| is_settled(*journey)));
        found.map(|(chunk, full)| (chunk, full.clone()))
    }

    /// The records of a chunk that is full and not sealed.
    pub fn full(&self, chunk: u64) -> Option<Arc<Full>> {
        match self.chunks.get(usize::try_from(chunk).ok()?)? {
            Chunk::Live(full) => Some(full.clone()),
            Chunk::Sealed(_) => None,
        }
    }

    /// The line of a chunk that is sealed.
    pub fn line(&self, chunk: u64) -> Option<&Line> {
        match self.chunks.get(usize::try_from(chunk).ok()?)? {
            Chunk::Live(_) => None,
            Chunk::Sealed(line) => Some(line),
        }
    }

    /// Puts a line in the place of a chunk.
    pub(super) fn seal(&mut self, chunk: u64, line: Line) {
        let Some(full) = self.full(chunk) else { return };
        let first = chunk * CHUNK_RECORDS as u64;
        (first..).zip(&full.records).for_each(|(position, record)| self.index.remove(position, record));
        self.chunks[chunk as usize] = Chunk::Sealed(line);
    }

    /// The time of a sealed chunk is over.
    pub(super) fn expire(&mut self, chunk: u64) {
        if let Some(Chunk::Sealed(line)) = usize::try_from(chunk).ok().and_then(|chunk| self.chunks.get_mut(chunk)) {
            line.is_removed = true;
        }
    }

    /// Adds a record whose encounter is not known yet.
    pub(crate) fn push(&mut self, record: Record) {
        self.index.add(self.len(), &record);
        self.open.push(record);
        if self.open.len() == CHUNK_RECORDS {
            let full = Full::from(std::mem::take(&mut self.open));
            self.chunks.push(Chunk::Live(Arc::new(full)));
        }
    }

    /// Corrects a record; false where there is none.
    #[cfg(feature = "next")]
    pub(crate) fn amend(&mut self, amendment: &cluster_config::decision::Amendment) -> bool {
        let Some(position) = self.index.positions.get(&amendment.encounter) else { return false };
        let (chunk, place) = (*position as usize / CHUNK_RECORDS, *position as usize % CHUNK_RECORDS);
        let record = match self.chunks.get_mut(chunk) {
            Some(Chunk::Live(full)) => Arc::make_mut(full).records.get_mut(place),
            Some(Chunk::Sealed(_)) => None,
            None => self.open.get_mut(place),
        };
        record.is_some_and(|record| {
            record.attempt = amendment.attempt;
            true
        })
    }

    fn here(&self) -> impl Iterator<Item = (u64, &Record)> {
        let full = (0..).zip(&self.chunks).filter_map(|(chunk, found)| match found {
            Chunk::Live(full) => Some((chunk * CHUNK_RECORDS as u64, &full.records)),
            Chunk::Sealed(_) => None,
        });
        let open = std::iter::once(((self.chunks.len() * CHUNK_RECORDS) as u64, &self.open));
        full.chain(open).flat_map(|(first, records)| (first..).zip(records))
    }

    /// A copy for a snapshot: records without indexes, cheap whatever the ledger's length.
    pub(crate) fn freeze(&self) -> Self {
        Self { chunks: self.chunks.clone(), open: self.open.clone(), index: Index::default() }
    }
}
