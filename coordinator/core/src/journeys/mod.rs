//! Journeys: what was announced of each. Where a journey stands is told by its gallery.

mod apply;
mod command;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use state::Journeys;
