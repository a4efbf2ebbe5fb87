//! The manifest: who is expected on which journey, whatever form it arrived in.

mod journey;
mod json;
mod traveller;

use serde::{Deserialize, Serialize};

use crate::date::LocalDateTime;
use crate::edifact::{GroupHeader, InterchangeHeader};

pub use journey::{Journey, Leg, Refusal};
pub(crate) use json::read as read_json;
pub use traveller::{
    Address, BagTag, Baggage, Contact, Document, DocumentKind, OtherPlace, Reference, Role, Sex, Traveller, Weight,
};

/// One message: a list of travellers, or news about such a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The form it arrived in.
    pub source: Source,
    /// What the message says about the people in it.
    pub kind: MessageKind,
    /// Who sent it, when, and under which references.
    pub control: Control,
    /// Which part of a series this message is, if it is one.
    pub series: Option<SeriesPart>,
    /// The party that reports, with the means to reach it (NAD+MS).
    pub reporting_party: Option<ReportingParty>,
    pub mode: TransportMode,
    /// The flights or other transports in their order.
    pub transports: Vec<Transport>,
    /// The people in their order. Those who were quarantined are not among them.
    pub travellers: Vec<Traveller>,
}

/// The form a manifest arrived in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// UN/EDIFACT PAXLST of the directories D.xxx.
    Paxlst,
    /// PAXLST of the older US-EDIFACT, with PDT segments.
    UsEdifact,
    /// The JSON manifest of this project.
    Json,
}

/// What a message says about the people in it (BGM 1001 and 1004; WCO/IATA/ICAO API guidelines).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// 745: passengers who are expected on board.
    PassengerList,
    /// 745 CP: data of passengers changed.
    PassengerChange,
    /// 745 XR: reservations were cancelled.
    ReservationCancellation,
    /// 745 RP: a party became smaller.
    PartyReduction,
    /// 250: crew of one flight, with the crew function code if there is one.
    CrewList,
    /// 336: an operator's master crew list.
    MasterCrewList,
    /// CL: the flight is closed.
    FlightClosed,
    /// CLOB: the flight is closed, and these are on board.
    ClosedOnBoard,
    /// CLNB: the flight is closed, and these are not on board.
    ClosedNotOnBoard,
    /// XF: the flight is cancelled.
    FlightCancelled,
    /// CF: the flight changed.
    FlightChanged,
    /// 266 with another or no function: a flight status update.
    FlightStatus,
    /// 655: a request to let somebody to the gate who does not travel.
    GatePass,
    /// Anything else, with document code and function as written; no code where there is no BGM.
    Other {
        /// BGM 1001.
        code: Option<String>,
        /// BGM 1004.
        function: Option<String>,
    },
}

/// What a receiver may do with a message; follows from kind, mode and transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// The passengers are expected to board: build or extend the journey's gallery.
    Board,
    /// Data of passengers changed: replace what is known of them.
    Amend,
    /// The passengers are no longer expected: take them off the journey.
    Remove,
    /// Crew; never a passenger gallery.
    Crew,
    /// Who is on board, or is not, after the doors were closed. It names no new travellers.
    CloseOut,
    /// News about the flight alone.
    FlightStatus,
    /// People who go to the gate but do not travel.
    GatePass,
    /// No flight: land or sea transport in PAXLST. Held for a person to look at.
    NotAir,
    /// The message does not say what it is. Held for a person to look at.
    Unknown,
}

/// Who sent a message, when, and under which references. References are the sender's, kept as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Control {
    /// UNB.
    pub interchange: Option<InterchangeHeader>,
    /// UNG.
    pub group: Option<GroupHeader>,
    /// UNH 0062.
    pub message_reference: Option<String>,
    /// Directory release of the message, for example `02B`.
    pub release: String,
    /// Association assigned code, usually `IATA`.
    pub association: Option<String>,
    /// UNH 0068: common access reference, which ties the parts of a series together.
    pub access_reference: Option<String>,
    /// RFF+TN: transaction reference, by which an answer refers to this message.
    pub transaction_reference: Option<String>,
    /// BGM 1004 as written.
    pub function: Option<String>,
}

/// UNH S010: a long list is split into a series of messages, which may arrive in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesPart {
    /// Ordinal of this part, from 1.
    pub number: u16,
    /// Whether the part is marked as the first (`C`), the last (`F`), or not at all.
    pub mark: Option<SeriesMark>,
}

/// First or last part of a series (data element 0073). A list in one part is marked as last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesMark {
    /// `C`, creation.
    First,
    /// `F`, final.
    Last,
}

/// The party that reports (NAD+MS, COM, CTA).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReportingParty {
    /// Name as written.
    pub name: Option<String>,
    /// Identifier, if one is given.
    pub identifier: Option<String>,
    /// Telephone, fax, mail.
    pub contacts: Vec<Contact>,
}

/// Mode of transport (8067; UNECE Recommendation 19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportMode {
    Air,
    Sea,
    Rail,
    Road,
    /// Not said, or none of these.
    Unknown,
}

/// One flight or other transport (TDT) with its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transport {
    /// Transport stage (8051) as written: `20` main carriage, `34` overflight.
    pub stage: Option<String>,
    /// Flight as written, for example `OK688`.
    pub conveyance: Option<String>,
    /// Carrier as written in C040, if it is.
    pub stated_carrier: Option<String>,
    /// Carrier designator: the stated one, else the one that the flight begins with.
    pub carrier: Option<String>,
    /// Flight number without the carrier, with an operational suffix if there is one.
    pub flight_number: Option<String>,
    /// Date of the transport as a whole (DTM before any LOC).
    pub date: Option<LocalDateTime>,
    /// The ports in the order of the message.
    pub calls: Vec<PortCall>,
}

