//! Who stays, comes, comes back and leaves by a list or an addition.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::canary::Canary;
use cluster_config::ids::SubjectId;
use cluster_config::journey::Listing;
use cluster_config::limits::SHARD_PEOPLE_MAX;
use cluster_config::person::Person;

use super::key::PersonKey;
use super::matching::{self, Meaning};
use super::repeats::each_once;
use super::scope::in_scope;
use super::{Enrolled, Error, Next, Part, Question, Roll, enrolled, part_of};

/// The people of a part after a list or an addition.
pub fn followed(question: &Question<'_>, dice: &mut dyn FnMut() -> u64) -> Result<Next, Error> {
    let entries = each_once(question.people);
    let roll = Roll::of(question);
    let keys: Vec<PersonKey> = entries.iter().map(|(_, key)| key.clone()).collect();
    let meanings = matching::assign(&keys, &roll.candidates());
    let Expected { named, stays, unclear } = expected(question, &roll, &entries, &meanings);
    let present: BTreeSet<usize> = named.keys().chain(&stays).copied().collect();
    let mut counts = vec![0; question.parts.len()];
    present.iter().for_each(|place| counts[usize::from(roll.people[*place].0)] += 1);
    let mut newcomers = newcomers(question, &roll, &entries, &meanings, &mut counts, dice)?;

    let is_own = |place: &usize| roll.people[*place].0 == question.part;
    let kept = |place: usize| {
        let known = roll.people[place].1;
        enrolled(question, known, named.get(&place).copied().unwrap_or(&known.person).clone())
    };
    let gone = (0..roll.people.len()).filter(|place| is_own(place) && !present.contains(place));
    let left = gone.map(|place| roll.people[place].1.clone()).take(SHARD_PEOPLE_MAX).collect();
    let mut next = Next { left, unclear, ..Next::default() };
    if question.listing == Listing::Added {
        next.people.extend(present.iter().copied().filter(is_own).map(kept));
        next.people.extend(newcomers.into_values());
        return Ok(next);
    }
    next.is_numbered_by_list = next.unclear.is_empty();
    for (entry, meaning) in meanings.iter().enumerate() {
        let person = match meaning {
            Meaning::Known(known) if is_own(known) => Some(kept(*known)),
            _ => newcomers.remove(&entry),
        };
        let place = entries[entry].0.manifest_ordinal;
        next.is_numbered_by_list &= person.as_ref().is_none_or(|known| known.person.manifest_ordinal == place);
        next.people.extend(person);
    }
    let others = stays.into_iter().filter(is_own).filter(|place| !named.contains_key(place));
    next.people.extend(others.map(kept));
    Ok(next)
}

/// Who of those who are known is expected after a list, of whichever part.
struct Expected<'a> {
    /// Whom the list names, and how.
    named: BTreeMap<usize, &'a Person>,
    /// Who stays as they are.
    stays: BTreeSet<usize>,
    /// The entries that change nobody.
    unclear: Vec<u32>,
}

fn expected<'a>(
    question: &Question<'_>,
    roll: &Roll<'_>,
    entries: &'a [(Person, PersonKey)],
    meanings: &[Meaning],
) -> Expected<'a> {
    let mut expected = Expected { named: BTreeMap::new(), stays: BTreeSet::new(), unclear: Vec::new() };
    for ((person, key), meaning) in entries.iter().zip(meanings) {
        match meaning {
            // That part has the list already: an entry that it did not follow then is not followed now.
            Meaning::Known(place) if roll.done.contains(&roll.people[*place].0) => {
                expected.stays.insert(*place);
                if roll.keys[*place] != *key {
                    expected.unclear.push(person.manifest_ordinal);
                }
            }
            Meaning::Known(place) => {
                expected.named.insert(*place, person);
            }
            Meaning::Unclear(places) => {
                expected.unclear.push(person.manifest_ordinal);
                expected.stays.extend(places.iter().filter(|place| roll.is_present[**place]));
            }
            Meaning::New => {}
        }
    }
    if question.listing == Listing::Added {
        expected.stays.extend((0..roll.people.len()).filter(|place| roll.is_present[*place]));
    }
    expected
}

