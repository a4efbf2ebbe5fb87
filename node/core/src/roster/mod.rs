//! The roster of a gallery: who stays, comes, leaves and comes back when a list arrives, and in which part each person
//! is.
//!
//! **Who is who** is said by [`key`] (what a list says of a person) and [`matching`] (an assignment of a list to the
//! people known before, by several keys in a fixed order of precedence). Subject id, number and part belong to the
//! person, not to their place on a list, and stay through corrections, absences and returns.
//!
//! **Parts.** The owner of each part is handed the whole message and the people of *all* parts, and takes who is its
//! own: those whom it has, and of the newcomers those that fall to it. A newcomer's part follows from a stable hash of
//! their key, and from there on is the first one with room. The shell has to see to it that every part is taken as it
//! is committed: a version is committed only while all other parts are at the versions that it was made from. So the
//! changes of a gallery follow one another, and each sees the truth. A part that has the list already keeps its people
//! as they are and takes nobody more; so the last part to be built takes whoever is left: nobody is in two parts, and
//! nobody in none.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::{ContentHash, SubjectId, UnixMs};
use cluster_config::journey::Listing;
use cluster_config::limits::SHARD_PEOPLE_MAX;
use cluster_config::person::Person;
use cluster_config::policy::Scope;
use serde::{Deserialize, Serialize};

mod cancel;
pub mod key;
mod letters;
mod list;
pub mod matching;
mod repeats;
pub mod scope;
mod states;

use key::PersonKey;
use matching::Candidate;
use scope::in_scope;

/// One person of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The person's random id in this journey.
    pub subject: SubjectId,
    pub person: Person,
    /// Whether a crossing of this person is recorded.
    pub in_scope: bool,
    /// Whether nobody can say any more if this person has boarded: the people of the gallery were lost meanwhile. A
    /// gallery has no templates of such a person, so that only an officer lets them through (P1).
    pub is_unsure: bool,
}

/// The people of one part of a gallery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// The list that they were made from.
    pub manifest: ContentHash,
    /// Who is expected.
    pub people: Vec<Enrolled>,
    /// Who has left. Their ids and numbers are kept for when they come back.
    pub left: Vec<Enrolled>,
}

/// What is known of one part of a gallery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// It was never built.
    Unbuilt,
    /// The people of its last version are lost with every node that had them.
    Lost {
        /// Whether their numbers are their places on the very list that is given now: then the ledger tells by them who
        /// has boarded.
        is_numbered_by_list: bool,
        /// Those of an older version, where there are any.
        older: People,
    },
    Known(People),
}

impl Part {
    fn people(&self) -> Option<&People> {
        match self {
            Self::Unbuilt => None,
            Self::Lost { older, .. } => Some(older),
            Self::Known(people) => Some(people),
        }
    }
}

/// What a part's next people are made from.
pub struct Question<'a> {
    /// The part that is built.
    pub part: u16,
    /// All parts of the gallery, in their order.
    pub parts: &'a [Part],
    /// Hash of the message.
    pub manifest: ContentHash,
    /// The people of the message, for all parts.
    pub people: &'a [Person],
    /// What they are to those known before.
    pub listing: Listing,
    /// Who has boarded, by number; used where people are lost.
    pub boarded: &'a BTreeMap<u32, SubjectId>,
    /// Whether people of the gallery were lost before, of whom some had boarded, and this list does not tell by its
    /// numbers who they were. Newcomers may be any of them.
    pub has_lost: bool,
    /// Whether anybody has boarded.
    pub has_boarded: bool,
    /// Whether anybody has whom the ledger has under no number, being out of scope.
    pub has_unnamed_boarded: bool,
    /// Who is in scope, by the policy in force.
    pub scope: &'a Scope,
    /// When the journey departs.
    pub departs_at: UnixMs,
    /// A planted fault.
    pub canaries: Canaries,
}

/// A part's next people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next {
    /// Who is expected.
    pub people: Vec<Enrolled>,
    /// Who has left.
    pub left: Vec<Enrolled>,
    /// Places on the list of people who may be any of several, and changed nobody.
    pub unclear: Vec<u32>,
    /// Whether this is a whole list on which everybody stands at their number.
    pub is_numbered_by_list: bool,
    /// Whether the part has the list already, and its people are as before.
    pub is_unchanged: bool,
}

