//! Where in the input something was found.

use std::fmt;

use serde::Serialize;

/// An exact place in the input.
///
/// Lines and columns count from 1 as editors do, bytes from 0. A part that does not apply is 0 or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Offset of the first byte, counted from 0 in the input as it arrived.
    pub byte_offset: u32,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in bytes, counted from 1.
    pub column: u32,
    /// Ordinal of the segment in the input, counted from 1 (UNA is not counted); 0 outside of segments.
    #[serde(skip_serializing_if = "is_zero")]
    pub segment: u32,
    /// Ordinal of the message in the input, counted from 1; 0 outside of messages.
    #[serde(skip_serializing_if = "is_zero")]
    pub message: u32,
    /// The segment's tag; empty outside of segments.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {} column {} (byte {}", self.line, self.column, self.byte_offset)?;
        if self.segment > 0 {
            write!(formatter, ", segment {}", self.segment)?;
            if !self.tag.is_empty() {
                write!(formatter, " {}", self.tag)?;
            }
        }
        if self.message > 0 {
            write!(formatter, ", message {}", self.message)?;
        }
        formatter.write_str(")")
    }
}

/// Turns byte offsets to lines and columns.
#[derive(Debug)]
pub(crate) struct Lines {
    starts: Vec<u32>,
}

impl Lines {
    /// Finds the line starts of `bytes`; a line ends with LF, CR or CR LF.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut starts = vec![0];
        for (index, byte) in bytes.iter().enumerate() {
            let ends_line = match byte {
                b'\n' => true,
                b'\r' => bytes.get(index + 1) != Some(&b'\n'),
                _ => false,
            };
            if ends_line {
                starts.push(saturate(index + 1));
            }
        }
        Self { starts }
    }

    /// The place of a byte offset, without segment and message.
    pub(crate) fn place(&self, byte_offset: usize) -> Place {
        let byte_offset = saturate(byte_offset);
        let line = self.starts.partition_point(|start| *start <= byte_offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Place { byte_offset, line: saturate(line), column: byte_offset - start + 1, ..Place::default() }
    }
}

/// Inputs are far smaller than 4 GiB, so this never saturates.
pub(crate) fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_any_of_the_three_line_ends() {
        let lines = Lines::of(b"a\r\nbc\rd\ne");
        let at = |offset| {
            let place = lines.place(offset);
            (place.line, place.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(3), (2, 1));
        assert_eq!(at(4), (2, 2));
        assert_eq!(at(6), (3, 1));
        assert_eq!(at(8), (4, 1));
    }
}
