//! What stays of the records of a sealed chunk while somebody may still ask for them: enough to know a retry, and who
//! has boarded. What such a record says stands in the chunk's file.

use cluster_config::decision::Directive;
use cluster_config::ids::{EncounterId, PersonMark, SubjectId, UnixMs};
use serde::{Deserialize, Serialize};

use super::names::Names;
use super::record::Record;

/// The traces of one chunk, in the order of its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Traces {
    /// When the chunk was full: none of its records is younger.
    pub full_at: UnixMs,
    pub all: Vec<Trace>,
}

/// What stays of one record: 64 bytes in memory, and some 50 in a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trace {
    pub encounter: EncounterId,
    /// Its place in the chunk.
    pub within: u16,
    /// The number of its gallery among the [`Names`].
    pub gallery: u32,
    /// Who it let board; absent where it let nobody.
    pub boarded: Option<Boarder>,
}

/// Who has boarded, by what stands for them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Boarder {
    pub subject: Option<SubjectId>,
    pub mark: Option<PersonMark>,
    /// The number on the manifest.
    pub ordinal: Option<u32>,
}

impl Boarder {
    pub fn of(record: &Record) -> Option<Self> {
        let boarder = Self { subject: record.subject, mark: record.mark, ordinal: record.manifest_ordinal };
        Some(boarder).filter(|_| record.directive == Directive::Proceed)
    }
}

impl Traces {
    /// Of all records of a chunk.
    pub fn of(records: &[Record], full_at: UnixMs, names: &mut Names) -> Self {
        let trace = |(within, record): (u16, &Record)| Trace {
            encounter: record.encounter,
            within,
            gallery: names.number(record.gallery),
            boarded: Boarder::of(record),
        };
        Self { full_at, all: (0..).zip(records).map(trace).collect() }
    }

    /// Those of one gallery, and what is left without them; absent where nothing is.
    pub fn without(&self, gallery: u32) -> (Vec<Trace>, Option<Self>) {
        let (its, all): (Vec<Trace>, Vec<Trace>) = self.all.iter().cloned().partition(|trace| trace.gallery == gallery);
        (its, Some(Self { full_at: self.full_at, all }).filter(|rest| !rest.all.is_empty()))
    }
}
