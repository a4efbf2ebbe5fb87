//! Compares what gates were promised with the ledger, flight by flight, while the day goes on. A flight whose books
//! agree is forgotten, so that memory holds only the flights under way.

use std::collections::BTreeMap;

use cluster_config::decision::Directive;
use cluster_config::ids::{EncounterId, JourneyId};
use cluster_config::wire::gate::Answer;
use cluster_config::wire::operator::LedgerRecord;

/// One flight's books.
#[derive(Debug, Default)]
struct Book {
    /// What gates were told: the directive, and the person that the ledger has to name.
    promised: BTreeMap<EncounterId, (Directive, Option<u32>)>,
    /// Encounters without an answer: they may be in the ledger or not.
    unknown: BTreeMap<EncounterId, ()>,
    recorded: BTreeMap<EncounterId, LedgerRecord>,
    /// Whether the gates are done.
    boarded: bool,
}

/// All books, and what the closed ones came to.
#[derive(Debug, Default)]
pub struct Books {
    open: BTreeMap<JourneyId, Book>,
    /// Boardings that were promised and found.
    pub promised: u64,
    /// Crossings in the ledger.
    pub crossings: u64,
    /// Encounters that were never answered, with or without a record.
    pub unknown: u64,
    /// What does not agree.
    pub violations: Vec<String>,
}

/// Violations that are kept in words; more are only counted.
const VIOLATIONS_KEPT: usize = 50;

impl Books {
    /// A flight begins to board.
    pub fn open(&mut self, journey: JourneyId) {
        self.open.entry(journey).or_default();
    }

    /// A gate was answered. `in_scope` is the number of the person that the ledger has to name.
    pub fn answered(&mut self, journey: JourneyId, answer: &Answer, in_scope: Option<u32>) {
        let book = self.open.entry(journey).or_default();
        book.unknown.remove(&answer.encounter);
        book.promised.insert(answer.encounter, (answer.directive, in_scope));
    }

    /// A gate was left without an answer.
    pub fn unanswered(&mut self, journey: JourneyId, encounter: EncounterId) {
        self.open.entry(journey).or_default().unknown.insert(encounter, ());
    }

    /// The flight's gates are done.
    pub fn boarded(&mut self, journey: JourneyId) {
        self.open.entry(journey).or_default().boarded = true;
    }

    /// A record came out of the ledger.
    pub fn recorded(&mut self, record: LedgerRecord) {
        self.crossings += u64::from(record.crossing);
        match record.journey.and_then(|journey| self.open.get_mut(&journey)) {
            None => self.violate(format!("{} was recorded after its flight's books were closed", record.encounter)),
            Some(book) => {
                let encounter = record.encounter;
                if book.recorded.insert(encounter, record).is_some() {
                    self.violate(format!("{encounter} is in the ledger twice"));
                }
            }
        }
    }

    /// Closes the books that are complete, and at the `end` of the day all books.
    pub fn close(&mut self, end: bool) {
        let complete = |book: &Book| {
            let found = book.promised.keys().all(|encounter| book.recorded.contains_key(encounter));
            book.boarded && found && book.unknown.is_empty()
        };
        let journeys: Vec<JourneyId> =
            self.open.iter().filter(|(_, book)| end || complete(book)).map(|(id, _)| *id).collect();
        for journey in journeys {
            if let Some(book) = self.open.remove(&journey) {
                self.judge(journey, &book);
            }
        }
    }

