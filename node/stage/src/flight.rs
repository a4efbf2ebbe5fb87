//! A departure: its manifest as PAXLST, and the people on it.

use std::ops::RangeBounds;

use cluster_config::ids::{JourneyId, PortCode};
use cluster_config::person::Person;
use node_intake::{
    Date, Document, Leg, LocalDateTime, LocalTime, Manifest, MessageKind, Role, Sex, Traveller, compose, parse,
};
use node_population::{Population, people};
use time::OffsetDateTime;

use crate::guest::Guest;

/// One departure.
#[derive(Debug, Clone)]
pub struct Flight {
    pub journey: JourneyId,
    /// Where it boards.
    pub port: PortCode,
    /// Its manifest, as it is submitted.
    pub manifest: Vec<u8>,
    /// Its travellers.
    pub guests: Vec<Guest>,
}

/// What a flight is announced with.
#[derive(Debug, Clone)]
pub struct Itinerary {
    /// Two characters.
    pub carrier: String,
    /// Up to four digits.
    pub number: u32,
    /// Port of departure.
    pub from: String,
    /// Port of arrival.
    pub to: String,
    /// Seconds since 1970.
    pub departs_at_s: i64,
    /// Travellers of the run who are on other flights: nobody travels on two.
    pub travellers_before: u32,
    /// People on it, up to 9,999.
    pub travellers: u32,
}

impl Flight {
    /// What identifies its people: family names and document numbers.
    pub fn personal_data(&self) -> Vec<String> {
        let documents = self.guests.iter().filter_map(|guest| guest.person.document.as_ref());
        let names = self.guests.iter().map(|guest| &guest.person.family_name);
        documents.map(|document| &document.number).chain(names).cloned().collect()
    }

    /// A flight with made-up people, in the order of its manifest.
    ///
    /// # Panics
    /// Where the itinerary makes no journey: that is the run's own mistake.
    pub fn new(population: &Population, itinerary: &Itinerary) -> Self {
        let Itinerary { carrier, number, from, to, departs_at_s, travellers_before, travellers } = itinerary;
        let departs = OffsetDateTime::from_unix_timestamp(*departs_at_s).expect("a time");
        let date = Date::new(departs.year() as u16, departs.month().into(), departs.day()).expect("a date");
        let day = day(*departs_at_s);
        let leg = Leg {
            carrier: Some(carrier.clone()),
            flight_number: Some(number.to_string()),
            departure_port: from.clone(),
            arrival_port: to.clone(),
            departure: Some(LocalDateTime { date, time: LocalTime::new(departs.hour(), departs.minute()) }),
            arrival: None,
        };
        let people: Vec<Person> =
            (1..=*travellers).map(|ordinal| people::person(travellers_before + ordinal, ordinal)).collect();
        let listed = people.iter().map(|person| traveller(person, &leg)).collect();
        Self {
            journey: format!("{carrier}{number}-{day}-{from}").parse().expect("an itinerary makes a journey"),
            port: from.parse().expect("an itinerary leaves from a port"),
            manifest: compose(&Manifest::air_passenger_list(leg, listed)),
            guests: people.into_iter().map(|person| Guest::new(population, person, day)).collect(),
        }
    }

    /// A message of some kind about those of its people who have these numbers on its manifest.
    ///
    /// # Panics
    /// Where its manifest does not read back.
    pub fn message(&self, kind: MessageKind, numbers: impl RangeBounds<u32>) -> Vec<u8> {
        let mut manifest = parse(&self.manifest).expect("what was composed reads").messages.remove(0).manifest;
        manifest.kind = kind;
        manifest.travellers.retain(|traveller| numbers.contains(&traveller.ordinal));
        compose(&manifest)
    }
}

/// The UTC day of a time in seconds since 1970, YYYYMMDD; 0 where there is no such day.
pub fn day(at_s: i64) -> u32 {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(at_s) else { return 0 };
    at.year() as u32 * 10_000 + u32::from(u8::from(at.month())) * 100 + u32::from(at.day())
}

/// A person as a carrier lists them.
fn traveller(person: &Person, leg: &Leg) -> Traveller {
    let ordinal = person.manifest_ordinal;
    let born = person.date_of_birth.unwrap_or_default();
    let document = person.document.as_ref().map(|document| Document {
        type_code: Some(document.kind.clone()),
        number: Some(document.number.clone()),
        issuing_state: document.issuing_state.clone(),
        expiry: Date::new(2_031, 6, 30),
        issued: None,
    });
    Traveller {
        ordinal,
        role: Role::from_code("FL"),
        family_name: person.family_name.clone(),
        given_names: vec![person.given_names.clone()],
        sex: Some(Sex::from_code(if ordinal.is_multiple_of(2) { "F" } else { "M" })),
        date_of_birth: Date::new((born / 10_000) as u16, (born / 100 % 100) as u8, (born % 100) as u8),
        nationality: person.nationality.clone(),
        embarkation_port: Some(leg.departure_port.clone()),
        debarkation_port: Some(leg.arrival_port.clone()),
        record_locator: Some(format!("R{ordinal:05}")),
        seat: Some(format!("{:03}{}", 1 + (ordinal - 1) / 6, (b'A' + ((ordinal - 1) % 6) as u8) as char)),
        documents: document.into_iter().collect(),
        ..Traveller::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_the_people_who_are_on_the_flight() {
        let itinerary = Itinerary {
            carrier: "ZT".to_owned(),
            number: 101,
            from: "JFK".to_owned(),
            to: "VIE".to_owned(),
            departs_at_s: 1_800_000_000,
            travellers_before: 1_000,
            travellers: 30,
        };
        let flight = Flight::new(&Population::new(1, 128), &itinerary);
        assert_eq!(flight.journey.as_str(), "ZT101-20270115-JFK");
        let read = parse(&flight.manifest).expect("it reads");
        assert!(read.warnings.is_empty(), "{:?}", read.warnings);
        let listed = &read.messages[0].manifest.travellers;
        assert_eq!((listed.len(), flight.guests.len()), (30, 30));
        for (traveller, guest) in listed.iter().zip(&flight.guests) {
            assert_eq!(traveller.ordinal, guest.person.manifest_ordinal);
            assert_eq!(traveller.family_name, guest.person.family_name);
            let document = guest.person.document.as_ref().expect("a passport");
            assert_eq!(traveller.documents[0].number.as_ref(), Some(&document.number));
        }
    }
}
