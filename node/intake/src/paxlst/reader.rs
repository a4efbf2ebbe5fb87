//! Reads one PAXLST message into one manifest.

use crate::date::{self, Century, Date, Decoded, LocalDateTime};
use crate::edifact::{RawMessage, Segment};
use crate::error::{Error, ErrorKind, WarningCode, Warnings};
use crate::limits;
use crate::manifest::{
    Control, Manifest, MessageKind, PortCall, ReportingParty, SeriesMark, SeriesPart, Source, Transport, TransportMode,
    Traveller, split_flight,
};
use crate::message::{Message, Quarantine, StatedCounts};
use crate::place::saturate;

use super::header::{contacts, reference_date};
use super::person::Entry;
use super::{kind, legacy};

/// Reads one message.
///
/// # Errors
///
/// There are more people or transports than are read.
pub(super) fn read(message: RawMessage, warnings: &mut Warnings) -> Result<Message, Error> {
    let is_legacy = message.header.value(2, 1) != Some("D");
    let mut reader = Reader {
        legacy: is_legacy,
        warnings,
        bgm: None,
        control: control(&message),
        series: None,
        reporting_party: None,
        stated_mode: None,
        has_vehicle_crew: false,
        transports: Vec::new(),
        section: Section::Header,
        reference_date: None,
        entry: None,
        entries: 0,
        travellers: Vec::new(),
        quarantined: Vec::new(),
        stated: StatedCounts::default(),
    };
    reader.series = reader.series(&message.header);
    for segment in &message.segments {
        reader.segment(segment)?;
    }
    reader.close_entry();
    reader.finish(&message)
}

/// In which part of the message a segment stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Header,
    Party,
    Transport,
    People,
    Trailer,
}

struct Reader<'a> {
    legacy: bool,
    warnings: &'a mut Warnings,
    bgm: Option<MessageKind>,
    control: Control,
    series: Option<SeriesPart>,
    reporting_party: Option<ReportingParty>,
    stated_mode: Option<TransportMode>,
    has_vehicle_crew: bool,
    transports: Vec<Transport>,
    section: Section,
    reference_date: Option<Date>,
    entry: Option<Entry>,
    entries: usize,
    travellers: Vec<Traveller>,
    quarantined: Vec<Quarantine>,
    stated: StatedCounts,
}

fn control(message: &RawMessage) -> Control {
    let own = |element, component| message.header.value(element, component).map(str::to_owned);
    Control {
        interchange: message.interchange.clone(),
        group: message.group.clone(),
        message_reference: own(1, 0),
        release: own(2, 2).unwrap_or_default(),
        association: own(2, 4),
        access_reference: own(3, 0),
        transaction_reference: None,
        function: None,
    }
}

