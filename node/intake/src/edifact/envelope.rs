//! Envelopes: interchange (UNB, UNZ), group (UNG, UNE), message (UNH, UNT), each of which may be absent.

use serde::Serialize;

use crate::error::{Error, ErrorKind, WarningCode, Warnings};
use crate::limits;
use crate::place::{Lines, Place, saturate};

use super::segment::Segment;
use super::tokens::{Counters, Tokens};
use super::wire;

/// What UNB says (ISO 9735-1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InterchangeHeader {
    /// Syntax identifier and version, for example `UNOA:4`.
    pub syntax: String,
    /// Sender identification.
    pub sender: Option<String>,
    /// Recipient identification.
    pub recipient: Option<String>,
    /// Date and time of preparation as written, `YYMMDD:HHMM` or `CCYYMMDD:HHMM`.
    pub prepared: Option<String>,
    /// Interchange control reference.
    pub control_reference: Option<String>,
    /// Application reference, for example `APIS`.
    pub application: Option<String>,
    /// Whether the interchange is marked as a test.
    pub test: bool,
}

/// What UNG says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupHeader {
    /// Message type of the group, for example `PAXLST`.
    pub group_type: Option<String>,
    /// Application sender.
    pub sender: Option<String>,
    /// Application recipient.
    pub recipient: Option<String>,
    /// Group reference.
    pub control_reference: Option<String>,
}

/// One message between UNH and UNT with the envelopes around it.
pub(crate) struct RawMessage {
    pub(crate) interchange: Option<InterchangeHeader>,
    pub(crate) group: Option<GroupHeader>,
    /// UNH.
    pub(crate) header: Segment,
    /// What stands between UNH and UNT.
    pub(crate) segments: Vec<Segment>,
    /// UNT.
    pub(crate) trailer: Segment,
}

/// Reads every message of every interchange in `input`.
///
/// `accept` sees each UNH as soon as it was read and may refuse it.
///
/// # Errors
///
/// The input is truncated, passes a limit, or `accept` refuses a message.
pub(crate) fn read(
    input: &[u8],
    lines: &Lines,
    warnings: &mut Warnings,
    accept: impl Fn(&Segment) -> Result<(), Error>,
) -> Result<Vec<RawMessage>, Error> {
    let mut counters = Counters::default();
    let mut messages = Vec::new();
    let mut from = 0;
    for ordinal in 0.. {
        let Some(wire) = wire::open(input, from, lines, warnings)? else {
            break;
        };
        if ordinal == limits::INTERCHANGES_MAX {
            let kind = ErrorKind::TooMany { what: "interchanges in one input", limit: limits::INTERCHANGES_MAX };
            return Err(Error::new(kind, lines.place(wire.stripped.offset(wire.start))));
        }
        let mut reader = Reader {
            tokens: Tokens::new(&wire, lines),
            counters: &mut counters,
            warnings: &mut *warnings,
            interchange: None,
            group: None,
            message: None,
            done: &mut messages,
            units: 0,
            messages_in_group: 0,
        };
        reader.run(&accept)?;
        from = reader.tokens.offset();
    }
    let rest = input.get(from..).unwrap_or_default();
    if from == 0 {
        let kind = if rest.iter().all(u8::is_ascii_whitespace) { ErrorKind::Empty } else { ErrorKind::NotRecognised };
        return Err(Error::new(kind, lines.place(0)));
    }
    // Bytes that begin like a further interchange are one that was cut off.
    let tail = rest.trim_ascii();
    let is_tag = matches!(tail.get(..3), Some(b"UNA" | b"UNB" | b"UNG" | b"UNH"));
    let is_cut_tag = is_tag && tail.get(3).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    if matches!(tail, b"U" | b"UN") || is_cut_tag {
        let offset = from + (rest.len() - rest.trim_ascii_start().len());
        return Err(Error::new(ErrorKind::TruncatedSegment, lines.place(offset)));
    }
    if rest.iter().any(u8::is_ascii_graphic) {
        let detail = format!("{} bytes after the interchange were dropped", rest.len());
        warnings.add(WarningCode::TrailingText, &lines.place(from), detail);
    }
    if messages.is_empty() {
        return Err(Error::new(ErrorKind::NoMessage, lines.place(from.saturating_sub(1))));
    }
    Ok(messages)
}

struct Open<T> {
    header: T,
    place: Place,
}

