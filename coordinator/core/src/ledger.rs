//! The ledger: every encounter that was answered as recorded, in the order of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_config::canary::{Canary, planted};
use cluster_config::ids::{DeviceId, EncounterId, Epoch, GalleryVersion, JourneyId, SubjectId, UnixMs};
use cluster_config::wire::gate::{Directive, Reason};
use cluster_config::wire::operator::LedgerRecord;
use serde::{Deserialize, Serialize};

/// Records in one chunk. Chunks are shared with snapshots, so taking one copies at most this many records.
const CHUNK_RECORDS: usize = 4_096;

/// One encounter. No name, document, image or template is in it; a person is known by the journey's random subject id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The encounter; the key of idempotency.
    pub encounter: EncounterId,
    /// The journey.
    pub journey: JourneyId,
    /// The device.
    pub device: DeviceId,
    /// When it was decided, by the entry node's clock.
    pub at: UnixMs,
    /// What the gate is told.
    pub directive: Directive,
    /// Why.
    pub reason: Reason,
    /// Who it is, where *proceed*; never set for people out of scope, who leave no trace (R3, R4).
    pub subject: Option<SubjectId>,
    /// The person's number on the manifest, under the same rule.
    pub manifest_ordinal: Option<u32>,
    /// Generation of ownership at the replica that searched.
    pub epoch: Epoch,
    /// The gallery version searched.
    pub gallery_version: GalleryVersion,
}

impl Record {
    /// Whether this is a crossing: a boarding by a person in scope (R4).
    pub fn is_crossing(&self) -> bool {
        self.directive == Directive::Proceed && self.subject.is_some()
    }

    /// The record as it is given to systems of record, with its position in the ledger.
    pub fn exported(&self, position: u64) -> LedgerRecord {
        LedgerRecord {
            position,
            encounter: self.encounter,
            journey: self.journey,
            device: self.device,
            at: self.at,
            directive: self.directive,
            reason: self.reason,
            subject: self.subject,
            manifest_ordinal: self.manifest_ordinal,
            crossing: self.is_crossing(),
            epoch: self.epoch,
            gallery_version: self.gallery_version,
        }
    }
}

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

    /// The record of an encounter.
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
        let forgets = planted(Canary::NewSubjects);
        let crossings = all.filter(|record| record.journey == journey && record.is_crossing() && !forgets);
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

    /// A copy for a snapshot: records without indexes, cheap whatever the ledger's length.
    pub(crate) fn freeze(&self) -> Self {
        Self { full: self.full.clone(), open: self.open.clone(), index: Index::default() }
    }
}
