//! One traveller: from NAD to the next NAD.

use crate::date::{self, Century, Date, Decoded};
use crate::edifact::Segment;
use crate::error::{WarningCode, Warnings};
use crate::limits;
use crate::manifest::{Address, BagTag, Document, OtherPlace, Reference, Role, Sex, Traveller, Weight};
use crate::message::{Quarantine, QuarantineReason};
use crate::place::Place;

use super::header::contacts;

/// A traveller while its segments are read.
pub(super) struct Entry {
    traveller: Traveller,
    place: Place,
    reference_date: Date,
    fault: Option<Fault>,
    /// Whether the segment before was the NAD.
    after_name: bool,
}

struct Fault {
    reason: QuarantineReason,
    place: Place,
    detail: &'static str,
}

impl Entry {
    /// Begins a traveller with its NAD.
    pub(super) fn open(segment: &Segment, ordinal: u32, reference_date: Date, warnings: &mut Warnings) -> Self {
        let mut names = (0..5).map(|component| segment.value(4, component));
        let family_name = names.next().flatten();
        let given_names: Vec<String> = names.flatten().map(str::to_owned).collect();
        let unstructured = segment.value(3, 0);
        if family_name.is_none() && given_names.is_empty() && unstructured.is_some() {
            warnings.add(WarningCode::NamePosition, &segment.place, "the name stands in C058 instead of C080");
        }
        let family_name = match family_name {
            Some(name) => name.to_owned(),
            None if given_names.is_empty() => unstructured.unwrap_or_default().to_owned(),
            None => String::new(),
        };
        if given_names.is_empty() && family_name.contains(['/', ' ']) {
            warnings.add(WarningCode::NamePosition, &segment.place, "the whole name stands in one component");
        }
        let own = |element, component| segment.value(element, component).map(str::to_owned);
        let address = Address {
            street: own(5, 0),
            city: own(6, 0),
            region: own(7, 0),
            postal_code: own(8, 0),
            country: own(9, 0),
        };
        let traveller = Traveller {
            ordinal,
            role: Role::from_code(segment.value(1, 0).unwrap_or_default()),
            family_name,
            given_names,
            address: (address != Address::default()).then_some(address),
            ..Traveller::default()
        };
        Self::with(traveller, segment.place.clone(), reference_date)
    }

    /// Begins a traveller that was read elsewhere.
    pub(super) fn with(traveller: Traveller, place: Place, reference_date: Date) -> Self {
        Self { traveller, place, reference_date, fault: None, after_name: true }
    }

    /// Reads one more segment of the traveller.
    pub(super) fn segment(&mut self, segment: &Segment, warnings: &mut Warnings) {
        let after_name = std::mem::replace(&mut self.after_name, false);
        match &*segment.tag {
            "ATT" => self.attribute(segment),
            "DTM" => self.date(segment, warnings),
            "MEA" => self.measure(segment),
            "GEI" => match segment.value(2, 0) {
                Some("173") => self.traveller.verified = Some(true),
                Some("174") => self.traveller.verified = Some(false),
                _ => {}
            },
            "FTX" => self.text(segment),
            "LOC" => self.location(segment),
            "COM" => {
                self.traveller.contacts.extend(contacts(segment, 1));
                self.limit(self.traveller.contacts.len(), limits::DETAILS_MAX, segment);
            }
            "EMP" => self.traveller.crew_function = segment.value(2, 0).map(str::to_owned),
            "NAT" => {
                self.traveller.nationality =
                    segment.value(2, 0).map(str::to_owned).or(self.traveller.nationality.take())
            }
            "RFF" => self.reference(segment),
            "DOC" => {
                self.traveller.documents.push(Document {
                    type_code: segment.value(1, 0).map(str::to_owned),
                    number: segment.value(2, 0).map(str::to_owned),
                    ..Document::default()
                });
                self.limit(self.traveller.documents.len(), limits::DOCUMENTS_MAX, segment);
            }
            "CTA" | "QTY" | "CPI" | "AUT" | "GIR" | "SEL" | "STS" | "PNA" | "ADR" => {}
            // If no segment follows a name, it is the rest of the name: a separator in it was not released.
            _ if after_name || !segment.has_valid_tag() => {
                self.fail(
                    QuarantineReason::Damaged,
                    &segment.place,
                    "this is no segment of a traveller; a separator inside of a value must be released, \
                     for example O?'NEILL",
                );
            }
            _ => warnings.add(WarningCode::NotUnderstood, &segment.place, "the segment means nothing for a traveller"),
        }
    }

