//! Who decides, pure: the replicated state and the only ways to change it, the placement planner, and the checks that
//! judge every blueprint.
//!
//! Each subject has a room: its state with private fields and the questions that it answers, its commands, and how they
//! are applied. [`State`], [`Command`] and [`State::apply`] only put the rooms together.
//!
//! Nothing here reads a clock, draws a random number, waits or does I/O: time comes in as an argument, effects go out
//! as values, and the same inputs give the same outputs on every machine (state machine replication, Schneider 1990).

pub mod apply;
pub mod clock;
pub mod command;
pub mod devices;
pub mod entry;
pub mod galleries;
pub mod journeys;
pub mod ledger;
pub mod membership;
pub mod outcome;
pub mod placement;
pub mod policy;
pub mod retention;
pub mod revocations;
pub mod state;
pub mod upkeep;

pub use command::Command;
pub use entry::Entry;
pub use ledger::{Record, RecordOutcome};
pub use outcome::Outcome;
pub use state::State;
