//! The ledger: every encounter that was answered as recorded, in the order of the log.

mod apply;
pub mod batching;
mod command;
mod index;
mod names;
mod record;
mod state;
mod traces;

pub(crate) use apply::apply;
pub use command::Command;
pub use record::{Record, RecordOutcome};
pub use state::{CHUNK_RECORDS, Full, Ledger, Line, Place};
