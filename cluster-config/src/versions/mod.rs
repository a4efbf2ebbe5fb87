//! Formats that outlive a release: what a log, a snapshot, a segment and a message look like, held still.
//!
//! A type that is written to a disk or sent to another release is written down byte by byte in a `golden.txt` beside
//! its crate's tests. [`shape`] tells those tests which variants there are, so that none can be forgotten.

pub mod golden;
pub mod shape;