struct Reader<'a, 'b> {
    tokens: Tokens<'a>,
    counters: &'b mut Counters,
    warnings: &'b mut Warnings,
    interchange: Option<Open<InterchangeHeader>>,
    group: Option<Open<GroupHeader>>,
    message: Option<(Segment, Vec<Segment>)>,
    done: &'b mut Vec<RawMessage>,
    /// Groups, or messages outside of groups, in this interchange: what UNZ counts.
    units: usize,
    messages_in_group: usize,
}

impl Reader<'_, '_> {
    fn run(&mut self, accept: &impl Fn(&Segment) -> Result<(), Error>) -> Result<(), Error> {
        while let Some(token) = self.tokens.next(self.counters)? {
            let segment = token.segment;
            if segment.has_foreign_characters {
                self.warnings.add(
                    WarningCode::CharacterSet,
                    &segment.place,
                    format!("bytes outside of the declared character set {}", self.tokens.syntax),
                );
            }
            let closes = &*segment.tag == "UNZ" && self.closes_completely(&segment);
            if !token.terminated && !closes {
                return Err(Error::new(ErrorKind::TruncatedSegment, segment.place));
            }
            if !token.terminated {
                self.warnings.add(
                    WarningCode::LastSegmentNotTerminated,
                    &segment.place,
                    "the last segment has no terminator",
                );
            }
            match &*segment.tag {
                "UNB" => self.open_interchange(&segment)?,
                "UNG" => self.open_group(&segment)?,
                "UNH" => {
                    self.refuse_inside_message(&segment)?;
                    accept(&segment)?;
                    self.open_message(segment)?;
                }
                "UNT" => self.close_message(segment)?,
                "UNE" => self.close_group(&segment)?,
                "UNZ" => return self.close_interchange(&segment),
                _ => match &mut self.message {
                    Some((_, segments)) => segments.push(segment),
                    None => self.warnings.add(
                        WarningCode::StrayText,
                        &segment.place,
                        "a segment outside of any message was dropped",
                    ),
                },
            }
            if self.ends_without_envelope() {
                self.warnings.add(
                    WarningCode::NoInterchangeEnvelope,
                    &self.tokens.here(),
                    "there is no UNB and UNZ, so a message missing at the end cannot be noticed",
                );
                return Ok(());
            }
        }
        let missing = match (&self.message, &self.interchange, &self.group) {
            (Some(_), _, _) => "UNT",
            (None, Some(_), _) => "UNZ",
            (None, None, Some(_)) => "UNE",
            (None, None, None) => return Ok(()),
        };
        Err(Error::new(ErrorKind::Truncated { missing }, self.tokens.here()))
    }

    /// Without UNB, the list ends after the last UNT or UNE that no other service segment follows.
    fn ends_without_envelope(&self) -> bool {
        if self.interchange.is_some() || self.group.is_some() || self.message.is_some() || self.done.is_empty() {
            return false;
        }
        let rest = self.tokens.rest().trim_ascii_start();
        // The beginning of a service tag at the very end may be the rest of a further message.
        let cut = matches!(rest, b"U" | b"UN");
        let tag = matches!(rest.get(..3), Some(b"UNH" | b"UNG" | b"UNE" | b"UNZ"));
        let goes_on = tag && rest.get(3).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        !cut && !goes_on
    }

    fn refuse_inside_message(&self, segment: &Segment) -> Result<(), Error> {
        match self.message {
            Some(_) => {
                Err(Error::new(ErrorKind::MessageNotClosed { tag: segment.tag.to_string() }, segment.place.clone()))
            }
            None => Ok(()),
        }
    }

    fn open_interchange(&mut self, segment: &Segment) -> Result<(), Error> {
        self.refuse_inside_message(segment)?;
        if self.interchange.is_some() {
            return Err(Error::new(ErrorKind::Truncated { missing: "UNZ" }, segment.place.clone()));
        }
        let own = |element, component| segment.value(element, component).map(str::to_owned);
        let identifier = segment.value(1, 0).unwrap_or_default();
        let header = InterchangeHeader {
            syntax: format!("{identifier}:{}", segment.value(1, 1).unwrap_or_default()),
            sender: own(2, 0),
            recipient: own(3, 0),
            prepared: own(4, 0).map(|date| format!("{date}:{}", segment.value(4, 1).unwrap_or_default())),
            control_reference: own(5, 0),
            application: own(7, 0),
            test: segment.value(11, 0).is_some_and(|indicator| indicator != "0"),
        };
        self.interchange = Some(Open { header, place: segment.place.clone() });
        Ok(())
    }

