//! The records, and the indexes over them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_config::decision::Directive;
use cluster_config::ids::{EncounterId, JourneyId, SubjectId};
use serde::{Deserialize, Serialize};

use super::record::Record;

/// Records in one chunk. Chunks are shared with snapshots, so taking one copies at most this many records.
const CHUNK_RECORDS: usize = 4_096;

/// The records and the indexes over them. Cloning shares the full chunks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Ledger {
    full: Vec<Arc<Vec<Record>>>,
    open: Vec<Record>,
    index: Index,
}

/// What is derived from the records.
#[derive(Debug, Clone, PartialEq, Default)]
struct Index {
    positions: BTreeMap<EncounterId, u64>,
    boarded: BTreeSet<(JourneyId, SubjectId)>,
    boardings: BTreeMap<JourneyId, u32>,
}

/// The ledger as snapshots keep it: indexes are rebuilt.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    full: Vec<Arc<Vec<Record>>>,
    open: Vec<Record>,
}

impl From<Ledger> for Stored {
    fn from(ledger: Ledger) -> Self {
        Self { full: ledger.full, open: ledger.open }
    }
}

impl From<Stored> for Ledger {
    fn from(stored: Stored) -> Self {
        let mut index = Index::default();
        for (position, record) in (0..).zip(stored.full.iter().flat_map(|chunk| chunk.iter()).chain(&stored.open)) {
            index.add(position, record);
        }
        Self { full: stored.full, open: stored.open, index }
    }
}

impl Index {
    fn add(&mut self, position: u64, record: &Record) {
        self.positions.insert(record.encounter, position);
        if record.directive == Directive::Proceed {
            *self.boardings.entry(record.journey).or_default() += 1;
            if let Some(subject) = record.subject {
                self.boarded.insert((record.journey, subject));
            }
        }
    }
}

impl Ledger {
    /// Number of records.
    pub fn len(&self) -> u64 {
        (self.full.len() * CHUNK_RECORDS + self.open.len()) as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at `position`, from 0.
    pub fn get(&self, position: u64) -> Option<&Record> {
        let position = usize::try_from(position).ok()?;
        match self.full.get(position / CHUNK_RECORDS) {
            Some(chunk) => chunk.get(position % CHUNK_RECORDS),
            None => self.open.get(position.checked_sub(self.full.len() * CHUNK_RECORDS)?),
        }
    }

    pub fn find(&self, encounter: EncounterId) -> Option<&Record> {
        self.get(*self.index.positions.get(&encounter)?)
    }

    /// Whether the person has boarded the journey.
    pub fn has_boarded(&self, journey: JourneyId, subject: SubjectId) -> bool {
        self.index.boarded.contains(&(journey, subject))
    }

    /// The people in scope who have boarded the journey, by their numbers on the manifest. Reads the whole ledger.
    pub fn boarded(&self, journey: JourneyId) -> BTreeMap<u32, SubjectId> {
        let all = self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.open);
        let crossings = all.filter(|record| record.journey == journey && record.is_crossing());
        crossings.filter_map(|record| record.manifest_ordinal.zip(record.subject)).collect()
    }

    /// People who have boarded the journey, those out of scope included.
    pub fn boardings(&self, journey: JourneyId) -> u32 {
        self.index.boardings.get(&journey).copied().unwrap_or(0)
    }

    /// Adds a record whose encounter is not known yet.
    pub(crate) fn push(&mut self, record: Record) {
        self.index.add(self.len(), &record);
        self.open.push(record);
        if self.open.len() == CHUNK_RECORDS {
            self.full.push(Arc::new(std::mem::take(&mut self.open)));
        }
    }

    /// Corrects a record; false where there is none.
    #[cfg(feature = "next")]
    pub(crate) fn amend(&mut self, amendment: &cluster_config::decision::Amendment) -> bool {
        let Some(position) = self.index.positions.get(&amendment.encounter) else { return false };
        let (chunk, place) = (*position as usize / CHUNK_RECORDS, *position as usize % CHUNK_RECORDS);
        let records = self.full.get_mut(chunk).map_or(&mut self.open, Arc::make_mut);
        let record = records.get_mut(place);
        record.is_some_and(|record| {
            record.attempt = amendment.attempt;
            true
        })
    }

    /// A copy for a snapshot: records without indexes, cheap whatever the ledger's length.
    pub(crate) fn freeze(&self) -> Self {
        Self { full: self.full.clone(), open: self.open.clone(), index: Index::default() }
    }
}
