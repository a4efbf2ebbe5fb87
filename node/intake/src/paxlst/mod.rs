//! PAXLST: the passenger list message (UN/EDIFACT D.02B and later, D.03B as used by land carriers, US-EDIFACT).
//!
//! Sources: UN/EDIFACT directories; WCO/IATA/ICAO API Guidelines, appendix II (PAXLST implementation guide);
//! CBP UN/EDIFACT Implementation Guide for airlines.

mod compose;
mod header;
mod kind;
mod legacy;
mod person;
mod reader;

use crate::edifact::{self, RawMessage, Segment};
use crate::error::{Error, ErrorKind, Warnings};
use crate::message::Message;
use crate::place::Lines;

pub use compose::compose;

/// Reads every PAXLST message of an EDIFACT input.
pub(crate) fn read(input: &[u8], lines: &Lines, warnings: &mut Warnings) -> Result<Vec<Message>, Error> {
    let messages: Vec<RawMessage> = edifact::read(input, lines, warnings, must_be_passenger_list)?;
    messages.into_iter().map(|message| reader::read(message, warnings)).collect()
}

fn must_be_passenger_list(header: &Segment) -> Result<(), Error> {
    let message_type = header.value(2, 0).unwrap_or_default();
    if message_type == "PAXLST" {
        return Ok(());
    }
    let meaning = match message_type {
        "CUSRES" => "a border authority's answer to a passenger list",
        "PNRGOV" => "reservation data for a border authority",
        "ACKRES" => "an acknowledgement of reservation data",
        "CONTRL" => "a syntax and service report",
        "APERAK" => "an application error report",
        "GOVREQ" | "GOVCBR" => "a government request or report",
        "BAPLIE" | "IFTMIN" | "CUSCAR" | "CUSDEC" | "CUSREP" => "cargo or vessel data",
        _ => "a message type this service does not read",
    };
    let kind = ErrorKind::NotAPassengerList { message_type: message_type.to_owned(), meaning };
    Err(Error::new(kind, header.place.clone()))
}