    fn open_group(&mut self, segment: &Segment) -> Result<(), Error> {
        self.refuse_inside_message(segment)?;
        self.warn_if_group_is_open(segment);
        let own = |element, component| segment.value(element, component).map(str::to_owned);
        let header = GroupHeader {
            group_type: own(1, 0),
            sender: own(2, 0),
            recipient: own(3, 0),
            control_reference: own(5, 0),
        };
        self.group = Some(Open { header, place: segment.place.clone() });
        self.units += 1;
        self.messages_in_group = 0;
        Ok(())
    }

    fn warn_if_group_is_open(&mut self, segment: &Segment) {
        if let Some(open) = self.group.take() {
            self.warnings.add(
                WarningCode::GroupNotClosed,
                &open.place,
                format!("no UNE before this group's next {}", segment.tag),
            );
        }
    }

    fn open_message(&mut self, segment: Segment) -> Result<(), Error> {
        self.counters.messages += 1;
        if self.counters.messages > limits::MESSAGES_MAX {
            let kind = ErrorKind::TooMany { what: "messages", limit: limits::MESSAGES_MAX };
            return Err(Error::new(kind, segment.place));
        }
        if self.group.is_some() {
            self.messages_in_group += 1;
        } else {
            self.units += 1;
        }
        let mut segment = segment;
        segment.place.message = saturate(self.counters.messages);
        self.message = Some((segment, Vec::new()));
        Ok(())
    }

    fn close_message(&mut self, trailer: Segment) -> Result<(), Error> {
        let Some((header, segments)) = self.message.take() else {
            return Err(Error::new(ErrorKind::ClosesNothing { tag: "UNT".to_owned() }, trailer.place));
        };
        self.done.push(RawMessage {
            interchange: self.interchange.as_ref().map(|open| open.header.clone()),
            group: self.group.as_ref().map(|open| open.header.clone()),
            header,
            segments,
            trailer,
        });
        Ok(())
    }

    fn close_group(&mut self, segment: &Segment) -> Result<(), Error> {
        self.refuse_inside_message(segment)?;
        let Some(open) = self.group.take() else {
            return Err(Error::new(ErrorKind::ClosesNothing { tag: "UNE".to_owned() }, segment.place.clone()));
        };
        self.compare_count(WarningCode::UneCount, segment, self.messages_in_group);
        self.compare_reference(WarningCode::UneReference, segment, open.header.control_reference.as_deref());
        Ok(())
    }

    fn close_interchange(&mut self, segment: &Segment) -> Result<(), Error> {
        self.refuse_inside_message(segment)?;
        self.warn_if_group_is_open(segment);
        let Some(open) = self.interchange.take() else {
            return Err(Error::new(ErrorKind::ClosesNothing { tag: "UNZ".to_owned() }, segment.place.clone()));
        };
        self.compare_count(WarningCode::UnzCount, segment, self.units);
        self.compare_reference(WarningCode::UnzReference, segment, open.header.control_reference.as_deref());
        Ok(())
    }

    /// Whether this UNZ repeats count and reference in full, so that nothing but the terminator can be missing.
    fn closes_completely(&self, segment: &Segment) -> bool {
        let reference = self.interchange.as_ref().and_then(|open| open.header.control_reference.as_deref());
        let counted = segment.value(1, 0).and_then(|count| count.parse().ok()) == Some(self.units);
        self.message.is_none() && counted && reference.is_some() && segment.value(2, 0) == reference
    }

    fn compare_count(&mut self, code: WarningCode, segment: &Segment, counted: usize) {
        let stated = segment.value(1, 0).unwrap_or_default();
        if stated.parse() != Ok(counted) {
            self.warnings.add(code, &segment.place, format!("{} says {stated:?}, there are {counted}", segment.tag));
        }
    }

    fn compare_reference(&mut self, code: WarningCode, segment: &Segment, opened: Option<&str>) {
        if segment.value(2, 0) != opened {
            self.warnings.add(
                code,
                &segment.place,
                format!("{} repeats another reference than its header has", segment.tag),
            );
        }
    }
}
