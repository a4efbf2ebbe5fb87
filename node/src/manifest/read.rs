//! From the bytes of a manifest file to the journeys that it announces and their people.

use std::collections::BTreeMap;

use cluster_config::calendar::unix_ms;
use cluster_config::ids::{ContentHash, JourneyId, ModelVersion, PortCode};
use cluster_config::journey::{JourneyPlan, Listing};
use cluster_config::limits::{GALLERY_PARTS_MAX, SHARD_PEOPLE_MAX};
use cluster_config::person::{Document, Person};
use cluster_config::wire::{Fix, Refusal, RefusalCode};
use node_core::roster::key::PersonKey;
use node_intake::{Disposition, DocumentKind, Journey, Message, SeriesMark, Traveller};

use crate::gallery::segment;

/// What one file announces.
#[derive(Debug)]
pub struct Announced {
    pub journeys: Vec<Announcement>,
    /// What the parser wants to be known, and messages that announce nothing.
    pub warnings: Vec<String>,
    /// People that were set aside, with place and reason.
    pub quarantined: Vec<String>,
}

/// One journey and its people.
#[derive(Debug)]
pub struct Announcement {
    pub plan: JourneyPlan,
    /// Its people, or those who leave it.
    pub people: Vec<Person>,
    /// What they are to the people known already.
    pub listing: Listing,
}

/// Reads a manifest file of any format. The galleries of its journeys hold templates of `model`.
///
/// Times of departure are taken as UTC: a manifest gives the port's local time without its offset, and no time-zone
/// data of ports is part of this product. They order departures of one port rightly.
///
/// # Errors
/// A refusal with the place in the file and the fix; nothing of the file is used then.
pub fn read(bytes: &[u8], model: ModelVersion) -> Result<Announced, Refusal> {
    let interchange = node_intake::parse(bytes).map_err(|error| {
        let fix = Fix::with(format!("{}; see `tvs manifest check FILE` for the details", error.kind.fix()));
        Refusal::new(RefusalCode::BadValue, format!("manifest at {}", error.place), error.kind.to_string(), fix)
    })?;
    let mut announced = Announced {
        journeys: Vec::new(),
        warnings: interchange.warnings.iter().map(|w| format!("{}: {}", w.place, w.detail)).collect(),
        quarantined: Vec::new(),
    };
    let mut useless = None;
    let mut by_id: BTreeMap<JourneyId, usize> = BTreeMap::new();
    for message in &interchange.messages {
        let quarantined =
            message.quarantined.iter().map(|q| format!("{}: person {}: {}", q.place, q.ordinal, q.detail));
        announced.quarantined.extend(quarantined);
        let journeys = message.departures().unwrap_or_else(|refusal| {
            useless = Some((message.place.clone(), refusal.to_string()));
            announced.warnings.push(format!("{}: the message announces no journey: {refusal}", message.place));
            Vec::new()
        });
        for journey in &journeys {
            let mut announcement = announce(message, journey, by_id.len(), model)?;
            if announcement.listing == Listing::Removed {
                announced.quarantined.extend(announcement.set_aside_unnamed(message));
            }
            match by_id.get(&announcement.plan.id) {
                Some(index) => announced.journeys[*index].join(announcement, message)?,
                None => {
                    by_id.insert(announcement.plan.id, announced.journeys.len());
                    announced.journeys.push(announcement);
                }
            }
        }
    }
    for announcement in &mut announced.journeys {
        announcement.settle()?;
    }
    if announced.journeys.is_empty() {
        let (place, problem) = match useless {
            Some((place, why)) => (format!("manifest message at {place}"), format!("it announces no journey: {why}")),
            None => ("manifest".to_owned(), "no message announces a journey".to_owned()),
        };
        let fix = "submit a list of passengers who board a named flight";
        return Err(Refusal::new(RefusalCode::BadValue, place, problem, fix));
    }
    Ok(announced)
}

