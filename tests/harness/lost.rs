//! A small world of one journey's lists (P1): they come in any order, people board, and the people of a gallery's parts
//! are lost with every node that had them. Who is who is said by the product's core; the losses and the oracle are the
//! world's.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::canary::Canaries;
use cluster_config::ids::{ContentHash, SubjectId, UnixMs};
use cluster_config::journey::Listing;
use cluster_config::person::{Document, Person};
use cluster_config::policy::Scope;
use node_core::roster::{self, Part, People, Question};

use crate::dice::Dice;

/// People of the journey.
const PEOPLE: u32 = 8;

/// Events of one run.
const EVENTS: usize = 60;

/// Parts that the gallery grows to.
const PARTS_MAX: usize = 2;

struct World {
    dice: Dice,
    parts: Vec<Part>,
    /// The list on which everybody of a part stands at their number.
    numbered_by: Vec<Option<ContentHash>>,
    /// See [`coordinator_core::galleries::Part::lost`].
    lost: Option<ContentHash>,
    lists: u8,
    /// In the ledger: subject ids by number.
    boarded: BTreeMap<u32, SubjectId>,
    /// In truth.
    crossed: BTreeSet<String>,
}

/// What does not hold after a run.
///
/// # Errors
/// That somebody crossed twice.
///
/// # Panics
/// Where a list is not followed.
pub fn run(seed: u64) -> Result<(), String> {
    let dice = Dice::new(seed, "lost people");
    let (parts, numbered_by) = (vec![Part::Unbuilt], vec![None]);
    let (boarded, crossed) = (BTreeMap::new(), BTreeSet::new());
    let mut world = World { dice, parts, numbered_by, lost: None, lists: 0, boarded, crossed };
    for _ in 0..EVENTS {
        match world.dice.between(0, 10) {
            0..=3 => world.list(),
            4 => world.lose(),
            _ => world.boards()?,
        }
    }
    Ok(())
}

fn person(number: u32) -> Person {
    let document =
        Document { kind: "P".to_owned(), number: format!("X{number:05}"), issuing_state: Some("PRT".to_owned()) };
    Person {
        family_name: "RIVERA".to_owned(),
        given_names: format!("G{number}"),
        date_of_birth: Some(19_800_101 + number),
        nationality: Some("PRT".to_owned()),
        document: Some(document),
        ..Person::default()
    }
}

impl World {
    /// A whole list or an addition, of some of the people in some order; all parts follow it, one after the other.
    fn list(&mut self) {
        self.lists += 1;
        let manifest = ContentHash([self.lists; 32]);
        let is_first = self.parts.contains(&Part::Unbuilt);
        let listing = if is_first || self.dice.chance(700) { Listing::Whole } else { Listing::Added };
        if self.dice.chance(200) && self.parts.len() < PARTS_MAX {
            self.parts.push(Part::Unbuilt);
            self.numbered_by.push(None);
        }
        // Nobody but a whole list says who is expected where the people are lost.
        let is_lost = self.parts.iter().any(|part| !matches!(part, Part::Known(_)));
        let listing = if is_lost { Listing::Whole } else { listing };
        let mut numbers: Vec<u32> = (1..=PEOPLE).filter(|_| self.dice.chance(700)).collect();
        if self.dice.chance(500) {
            self.dice.shuffle(&mut numbers);
        }
        let people: Vec<Person> =
            (1..).zip(numbers).map(|(place, number)| Person { manifest_ordinal: place, ..person(number) }).collect();
        for part in 0..self.parts.len() {
            self.build(part, manifest, listing, &people);
        }
    }

    fn build(&mut self, part: usize, manifest: ContentHash, listing: Listing, people: &[Person]) {
        for (known, numbered_by) in self.parts.iter_mut().zip(&self.numbered_by) {
            if let Part::Lost { is_numbered_by_list, .. } = known {
                *is_numbered_by_list = *numbered_by == Some(manifest);
            }
        }
        let question = Question {
            part: part as u16,
            parts: &self.parts,
            manifest,
            people,
            listing,
            boarded: &self.boarded,
            has_lost: self.lost.is_some_and(|known_by| known_by != manifest),
            has_boarded: !self.boarded.is_empty(),
            has_unnamed_boarded: false,
            scope: &Scope::default(),
            departs_at: UnixMs(1_800_000_000_000),
            canaries: Canaries::of_process(),
        };
        let dice = &mut self.dice;
        let next = roster::next(&question, &mut || dice.number()).expect("a list is followed");
        let losses = self.parts.iter().filter_map(|part| match part {
            Part::Lost { is_numbered_by_list, .. } => Some(*is_numbered_by_list),
            Part::Unbuilt | Part::Known(_) => None,
        });
        if let Some(is_numbered) = losses.reduce(|all, one| all && one).filter(|_| !self.boarded.is_empty()) {
            let known_by = if is_numbered { manifest } else { ContentHash::default() };
            let known_by_one = self.lost.is_none_or(|before| before == known_by);
            self.lost = Some(if known_by_one { known_by } else { ContentHash::default() });
        }
        if listing == Listing::Whole && !next.is_unchanged {
            self.numbered_by[part] = next.is_numbered_by_list.then_some(manifest);
        }
        self.parts[part] = Part::Known(People { manifest, people: next.people, left: next.left });
    }

    fn lose(&mut self) {
        for part in &mut self.parts {
            if matches!(part, Part::Known(_)) && self.dice.chance(600) {
                *part = Part::Lost { is_numbered_by_list: false, older: People::default() };
            }
        }
    }

    /// Somebody of the gallery shows their face. Nobody is unsure who is let through, and nobody has boarded whose id
    /// or number is in the ledger.
    fn boards(&mut self) -> Result<(), String> {
        let known = self.parts.iter().filter_map(|part| match part {
            Part::Known(known) => Some(&known.people),
            Part::Unbuilt | Part::Lost { .. } => None,
        });
        let sure: Vec<&roster::Enrolled> = known.flatten().filter(|enrolled| !enrolled.is_unsure).collect();
        let Some(enrolled) = self.dice.pick(&sure) else { return Ok(()) };
        if self.boarded.values().any(|subject| *subject == enrolled.subject) {
            return Ok(());
        }
        let name = enrolled.person.given_names.clone();
        self.boarded.insert(enrolled.person.manifest_ordinal, enrolled.subject);
        if self.crossed.insert(name.clone()) { Ok(()) } else { Err(format!("P1: {name} crossed twice")) }
    }
}
