//! The state's time: what a majority's clocks agree on, as the leader says once a second at most. By it alone journeys
//! are closed, galleries destroyed and records let go.

mod agreement;
mod apply;
mod command;
mod state;

pub use agreement::Agreement;
pub(crate) use apply::apply;
pub use command::Command;
pub use state::Clock;