fn announce(message: &Message, journey: &Journey, number: usize, model: ModelVersion) -> Result<Announcement, Refusal> {
    let place = |what: &str| format!("manifest message at {}: {what}", message.place);
    let bad = |what: &str, error: cluster_config::ids::Error| {
        let fix = Fix::with(format!("correct it and submit the manifest again: {}", error.fix()));
        Refusal::new(RefusalCode::BadValue, place(what), error.problem(), fix)
    };
    let departure = journey.departure;
    let date = departure.date;
    let (hour, minute) = departure.time.map_or((0, 0), |time| (u32::from(time.hour()), u32::from(time.minute())));
    let (year, month, day) = (u32::from(date.year()), u32::from(date.month()), u32::from(date.day()));
    let id =
        format!("{}{}-{year:04}{month:02}{day:02}-{}", journey.carrier, journey.flight_number, journey.departure_port);
    let port = |what: &'static str, text: &str| text.parse::<PortCode>().map_err(|error| bad(what, error));
    let series = message.manifest.series.as_ref();
    let alone = series.is_none_or(|part| part.number == 1 && part.mark == Some(SeriesMark::Last));
    let travellers = journey.travellers.iter().filter_map(|index| message.manifest.travellers.get(*index));
    Ok(Announcement {
        plan: JourneyPlan {
            id: id.parse().map_err(|error| bad(&format!("journey {number}"), error))?,
            carrier: journey.carrier.clone(),
            number: journey.flight_number.clone(),
            departure_port: port("port of departure", &journey.departure_port)?,
            arrival_port: port("port of arrival", &journey.arrival_port)?,
            departs_at: unix_ms(year, month, day, hour, minute),
            people: 0,
            parts: 1,
            manifest: ContentHash::default(),
            model,
        },
        people: travellers.map(person).collect(),
        listing: match message.disposition {
            Disposition::Remove => Listing::Removed,
            Disposition::Amend => Listing::Added,
            _ if alone => Listing::Whole,
            _ => Listing::Added,
        },
    })
}

fn person(traveller: &Traveller) -> Person {
    let is_passport = |document: &&node_intake::Document| document.kind() == DocumentKind::Passport;
    let passports = traveller.documents.iter().filter(is_passport);
    let others = traveller.documents.iter().filter(|document| !is_passport(document));
    let mut documents = passports.chain(others).filter_map(|document| {
        Some(Document {
            kind: document.type_code.clone().unwrap_or_default(),
            number: document.number.clone()?,
            issuing_state: document.issuing_state.clone(),
        })
    });
    Person {
        manifest_ordinal: traveller.ordinal,
        family_name: traveller.family_name.clone(),
        given_names: traveller.given_names.join(" "),
        date_of_birth: traveller
            .date_of_birth
            .map(|date| u32::from(date.year()) * 10_000 + u32::from(date.month()) * 100 + u32::from(date.day())),
        nationality: traveller.nationality.clone(),
        document: documents.next(),
        other_documents: documents.collect(),
        reference: traveller.passenger_reference.clone(),
    }
}

impl Announcement {
    /// Sets aside the people of a cancellation whom nothing tells from others: they have neither document, reference
    /// nor name.
    fn set_aside_unnamed(&mut self, message: &Message) -> Vec<String> {
        let is_named = |person: &Person| !PersonKey::of(person).is_empty();
        let (named, unnamed): (Vec<Person>, Vec<Person>) = self.people.drain(..).partition(is_named);
        self.people = named;
        let told = |person: Person| {
            let number = person.manifest_ordinal;
            let place = &message.place;
            format!(
                "{place}: person {number}: a cancellation has to give the travel document, the reference or the name"
            )
        };
        unnamed.into_iter().map(told).collect()
    }

    /// Takes in the people of a further message about the same journey.
    fn join(&mut self, other: Self, message: &Message) -> Result<(), Refusal> {
        let removed = [self.listing, other.listing].map(|listing| listing == Listing::Removed);
        if removed[0] != removed[1] {
            let place = format!("manifest message at {}: journey {}", message.place, self.plan.id);
            let problem = "people are listed and taken off in one file";
            let fix = "submit these messages one after the other";
            return Err(Refusal::new(RefusalCode::BadValue, place, problem, fix));
        }
        let offset = self.people.iter().map(|person| person.manifest_ordinal).max().unwrap_or(0);
        self.people.extend(other.people.into_iter().map(|mut person| {
            person.manifest_ordinal += offset;
            person
        }));
        if other.listing == Listing::Added {
            self.listing = Listing::Added;
        }
        Ok(())
    }