/// One port of a transport (LOC) with its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortCall {
    /// Place function (3227) as written: `125` last departure before the border, `87` first arrival after it,
    /// `92` another port on the way.
    pub function: String,
    /// IATA airport code or UN/LOCODE as written.
    pub port: Option<String>,
    /// Scheduled departure, local to the port.
    pub departure: Option<LocalDateTime>,
    /// Scheduled arrival, local to the port.
    pub arrival: Option<LocalDateTime>,
}

impl Manifest {
    /// The list of one air departure, for demonstrations and tests; [`crate::compose`] gives it its envelopes.
    pub fn air_passenger_list(leg: Leg, travellers: Vec<Traveller>) -> Self {
        let Leg { carrier, flight_number, departure_port, arrival_port, departure, arrival } = leg;
        let conveyance =
            format!("{}{}", carrier.as_deref().unwrap_or_default(), flight_number.as_deref().unwrap_or_default());
        let reference = departure.map(|departure| format!("{conveyance}/{}", departure.date));
        let call = |function: &str, port| PortCall {
            function: function.to_owned(),
            port: Some(port),
            departure: None,
            arrival: None,
        };
        Self {
            source: Source::Paxlst,
            kind: MessageKind::PassengerList,
            control: Control { access_reference: reference, ..Control::default() },
            series: Some(SeriesPart { number: 1, mark: Some(SeriesMark::Last) }),
            reporting_party: None,
            mode: TransportMode::Air,
            transports: vec![Transport {
                stage: Some("20".to_owned()),
                conveyance: Some(conveyance),
                stated_carrier: carrier.clone(),
                carrier,
                flight_number,
                date: None,
                calls: vec![
                    PortCall { departure, ..call("125", departure_port) },
                    PortCall { arrival, ..call("87", arrival_port) },
                ],
            }],
            travellers,
        }
    }

    /// What a receiver may do with this message.
    pub fn disposition(&self) -> Disposition {
        let of_kind = match &self.kind {
            MessageKind::PassengerList => Disposition::Board,
            MessageKind::PassengerChange => Disposition::Amend,
            MessageKind::ReservationCancellation | MessageKind::PartyReduction => Disposition::Remove,
            MessageKind::CrewList | MessageKind::MasterCrewList => return Disposition::Crew,
            MessageKind::FlightClosed | MessageKind::ClosedOnBoard | MessageKind::ClosedNotOnBoard => {
                Disposition::CloseOut
            }
            MessageKind::FlightCancelled | MessageKind::FlightChanged | MessageKind::FlightStatus => {
                Disposition::FlightStatus
            }
            MessageKind::GatePass => Disposition::GatePass,
            MessageKind::Other { .. } => Disposition::Unknown,
        };
        // A JSON manifest is written for this service and states its mode. PAXLST by land or sea follows other rules,
        // and must not become a flight.
        match (self.source, self.mode) {
            (Source::Json, _) | (_, TransportMode::Air) => of_kind,
            _ => Disposition::NotAir,
        }
    }
}

/// Splits a flight such as `OK688` or `BAW123A` into carrier and number.
///
/// IATA designators have two characters with at least one letter, ICAO designators three letters, flight numbers
/// up to four digits and perhaps a suffix letter (IATA SSIM, chapter 2). Two characters are tried first.
pub(crate) fn split_flight(conveyance: &str, stated: Option<&str>) -> (Option<String>, Option<String>) {
    let compact: String = conveyance.chars().filter(|mark| !mark.is_whitespace() && *mark != '-').collect();
    if let Some(carrier) = stated
        && let Some(number) = compact.strip_prefix(carrier)
        && is_flight_number(number)
    {
        return (Some(carrier.to_owned()), Some(number.to_owned()));
    }
    for length in [2, 3] {
        let (Some(carrier), Some(number)) = (compact.get(..length), compact.get(length..)) else {
            continue;
        };
        let designates = match length {
            2 => {
                carrier.bytes().all(|byte| byte.is_ascii_alphanumeric())
                    && carrier.bytes().any(|byte| byte.is_ascii_alphabetic())
            }
            _ => carrier.bytes().all(|byte| byte.is_ascii_alphabetic()),
        };
        if designates && is_flight_number(number) {
            return (Some(stated.unwrap_or(carrier).to_owned()), Some(number.to_owned()));
        }
    }
    let number = is_flight_number(&compact).then_some(compact);
    (stated.map(str::to_owned), number)
}

fn is_flight_number(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let suffix = text.len() - digits;
    (1..=4).contains(&digits) && suffix <= 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::split_flight;

    fn split(conveyance: &str, stated: Option<&str>) -> (String, String) {
        let (carrier, number) = split_flight(conveyance, stated);
        (carrier.unwrap_or_default(), number.unwrap_or_default())
    }

    #[test]
    fn flights_split_to_carrier_and_number() {
        let pair = |carrier: &str, number: &str| (carrier.to_owned(), number.to_owned());
        assert_eq!(split("OK688", None), pair("OK", "688"));
        assert_eq!(split("A92707", None), pair("A9", "2707"));
        assert_eq!(split("B2740", None), pair("B2", "740"));
        assert_eq!(split("UA0989", Some("UA")), pair("UA", "0989"));
        assert_eq!(split("BAW123A", None), pair("BAW", "123A"));
        assert_eq!(split("123", Some("AA")), pair("AA", "123"));
        assert_eq!(split("OK688XXXXXXXXXXXX", None), pair("", ""));
    }
}
