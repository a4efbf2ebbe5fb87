//! What BGM says, and the mode of transport.

use crate::manifest::{MessageKind, TransportMode};

/// The kind of a message by document code (1001), function (1004) and message function (1225).
///
/// The function alone decides whether it is a close-out or news of a flight, because senders put these under 266, 745
/// and 250. Some senders put a document number where the API guidelines have the function. Then 1225 decides.
pub(super) fn of(code: Option<&str>, function: Option<&str>, message_function: Option<&str>) -> MessageKind {
    match function {
        Some("CLOB") => return MessageKind::ClosedOnBoard,
        Some("CLNB") => return MessageKind::ClosedNotOnBoard,
        Some("CL") => return MessageKind::FlightClosed,
        Some("XF") => return MessageKind::FlightCancelled,
        Some("CF") => return MessageKind::FlightChanged,
        _ => {}
    }
    match (code, function) {
        (Some("745"), None) => MessageKind::PassengerList,
        (Some("745"), Some("CP")) => MessageKind::PassengerChange,
        (Some("745"), Some("XR")) => MessageKind::ReservationCancellation,
        (Some("745"), Some("RP")) => MessageKind::PartyReduction,
        (Some("745"), Some(_)) => match message_function {
            Some("1" | "3") => MessageKind::ReservationCancellation,
            Some("4" | "5") => MessageKind::PassengerChange,
            _ => MessageKind::PassengerList,
        },
        (Some("250"), _) => MessageKind::CrewList,
        (Some("336"), _) => MessageKind::MasterCrewList,
        (Some("266"), _) => MessageKind::FlightStatus,
        (Some("655"), _) => MessageKind::GatePass,
        _ => MessageKind::Other { code: code.map(str::to_owned), function: function.map(str::to_owned) },
    }
}

/// Document code and function of a kind, for composing; crew lists keep the function as it was stated.
pub(super) fn codes(kind: &MessageKind) -> (Option<&str>, Option<&str>) {
    match kind {
        MessageKind::PassengerList => (Some("745"), None),
        MessageKind::PassengerChange => (Some("745"), Some("CP")),
        MessageKind::ReservationCancellation => (Some("745"), Some("XR")),
        MessageKind::PartyReduction => (Some("745"), Some("RP")),
        MessageKind::CrewList => (Some("250"), None),
        MessageKind::MasterCrewList => (Some("336"), None),
        MessageKind::FlightClosed => (Some("266"), Some("CL")),
        MessageKind::ClosedOnBoard => (Some("266"), Some("CLOB")),
        MessageKind::ClosedNotOnBoard => (Some("266"), Some("CLNB")),
        MessageKind::FlightCancelled => (Some("266"), Some("XF")),
        MessageKind::FlightChanged => (Some("266"), Some("CF")),
        MessageKind::FlightStatus => (Some("266"), None),
        MessageKind::GatePass => (Some("655"), None),
        MessageKind::Other { code, function } => (code.as_deref(), function.as_deref()),
    }
}

/// Whether such a message names its people. In the others a reference is enough.
pub(super) fn names_people(kind: &MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::PassengerList
            | MessageKind::CrewList
            | MessageKind::MasterCrewList
            | MessageKind::GatePass
            | MessageKind::Other { .. }
    )
}

/// The mode of a code (8067): one digit of UNECE Recommendation 19, or the two digits of US-EDIFACT.
pub(super) fn mode(code: &str) -> TransportMode {
    match code {
        "1" | "10" | "11" => TransportMode::Sea,
        "2" | "20" => TransportMode::Rail,
        "3" | "30" => TransportMode::Road,
        "4" | "40" => TransportMode::Air,
        _ => TransportMode::Unknown,
    }
}