    /// Fills in what follows from the people.
    fn settle(&mut self) -> Result<(), Refusal> {
        let place = format!("manifest of {}", self.plan.id);
        self.plan.parts = parts_for(self.people.len());
        check_parts(self.plan.parts, || place.clone())?;
        self.plan.people = self.people.len() as u32;
        let canonical = serde_json::to_vec(&(&self.plan.id, self.listing, &self.people))
            .map_err(|error| Refusal::new(RefusalCode::Internal, place, error.to_string(), "report the file"))?;
        self.plan.manifest = segment::hash(&canonical);
        Ok(())
    }

    /// The plan of the journey with this: what is `known` of it stays, as far as this does not say anything else. A
    /// gallery never has fewer parts than before: people stay in the part in which they are. `people_committed` is how
    /// many people its gallery has.
    ///
    /// # Errors
    /// Where people are taken off a journey that is not known, or too many are added.
    pub fn plan_after(&self, known: Option<&JourneyPlan>, people_committed: u32) -> Result<JourneyPlan, Refusal> {
        Ok(match (self.listing, known) {
            (Listing::Removed, None) => {
                let place = format!("manifest of {}", self.plan.id);
                let problem = "people are taken off it, and it is not known here";
                let fix = "submit its list of passengers first";
                return Err(Refusal::new(RefusalCode::NotFound, place, problem, fix));
            }
            (Listing::Whole | Listing::Added, None) => self.plan.clone(),
            (_, Some(known)) if known.manifest == self.plan.manifest => known.clone(),
            (Listing::Whole, Some(known)) => {
                JourneyPlan { parts: self.plan.parts.max(known.parts), ..self.plan.clone() }
            }
            (Listing::Added, Some(known)) => {
                let people = people_committed.saturating_add(self.plan.people);
                let parts = parts_for(people as usize).max(known.parts);
                check_parts(parts, || format!("manifest of {}", self.plan.id))?;
                JourneyPlan { people, parts, ..self.plan.clone() }
            }
            (Listing::Removed, Some(known)) => {
                let people = people_committed.saturating_sub(self.plan.people);
                JourneyPlan { people, manifest: self.plan.manifest, ..known.clone() }
            }
        })
    }
}

fn parts_for(people: usize) -> u16 {
    u16::try_from(people.div_ceil(SHARD_PEOPLE_MAX).max(1)).unwrap_or(u16::MAX)
}

fn check_parts(parts: u16, place: impl Fn() -> String) -> Result<(), Refusal> {
    if parts <= GALLERY_PARTS_MAX {
        return Ok(());
    }
    let people_max = usize::from(GALLERY_PARTS_MAX) * SHARD_PEOPLE_MAX;
    let problem = format!("its gallery would hold more than the {people_max} people that one may hold");
    Err(Refusal::new(RefusalCode::TooLarge, place(), problem, "submit fewer people"))
}

#[cfg(test)]
mod tests {
    use node_intake::{Date, Leg, LocalDateTime, LocalTime, Manifest, MessageKind, compose};

    use super::*;

    fn model() -> ModelVersion {
        "model-1".parse().expect("a model")
    }

