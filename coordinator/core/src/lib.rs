//! Who decides, pure: the replicated state and the only ways to change it, the placement planner, and the checks that
//! judge every blueprint.
//!
//! Nothing here reads a clock, draws a random number, waits or does I/O: time comes in as an argument, effects go out
//! as values, and the same inputs give the same outputs on every machine (state machine replication, Schneider 1990).

pub mod apply;
pub mod batching;
pub mod blueprint;
pub mod check;
pub mod command;
pub mod inventory;
pub mod ledger;
pub mod plan;
pub mod score;
pub mod state;

pub use command::{Command, Outcome, RecordOutcome};
pub use ledger::Record;
pub use state::State;
