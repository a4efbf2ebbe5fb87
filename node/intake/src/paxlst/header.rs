//! What the header of a message and a traveller's entry read in the same way.

use crate::date::{self, Century, Date, Decoded};
use crate::edifact::{InterchangeHeader, Segment};
use crate::manifest::{Contact, Transport};

/// The date by which births and expiries get their century: the first departure, else the preparation.
pub(super) fn reference_date(transports: &[Transport], interchange: Option<&InterchangeHeader>) -> Date {
    let scheduled = transports.iter().find_map(|transport| {
        let call = transport.calls.iter().find_map(|call| call.departure.or(call.arrival));
        call.or(transport.date)
    });
    let prepared = || {
        let written = interchange?.prepared.as_deref()?;
        match date::decode(written, None, Century::Schedule) {
            Decoded::Is(time) => Some(time),
            Decoded::PartlyUnknown | Decoded::Unreadable => None,
        }
    };
    scheduled.or_else(prepared).map_or_else(Date::default_reference, |time| time.date)
}

/// The contacts of COM from its element `first` on: address and channel.
pub(super) fn contacts(segment: &Segment, first: u16) -> Vec<Contact> {
    (first..)
        .take(9)
        .filter_map(|element| {
            let address = segment.value(element, 0)?.to_owned();
            Some(Contact { address, channel: segment.value(element, 1).map(str::to_owned) })
        })
        .collect()
}