    /// Ends the traveller. An entry that cannot be trusted becomes a quarantine.
    pub(super) fn close(mut self, must_be_named: bool) -> Result<Traveller, Quarantine> {
        let unnamed = self.traveller.family_name.is_empty() && self.traveller.given_names.is_empty();
        if unnamed && must_be_named {
            let place = self.place.clone();
            self.fail(QuarantineReason::NoName, &place, "the traveller has no name; ask the sender for it");
        }
        match self.fault {
            None => Ok(self.traveller),
            Some(fault) => Err(Quarantine {
                ordinal: self.traveller.ordinal,
                reason: fault.reason,
                place: fault.place,
                detail: fault.detail.to_owned(),
                traveller: Box::new(self.traveller),
            }),
        }
    }

    fn fail(&mut self, reason: QuarantineReason, place: &Place, detail: &'static str) {
        self.fault.get_or_insert_with(|| Fault { reason, place: place.clone(), detail });
    }

    fn limit(&mut self, count: usize, limit: usize, segment: &Segment) {
        if count > limit {
            self.fail(
                QuarantineReason::TooManyDetails,
                &segment.place,
                "the traveller has more of these than are read",
            );
        }
    }

    fn attribute(&mut self, segment: &Segment) {
        if segment.value(1, 0) != Some("2") {
            return;
        }
        let code = segment.first(3, 0).map(|code| {
            // Senders without UNA repeat with the default separator of version 4 (`M*M*M`).
            let first = code.split('*').next().unwrap_or(code);
            if first.len() == 1 { first } else { code }
        });
        self.traveller.sex = code.map(Sex::from_code).or(self.traveller.sex.take());
    }

    fn date(&mut self, segment: &Segment, warnings: &mut Warnings) {
        let Some(value) = segment.value(1, 1) else { return };
        let format = segment.value(1, 2);
        match segment.value(1, 0) {
            Some("329") => self.set_birth(value, format, &segment.place, warnings),
            Some(qualifier @ ("36" | "182")) => {
                let decoded = date::decode(value, format, Century::Expiry(self.reference_date));
                let Some(document) = self.traveller.documents.last_mut() else {
                    warnings.add(
                        WarningCode::NotUnderstood,
                        &segment.place,
                        "a document's date stands before any document",
                    );
                    return;
                };
                let found = match decoded {
                    Decoded::Is(found) => found.date,
                    Decoded::PartlyUnknown | Decoded::Unreadable => {
                        warnings.add(WarningCode::DateUnreadable, &segment.place, "the document's date is no date");
                        return;
                    }
                };
                let slot = if qualifier == "36" { &mut document.expiry } else { &mut document.issued };
                if slot.replace(found).is_some() {
                    warnings.add(
                        WarningCode::ExpiryRepeated,
                        &segment.place,
                        "the document has this date twice; the later statement is kept",
                    );
                }
            }
            _ => warnings.add(WarningCode::NotUnderstood, &segment.place, "the date means nothing for a traveller"),
        }
    }

    /// Sets the date of birth. If it is no date, the traveller is quarantined; if it is partly unknown, they are not.
    pub(super) fn set_birth(&mut self, value: &str, format: Option<&str>, place: &Place, warnings: &mut Warnings) {
        match date::decode(value, format, Century::Birth(self.reference_date)) {
            Decoded::Is(found) => self.traveller.date_of_birth = Some(found.date),
            Decoded::PartlyUnknown => {
                warnings.add(
                    WarningCode::DatePartlyUnknown,
                    place,
                    "the date of birth is partly unknown and is left out",
                );
            }
            Decoded::Unreadable => {
                self.fail(
                    QuarantineReason::DateOfBirth,
                    place,
                    "the date of birth is no date; ask the sender for it as YYMMDD",
                );
            }
        }
    }

