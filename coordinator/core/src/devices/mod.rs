//! The registered capture devices: where each stands, whose it is, what its captures are for (R26).

mod apply;
mod command;
mod judge;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use judge::{Unfit, judge};
pub use state::Devices;
