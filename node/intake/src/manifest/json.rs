//! The JSON manifest, for senders that do not speak EDIFACT: small carriers, general aviation, bus, rail, tests.
//! The schema stands at the top of the crate.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::date::{Date, LocalDateTime};
use crate::edifact::InterchangeHeader;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::message::{Message, Quarantine, QuarantineReason, StatedCounts};
use crate::place::{Lines, Place, saturate};

use super::{
    Control, Document, Manifest, MessageKind, PortCall, Reference, Role, Sex, Source, Transport, TransportMode,
    Traveller,
};

const SCHEMA: &str = "tvs-manifest/1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonManifest<'a> {
    schema: String,
    #[serde(default = "passenger_list")]
    kind: MessageKind,
    #[serde(default = "air")]
    mode: TransportMode,
    #[serde(default)]
    sender: Option<String>,
    #[serde(default)]
    reference: Option<String>,
    carrier: String,
    flight_number: String,
    legs: Vec<JsonLeg>,
    #[serde(borrow)]
    travellers: Vec<&'a RawValue>,
}

fn passenger_list() -> MessageKind {
    MessageKind::PassengerList
}

fn air() -> TransportMode {
    TransportMode::Air
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLeg {
    departure_port: String,
    departure: LocalDateTime,
    arrival_port: String,
    #[serde(default)]
    arrival: Option<LocalDateTime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonTraveller {
    #[serde(default)]
    role: Role,
    family_name: String,
    #[serde(default)]
    given_names: Vec<String>,
    #[serde(default)]
    sex: Option<String>,
    #[serde(default)]
    date_of_birth: Option<Date>,
    #[serde(default)]
    nationality: Option<String>,
    #[serde(default)]
    residence: Option<String>,
    #[serde(default)]
    birth_country: Option<String>,
    #[serde(default)]
    embarkation_port: Option<String>,
    #[serde(default)]
    debarkation_port: Option<String>,
    #[serde(default)]
    record_locator: Option<String>,
    #[serde(default)]
    passenger_reference: Option<String>,
    #[serde(default)]
    seat: Option<String>,
    #[serde(default)]
    other_references: Vec<Reference>,
    #[serde(default)]
    documents: Vec<Document>,
}

/// Reads a JSON manifest.
///
/// # Errors
///
/// The text is no JSON, or does not follow the schema. A traveller that does not follow it is quarantined instead.
pub(crate) fn read(input: &[u8], lines: &Lines) -> Result<Message, Error> {
    let refuse = |reason: String, offset: usize| Error::new(ErrorKind::Json { reason }, lines.place(offset));
    let begin = input.len() - input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input).len();
    let text = std::str::from_utf8(input.get(begin..).unwrap_or_default())
        .map_err(|error| refuse("it is not UTF-8".to_owned(), begin + error.valid_up_to()))?;
    let manifest: JsonManifest<'_> =
        serde_json::from_str(text).map_err(|error| refuse(reason_of(&error), begin + offset_of(text, &error)))?;
    if manifest.schema != SCHEMA {
        return Err(refuse(format!("the schema is {:?}, only {SCHEMA:?} is known", manifest.schema), begin));
    }
    if manifest.legs.is_empty() {
        return Err(refuse("legs is empty; give at least one".to_owned(), begin));
    }
    let too_many = |what, limit| Error::new(ErrorKind::TooMany { what, limit }, lines.place(begin));
    if manifest.travellers.len() > limits::TRAVELLERS_MAX {
        return Err(too_many("travellers in one message", limits::TRAVELLERS_MAX));
    }
    if manifest.legs.len() * 2 > limits::CALLS_MAX {
        return Err(too_many("legs", limits::CALLS_MAX / 2));
    }

    let mut travellers = Vec::with_capacity(manifest.travellers.len());
    let mut quarantined = Vec::new();
    for (index, raw) in manifest.travellers.iter().enumerate() {
        // The raw value borrows from `text`, so the difference of the two addresses is its offset.
        let offset = begin + (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        match traveller(raw.get(), saturate(index + 1)) {
            Ok(traveller) => travellers.push(traveller),
            Err((reason, detail, inner)) => quarantined.push(Quarantine {
                ordinal: saturate(index + 1),
                reason,
                place: lines.place(offset + inner),
                detail,
                traveller: Box::new(Traveller { ordinal: saturate(index + 1), ..Traveller::default() }),
            }),
        }
    }
    let place: Place = lines.place(begin);
    Ok(Message::new(place, assemble(manifest, travellers), quarantined, StatedCounts::default()))
}

fn assemble(manifest: JsonManifest<'_>, travellers: Vec<Traveller>) -> Manifest {
    let JsonManifest { kind, mode, sender, reference, carrier, flight_number, legs, .. } = manifest;
    let mut calls = Vec::with_capacity(legs.len() * 2);
    for leg in legs {
        let call = |function: &str, port| PortCall {
            function: function.to_owned(),
            port: Some(port),
            departure: None,
            arrival: None,
        };
        calls.push(PortCall { departure: Some(leg.departure), ..call("125", leg.departure_port) });
        calls.push(PortCall { arrival: leg.arrival, ..call("87", leg.arrival_port) });
    }
    Manifest {
        source: Source::Json,
        kind,
        control: Control {
            interchange: sender
                .map(|sender| InterchangeHeader { sender: Some(sender), ..InterchangeHeader::default() }),
            message_reference: reference,
            ..Control::default()
        },
        series: None,
        reporting_party: None,
        mode,
        transports: vec![Transport {
            stage: None,
            conveyance: Some(format!("{carrier}{flight_number}")),
            stated_carrier: Some(carrier.clone()),
            carrier: Some(carrier),
            flight_number: Some(flight_number),
            date: None,
            calls,
        }],
        travellers,
    }
}

fn traveller(text: &str, ordinal: u32) -> Result<Traveller, (QuarantineReason, String, usize)> {
    let read: JsonTraveller = serde_json::from_str(text).map_err(|error| {
        let detail = format!("{}; correct it as the schema says", reason_of(&error));
        (QuarantineReason::Schema, detail, offset_of(text, &error))
    })?;
    if read.family_name.trim().is_empty() && read.given_names.iter().all(|name| name.trim().is_empty()) {
        return Err((QuarantineReason::NoName, "the traveller has no name; ask the sender for it".to_owned(), 0));
    }
    if read.documents.len() > limits::DOCUMENTS_MAX
        || read.given_names.len() > limits::DETAILS_MAX
        || read.other_references.len() > limits::DETAILS_MAX
    {
        return Err((QuarantineReason::TooManyDetails, "the traveller has more of these than are read".to_owned(), 0));
    }
    Ok(Traveller {
        ordinal,
        role: read.role,
        family_name: read.family_name,
        given_names: read.given_names,
        sex: read.sex.as_deref().map(Sex::from_code),
        date_of_birth: read.date_of_birth,
        nationality: read.nationality,
        residence: read.residence,
        birth_country: read.birth_country,
        embarkation_port: read.embarkation_port,
        debarkation_port: read.debarkation_port,
        record_locator: read.record_locator,
        passenger_reference: read.passenger_reference,
        seat: read.seat,
        other_references: read.other_references,
        documents: read.documents,
        ..Traveller::default()
    })
}

/// The byte offset of the line and column that the JSON reader names.
fn offset_of(text: &str, error: &serde_json::Error) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// The reason without the place: the error names the place itself.
fn reason_of(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    match reason.rfind(" at line ") {
        Some(end) => reason.get(..end).unwrap_or_default().to_owned(),
        None => reason,
    }
}
