//! What a search came to, and what the gate is told.

use serde::{Deserialize, Serialize};

#[cfg(feature = "next")]
use crate::ids::EncounterId;
use crate::ids::{PersonMark, SubjectId};

/// What the gate does next (R24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directive {
    /// Let the traveller through.
    Proceed,
    Recapture,
    /// The traveller waits for a person.
    Wait,
}

/// Why the directive is what it is. It never tells of a watch list (R12, R33).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// One person of the gallery, and no other near.
    Matched,
    /// Nobody of the gallery is near enough.
    NoMatch,
    /// Two persons of the gallery are too close to each other to tell.
    Ambiguous,
    /// Almost near enough: a better picture may do.
    NearThreshold,
    /// The person matched has boarded this journey already, with another encounter.
    AlreadyBoarded,
}

/// Whether and where the boarding is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// Nothing had to be recorded (an identification).
    NotRequired,
    /// In the ledger of a quorum.
    Committed,
}

/// The traveller whom the search confirmed, in the words of the carrier's own manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The person in this journey's gallery.
    pub subject: SubjectId,
    /// The person's number on the carrier's manifest, from 1.
    pub manifest_ordinal: u32,
}

/// One template's person and score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The person.
    pub subject: SubjectId,
    /// What stands for the person in the ledger where their subject id may not.
    pub mark: PersonMark,
    /// The person's number on the manifest, from 1.
    pub manifest_ordinal: u32,
    /// Cosine similarity, -1 to 1.
    pub score: f32,
    /// Whether a crossing of this person is recorded (in scope by age and citizenship, R1, R4).
    pub in_scope: bool,
}

/// How urgent a request is, the most urgent first: what an overloaded node sheds, it sheds from the other end
/// (promise P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    Board,
    /// Somebody is looked for; nothing is recorded.
    Identify,
}

/// A correction of one record of the ledger.
#[cfg(feature = "next")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// The record's encounter.
    pub encounter: EncounterId,
    /// Which capture of the traveller it was, from 1.
    pub attempt: u8,
}
