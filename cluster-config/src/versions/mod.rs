//! Formats that outlive a release: what a log, a snapshot, a segment and a message look like, held still.
//!
//! One number counts them all: [`Version`]. A form is changed by counting [`Version::CURRENT`] up and saying so beside
//! the field or variant that changes. Types are never copied; the same type is read and written in every version:
//!
//! ```ignore
//! #[serde(with = "Since::<2>")]  pub lane: u8,     // a new field: absent before version 2, read there as its default
//! #[serde(with = "Until::<2>")]  pub attempt: u8,  // a dropped field: absent since version 2, read as its default
//! Amend(#[serde(with = "OnlySince::<2>")] Amendment),  // a new variant: last in its enum, with a value in it
//! Old(#[serde(with = "OnlyUntil::<2>")] Query),    // a dropped variant: it stays, and is refused since version 2
//! ```
//!
//! The bytes of every version are written down in `golden_VERSION.txt` beside each crate's tests. [`shape`] tells those
//! tests which variants there are, so that none can be forgotten.
//!
//! Who says the version: every frame, log record, snapshot and segment, in its header. A link speaks the newest version
//! that both of its ends understand. What more than two nodes see (the log, snapshots, segments, the raft group's
//! calls) has the *cluster's* version: the smallest of all members', known to the replicated state. It never goes down.
//!
//! The bytes of a link's frames and of files that are `stamped` change so; the layouts around them (a frame's header, a
//! log record's, the journal's, the index of galleries) have one form, which the kept folders hold still.
//!
//! The feature `next` builds the version after this release's, with one change of each kind. A test has both builds
//! work together (`tests/scenarios/versions.rs`).

mod fields;
pub mod golden;
pub mod shape;
mod version;

pub use fields::{OnlySince, OnlyUntil, Since, Until};
pub use version::{Unknown, Version, within};