    fn judge(&mut self, journey: JourneyId, book: &Book) {
        self.unknown += book.unknown.len() as u64;
        let mut crossed = BTreeMap::new();
        for (encounter, record) in &book.recorded {
            if record.crossing && crossed.insert(record.manifest_ordinal, *encounter).is_some() {
                self.violate(format!("{:?} of {journey} crossed twice", record.manifest_ordinal));
            }
            if !book.promised.contains_key(encounter) && !book.unknown.contains_key(encounter) {
                self.violate(format!("{encounter} of {journey} is in the ledger, and nobody asked for it"));
            }
        }
        for (encounter, (directive, in_scope)) in &book.promised {
            match book.recorded.get(encounter) {
                None => self.violate(format!("{encounter} of {journey} was promised, and is not in the ledger")),
                Some(record) if record.directive != *directive => {
                    self.violate(format!("{encounter} of {journey} is recorded as {:?}", record.directive));
                }
                Some(record) if record.crossing != in_scope.is_some() || record.manifest_ordinal != *in_scope => {
                    let found = record.manifest_ordinal;
                    self.violate(format!("{encounter} of {journey} is recorded for {found:?}, not {in_scope:?}"));
                }
                Some(_) => self.promised += 1,
            }
        }
    }

    fn violate(&mut self, violation: String) {
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::decision::{Reason, Recording};
    use cluster_config::ids::{Epoch, GalleryVersion, NodeId, SubjectId, UnixMs};

    use super::*;

    fn journey() -> JourneyId {
        "AA7-20300615-JFK".parse().expect("a journey")
    }

    fn answer(number: u128) -> Answer {
        Answer {
            encounter: EncounterId(number),
            directive: Directive::Proceed,
            reason: Reason::Matched,
            confirmed: None,
            recording: Recording::Committed,
            epoch: Epoch(1),
            gallery_version: GalleryVersion(1),
            searched_by: NodeId(1),
        }
    }

    fn record(number: u128, ordinal: Option<u32>) -> LedgerRecord {
        LedgerRecord {
            position: 0,
            encounter: EncounterId(number),
            journey: Some(journey()),
            standing: None,
            device: "GATE-1".parse().expect("a device"),
            entry: NodeId(1),
            at: UnixMs(0),
            directive: Directive::Proceed,
            reason: Reason::Matched,
            subject: ordinal.map(|ordinal| SubjectId(ordinal.into())),
            manifest_ordinal: ordinal,
            crossing: ordinal.is_some(),
            epoch: Epoch(1),
            gallery_version: GalleryVersion(1),
        }
    }

    /// Two people boarded, one of them out of scope, and one gate got no answer.
    fn books() -> Books {
        let mut books = Books::default();
        books.open(journey());
        books.answered(journey(), &answer(1), Some(5));
        books.answered(journey(), &answer(2), None);
        books.unanswered(journey(), EncounterId(3));
        books.boarded(journey());
        books
    }

    #[test]
    fn books_that_agree_are_closed_at_once_unless_something_is_unknown() {
        let mut books = books();
        books.recorded(record(1, Some(5)));
        books.recorded(record(2, None));
        books.close(false);
        assert_eq!((books.promised, books.open.len()), (0, 1), "the unknown one may come yet");
        books.recorded(record(3, Some(6)));
        books.answered(journey(), &answer(3), Some(6));
        books.close(false);
        assert_eq!((books.promised, books.crossings, books.open.len()), (3, 2, 0));
        assert_eq!(books.violations, Vec::<String>::new());
        books.recorded(record(9, None));
        assert!(books.violations[0].contains("after"), "{:?}", books.violations);
    }

    #[test]
    fn every_way_to_disagree_is_found() {
        for (records, wanted) in [
            (vec![record(1, Some(5))], "not in the ledger"),
            (vec![record(1, Some(5)), record(2, None), record(2, None)], "twice"),
            (vec![record(1, Some(4)), record(2, None)], "recorded for"),
            (vec![record(1, Some(5)), record(2, None), record(7, None)], "nobody asked"),
            (vec![record(1, Some(5)), record(2, None), record(3, Some(5))], "crossed twice"),
        ] {
            let mut books = books();
            records.into_iter().for_each(|record| books.recorded(record));
            books.close(true);
            assert!(books.violations.iter().any(|found| found.contains(wanted)), "{wanted}: {:?}", books.violations);
        }
    }
}
