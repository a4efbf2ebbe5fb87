//! What transmission adds to an interchange: telex and mail headers, control characters, line ends anywhere.
//!
//! Teleprinter lines are 64 to 69 columns wide and break inside tags and values, so line ends are taken out
//! before segments are told apart. They can never be data: no EDIFACT character set up to level E has them.

use crate::error::{Error, ErrorKind, WarningCode, Warnings};
use crate::place::Lines;

use super::service::ServiceCharacters;

/// An interchange on the wire.
pub(super) struct Wire {
    pub(super) service: ServiceCharacters,
    /// Position in [`Stripped::bytes`] of the first service segment after UNA.
    pub(super) start: usize,
    pub(super) stripped: Stripped,
}

/// Input without line ends and transmission control characters, and the offset of each byte in the original.
pub(super) struct Stripped {
    pub(super) bytes: Vec<u8>,
    /// Position in `bytes` and offset in the input, wherever the distance between them changes.
    jumps: Vec<(usize, usize)>,
    input_length: usize,
    /// Offset of the first control character that was dropped and is neither a line end nor frames a telex.
    control: Option<usize>,
}

impl Stripped {
    /// Offset in the input of a position in `bytes`.
    pub(super) fn offset(&self, position: usize) -> usize {
        if position >= self.bytes.len() {
            return self.input_length;
        }
        let after = self.jumps.partition_point(|(start, _)| *start <= position);
        match after.checked_sub(1).and_then(|index| self.jumps.get(index)) {
            Some((start, offset)) => offset + (position - start),
            None => position,
        }
    }

    /// Position in `bytes` of an offset in the input. For a byte that was taken out it is that of the next one kept.
    fn position(&self, offset: usize) -> usize {
        let after = self.jumps.partition_point(|(_, from)| *from <= offset);
        match after.checked_sub(1).and_then(|index| self.jumps.get(index)) {
            Some((position, from)) => {
                let end = self.jumps.get(after).map_or(self.bytes.len(), |(next, _)| *next);
                (position + (offset - from)).min(end)
            }
            None => 0,
        }
    }
}

/// Finds the interchange that begins at or after `from`, or nothing if there is none.
///
/// # Errors
///
/// There is a service segment, but its separators cannot be found.
pub(super) fn open(input: &[u8], from: usize, lines: &Lines, warnings: &mut Warnings) -> Result<Option<Wire>, Error> {
    let rest = input.get(from..).unwrap_or_default();
    let advice = find_advice(rest);
    let stripped = strip(rest, from, advice.map(|(_, service)| service));
    let first = find_service_segment(&stripped.bytes);
    let advised =
        advice.map(|(una, service)| (stripped.position(from + una), stripped.position(from + una + 9), service));

    let (start, service, begin) = match (advised, first) {
        (None, None) => return Ok(None),
        // A service segment before the UNA opens an interchange of its own, without UNA.
        (Some((una, start, service)), first) if first.is_none_or(|first| first >= una) => {
            (start, service, stripped.offset(una))
        }
        (_, first) => {
            let start = first.unwrap_or_default();
            let begin = stripped.offset(start);
            let Some(service) = infer(&stripped.bytes, start) else {
                return Err(Error::new(ErrorKind::SeparatorsUnknown, lines.place(begin)));
            };
            let before = stripped.bytes.get(..start).unwrap_or_default();
            if before.windows(3).any(|three| three == b"UNA") {
                warnings.add(
                    WarningCode::ServiceStringUnreliable,
                    &lines.place(begin),
                    "UNA does not fit the segments after it; the separators were taken from them",
                );
            }
            (start, service, begin)
        }
    };

    let lead = input.get(from..begin).unwrap_or_default();
    if lead.iter().any(u8::is_ascii_graphic) {
        let code = if from == 0 { WarningCode::LeadingText } else { WarningCode::TrailingText };
        warnings.add(code, &lines.place(from), format!("{} bytes before the interchange were dropped", lead.len()));
    }
    if let Some(offset) = stripped.control.filter(|offset| *offset > begin) {
        warnings.add(WarningCode::ControlCharacters, &lines.place(offset), "control characters were dropped");
    }
    Ok(Some(Wire { service, start, stripped }))
}

