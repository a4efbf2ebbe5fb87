//! Cuts the bytes of an interchange into segments.

use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::place::{Lines, Place, saturate};

use super::characters;
use super::segment::{Component, Segment};
use super::wire::Wire;

/// What was counted so far in the whole input; several interchanges share it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) segments: usize,
    pub(super) messages: usize,
    components: usize,
}

/// Reads segment after segment.
pub(super) struct Tokens<'a> {
    wire: &'a Wire,
    lines: &'a Lines,
    position: usize,
    /// The syntax identifier of UNB, known once its first value was read; UNOA before.
    pub(super) syntax: String,
}

/// A segment, and whether its terminator was there.
pub(super) struct Token {
    pub(super) segment: Segment,
    pub(super) terminated: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(wire: &'a Wire, lines: &'a Lines) -> Self {
        Self { wire, lines, position: wire.start, syntax: "UNOA".to_owned() }
    }

    /// The bytes after the last segment that was read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.wire.stripped.bytes.get(self.position..).unwrap_or_default()
    }

    /// The place after the last segment that was read.
    pub(super) fn here(&self) -> Place {
        self.lines.place(self.wire.stripped.offset(self.position))
    }

    /// Offset in the input of the next byte.
    pub(super) fn offset(&self) -> usize {
        self.wire.stripped.offset(self.position)
    }

    /// The next segment; none at the end of the input. Empty segments are skipped.
    ///
    /// # Errors
    ///
    /// The input exceeds a limit of [`limits`].
    pub(super) fn next(&mut self, counters: &mut Counters) -> Result<Option<Token>, Error> {
        loop {
            let blank = self
                .rest()
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace() && **byte != self.wire.service.terminator);
            self.position += blank.count();
            match self.rest().first() {
                None => return Ok(None),
                Some(byte) if *byte == self.wire.service.terminator => self.position += 1,
                Some(_) => return self.segment(counters).map(Some),
            }
        }
    }

    fn segment(&mut self, counters: &mut Counters) -> Result<Token, Error> {
        let service = &self.wire.service;
        let mut place = self.here();
        counters.segments += 1;
        place.segment = saturate(counters.segments);
        place.message = saturate(counters.messages);
        let too_many = |what, limit, place: &Place| Error::new(ErrorKind::TooMany { what, limit }, place.clone());
        if counters.segments > limits::SEGMENTS_MAX {
            return Err(too_many("segments", limits::SEGMENTS_MAX, &place));
        }

        let mut builder = Builder {
            syntax: self.syntax.clone(),
            components: Vec::new(),
            bytes: Vec::new(),
            repetitions: Vec::new(),
            foreign: false,
        };
        let (mut element, mut component) = (0_u16, 0_u16);
        let (mut tag, mut terminated) = (None, false);
        let begin = self.position;
        let mut bytes = self.rest().iter().copied();
        while let Some(byte) = bytes.next() {
            self.position += 1;
            if self.position - begin > limits::SEGMENT_BYTES_MAX {
                return Err(Error::new(ErrorKind::SegmentTooLong, place));
            }
            if Some(byte) == service.release {
                match bytes.next() {
                    Some(released) => {
                        self.position += 1;
                        builder.bytes.push(released);
                    }
                    None => break,
                }
                continue;
            }
            if byte != service.terminator && byte != service.element && byte != service.component {
                if Some(byte) == service.repetition && element > 0 {
                    builder.repetitions.push(saturate(builder.bytes.len()));
                }
                builder.bytes.push(byte);
                continue;
            }
            builder.finish(element, component, &mut tag);
            if byte == service.terminator {
                terminated = true;
                break;
            }
            if byte == service.element {
                element += 1;
                component = 0;
                if usize::from(element) > limits::ELEMENTS_MAX {
                    return Err(too_many("data elements in one segment", limits::ELEMENTS_MAX, &place));
                }
            } else {
                component += 1;
                if usize::from(component) > limits::COMPONENTS_MAX {
                    return Err(too_many("components in one data element", limits::COMPONENTS_MAX, &place));
                }
            }
        }
        if !terminated {
            builder.finish(element, component, &mut tag);
        }

        counters.components += builder.components.len();
        if counters.components > limits::COMPONENTS_IN_INPUT_MAX {
            return Err(too_many("values", limits::COMPONENTS_IN_INPUT_MAX, &place));
        }
        self.syntax = builder.syntax;
        let tag = tag.unwrap_or_default();
        place.tag = tag.chars().filter(char::is_ascii_alphanumeric).take(3).collect();
        let has_foreign_characters = builder.foreign;
        let segment = Segment { tag: tag.into(), place, has_foreign_characters, components: builder.components };
        Ok(Token { segment, terminated })
    }
}

struct Builder {
    syntax: String,
    components: Vec<Component>,
    bytes: Vec<u8>,
    repetitions: Vec<u32>,
    foreign: bool,
}

impl Builder {
    /// Ends a component; the first one of element 0 is the tag.
    fn finish(&mut self, element: u16, index: u16, tag: &mut Option<String>) {
        if self.bytes.is_empty() && element > 0 {
            self.repetitions.clear();
            return;
        }
        let (text, foreign) = characters::decode(std::mem::take(&mut self.bytes), &self.syntax);
        self.foreign |= foreign;
        if element == 0 {
            tag.get_or_insert_with(|| text.trim().to_owned());
            return;
        }
        // UNB declares the character set of its own further values.
        if (element, index) == (1, 0) && tag.as_deref() == Some("UNB") {
            text.trim().clone_into(&mut self.syntax);
        }
        let repetitions = std::mem::take(&mut self.repetitions);
        // Positions count bytes as they were sent. In the text they are right only if both have the same bytes.
        let repetitions = (!repetitions.is_empty() && text.is_ascii()).then(|| repetitions.into_boxed_slice());
        self.components.push(Component { element, index, text: text.into(), repetitions });
    }
}