/// Why there are no next people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More people than all parts have room for.
    #[error("{parts} parts have room for {} people each", SHARD_PEOPLE_MAX)]
    NoRoom { parts: usize },
    /// People are taken off a part that has no list yet.
    #[error("it is not built yet")]
    Unbuilt,
    /// A cancellation that may mean several people.
    #[error("person {place} of the cancellation may be any of {people} people of the list")]
    Unclear {
        /// The place of the entry in the message.
        place: u32,
        people: usize,
    },
}

/// The people of a part after a message. `dice` gives the subject ids of newcomers.
///
/// # Errors
/// Where the message cannot be followed; then nobody is changed.
pub fn next(question: &Question<'_>, dice: &mut dyn FnMut() -> u64) -> Result<Next, Error> {
    let own = question.parts.get(usize::from(question.part));
    if let Some(Part::Known(own)) = own
        && own.manifest == question.manifest
    {
        let people = own.people.iter().map(|known| enrolled(question, known, known.person.clone())).collect();
        return Ok(Next { people, left: own.left.clone(), is_unchanged: true, ..Next::default() });
    }
    if question.canaries.has(Canary::PartByNumber) && question.parts.len() > 1 {
        return by_number(question, dice);
    }
    match (question.listing, own) {
        (Listing::Removed, Some(Part::Known(own))) => cancel::remaining(question, own),
        (Listing::Removed, _) => Err(Error::Unbuilt),
        (Listing::Whole | Listing::Added, _) => list::followed(question, dice),
    }
}

/// Where a newcomer is looked for first: a stable hash of what a correction changes least often.
pub fn part_of(key: &PersonKey, parts: u16) -> u16 {
    let born = key.born.map(|born| born.to_string()).unwrap_or_default();
    let document = key.documents.first().map(|(number, _)| number.as_str()).unwrap_or_default();
    let texts = match (&key.reference, &key.name) {
        (Some(reference), _) => [reference.as_str(), "", ""],
        (None, Some(name)) => ["", name.as_str(), &born],
        (None, None) => ["", document, &born],
    };
    // FNV-1a of 64 bits, then the last step of splitmix64: the low bits alone are too even.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in texts.iter().flat_map(|text| text.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((hash ^ (hash >> 31)) % u64::from(parts.max(1))) as u16
}

/// Somebody who is known, as a list has them now.
fn enrolled(question: &Question<'_>, known: &Enrolled, person: Person) -> Enrolled {
    let person = Person { manifest_ordinal: known.person.manifest_ordinal, ..person };
    let in_scope = in_scope(question.scope, question.departs_at, &person);
    Enrolled { person, in_scope, ..*known }
}

/// Everybody who is known of the gallery.
struct Roll<'a> {
    /// Part, and who it is.
    people: Vec<(u16, &'a Enrolled)>,
    keys: Vec<PersonKey>,
    is_present: Vec<bool>,
    /// The parts that have this list already.
    done: BTreeSet<u16>,
}

impl<'a> Roll<'a> {
    fn of(question: &'a Question<'_>) -> Self {
        let mut roll = Self { people: Vec::new(), keys: Vec::new(), is_present: Vec::new(), done: BTreeSet::new() };
        for (number, part) in (0..).zip(question.parts) {
            let Some(known) = part.people() else { continue };
            if matches!(part, Part::Known(known) if known.manifest == question.manifest) {
                roll.done.insert(number);
            }
            let left: &[Enrolled] = if question.canaries.has(Canary::NewSubjectOnReturn) { &[] } else { &known.left };
            for (people, is_present) in [(&known.people[..], true), (left, false)] {
                for enrolled in people {
                    roll.people.push((number, enrolled));
                    roll.keys.push(PersonKey::of(&enrolled.person));
                    roll.is_present.push(is_present);
                }
            }
        }
        roll
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        let both = self.keys.iter().zip(&self.is_present);
        both.map(|(key, is_present)| Candidate { key, is_present: *is_present }).collect()
    }
}

/// The fault of [`Canary::PartByNumber`]: a person's part follows their place on the list, and each part knows itself
/// alone.
fn by_number(question: &Question<'_>, dice: &mut dyn FnMut() -> u64) -> Result<Next, Error> {
    let parts = question.parts.len() as u32;
    let is_own = |person: &&Person| person.manifest_ordinal % parts == u32::from(question.part);
    let removes = question.listing == Listing::Removed;
    let people: Vec<Person> = question.people.iter().filter(|person| removes || is_own(person)).cloned().collect();
    let own = [question.parts[usize::from(question.part)].clone()];
    next(&Question { part: 0, parts: &own, people: &people, ..*question }, dice)
}

#[cfg(test)]
mod tests;
