//! What clients asked and were told: the only truth that promises are held against. A write that was not answered is
//! *unknown*: it may be in the ledger or not, but not twice.

pub mod ledger;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use cluster_config::decision::Directive;
use cluster_config::ids::{EncounterId, JourneyId};
use cluster_config::wire::Refusal;
use cluster_config::wire::gate::{Answer, Capture, Sample};
use node_link::client::ClientError;
use serde::Serialize;

use crate::guest::Guest;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Identify,
    /// A search with its record.
    Board,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Answered(Answer),
    Refused(Refusal),
    /// Nothing: what was asked may have been done.
    Unknown(String),
}

impl Outcome {
    /// The answer, where there is one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Refused(_) | Self::Unknown(_) => None,
        }
    }
}

impl From<Result<Answer, ClientError>> for Outcome {
    fn from(result: Result<Answer, ClientError>) -> Self {
        match result {
            Ok(answer) => Self::Answered(answer),
            Err(ClientError::Refused { refusal, .. }) => Self::Refused(refusal),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}

/// A print of all that was asked in one request, so that two are told apart that have one encounter's id. It shares
/// nothing with the product's own digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked(u64);

impl Asked {
    /// The smallest of all.
    const FIRST: Self = Self(0);

    /// What a gate of this name asks with a capture.
    pub fn of(gate: &str, capture: &Capture) -> Self {
        let Sample::Template { model, values } = &capture.sample;
        let mut hasher = DefaultHasher::new();
        (gate, capture.journey, model, capture.attempt, format!("{:?}", capture.detail)).hash(&mut hasher);
        values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        Self(hasher.finish())
    }
}

/// One request and its outcome.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was asked.
    pub kind: Kind,
    pub journey: JourneyId,
    /// Who stood before the camera; nobody of the manifest where absent.
    pub who: Option<Guest>,
    pub encounter: EncounterId,
    /// All that was asked with it.
    pub asked: Asked,
    /// When it was asked.
    pub begun: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// All requests of a run.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
}

/// Decisions on boardings against the truth. People without a photograph count with the strangers: no face of theirs
/// is in the gallery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Decisions {
    /// Let through as who they are.
    pub true_matches: u64,
    /// Let through as somebody else, or without being in the gallery.
    pub false_matches: u64,
    /// Rightly not let through.
    pub true_non_matches: u64,
    /// In the gallery, and not let through.
    pub false_non_matches: u64,
    /// Another picture was asked for.
    pub recaptures: u64,
}

impl fmt::Display for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { true_matches, false_matches, true_non_matches, false_non_matches, recaptures } = self;
        write!(f, "matches {true_matches} true {false_matches} false, ")?;
        write!(f, "non-matches {true_non_matches} true {false_non_matches} false, recaptures {recaptures}")
    }
}

impl History {
    /// Writes down a request.
    pub fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// All requests, in the order of their answers.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn boardings(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.kind == Kind::Board)
    }

    /// The requests that were under way in the time from `from` on, for `length`.
    pub fn around(&self, from: Instant, length: Duration) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.begun + entry.took >= from && entry.begun <= from + length)
    }

    /// The requests that were asked from `from` on and before `until`, as they stood then: one that was still under way
    /// had taken so long by then.
    pub fn between(&self, from: Instant, until: Instant) -> Self {
        let asked = self.entries.iter().filter(|entry| entry.begun >= from && entry.begun < until);
        let as_then = |entry: &Entry| Entry { took: entry.took.min(until - entry.begun), ..entry.clone() };
        Self { entries: asked.map(as_then).collect() }
    }

    /// The requests that were not under way in any of these times.
    pub fn outside(&self, times: &[(Instant, Instant)]) -> Self {
        let met =
            |entry: &&Entry| !times.iter().any(|(from, to)| entry.begun + entry.took >= *from && entry.begun <= *to);
        Self { entries: self.entries.iter().filter(met).cloned().collect() }
    }

    /// The decisions on boardings against the truth.
    pub fn decisions(&self) -> Decisions {
        let mut decisions = Decisions::default();
        self.boardings().for_each(|entry| decisions.count(entry));
        decisions
    }
}

impl Decisions {
    /// Counts a boarding, where it was answered.
    pub fn count(&mut self, entry: &Entry) {
        let Some(answer) = entry.outcome.answer() else { return };
        let enrolled = entry.who.as_ref().filter(|guest| guest.known);
        let count = match (answer.directive, enrolled) {
            (Directive::Recapture, _) => &mut self.recaptures,
            (Directive::Proceed, Some(guest)) => {
                let right = answer.confirmed.map(|who| who.manifest_ordinal) == Some(guest.person.manifest_ordinal);
                if right { &mut self.true_matches } else { &mut self.false_matches }
            }
            (Directive::Proceed, None) => &mut self.false_matches,
            (Directive::Wait, Some(_)) => &mut self.false_non_matches,
            (Directive::Wait, None) => &mut self.true_non_matches,
        };
        *count += 1;
    }
}