    /// Sets a document's expiry. If it is no date, it is left out with a warning.
    pub(super) fn set_expiry(&mut self, value: &str, place: &Place, warnings: &mut Warnings) {
        let decoded = date::decode(value, None, Century::Expiry(self.reference_date));
        match (decoded, self.traveller.documents.last_mut()) {
            (Decoded::Is(found), Some(document)) => document.expiry = Some(found.date),
            _ => warnings.add(WarningCode::DateUnreadable, place, "the document's date is no date"),
        }
    }

    fn measure(&mut self, segment: &Segment) {
        // The count stands in the unit's place in most messages, in its own place in some.
        let number = |component| segment.value(3, component).and_then(|value| value.parse().ok());
        match segment.value(1, 0) {
            Some("CT") => self.traveller.baggage.count = number(1).or_else(|| number(0)),
            Some("WT") => {
                let unit = segment.value(3, 0).filter(|unit| unit.parse::<u32>().is_err()).map(str::to_owned);
                if let Some(value) = number(1).or_else(|| number(0)) {
                    self.traveller.baggage.weight = Some(Weight { unit, value });
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, segment: &Segment) {
        if segment.value(1, 0) != Some("BAG") {
            return;
        }
        let Some(tag) = segment.value(4, 0) else { return };
        let count = segment.value(4, 1).and_then(|count| count.parse().ok());
        self.traveller.baggage.tags.push(BagTag { tag: tag.to_owned(), count });
        self.limit(self.traveller.baggage.tags.len(), limits::DETAILS_MAX, segment);
    }

    fn location(&mut self, segment: &Segment) {
        let function = segment.value(1, 0).unwrap_or_default();
        let code = segment.value(2, 0).map(str::to_owned);
        let traveller = &mut self.traveller;
        let slot = match function {
            "91" => match traveller.documents.last_mut() {
                // A part of a country (code list 163) issues driving licences. The country after it is the state.
                Some(document) if document.issuing_state.is_none() || segment.value(2, 1) != Some("163") => {
                    &mut document.issuing_state
                }
                _ => return,
            },
            "22" => &mut traveller.clearance_port,
            "174" => &mut traveller.residence,
            "178" => &mut traveller.embarkation_port,
            "179" => &mut traveller.debarkation_port,
            "180" => {
                let words: Vec<&str> =
                    [segment.value(2, 3), segment.value(3, 3), segment.value(4, 3)].into_iter().flatten().collect();
                if !words.is_empty() {
                    traveller.birth_place = Some(words.join(", "));
                }
                &mut traveller.birth_country
            }
            _ => {
                if let Some(code) = code {
                    traveller.other_places.push(OtherPlace { function: function.to_owned(), code });
                    self.limit(self.traveller.other_places.len(), limits::DETAILS_MAX, segment);
                }
                return;
            }
        };
        if code.is_some() {
            *slot = code;
        }
    }

    fn reference(&mut self, segment: &Segment) {
        let (Some(qualifier), Some(number)) = (segment.value(1, 0), segment.value(1, 1)) else {
            return;
        };
        let traveller = &mut self.traveller;
        let slot = match qualifier {
            "AVF" => Some(&mut traveller.record_locator),
            "ABO" => Some(&mut traveller.passenger_reference),
            "SEA" => Some(&mut traveller.seat),
            _ => None,
        };
        match slot {
            Some(slot @ None) => *slot = Some(number.to_owned()),
            _ => {
                traveller
                    .other_references
                    .push(Reference { qualifier: qualifier.to_owned(), number: number.to_owned() });
                self.limit(self.traveller.other_references.len(), limits::DETAILS_MAX, segment);
            }
        }
    }
}
