//! How commands come into the log: one alone, or many ledger records in one entry.

pub(crate) mod batcher;
pub(crate) mod propose;
