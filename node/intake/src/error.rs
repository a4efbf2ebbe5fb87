//! Why an input is refused as a whole, and what is only a warning.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct;

use crate::limits;
use crate::place::{Place, saturate};

/// An input that is refused as a whole: nothing of it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where it is wrong.
    pub place: Place,
}

impl Error {
    /// An error of this kind at this place.
    pub fn new(kind: ErrorKind, place: Place) -> Self {
        Self { kind, place }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; {}", self.place, self.kind, self.kind.fix())
    }
}

impl std::error::Error for Error {}

/// As `code`, `message`, `fix` and `place`, for machines.
impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Error", 4)?;
        fields.serialize_field("code", self.kind.code())?;
        fields.serialize_field("message", &self.kind.to_string())?;
        fields.serialize_field("fix", self.kind.fix())?;
        fields.serialize_field("place", &self.place)?;
        fields.end()
    }
}

/// What is wrong with an input that is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing but white space.
    #[error("the input is empty")]
    Empty,
    /// Over [`limits::INPUT_BYTES_MAX`].
    #[error("the input has {bytes} bytes, at most {} are read", limits::INPUT_BYTES_MAX)]
    InputTooLarge {
        /// Size of the input in bytes.
        bytes: usize,
    },
    /// Neither an EDIFACT service segment nor a JSON object was found.
    #[error("this is neither an EDIFACT interchange nor a JSON manifest")]
    NotRecognised,
    /// The service string advice and the segments after it do not fit together.
    #[error("the separators cannot be told from UNA and UNB")]
    SeparatorsUnknown,
    /// The input ends inside a segment.
    #[error("the input ends inside a segment")]
    TruncatedSegment,
    /// The input ends before a closing segment.
    #[error("the input ends before the closing {missing}")]
    Truncated {
        /// Tag of the closing segment that is not there: UNT, UNE or UNZ.
        missing: &'static str,
    },
    /// A message is not closed by UNT before something else begins.
    #[error("a message is not closed by UNT before this {tag}")]
    MessageNotClosed {
        /// Tag of the service segment that was met instead of UNT.
        tag: String,
    },
    /// A closing segment without the one that opens.
    #[error("this {tag} closes nothing that was opened")]
    ClosesNothing {
        /// Tag of the closing segment.
        tag: String,
    },
    /// An interchange without any message.
    #[error("the interchange holds no message")]
    NoMessage,
    /// A message that is no passenger list.
    #[error("this is a {message_type} message ({meaning}), not a passenger list (PAXLST)")]
    NotAPassengerList {
        /// The message type in UNH, for example `CUSRES`.
        message_type: String,
        /// What such a message is for.
        meaning: &'static str,
    },
    /// More of something than is read.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of, in the plural.
        what: &'static str,
        limit: usize,
    },
    /// Over [`limits::SEGMENT_BYTES_MAX`].
    #[error("a segment is longer than {} bytes", limits::SEGMENT_BYTES_MAX)]
    SegmentTooLong,
    /// The JSON manifest cannot be read.
    #[error("the JSON manifest cannot be read: {reason}")]
    Json {
        /// What the JSON reader says, without the place.
        reason: String,
    },
}

