//! The demonstration: a bank of flights boards on a cluster of real processes, nodes are killed, and what the gates
//! were told is compared with the ledger.

mod announcing;
mod course;
mod given;
mod options;
pub mod report;

pub use course::demonstrate;
pub use given::{Announced, Given};
pub use options::Options;