impl Reader<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<(), Error> {
        match &*segment.tag {
            "BGM" => self.beginning(segment),
            "NAD" => self.party(segment)?,
            "TDT" => {
                self.close_entry();
                if self.section == Section::People {
                    self.not_understood(
                        segment,
                        "a transport after the first traveller is taken as one of the journey's",
                    );
                }
                self.transport(segment)?;
            }
            "PDT" => {
                self.close_entry();
                let reference = self.reference();
                let entry = legacy::entry(segment, self.ordinal(segment)?, reference, self.warnings);
                self.section = Section::People;
                self.entry = Some(entry);
            }
            "CNT" => {
                self.close_entry();
                self.count(segment);
            }
            "UNS" => self.close_entry(),
            _ if self.section == Section::People => match &mut self.entry {
                Some(entry) => entry.segment(segment, self.warnings),
                None => self.not_understood(segment, "it belongs to nobody"),
            },
            "RFF" if segment.value(1, 0) == Some("TN") => {
                self.control.transaction_reference = segment.value(1, 1).map(str::to_owned);
            }
            "COM" | "CTA" if matches!(self.section, Section::Header | Section::Party) => self.contact(segment),
            "LOC" if self.section == Section::Transport => self.call(segment)?,
            "DTM" if self.section == Section::Transport => self.time(segment),
            "RFF" | "DTM" | "LOC" | "COM" | "CTA" | "FTX" | "ATT" | "GEI" => {}
            _ if !segment.has_valid_tag() => {
                self.warnings.add(WarningCode::StrayText, &segment.place, "this is no segment and was dropped");
            }
            _ => self.not_understood(segment, "the segment is not part of a passenger list here"),
        }
        Ok(())
    }

    fn not_understood(&mut self, segment: &Segment, why: &str) {
        self.warnings.add(WarningCode::NotUnderstood, &segment.place, why);
    }

    fn beginning(&mut self, segment: &Segment) {
        let (code, function) = (segment.value(1, 0), segment.value(2, 0));
        let kind = kind::of(code, function, segment.value(3, 0));
        let known_function = kind::codes(&kind).1 == function || matches!(kind, MessageKind::CrewList);
        if matches!(kind, MessageKind::Other { .. }) || !known_function {
            self.warnings.add(
                WarningCode::MessageFunction,
                &segment.place,
                format!(
                    "document {:?} with function {:?} is not in the guide",
                    code.unwrap_or_default(),
                    function.unwrap_or_default()
                ),
            );
        }
        self.control.function = function.map(str::to_owned);
        self.bgm = Some(kind);
    }

    fn series(&mut self, header: &Segment) -> Option<SeriesPart> {
        let number = header.value(4, 0)?;
        let mark = match header.value(4, 1) {
            Some("C") => Some(SeriesMark::First),
            Some("F") => Some(SeriesMark::Last),
            _ => None,
        };
        match number.parse() {
            Ok(number) => Some(SeriesPart { number, mark }),
            Err(_) => {
                self.warnings.add(WarningCode::Series, &header.place, "the part number in UNH S010 is no number");
                None
            }
        }
    }

    /// NAD: the reporting party, another party, or a traveller.
    fn party(&mut self, segment: &Segment) -> Result<(), Error> {
        let code = segment.value(1, 0).unwrap_or_default();
        let is_person = match code {
            "FL" | "FM" | "DDT" | "DDU" | "VW" => true,
            "MS" | "MR" | "AG" | "CA" | "CN" | "CZ" | "TB" | "OM" | "MT" | "CM" => false,
            _ => matches!(self.section, Section::Transport | Section::People),
        };
        self.close_entry();
        if !is_person {
            if code == "MS" || self.reporting_party.is_none() {
                self.reporting_party = Some(ReportingParty {
                    name: segment.value(4, 0).or_else(|| segment.value(3, 0)).map(str::to_owned),
                    identifier: segment.value(2, 0).map(str::to_owned),
                    contacts: Vec::new(),
                });
            }
            if self.section == Section::Header {
                self.section = Section::Party;
            }
            return Ok(());
        }
        self.has_vehicle_crew |= code == "VW";
        let is_list = self.bgm.as_ref().is_none_or(kind::names_people);
        if is_list && !matches!(code, "FL" | "FM" | "DDT" | "DDU") {
            self.not_understood(
                segment,
                "this role is neither passenger nor crew; the person is listed but on no journey",
            );
        }
        self.section = Section::People;
        let ordinal = self.ordinal(segment)?;
        let reference = self.reference();
        self.entry = Some(Entry::open(segment, ordinal, reference, self.warnings));
        Ok(())
    }

    fn ordinal(&mut self, segment: &Segment) -> Result<u32, Error> {
        self.entries += 1;
        if self.entries > limits::TRAVELLERS_MAX {
            let kind = ErrorKind::TooMany { what: "travellers in one message", limit: limits::TRAVELLERS_MAX };
            return Err(Error::new(kind, segment.place.clone()));
        }
        Ok(saturate(self.entries))
    }

    fn close_entry(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let names = self.bgm.as_ref().is_none_or(kind::names_people);
        match entry.close(names) {
            Ok(traveller) => self.travellers.push(traveller),
            Err(quarantine) => self.quarantined.push(quarantine),
        }
    }

    fn contact(&mut self, segment: &Segment) {
        let party = self.reporting_party.get_or_insert_default();
        if &*segment.tag == "CTA" && party.name.is_none() {
            party.name = segment.value(2, 1).or_else(|| segment.value(2, 0)).map(str::to_owned);
        }
        let first = if &*segment.tag == "CTA" { 3 } else { 1 };
        party.contacts.extend(contacts(segment, first));
        party.contacts.truncate(limits::DETAILS_MAX);
    }

    fn transport(&mut self, segment: &Segment) -> Result<(), Error> {
        self.section = Section::Transport;
        if self.transports.len() == limits::TRANSPORTS_MAX {
            let kind = ErrorKind::TooMany { what: "transports in one message", limit: limits::TRANSPORTS_MAX };
            return Err(Error::new(kind, segment.place.clone()));
        }
        if let Some(code) = segment.value(3, 0) {
            let mode = kind::mode(code);
            // If one leg is not by air, the message is no list of a flight.
            if self.stated_mode.is_none_or(|before| before == TransportMode::Air) {
                self.stated_mode = Some(mode);
            }
        }
        let stated = segment.value(5, 0).or_else(|| segment.value(4, 0).filter(|_| self.legacy));
        let conveyance = segment.value(2, 0);
        let (carrier, flight_number) = match conveyance {
            Some(conveyance) => split_flight(conveyance, stated),
            None => (stated.map(str::to_owned), None),
        };
        self.transports.push(Transport {
            stage: segment.value(1, 0).map(str::to_owned),
            conveyance: conveyance.map(str::to_owned),
            stated_carrier: stated.map(str::to_owned),
            carrier,
            flight_number,
            date: None,
            calls: Vec::new(),
        });
        Ok(())
    }

    fn call(&mut self, segment: &Segment) -> Result<(), Error> {
        let Some(transport) = self.transports.last_mut() else { return Ok(()) };
        if transport.calls.len() == limits::CALLS_MAX {
            let kind = ErrorKind::TooMany { what: "port calls in one transport", limit: limits::CALLS_MAX };
            return Err(Error::new(kind, segment.place.clone()));
        }
        transport.calls.push(PortCall {
            function: segment.value(1, 0).unwrap_or_default().to_owned(),
            port: segment.value(2, 0).map(str::to_owned),
            departure: None,
            arrival: None,
        });
        Ok(())
    }

    fn time(&mut self, segment: &Segment) {
        let Some(time) = self.schedule(segment) else { return };
        let Some(transport) = self.transports.last_mut() else { return };
        let is_departure = matches!(segment.value(1, 0), Some("189" | "133" | "136" | "186"));
        // Some senders write both LOC before both DTM. Then a departure belongs to the port that has no time yet.
        let waits = match &mut transport.calls[..] {
            [.., before, last]
                if is_departure && last.function == "87" && before.departure.is_none() && before.arrival.is_none() =>
            {
                Some(before)
            }
            [.., last] => Some(last),
            [] => None,
        };
        match waits {
            None => transport.date = Some(time),
            Some(call) if is_departure => call.departure = Some(time),
            Some(call) => call.arrival = Some(time),
        }
    }

    fn schedule(&mut self, segment: &Segment) -> Option<LocalDateTime> {
        // US-EDIFACT writes qualifier, date, time and zone as four elements.
        let joined = match (segment.value(1, 1), segment.value(2, 0)) {
            (Some(value), _) => value.to_owned(),
            (None, Some(day)) => format!("{day}{}", segment.value(3, 0).unwrap_or_default()),
            (None, None) => return None,
        };
        match date::decode(&joined, segment.value(1, 2), Century::Schedule) {
            Decoded::Is(time) => Some(time),
            Decoded::PartlyUnknown | Decoded::Unreadable => {
                self.warnings.add(
                    WarningCode::DateUnreadable,
                    &segment.place,
                    format!("{joined:?} is no date and time of the schedule"),
                );
                None
            }
        }
    }

    /// See [`reference_date`]; all transports stand before the first traveller.
    fn reference(&mut self) -> Date {
        if let Some(reference) = self.reference_date {
            return reference;
        }
        let reference = reference_date(&self.transports, self.control.interchange.as_ref());
        self.reference_date = Some(reference);
        reference
    }

    fn count(&mut self, segment: &Segment) {
        self.section = Section::Trailer;
        let qualifier = segment.value(1, 0);
        let value = segment.value(1, 1).or_else(|| segment.value(2, 0));
        if self.stated.people.is_none() {
            self.stated.people_qualifier = qualifier.map(str::to_owned);
            self.stated.people = value.map(str::to_owned);
            if value.and_then(|count| count.parse().ok()) != Some(self.entries) {
                self.warnings.add(
                    WarningCode::ControlCount,
                    &segment.place,
                    format!("CNT says {:?}, {} are listed in this message", value.unwrap_or_default(), self.entries),
                );
            }
        }
    }

    fn mode(&self) -> TransportMode {
        if let Some(mode) = self.stated_mode {
            return mode;
        }
        if self.has_vehicle_crew {
            return TransportMode::Road;
        }
        // Senders of air passengers do not state the mode. Others do not use stage 20 without stating it.
        let by_stage = |transport: &Transport| matches!(transport.stage.as_deref(), None | Some("20" | "34"));
        let by_agency = self.control.association.as_deref() == Some("IATA");
        if by_agency || (!self.transports.is_empty() && self.transports.iter().all(by_stage)) {
            return TransportMode::Air;
        }
        TransportMode::Unknown
    }

    fn finish(mut self, message: &RawMessage) -> Result<Message, Error> {
        let counted = message.segments.len() + 2;
        let trailer = &message.trailer;
        self.stated.segments = trailer.value(1, 0).map(str::to_owned);
        self.stated.segments_counted = saturate(counted);
        if trailer.value(1, 0).and_then(|count| count.parse().ok()) != Some(counted) {
            let detail =
                format!("UNT says {:?} segments, there are {counted}", trailer.value(1, 0).unwrap_or_default());
            self.warnings.add(WarningCode::UntCount, &trailer.place, detail);
        }
        if trailer.value(2, 0) != message.header.value(1, 0) {
            self.warnings.add(WarningCode::UntReference, &trailer.place, "UNT repeats another reference than UNH has");
        }
        let mode = self.mode();
        let kind = match self.bgm {
            Some(kind) => kind,
            None if self.legacy => legacy::kind(&self.travellers),
            None => {
                self.warnings.add(
                    WarningCode::MessageFunction,
                    &message.header.place,
                    "the message has no BGM, so it does not say what it is",
                );
                MessageKind::Other { code: None, function: None }
            }
        };
        let manifest = Manifest {
            source: if self.legacy { Source::UsEdifact } else { Source::Paxlst },
            kind,
            control: self.control,
            series: self.series,
            reporting_party: self.reporting_party,
            mode,
            transports: self.transports,
            travellers: self.travellers,
        };
        Ok(Message::new(message.header.place.clone(), manifest, self.quarantined, self.stated))
    }
}
