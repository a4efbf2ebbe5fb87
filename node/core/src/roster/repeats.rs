//! People who are listed twice on one list.

use std::collections::BTreeMap;

use cluster_config::person::Person;

use super::key::PersonKey;

/// Entries of one list that share a document or a name and a birth, and are looked at as repeats of one another.
const REPEATS_MAX: usize = 16;

/// The entries of a list, each person once, with their keys. Somebody who is listed twice is one person: what the later
/// entry says counts, as far as it says anything.
pub fn each_once(people: &[Person]) -> Vec<(Person, PersonKey)> {
    let mut once: Vec<(Person, PersonKey)> = Vec::with_capacity(people.len());
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for person in people {
        let key = PersonKey::of(person);
        let numbers = key.documents.iter().map(|(number, _)| format!("document {number}"));
        let name = key.name.iter().zip(key.born).map(|(name, born)| format!("name {name} {born}"));
        let reference = key.reference.iter().map(|reference| format!("reference {reference}"));
        let words: Vec<String> = numbers.chain(name).chain(reference).collect();
        let mut before = words.iter().filter_map(|word| places.get(word)).flatten();
        let twice = before.find(|place| once[**place].1.is_repeated_by(&key)).copied();
        let place = match twice {
            Some(place) => {
                let joined = joined(&once[place].0, person);
                once[place] = (joined.clone(), PersonKey::of(&joined));
                place
            }
            None => {
                once.push((person.clone(), key));
                once.len() - 1
            }
        };
        for word in words {
            let places = places.entry(word).or_default();
            if !places.contains(&place) && places.len() < REPEATS_MAX {
                places.push(place);
            }
        }
    }
    once
}

fn joined(earlier: &Person, later: &Person) -> Person {
    let mut joined = later.clone();
    joined.manifest_ordinal = earlier.manifest_ordinal;
    joined.date_of_birth = later.date_of_birth.or(earlier.date_of_birth);
    joined.nationality = later.nationality.clone().or_else(|| earlier.nationality.clone());
    joined.reference = later.reference.clone().or_else(|| earlier.reference.clone());
    let earlier_documents = earlier.document.iter().chain(&earlier.other_documents);
    for document in earlier_documents {
        if joined.document.is_none() {
            joined.document = Some(document.clone());
        } else if joined.document.as_ref() != Some(document) && !joined.other_documents.contains(document) {
            joined.other_documents.push(document.clone());
        }
    }
    joined
}
