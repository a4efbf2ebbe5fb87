//! The demonstration: a bank of flights boards on a cluster of real processes, nodes are killed, and what the gates were
//! told is compared with the ledger.
//!
//! The tests' harness has an oracle of its own: whoever judges the product must not be a part of it.

pub mod bank;
pub mod gates;
pub mod oracle;
pub mod report;
pub mod run;
