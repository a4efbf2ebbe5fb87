//! The lists of a flight: who is announced, and how later messages change that. Made from the seed, with the truth
//! about who is meant, which the product is not told: people are told apart here by their places among the guests.
//!
//! Messages list people in another order, under other numbers and with newcomers at the top; they write names, states
//! and document numbers in other ways, correct one of them at a time, take people off and bring them back, and name a
//! namesake so that nobody can say who is meant. A gallery of two parts may have had one before.

use std::collections::BTreeSet;
use std::fmt;

use cluster_config::gallery::{GalleryId, Modality, ShardId};
use cluster_config::ids::{JourneyId, PortCode, UnixMs};
use cluster_config::journey::{JourneyPlan, Listing};
use cluster_config::person::{Document, Person};
use node::gallery::segment;
use node_population::model;

use crate::dice::Dice;

/// One message about a flight.
#[derive(Debug, Clone)]
pub struct Message {
    /// What is announced of the journey.
    pub plan: JourneyPlan,
    /// What its people are to those known before.
    pub listing: Listing,
    pub people: Vec<Person>,
    /// Everybody who is expected once it was followed, as a whole list has them: what is submitted where the gallery is
    /// lost.
    pub whole: Vec<Person>,
    /// The guests who are expected once it was followed.
    pub expected: BTreeSet<usize>,
    /// Whether nobody can say who is meant, so that it has to be refused.
    pub is_unclear: bool,
}

impl fmt::Display for Message {
    /// What it says: nobody in it is real.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} parts:", self.listing, self.plan.parts)?;
        for person in &self.people {
            let document = person.document.as_ref();
            let (number, state) = document.map_or(("", ""), |document| {
                (document.number.as_str(), document.issuing_state.as_deref().unwrap_or(""))
            });
            let born = person.date_of_birth.unwrap_or(0);
            write!(f, " {}/{}/{born}/{number}/{state}", person.family_name, person.given_names)?;
        }
        Ok(())
    }
}

impl Message {
    /// A part of the gallery that this is about.
    pub fn shard(&self, part: u16) -> ShardId {
        let gallery = GalleryId::passengers(self.plan.id);
        ShardId { gallery, modality: Modality::Face, model: self.plan.model, part }
    }

    /// The whole list in its place.
    pub fn instead(&self) -> Self {
        if self.listing == Listing::Whole {
            return self.clone();
        }
        let text = format!("{:?} instead", self.plan.manifest);
        let plan = JourneyPlan { manifest: segment::hash(text.as_bytes()), ..self.plan.clone() };
        Self { plan, listing: Listing::Whole, people: self.whole.clone(), is_unclear: false, ..self.clone() }
    }
}

/// Somebody who travels.
#[derive(Debug, Clone)]
pub struct Traveller {
    /// What holdings and cameras know them by; no list changes it.
    pub face: Person,
    /// As they were written on lists, in all ways that there are.
    pub written: Vec<Person>,
    /// The message that lists them first; absent where none does.
    pub comes_with: Option<usize>,
}

/// The lists of one flight and everybody on them.
pub struct Lists {
    /// The messages in their order.
    pub messages: Vec<Message>,
    /// Everybody.
    pub travellers: Vec<Traveller>,
}

/// Where all flights board.
pub fn port() -> PortCode {
    "JFK".parse().expect("a port")
}

