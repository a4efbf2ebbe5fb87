//! Travellers as carriers list them. Each has a number of their own in a run; everything about them follows from it and
//! from their place on the list.

use cluster_config::person::{Document, Person};

/// Nationalities in turn: a third are citizens, whose crossings are not recorded (R3, R4).
const STATES: [&str; 3] = ["USA", "AUT", "GBR"];

/// The traveller of this number of a run, at this place of a list.
///
/// Family name and document number hold the `number` and stand nowhere else, so that a search through files finds every
/// copy of them; they are distinct up to 9,999,999. Every tenth person of a list is a child, and nobody is near the
/// bounds of the ages in scope (R1).
pub fn person(number: u32, ordinal: u32) -> Person {
    let year = if ordinal.is_multiple_of(10) { 2_021 } else { 1_960 + ordinal % 40 };
    let state = STATES[ordinal as usize % STATES.len()];
    Person {
        manifest_ordinal: ordinal,
        family_name: format!("ZWQ{}", letters(number)),
        given_names: "MARIA".to_owned(),
        date_of_birth: Some(year * 10_000 + 314),
        nationality: Some(state.to_owned()),
        document: Some(Document {
            kind: "P".to_owned(),
            number: format!("QX{number:07}"),
            issuing_state: Some(state.to_owned()),
        }),
        ..Person::default()
    }
}

/// Five letters for a number: 26^5 are more than all numbers of seven digits.
fn letters(mut number: u32) -> String {
    let mut text = String::new();
    for _ in 0..5 {
        text.push(char::from(b'A' + (number % 26) as u8));
        number /= 26;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_travellers_share_a_name_or_a_document() {
        let numbers = (0..2_000).chain((1..400).map(|hundreds| hundreds * 24_999));
        let people: Vec<Person> = numbers.map(|number| person(number, 1)).collect();
        let names: BTreeSet<_> = people.iter().map(|person| &person.family_name).collect();
        let documents: BTreeSet<_> = people.iter().filter_map(|p| p.document.as_ref().map(|d| &d.number)).collect();
        assert_eq!((names.len(), documents.len()), (people.len(), people.len()));
    }
}
