//! The ledger: every encounter that was answered as recorded, in the order of the log.

mod apply;
mod command;
mod record;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use record::{Record, RecordOutcome};
pub use state::Ledger;