/// Makes the lists of a flight.
pub fn lists(dice: &mut Dice, seed: u64, number: u64, departs_at: UnixMs) -> Lists {
    let journey: JourneyId = format!("ZT{}-20270115-JFK", 100 + number).parse().expect("an id");
    let people = dice.between(5, 12) as usize;
    let late = dice.between(0, 3) as usize;
    let travellers = travellers(dice, seed, number, people + late);
    let parts = if dice.chance(300) { 2 } else { 1 };
    let plan = JourneyPlan {
        id: journey,
        carrier: "ZT".to_owned(),
        number: (100 + number).to_string(),
        departure_port: port(),
        arrival_port: "VIE".parse().expect("a port"),
        departs_at,
        people: people as u32,
        parts,
        manifest: segment::hash(journey.to_string().as_bytes()),
        model: model(),
    };
    let mut script = Script { dice, plan, order: (0..people).collect(), travellers, messages: Vec::new() };
    script.tell(Listing::Whole, (0..people).collect(), false);
    for _ in 0..script.dice.between(0, 4) {
        match script.dice.between(0, 100) {
            0..45 => script.list_anew(),
            45..75 => script.add(),
            _ => script.take_off(),
        }
    }
    Lists { messages: script.messages, travellers: script.travellers }
}

/// People with names of their own, but for one namesake now and then, and one infant on the passport of a parent.
fn travellers(dice: &mut Dice, seed: u64, flight: u64, count: usize) -> Vec<Traveller> {
    let mut people: Vec<Person> = (1..=count as u64).map(|number| person(seed, flight, number)).collect();
    let mut faces = people.clone();
    let other = |dice: &mut Dice| {
        let one = dice.between(1, count as u64) as usize;
        (one, one - 1)
    };
    if dice.chance(300) {
        let (infant, parent) = other(dice);
        let (family_name, document) = (people[parent].family_name.clone(), people[parent].document.clone());
        let infant = &mut people[infant];
        let given_names = "TOMAS".to_owned();
        *infant = Person { family_name, given_names, document, date_of_birth: Some(20_260_601), ..infant.clone() };
    }
    if dice.chance(300) {
        let (one, namesake) = other(dice);
        let (family_name, given_names) = (people[one].family_name.clone(), people[one].given_names.clone());
        // Nobody could tell an infant from a parent of the same name on the same passport.
        if people[one].document != people[namesake].document {
            people[namesake] = Person { family_name, given_names, ..people[namesake].clone() };
        }
    }
    let both = faces.drain(..).zip(people);
    both.map(|(face, listed)| Traveller { face, written: vec![listed], comes_with: None }).collect()
}

fn person(seed: u64, flight: u64, number: u64) -> Person {
    Person {
        family_name: format!("F{flight}P{number}"),
        given_names: "ANA".to_owned(),
        date_of_birth: Some(19_800_100 + number as u32 % 28),
        nationality: Some(["USA", "AUT", "GBR"][number as usize % 3].to_owned()),
        document: Some(Document {
            kind: "P".to_owned(),
            number: format!("N{seed}Q{flight}Q{number}"),
            issuing_state: Some("PRT".to_owned()),
        }),
        ..Person::default()
    }
}

struct Script<'a> {
    dice: &'a mut Dice,
    plan: JourneyPlan,
    /// Who is expected, in the order of the last list.
    order: Vec<usize>,
    travellers: Vec<Traveller>,
    messages: Vec<Message>,
}

