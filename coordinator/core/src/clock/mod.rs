//! The state's time: what the leader says it is, at most once a second. Journeys are closed, galleries destroyed and
//! records let go by this time alone.

mod apply;
mod command;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use state::{Clock, STEP_MS_MIN, next};
