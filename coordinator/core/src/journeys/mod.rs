//! Journeys: what was announced of each, by whom, and when it comes to its next phase. Where a journey stands is told
//! by its gallery; of one that has ended a line is left.

mod apply;
mod command;
mod phases;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use state::{Journeys, share_of};