impl Script<'_> {
    /// A whole list: some leave, some come, and nobody stands where they stood.
    fn list_anew(&mut self) {
        let coming = self.absent(500);
        let mut order = self.order.clone();
        order.retain(|_| order_stays(self.dice));
        order.splice(0..0, coming);
        if self.dice.chance(400) {
            self.dice.shuffle(&mut order);
        }
        if order.len() < 3 {
            return;
        }
        self.may_grow();
        self.order.clone_from(&order);
        order.iter().for_each(|guest| self.rewrite(*guest));
        self.tell(Listing::Whole, order, false);
    }

    /// Further people, and other words about some who are known.
    fn add(&mut self) {
        let mut named = self.absent(600);
        self.order.extend(&named);
        let known = self.order.iter().copied().filter(|_| self.dice.chance(200));
        named.extend(known.collect::<Vec<usize>>());
        named.sort_unstable();
        named.dedup();
        self.dice.shuffle(&mut named);
        if named.is_empty() {
            return;
        }
        self.may_grow();
        named.iter().for_each(|guest| self.rewrite(*guest));
        self.tell(Listing::Added, named, false);
    }

    /// A cancellation: of one or two people, or of a name that two people have.
    fn take_off(&mut self) {
        let name = |guest: &usize| {
            let person = self.travellers[*guest].written.last().expect("written once at least");
            (person.family_name.to_uppercase(), person.given_names.to_uppercase())
        };
        let namesakes = |guest: &&usize| self.order.iter().filter(|other| name(other) == name(guest)).count() > 1;
        if let Some(guest) = self.order.iter().find(namesakes).copied() {
            return self.tell(Listing::Removed, vec![guest], true);
        }
        if self.order.len() < 4 {
            return;
        }
        let mut leaving: Vec<usize> =
            (0..self.dice.between(1, 3)).filter_map(|_| self.dice.pick(&self.order)).collect();
        leaving.sort_unstable();
        leaving.dedup();
        self.order.retain(|guest| !leaving.contains(guest));
        self.tell(Listing::Removed, leaving, false);
    }

    fn absent(&mut self, per_mille: u64) -> Vec<usize> {
        let absent = (0..self.travellers.len()).filter(|guest| !self.order.contains(guest));
        absent.filter(|_| self.dice.chance(per_mille)).collect()
    }

    fn may_grow(&mut self) {
        if self.plan.parts == 1 && self.dice.chance(300) {
            self.plan.parts = 2;
        }
    }

    /// Somebody may be written in another way from now on, or with one thing corrected.
    fn rewrite(&mut self, guest: usize) {
        let written = &mut self.travellers[guest].written;
        let Some(mut person) = written.last().cloned() else { return };
        let Some(document) = &mut person.document else { return };
        match self.dice.between(0, 20) {
            0 => document.number.push('7'),
            1 => person.family_name.push('S'),
            2 => person.family_name = person.family_name.to_lowercase(),
            3 => document.number = document.number.to_lowercase() + "<<<",
            4 => document.issuing_state = Some("PT".to_owned()),
            5 => document.issuing_state = None,
            _ => return,
        }
        written.push(person);
    }

    fn tell(&mut self, listing: Listing, named: Vec<usize>, is_unclear: bool) {
        let message = self.messages.len();
        let words = |guest: &usize| self.travellers[*guest].written.last().cloned().expect("written once at least");
        let mut people: Vec<Person> = named.iter().map(words).collect();
        let whole = numbered(self.order.iter().map(words).collect());
        if listing == Listing::Removed {
            people.iter_mut().for_each(|person| *person = cancelled(self.dice, person, is_unclear));
        }
        let text = format!("{}/{message}", self.plan.id);
        let plan = JourneyPlan {
            people: self.order.len() as u32,
            manifest: segment::hash(text.as_bytes()),
            ..self.plan.clone()
        };
        let expected = self.order.iter().copied().collect();
        self.messages.push(Message { plan, listing, people: numbered(people), whole, expected, is_unclear });
        if listing != Listing::Removed {
            named.iter().for_each(|guest| {
                self.travellers[*guest].comes_with.get_or_insert(message);
            });
        }
    }
}

fn order_stays(dice: &mut Dice) -> bool {
    !dice.chance(120)
}

/// How somebody is named who leaves: by everything, or by name and birth, or by document and name.
fn cancelled(dice: &mut Dice, person: &Person, by_name_alone: bool) -> Person {
    let mut named = person.clone();
    match dice.between(0, 3) {
        _ if by_name_alone => (named.document, named.date_of_birth) = (None, None),
        0 => named.document = None,
        1 => named.date_of_birth = None,
        _ => named.given_names = named.given_names.to_lowercase(),
    }
    named
}

fn numbered(people: Vec<Person>) -> Vec<Person> {
    let numbered = people.into_iter().zip(1..);
    numbered.map(|(person, manifest_ordinal)| Person { manifest_ordinal, ..person }).collect()
}