impl ErrorKind {
    /// A stable code for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::InputTooLarge { .. } => "input_too_large",
            Self::NotRecognised => "not_recognised",
            Self::SeparatorsUnknown => "separators_unknown",
            Self::TruncatedSegment => "truncated_segment",
            Self::Truncated { .. } => "truncated",
            Self::MessageNotClosed { .. } => "message_not_closed",
            Self::ClosesNothing { .. } => "closes_nothing",
            Self::NoMessage => "no_message",
            Self::NotAPassengerList { .. } => "not_a_passenger_list",
            Self::TooMany { .. } => "too_many",
            Self::SegmentTooLong => "segment_too_long",
            Self::Json { .. } => "json",
        }
    }

    /// What the sender or operator should do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Empty => "send the manifest itself",
            Self::InputTooLarge { .. } | Self::TooMany { .. } => "split the manifest into a series of smaller ones",
            Self::NotRecognised => "send a UN/EDIFACT PAXLST that begins with UNA, UNB, UNG or UNH, or a JSON object",
            Self::SeparatorsUnknown => "send a UNA of nine characters, for example UNA:+.? '",
            Self::TruncatedSegment | Self::Truncated { .. } => "ask the sender for the whole interchange again",
            Self::MessageNotClosed { .. } => {
                "close every UNH by its UNT, or ask the sender for the whole interchange again"
            }
            Self::ClosesNothing { .. } => "open it by UNH, UNG or UNB before",
            Self::NoMessage => "send at least one PAXLST message between UNB and UNZ",
            Self::NotAPassengerList { .. } => "send only PAXLST here",
            Self::SegmentTooLong => "check that the segment terminator is the one that UNA announces",
            Self::Json { .. } => "correct the JSON as the manifest schema says",
        }
    }
}

/// Something odd. Nobody loses their place on the list because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    pub code: WarningCode,
    /// Where it is.
    pub place: Place,
    /// The detail, without personal data.
    pub detail: String,
}

/// Stable codes of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningCode {
    /// Text before the first service segment was dropped (telex or mail header).
    LeadingText,
    /// Text after the end of the interchange was dropped (mail footer).
    TrailingText,
    /// Control characters that can be no data were dropped.
    ControlCharacters,
    /// UNA does not fit the segments after it; the separators were taken from UNB and UNH.
    ServiceStringUnreliable,
    /// The interchange has no UNB and UNZ, so a missing message at its end cannot be noticed.
    NoInterchangeEnvelope,
    /// A group is not closed by UNE.
    GroupNotClosed,
    /// The last segment has no terminator, but the interchange is complete.
    LastSegmentNotTerminated,
    /// Bytes outside of the declared character set.
    CharacterSet,
    /// Something that is no segment stands between segments.
    StrayText,
    /// The segment count in UNT is wrong.
    UntCount,
    /// The reference in UNT is not the one in UNH.
    UntReference,
    /// The count in UNE is wrong.
    UneCount,
    /// The reference in UNE is not the one in UNG.
    UneReference,
    /// The count in UNZ is wrong.
    UnzCount,
    /// The reference in UNZ is not the one in UNB.
    UnzReference,
    /// CNT names another number of people than are listed; often it counts a whole series.
    ControlCount,
    /// The message has no BGM, or its BGM has an unknown code.
    MessageFunction,
    /// The series part (UNH S010) cannot be read.
    Series,
    /// A date or time cannot be read.
    DateUnreadable,
    /// A date is partly unknown (zeros).
    DatePartlyUnknown,
    /// The whole name stands in one component, or in the wrong data element.
    NamePosition,
    /// A segment or qualifier that this reader does not know, or that stands where it means nothing.
    NotUnderstood,
    /// One document has two expiry dates; the later statement is kept.
    ExpiryRepeated,
    /// More warnings than are kept.
    More,
}

/// Collects warnings up to [`limits::WARNINGS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    kept: Vec<Warning>,
    dropped: usize,
    last: Place,
}

impl Warnings {
    pub(crate) fn add(&mut self, code: WarningCode, place: &Place, detail: impl Into<String>) {
        if self.kept.len() < limits::WARNINGS_MAX {
            self.kept.push(Warning { code, place: place.clone(), detail: detail.into() });
        } else {
            self.dropped += 1;
            self.last = place.clone();
        }
    }

    /// All that were kept in the order of the input, and one more that tells how many were not.
    pub(crate) fn finish(mut self) -> Vec<Warning> {
        self.kept.sort_by_key(|warning| warning.place.byte_offset);
        if self.dropped > 0 {
            self.kept.push(Warning {
                code: WarningCode::More,
                place: self.last,
                detail: format!("{} further warnings are not shown", saturate(self.dropped)),
            });
        }
        self.kept
    }
}