/// The newcomers of the part, by their entries. Every newcomer of the list, of whichever part, gets a part and a
/// number: on the first list their place, later the next number that nobody ever had.
fn newcomers(
    question: &Question<'_>,
    roll: &Roll<'_>,
    entries: &[(Person, PersonKey)],
    meanings: &[Meaning],
    counts: &mut [usize],
    dice: &mut dyn FnMut() -> u64,
) -> Result<BTreeMap<usize, Enrolled>, Error> {
    let parts = question.parts.len();
    let mut used: BTreeSet<u32> = roll.people.iter().map(|(_, known)| known.person.manifest_ordinal).collect();
    let left = question.parts.iter().filter_map(Part::people).flat_map(|people| &people.left);
    used.extend(left.map(|left| left.person.manifest_ordinal));
    let by_place =
        question.listing == Listing::Whole && is_lost(question).unwrap_or_else(|| is_first_list(roll, entries));
    let places = entries.iter().map(|(person, _)| person.manifest_ordinal).filter(|_| by_place);
    let mut last = used.iter().copied().chain(places).chain(question.boarded.keys().copied()).max().unwrap_or(0);
    let mut members = BTreeMap::new();
    for (entry, (person, key)) in entries.iter().enumerate() {
        if meanings[entry] != Meaning::New {
            continue;
        }
        let first = usize::from(part_of(key, parts as u16));
        let open = |part: &usize| counts[*part] < SHARD_PEOPLE_MAX && !roll.done.contains(&(*part as u16));
        let part = (first..parts).chain(0..first).find(open).ok_or(Error::NoRoom { parts })?;
        counts[part] += 1;
        let place = person.manifest_ordinal;
        let number = if by_place && !used.contains(&place) {
            place
        } else {
            last += 1;
            last
        };
        used.insert(number);
        if part == usize::from(question.part) {
            let person = Person { manifest_ordinal: number, ..person.clone() };
            let in_scope = in_scope(question.scope, question.departs_at, &person);
            let (known_by_number, is_unsure) = returned(question, place, number, in_scope);
            let subject = known_by_number.unwrap_or_else(|| SubjectId(dice()));
            members.insert(entry, Enrolled { subject, person, in_scope, is_unsure });
        }
    }
    Ok(members)
}

/// Whether everybody who is known has followed this list and stands on it at their number, as after a journey's first
/// list: then its newcomers have their places too.
fn is_first_list(roll: &Roll<'_>, entries: &[(Person, PersonKey)]) -> bool {
    let places: BTreeMap<u32, &PersonKey> =
        entries.iter().map(|(person, key)| (person.manifest_ordinal, key)).collect();
    roll.people.iter().zip(&roll.keys).zip(&roll.is_present).all(|(((part, known), key), is_present)| {
        *is_present && roll.done.contains(part) && places.get(&known.person.manifest_ordinal) == Some(&key)
    })
}

/// What is known of a newcomer who may be one of those who are lost: their subject id, where the ledger has it by their
/// number; and whether nobody can say if they have boarded. The ledger has nobody out of scope by a number.
fn returned(question: &Question<'_>, place: u32, number: u32, in_scope: bool) -> (Option<SubjectId>, bool) {
    let has_boarded = question.has_boarded && !question.canaries.has(Canary::NewSubjects);
    let Some(is_numbered) = is_lost(question).filter(|_| has_boarded) else { return (None, false) };
    let subject = question.boarded.get(&place).copied().filter(|_| is_numbered && place == number);
    let is_hidden = !in_scope && (question.has_unnamed_boarded || subject.is_some());
    (subject, !is_numbered || is_hidden)
}

/// Whether people of any part are lost, or were; and then, whether the list that is given now has all of them at their
/// numbers.
fn is_lost(question: &Question<'_>) -> Option<bool> {
    let numbered = question.parts.iter().filter_map(|part| match part {
        Part::Lost { is_numbered_by_list, .. } => Some(*is_numbered_by_list),
        Part::Unbuilt | Part::Known(_) => None,
    });
    let has_lost = question.has_lost && !question.canaries.has(Canary::LossForgotten);
    let numbered = numbered.chain(has_lost.then_some(false)).reduce(|all, one| all && one)?;
    Some(numbered && question.listing == Listing::Whole)
}
