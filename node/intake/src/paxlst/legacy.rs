//! PAXLST of US-EDIFACT (001:000): one PDT segment for each person.
//!
//! `PDT+P/number:expiry:state+family:given:initial:birth:sex+PAX+embarkation:debarkation`

use crate::date::Date;
use crate::edifact::Segment;
use crate::error::Warnings;
use crate::manifest::{Document, MessageKind, Role, Sex, Traveller};

use super::person::Entry;

/// Reads one PDT.
pub(super) fn entry(segment: &Segment, ordinal: u32, reference_date: Date, warnings: &mut Warnings) -> Entry {
    let own = |element, component| segment.value(element, component).map(str::to_owned);
    let document = segment.value(1, 0).map(|written| {
        let (type_code, number) = match written.split_once('/') {
            Some((type_code, number)) => (Some(type_code.to_owned()), number),
            None => (None, written),
        };
        Document { type_code, number: Some(number.to_owned()), issuing_state: own(1, 2), ..Document::default() }
    });
    let traveller = Traveller {
        ordinal,
        role: match segment.value(3, 0) {
            None | Some("PAX") => Role::Passenger,
            Some("CRW" | "CRE") => Role::Crew,
            Some(other) => Role::Other(other.to_owned()),
        },
        family_name: own(2, 0).unwrap_or_default(),
        given_names: [own(2, 1), own(2, 2)].into_iter().flatten().collect(),
        sex: segment.value(2, 4).map(Sex::from_code),
        embarkation_port: own(4, 0),
        debarkation_port: own(4, 1),
        documents: document.into_iter().collect(),
        ..Traveller::default()
    };
    let mut entry = Entry::with(traveller, segment.place.clone(), reference_date);
    if let Some(value) = segment.value(2, 3) {
        entry.set_birth(value, None, &segment.place, warnings);
    }
    if let Some(value) = segment.value(1, 1) {
        entry.set_expiry(value, &segment.place, warnings);
    }
    entry
}

/// There is no BGM: a list of nothing but crew is a crew list.
pub(super) fn kind(travellers: &[Traveller]) -> MessageKind {
    let only_crew = !travellers.is_empty() && travellers.iter().all(|traveller| traveller.role == Role::Crew);
    if only_crew { MessageKind::CrewList } else { MessageKind::PassengerList }
}
