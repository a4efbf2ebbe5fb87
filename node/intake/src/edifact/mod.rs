//! The syntax of UN/EDIFACT (ISO 9735, versions 1 to 4), and of the wire it arrives on.
//!
//! This layer knows separators, segments and envelopes, and nothing of passengers. It loses nothing: a value outside of
//! the declared character set is kept, with a warning. It is strict in one thing only. An interchange that is not
//! closed is refused, because a list that is silently shorter is the worst outcome.

mod characters;
mod envelope;
mod segment;
mod service;
mod tokens;
mod wire;

pub use envelope::{GroupHeader, InterchangeHeader};
pub(crate) use envelope::{RawMessage, read};
pub(crate) use segment::Segment;
