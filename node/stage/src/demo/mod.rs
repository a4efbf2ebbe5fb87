//! The demonstration: a bank of flights boards on a cluster of real processes, nodes are killed, and what the gates were
//! told is compared with the ledger.

mod course;
mod given;
pub mod report;

pub use course::{Options, demonstrate};
pub use given::{Announced, Given};
