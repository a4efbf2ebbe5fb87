//! The door of the crate: it reads bytes into everything that is in them.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Warning, Warnings};
use crate::limits;
use crate::manifest;
use crate::message::Message;
use crate::paxlst;
use crate::place::{Lines, Place};

/// Everything that was in one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interchange {
    /// The messages in their order.
    pub messages: Vec<Message>,
    /// What was odd, in the order of the input.
    pub warnings: Vec<Warning>,
}

/// Reads a manifest: UN/EDIFACT PAXLST of any kind, or JSON.
///
/// The content tells which of the two it is. A result is complete: everybody in the input is among the travellers or in
/// quarantine.
///
/// # Errors
///
/// The input is neither, is truncated, exceeds a limit, or holds messages that are no passenger lists. The error names
/// the place and the fix. Nothing of the input may be used.
pub fn parse(input: &[u8]) -> Result<Interchange, Error> {
    if input.len() > limits::INPUT_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::InputTooLarge { bytes: input.len() },
            Place { line: 1, column: 1, ..Place::default() },
        ));
    }
    let lines = Lines::of(input);
    let mut warnings = Warnings::default();
    let first = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input).trim_ascii_start().first();
    let messages = match first {
        None => return Err(Error::new(ErrorKind::Empty, lines.place(0))),
        Some(b'{' | b'[') => vec![manifest::read_json(input, &lines)?],
        Some(_) => paxlst::read(input, &lines, &mut warnings)?,
    };
    Ok(Interchange { messages, warnings: warnings.finish() })
}
