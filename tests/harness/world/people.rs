//! Who is who, by their faces: whatever the product takes two entries of lists for, a person is whom their photographs
//! show. Nothing here knows names, documents or numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cluster_config::ids::{ContentHash, EncounterId, JourneyId, PersonMark, SubjectId};
use coordinator_core::Record;
use node::gallery::segment::Loaded;

use super::content::Content;
use super::lists::Message;
use crate::invariants::reference::Row;

/// The people of a world.
#[derive(Default)]
pub struct People {
    /// Of each template its guest.
    faces: BTreeMap<(JourneyId, Vec<u32>), usize>,
    /// Of each subject id its guest.
    subjects: BTreeMap<(JourneyId, SubjectId), usize>,
    /// Of each mark its guest.
    marks: BTreeMap<(JourneyId, PersonMark), usize>,
    /// The guests of whom there are templates.
    known: Vec<BTreeSet<usize>>,
    /// The encounter with which somebody crossed.
    crossed: BTreeMap<(JourneyId, usize), EncounterId>,
    /// Galleries in which not everybody has their templates: the people before were lost.
    unsure: BTreeSet<ContentHash>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

impl People {
    /// The people of a world.
    pub fn new(content: &Content) -> Self {
        let mut people = Self::default();
        for (number, flight) in content.flights.iter().enumerate() {
            let mut known = BTreeSet::new();
            for guest in 0..flight.guests.len() {
                for template in content.templates(number, guest) {
                    people.faces.insert((flight.journey, bits(&template.values)), guest);
                    known.insert(guest);
                }
            }
            people.known.push(known);
        }
        people
    }

    /// Whose subject id this is, as far as it ever had templates.
    pub fn of(&self, journey: JourneyId, subject: SubjectId) -> Option<usize> {
        self.subjects.get(&(journey, subject)).copied()
    }

    fn guest(&self, journey: JourneyId, row: &Row) -> usize {
        self.faces[&(journey, bits(&row.values))]
    }

    /// A version was made.
    pub fn built(&mut self, hash: ContentHash, loaded: &Loaded, rows: &[Row]) {
        let head = &loaded.head;
        let Some(journey) = head.shard.journey() else { return };
        let marked: BTreeMap<SubjectId, PersonMark> =
            head.people.iter().zip(loaded.marks()).map(|(enrolled, mark)| (enrolled.subject, *mark)).collect();
        for row in rows {
            let guest = self.guest(journey, row);
            let known = *self.subjects.entry((journey, row.subject)).or_insert(guest);
            assert_eq!(known, guest, "P1: {} of {journey} is one subject for two people", row.subject);
            let known = *self.marks.entry((journey, marked[&row.subject])).or_insert(guest);
            assert_eq!(known, guest, "P1: {} of {journey} has one mark for two people", row.subject);
        }
        if head.people.iter().any(|enrolled| enrolled.is_unsure) {
            self.unsure.insert(hash);
        }
    }

    /// Somebody has boarded, in scope or out of it: nobody does so twice (P1).
    pub fn boarded(&mut self, record: &Record) {
        let Some(journey) = record.gallery.journey() else { return };
        let by_mark = record.mark.and_then(|mark| self.marks.get(&(journey, mark)).copied());
        let guest = by_mark.unwrap_or_else(|| panic!("P1: {record:?} is a boarding of nobody"));
        let by_subject = record.subject.map_or(Some(guest), |subject| self.of(journey, subject));
        assert_eq!(by_subject, Some(guest), "P1: {record:?} is a boarding of two people");
        let before = self.crossed.insert((journey, guest), record.encounter);
        let again = before.filter(|before| *before != record.encounter);
        assert!(again.is_none(), "P1: guest {guest} of {journey} crossed twice: {again:?} and {}", record.encounter);
    }

    /// A message was followed: of those who are expected after it everybody of whom there is a photograph is in one
    /// part, and nobody else is in any (P15).
    pub fn are_expected(&self, flight: usize, message: &Message, galleries: &[(ContentHash, Rc<Vec<Row>>)]) {
        if galleries.iter().any(|(hash, _)| self.unsure.contains(hash)) {
            return;
        }
        let journey = message.plan.id;
        let (mut found, mut numbers) = (BTreeSet::new(), BTreeMap::new());
        for (_, rows) in galleries {
            let here: BTreeSet<usize> = rows.iter().map(|row| self.guest(journey, row)).collect();
            for guest in &here {
                assert!(found.insert(*guest), "P15: guest {guest} of {journey} is in two parts of the gallery");
            }
            for row in rows.iter() {
                let subject = *numbers.entry(row.manifest_ordinal).or_insert(row.subject);
                assert_eq!(subject, row.subject, "P1: two people of {journey} are number {}", row.manifest_ordinal);
            }
        }
        let expected: BTreeSet<usize> = message.expected.intersection(&self.known[flight]).copied().collect();
        let (missing, surplus): (Vec<_>, Vec<_>) =
            (expected.difference(&found).collect(), found.difference(&expected).collect());
        let listing = message.listing;
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "P15: after {listing:?} guests {missing:?} of {journey} are missing, and {surplus:?} are still there"
        );
    }
}