    /// A message about one flight, of which person 1 has a name and a document and person 2 neither.
    fn message(kind: MessageKind) -> String {
        let leg = Leg {
            carrier: Some("EX".to_owned()),
            flight_number: Some("123".to_owned()),
            departure_port: "VIE".to_owned(),
            arrival_port: "JFK".to_owned(),
            departure: Some(LocalDateTime {
                date: Date::new(2030, 6, 15).expect("a date"),
                time: LocalTime::new(10, 45),
            }),
            arrival: None,
        };
        let document = node_intake::Document { number: Some("P1234567".to_owned()), ..Default::default() };
        let named = Traveller {
            ordinal: 1,
            family_name: "OAKLEY".to_owned(),
            documents: vec![document],
            ..Traveller::default()
        };
        let unnamed = Traveller { ordinal: 2, ..Traveller::default() };
        let manifest = Manifest { kind, ..Manifest::air_passenger_list(leg, vec![named, unnamed]) };
        String::from_utf8(compose(&manifest)).expect("text")
    }

    /// P10.
    #[test]
    fn whom_a_cancellation_does_not_name_is_set_aside_and_the_others_leave() {
        let cancelled =
            read(message(MessageKind::ReservationCancellation).as_bytes(), model()).expect("a cancellation");
        let [announcement] = &cancelled.journeys[..] else { panic!("{cancelled:?}") };
        assert_eq!((announcement.listing, announcement.people.len()), (Listing::Removed, 1));
        assert_eq!(announcement.people[0].family_name, "OAKLEY");
        assert!(cancelled.quarantined[0].contains("person 2"), "{:?}", cancelled.quarantined);
    }

    /// P10.
    #[test]
    fn one_file_does_not_list_people_and_take_people_off() {
        let both = message(MessageKind::PassengerList) + &message(MessageKind::PartyReduction);
        let refusal = read(both.as_bytes(), model()).expect_err("which comes first is not said");
        assert!(refusal.fix.as_str().contains("one after the other"), "{refusal}");
        let twice = message(MessageKind::PartyReduction) + &message(MessageKind::ReservationCancellation);
        assert_eq!(read(twice.as_bytes(), model()).expect("two cancellations").journeys[0].listing, Listing::Removed);
    }

    /// R43.
    #[test]
    fn a_change_goes_on_from_the_plan_that_is_known() {
        let announced = |kind| read(message(kind).as_bytes(), model()).expect("a message").journeys.remove(0);
        let off = announced(MessageKind::ReservationCancellation);
        assert_eq!(off.plan_after(None, 0).expect_err("an unknown journey").code, RefusalCode::NotFound);
        let known = JourneyPlan { people: 40, parts: 2, manifest: ContentHash([7; 32]), ..off.plan.clone() };
        let after = off.plan_after(Some(&known), 40).expect("a plan");
        assert_eq!((after.people, after.parts, after.manifest), (39, 2, off.plan.manifest));
        assert_eq!(off.plan_after(Some(&after), 39).expect("a repeat"), after);
        let on = announced(MessageKind::PassengerChange);
        assert_eq!(on.plan_after(Some(&known), 40).expect("a plan").people, 40 + on.plan.people);
    }

    /// R43: a gallery grows in parts with its people, and never loses one again.
    #[test]
    fn a_gallery_grows_and_does_not_shrink() {
        let mut list =
            read(message(MessageKind::PassengerList).as_bytes(), model()).expect("a list").journeys.remove(0);
        let add = read(message(MessageKind::PassengerChange).as_bytes(), model()).expect("a change").journeys.remove(0);
        let known = JourneyPlan { parts: 1, manifest: ContentHash([7; 32]), ..list.plan.clone() };
        let full = SHARD_PEOPLE_MAX as u32;
        let parts = |people| add.plan_after(Some(&known), people).expect("a plan").parts;
        assert_eq!((parts(full - add.plan.people), parts(full)), (1, 2));
        let known = JourneyPlan { parts: 3, ..known };
        assert_eq!(list.plan_after(Some(&known), 20_000).expect("a plan").parts, 3);
        list.people = vec![list.people[0].clone(); 4 * SHARD_PEOPLE_MAX];
        list.settle().expect("room");
        assert_eq!(list.plan_after(Some(&known), 20_000).expect("a plan").parts, 4);
        let limit = u32::from(GALLERY_PARTS_MAX) * full;
        assert_eq!(add.plan_after(Some(&known), limit).expect_err("too many").code, RefusalCode::TooLarge);
    }
}
