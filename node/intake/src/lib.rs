//! Bytes in, typed values or a located error out: UN/EDIFACT, PAXLST, JSON manifests.
//!
//! One door: [`parse`] tells EDIFACT from JSON and gives an [`Interchange`] of [`Message`]s, each with a
//! [`Manifest`]. The rules of this crate:
//!
//! * An input that is not whole is refused as a whole, with the place. A list is never silently shorter.
//! * Wrong counts and odd values are warnings. A bad entry puts one person in quarantine, not the list.
//! * Crew lists, lists of other modes and news about flights are recognised and named. Only lists of passengers who
//!   board a named flight make [`Journey`]s.
//!
//! # The JSON manifest
//!
//! ```json
//! {
//!   "schema": "tvs-manifest/1",
//!   "kind": "passenger_list",
//!   "mode": "air",
//!   "sender": "EXAMPLE AIR", "reference": "EX123-20300615-1",
//!   "carrier": "EX", "flight_number": "123",
//!   "legs": [
//!     {
//!       "departure_port": "VIE", "departure": "2030-06-15T10:45",
//!       "arrival_port": "JFK", "arrival": "2030-06-15T14:10"
//!     }
//!   ],
//!   "travellers": [
//!     {
//!       "family_name": "EXAMPLE", "given_names": ["ANNA"], "sex": "F", "date_of_birth": "1980-02-29",
//!       "nationality": "AUT", "record_locator": "ABC123", "seat": "12A",
//!       "documents": [{ "type": "P", "number": "X1234567", "issuing_state": "AUT", "expiry": "2033-01-31" }]
//!     }
//!   ]
//! }
//! ```
//!
//! `schema`, `carrier`, `flight_number`, `legs` and `travellers` are required, and of a traveller the family name;
//! `kind` is `passenger_list` and `mode` is `air` where they are left out. Unknown fields are errors, so that a
//! misspelt one is not lost: in the manifest they refuse it, in a traveller they quarantine that traveller.
//! `role` is `passenger` where it is left out; the others are `crew`, `transit_passenger` and `transit_crew`. A
//! traveller may also have `residence`, `birth_country`, `embarkation_port`, `debarkation_port`,
//! `passenger_reference` and `other_references` (`qualifier`, `number`); a document also `issued`. Dates are
//! `2030-06-15`, times are local to their port, `2030-06-15T10:45`. `mode` is `air`, `sea`, `rail` or `road`.
//!
//! # What it is not
//!
//! This crate does no I/O and reads no clock. It does not know holdings, galleries or journeys that exist:
//! collecting a series, noticing resends and applying changes belong to the node.

mod date;
mod edifact;
mod error;
mod interchange;
pub mod limits;
mod manifest;
mod message;
mod paxlst;
mod place;

pub use date::{
    Century, Date, Decoded, EXPIRY_YEARS_BEFORE, LocalDateTime, LocalTime, NotADate, REFERENCE_YEAR_DEFAULT,
    SCHEDULE_PIVOT, decode,
};
pub use edifact::{GroupHeader, InterchangeHeader};
pub use error::{Error, ErrorKind, Warning, WarningCode};
pub use interchange::{Interchange, parse};
pub use manifest::{
    Address, BagTag, Baggage, Contact, Control, Disposition, Document, DocumentKind, Journey, Leg, Manifest,
    MessageKind, OtherPlace, PortCall, Reference, Refusal, ReportingParty, Role, SeriesMark, SeriesPart, Sex, Source,
    Transport, TransportMode, Traveller, Weight,
};
pub use message::{Message, Quarantine, QuarantineReason, StatedCounts};
pub use paxlst::compose;
pub use place::Place;
