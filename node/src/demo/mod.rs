//! The demonstration: a bank of flights boards on a cluster of real processes, nodes are killed, and what the gates were
//! told is compared with the ledger.
//!
//! The tests' harness uses its parts as well, so that both count alike.

pub mod bank;
pub mod gates;
pub mod oracle;
pub mod report;
pub mod run;
