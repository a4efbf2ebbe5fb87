//! Who leaves by a cancellation: only who is known to be meant (P15).

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::canary::Canary;
use cluster_config::ids::SubjectId;
use cluster_config::limits::SHARD_PEOPLE_MAX;

use super::key::{Level, PersonKey};
use super::matching::Index;
use super::{Error, Next, People, Question, Roll, enrolled};

/// The people of a part without those whom the message names. Who is not there has gone before, or was never listed: a
/// repeat changes nothing.
///
/// An entry means whom it fits at the surest level at which it fits anybody. Where that is several people, more than
/// are cancelled in the same words, the whole message is refused: nobody can say who was meant.
pub fn remaining(question: &Question<'_>, own: &People) -> Result<Next, Error> {
    let roll = Roll::of(question);
    let candidates = roll.candidates();
    let index = Index::new(&candidates, &BTreeSet::new());
    // In the same words: the place of the first one, and how many there are.
    let mut words: BTreeMap<PersonKey, (u32, usize)> = BTreeMap::new();
    for person in question.people {
        let key = PersonKey::of(person);
        words.entry(key).or_insert((person.manifest_ordinal, 0)).1 += 1;
    }
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for (key, (place, count)) in words.iter().filter(|(key, _)| !key.is_empty()) {
        let fits = index.fits(key);
        for level in Level::ALL {
            let here = || fits.iter().filter(|(_, found)| *found == level).map(|(place, _)| *place);
            let present: BTreeSet<usize> = here().filter(|place| roll.is_present[*place]).collect();
            if present.len() > *count && !question.canaries.has(Canary::CancelsNamesakes) {
                return Err(Error::Unclear { place: *place, people: present.len() });
            }
            if here().next().is_some() {
                gone.extend(present);
                break;
            }
        }
    }
    let gone: BTreeSet<SubjectId> = gone.into_iter().map(|place| roll.people[place].1.subject).collect();
    let mut next = Next { left: own.left.clone(), ..Next::default() };
    for known in &own.people {
        match gone.contains(&known.subject) {
            true => next.left.push(known.clone()),
            false => next.people.push(enrolled(question, known, known.person.clone())),
        }
    }
    next.left.truncate(SHARD_PEOPLE_MAX);
    Ok(next)
}