/// Takes out line ends, and transmission controls, but never a separator of `kept`.
fn strip(rest: &[u8], from: usize, kept: Option<ServiceCharacters>) -> Stripped {
    let mut stripped = Stripped {
        bytes: Vec::with_capacity(rest.len()),
        jumps: Vec::new(),
        input_length: from + rest.len(),
        control: None,
    };
    let mut jumped = true;
    for (index, byte) in rest.iter().enumerate() {
        let noise = matches!(byte, b'\r' | b'\n' | 0x00..=0x08 | 0x0B | 0x0C | 0x0E..=0x1A);
        if noise && !kept.is_some_and(|service| service.contains(*byte)) {
            // SOH, STX, ETX, EOT and FF frame a telex, SUB ends a file; the others mean damage.
            let frames = matches!(byte, b'\r' | b'\n' | 0x01..=0x04 | 0x0C | 0x1A);
            if !frames && stripped.control.is_none() {
                stripped.control = Some(from + index);
            }
            jumped = true;
            continue;
        }
        if jumped {
            stripped.jumps.push((stripped.bytes.len(), from + index));
            jumped = false;
        }
        stripped.bytes.push(*byte);
    }
    stripped
}

/// Finds a UNA whose six characters fit the service segment after them.
fn find_advice(rest: &[u8]) -> Option<(usize, ServiceCharacters)> {
    rest.windows(9).enumerate().filter(|(_, nine)| nine.starts_with(b"UNA")).find_map(|(index, nine)| {
        let advice: [u8; 6] = nine.get(3..9)?.try_into().ok()?;
        let service = ServiceCharacters::from_advice(advice)?;
        let after = rest.get(index + 9..)?;
        let skipped = after.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0)?;
        let four: Vec<u8> =
            after.get(skipped..)?.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(4).collect();
        let fits = matches!(four.get(..3), Some(b"UNB" | b"UNG" | b"UNH")) && four.get(3) == Some(&service.element);
        // After a UNA that is one byte too short, the line end seems to be the terminator. The segments show the real
        // one.
        let line_end_ends_nothing = || {
            // UNB and UNH stand in the first few hundred bytes. Only these are searched, so that many UNA cost little.
            let bytes = strip(after.get(..1024).unwrap_or(after), 0, None).bytes;
            find_service_segment(&bytes).and_then(|start| infer(&bytes, start)).is_some()
        };
        let short = matches!(service.terminator, b'\r' | b'\n') && line_end_ends_nothing();
        (fits && !short).then_some((index, service))
    })
}

/// Finds the first UNB, UNG or UNH that looks like one, in stripped bytes.
fn find_service_segment(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).enumerate().filter(|(_, tag)| tag.starts_with(b"UN")).find_map(|(index, tag)| {
        let after = bytes.get(index + 3..)?;
        let separator = *after.first()?;
        if separator.is_ascii_alphanumeric() || separator == b' ' {
            return None;
        }
        let data = after.get(1..)?;
        let fits = match tag {
            // A syntax identifier of four capitals (UNOA, IATA, SIRE), then its version.
            b"UNB" => {
                let version = data.get(4..6)?;
                data.iter().take(4).all(u8::is_ascii_uppercase)
                    && !version.iter().take(1).all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ')
                    && version.iter().skip(1).all(u8::is_ascii_digit)
            }
            b"UNG" => data.iter().take(6).all(u8::is_ascii_uppercase) && data.get(6) == Some(&separator),
            // UNH: a reference of up to 14 characters, then a message type of six letters and a component separator.
            b"UNH" => {
                let length = data.iter().take(36).position(|byte| *byte == separator)?;
                let kind = data.get(length + 1..length + 8)?;
                kind.iter().take(6).all(u8::is_ascii_uppercase) && !kind.get(6)?.is_ascii_alphanumeric()
            }
            _ => false,
        };
        fits.then_some(index)
    })
}

/// Finds the separators in the service segments themselves, if there is no UNA.
fn infer(bytes: &[u8], start: usize) -> Option<ServiceCharacters> {
    let text = bytes.get(start..)?;
    let element = *text.get(3)?;
    let component = match text.get(..3)? {
        // UNB+UNOA:4, UNB+IATA:1: the first separator after the syntax identifier.
        b"UNB" => *text.get(4..)?.iter().take(16).find(|byte| !byte.is_ascii_alphanumeric())?,
        b"UNH" => {
            let length = text.get(4..)?.iter().position(|byte| *byte == element)?;
            *text.get(4 + length + 1 + 6)?
        }
        _ => b':',
    };
    let component = if component == element { b':' } else { component };
    // The byte before the next service segment ends the one before it.
    let next = text.get(4..)?.windows(4).position(|four| {
        four.get(3) == Some(&element)
            && (four.starts_with(b"UNG") || four.starts_with(b"UNH") || four.starts_with(b"BGM"))
    });
    let terminator = next
        .and_then(|position| text.get(4..4 + position))
        .and_then(|before| before.iter().rev().copied().find(|byte| !byte.is_ascii_whitespace()))
        .unwrap_or(b'\'');
    let release = if [element, component, terminator].contains(&b'?') { b' ' } else { b'?' };
    ServiceCharacters::from_advice([component, element, b'.', release, b' ', terminator])
}
