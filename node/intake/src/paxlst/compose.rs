//! Writes a manifest as a PAXLST interchange, as airlines send it, for demonstrations, tests and forwarding.

use crate::date::{Century, Date, LocalDateTime, SCHEDULE_PIVOT};
use crate::edifact::{GroupHeader, InterchangeHeader};
use crate::manifest::{Manifest, MessageKind, SeriesMark, TransportMode, Traveller};

use super::header::reference_date;
use super::kind;

/// Writes one interchange with one message: UNA, UNB, UNG, UNH, the list, UNT, UNE, UNZ, one segment a line.
///
/// Separators inside of values are released. Control characters cannot be data and become spaces. If the manifest names
/// no directory release, D.02B is written. If it has no interchange header, one is made of its carrier and first
/// departure. Reading the result gives the same manifest if no value in it is empty or has white space around it.
pub fn compose(manifest: &Manifest) -> Vec<u8> {
    let control = &manifest.control;
    let header = control.interchange.clone().unwrap_or_else(|| default_header(manifest));
    let group = match (&control.group, &control.interchange) {
        (Some(group), _) => Some(group.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(GroupHeader {
            group_type: Some("PAXLST".to_owned()),
            sender: header.sender.clone(),
            recipient: header.recipient.clone(),
            control_reference: Some("1".to_owned()),
        }),
    };
    let release = if control.release.is_empty() { "02B" } else { &control.release };
    let prepared = header.prepared.clone().unwrap_or_default();

    let mut out = Writer { bytes: b"UNA:+.? '\r\n".to_vec(), segments: 0 };
    let test = if header.test { "1" } else { "" };
    out.segment(
        "UNB",
        &[
            &parts(&header.syntax),
            &[text(&header.sender)],
            &[text(&header.recipient)],
            &parts(&prepared),
            &[text(&header.control_reference)],
            &[],
            &[text(&header.application)],
            &[],
            &[],
            &[],
            &[test],
        ],
    );
    if let Some(group) = &group {
        out.segment(
            "UNG",
            &[
                &[text(&group.group_type)],
                &[text(&group.sender)],
                &[text(&group.recipient)],
                &parts(&prepared),
                &[text(&group.control_reference)],
                &["UN"],
                &["D", release],
            ],
        );
    }

    let before = out.segments;
    let reference = control.message_reference.as_deref().unwrap_or("1");
    let association = control.association.as_deref().unwrap_or(if control.release.is_empty() { "IATA" } else { "" });
    let series = manifest.series.as_ref();
    let number = series.map(|part| format!("{:02}", part.number)).unwrap_or_default();
    let mark = match series.and_then(|part| part.mark) {
        Some(SeriesMark::First) => "C",
        Some(SeriesMark::Last) => "F",
        None => "",
    };
    out.segment(
        "UNH",
        &[
            &[reference],
            &["PAXLST", "D", release, "UN", association],
            &[text(&control.access_reference)],
            &[&number, mark],
        ],
    );
    body(&mut out, manifest, association, reference_date(&manifest.transports, Some(&header)));
    let counted = out.segments - before + 1;
    out.segment("UNT", &[&[&counted.to_string()], &[reference]]);

    if let Some(group) = &group {
        out.segment("UNE", &[&["1"], &[text(&group.control_reference)]]);
    }
    out.segment("UNZ", &[&["1"], &[text(&header.control_reference)]]);
    out.bytes
}

fn default_header(manifest: &Manifest) -> InterchangeHeader {
    let carrier = manifest.transports.iter().find_map(|transport| transport.carrier.clone());
    let departure = manifest.transports.iter().flat_map(|transport| &transport.calls).find_map(|call| call.departure);
    let name_is_foreign = |traveller: &Traveller| {
        !traveller.family_name.is_ascii() || traveller.given_names.iter().any(|name| !name.is_ascii())
    };
    let syntax = if manifest.travellers.iter().any(name_is_foreign) { "UNOW:4" } else { "UNOA:4" };
    InterchangeHeader {
        syntax: syntax.to_owned(),
        sender: carrier.or_else(|| Some("SENDER".to_owned())),
        recipient: Some("TVSAPIS".to_owned()),
        prepared: departure.map(|time| format!("{}:0000", six(time.date))),
        control_reference: Some(manifest.control.message_reference.clone().unwrap_or_else(|| "1".to_owned())),
        application: Some("APIS".to_owned()),
        test: false,
    }
}

fn body(out: &mut Writer, manifest: &Manifest, association: &str, reference: Date) {
    let control = &manifest.control;
    let (code, function) = kind::codes(&manifest.kind);
    out.segment("BGM", &[&[code.unwrap_or_default()], &[control.function.as_deref().or(function).unwrap_or_default()]]);
    if let Some(transaction) = &control.transaction_reference {
        out.segment("RFF", &[&["TN", transaction]]);
    }
    if let Some(party) = &manifest.reporting_party {
        out.segment("NAD", &[&["MS"], &[text(&party.identifier)], &[], &[text(&party.name)]]);
        contacts(out, &party.contacts);
    }
    let mode = match manifest.mode {
        TransportMode::Air if association == "IATA" => "",
        TransportMode::Air => "4",
        TransportMode::Sea => "1",
        TransportMode::Rail => "2",
        TransportMode::Road => "3",
        TransportMode::Unknown => "9",
    };
    for transport in &manifest.transports {
        let stage = transport.stage.as_deref().unwrap_or("20");
        out.segment(
            "TDT",
            &[&[stage], &[text(&transport.conveyance)], &[mode], &[], &[text(&transport.stated_carrier)]],
        );
        if let Some(date) = transport.date {
            schedule(out, "132", date);
        }
        for call in &transport.calls {
            out.segment("LOC", &[&[&call.function], &[text(&call.port)]]);
            if let Some(departure) = call.departure {
                schedule(out, "189", departure);
            }
            if let Some(arrival) = call.arrival {
                schedule(out, "232", arrival);
            }
        }
    }
    for traveller in &manifest.travellers {
        person(out, traveller, reference);
    }
    let counts = match manifest.kind {
        MessageKind::CrewList | MessageKind::MasterCrewList => "41",
        _ => "42",
    };
    out.segment("CNT", &[&[counts, &manifest.travellers.len().to_string()]]);
}

fn person(out: &mut Writer, traveller: &Traveller, reference: Date) {
    let mut name = vec![traveller.family_name.as_str()];
    name.extend(traveller.given_names.iter().map(String::as_str));
    let address = traveller.address.clone().unwrap_or_default();
    out.segment(
        "NAD",
        &[
            &[traveller.role.code()],
            &[],
            &[],
            &name,
            &[text(&address.street)],
            &[text(&address.city)],
            &[text(&address.region)],
            &[text(&address.postal_code)],
            &[text(&address.country)],
        ],
    );
    if let Some(sex) = &traveller.sex {
        out.segment("ATT", &[&["2"], &[], &[sex.code()]]);
    }
    if let Some(birth) = traveller.date_of_birth {
        out.date("329", birth, Century::Birth(reference));
    }
    if let Some(count) = traveller.baggage.count {
        out.segment("MEA", &[&["CT"], &[], &["", &count.to_string()]]);
    }
    if let Some(weight) = &traveller.baggage.weight {
        out.segment("MEA", &[&["WT"], &[], &[text(&weight.unit), &weight.value.to_string()]]);
    }
    if let Some(verified) = traveller.verified {
        out.segment("GEI", &[&["4"], &[if verified { "173" } else { "174" }]]);
    }
    for tag in &traveller.baggage.tags {
        let count = tag.count.map(|count| count.to_string()).unwrap_or_default();
        out.segment("FTX", &[&["BAG"], &[], &[], &[&tag.tag, &count]]);
    }
    let places = [
        ("22", &traveller.clearance_port),
        ("178", &traveller.embarkation_port),
        ("179", &traveller.debarkation_port),
        ("174", &traveller.residence),
    ];
    for (function, place) in places {
        if let Some(place) = place {
            out.segment("LOC", &[&[function], &[place]]);
        }
    }
    if traveller.birth_country.is_some() || traveller.birth_place.is_some() {
        out.segment("LOC", &[&["180"], &[text(&traveller.birth_country), "", "", text(&traveller.birth_place)]]);
    }
    for place in &traveller.other_places {
        out.segment("LOC", &[&[&place.function], &[&place.code]]);
    }
    contacts(out, &traveller.contacts);
    if let Some(function) = &traveller.crew_function {
        out.segment("EMP", &[&["1"], &[function]]);
    }
    if let Some(nationality) = &traveller.nationality {
        out.segment("NAT", &[&["2"], &[nationality]]);
    }
    let references =
        [("AVF", &traveller.record_locator), ("ABO", &traveller.passenger_reference), ("SEA", &traveller.seat)];
    for (qualifier, number) in references {
        if let Some(number) = number {
            out.segment("RFF", &[&[qualifier, number]]);
        }
    }
    for other in &traveller.other_references {
        out.segment("RFF", &[&[&other.qualifier, &other.number]]);
    }
    for document in &traveller.documents {
        // All airlines write 110, the code list of travel documents, and 111, who maintains it.
        let kind = text(&document.type_code);
        let listed: &[&str] = if kind.is_empty() { &[] } else { &[kind, "110", "111"] };
        out.segment("DOC", &[listed, &[text(&document.number)]]);
        if let Some(expiry) = document.expiry {
            out.date("36", expiry, Century::Expiry(reference));
        }
        if let Some(issued) = document.issued {
            out.date("182", issued, Century::Expiry(reference));
        }
        if let Some(state) = &document.issuing_state {
            out.segment("LOC", &[&["91"], &[state]]);
        }
    }
}

fn contacts(out: &mut Writer, contacts: &[crate::manifest::Contact]) {
    // COM repeats its composite at most nine times.
    for nine in contacts.chunks(9) {
        let elements: Vec<[&str; 2]> =
            nine.iter().map(|contact| [contact.address.as_str(), text(&contact.channel)]).collect();
        let elements: Vec<&[&str]> = elements.iter().map(|element| &element[..]).collect();
        out.segment("COM", &elements);
    }
}

fn schedule(out: &mut Writer, qualifier: &str, time: LocalDateTime) {
    let year = time.date.year();
    let short = (1900 + SCHEDULE_PIVOT..2000 + SCHEDULE_PIVOT).contains(&year);
    let day = if short { six(time.date) } else { eight(time.date) };
    let (value, format) = match time.time {
        Some(clock) => (format!("{day}{:02}{:02}", clock.hour(), clock.minute()), if short { "201" } else { "203" }),
        None => (day, if short { "101" } else { "102" }),
    };
    out.segment("DTM", &[&[qualifier, &value, format]]);
}

fn six(date: Date) -> String {
    format!("{:02}{:02}{:02}", date.year() % 100, date.month(), date.day())
}

fn eight(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

fn parts(composite: &str) -> Vec<&str> {
    composite.split(':').collect()
}

struct Writer {
    bytes: Vec<u8>,
    segments: usize,
}

impl Writer {
    /// Writes a segment without the empty elements and components at the ends.
    fn segment(&mut self, tag: &str, elements: &[&[&str]]) {
        self.bytes.extend_from_slice(tag.as_bytes());
        let is_empty = |components: &&&[&str]| components.iter().all(|component| component.is_empty());
        let filled = elements.len() - elements.iter().rev().take_while(is_empty).count();
        for components in elements.iter().take(filled) {
            self.bytes.push(b'+');
            let filled =
                components.len() - components.iter().rev().take_while(|component| component.is_empty()).count();
            for (index, component) in components.iter().take(filled).enumerate() {
                if index > 0 {
                    self.bytes.push(b':');
                }
                self.value(component);
            }
        }
        self.bytes.extend_from_slice(b"'\r\n");
        self.segments += 1;
    }

    fn value(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b':' | b'+' | b'?' | b'\'' => self.bytes.extend_from_slice(&[b'?', byte]),
                0x00..=0x1F => self.bytes.push(b' '),
                _ => self.bytes.push(byte),
            }
        }
    }

    /// Writes a date with two digits of the year where the reader gives them the same century, else with four.
    fn date(&mut self, qualifier: &str, date: Date, century: Century) {
        if century.year(date.year() % 100, date.month(), date.day()) == date.year() {
            self.segment("DTM", &[&[qualifier, &six(date)]]);
        } else {
            self.segment("DTM", &[&[qualifier, &eight(date), "102"]]);
        }
    }
}
