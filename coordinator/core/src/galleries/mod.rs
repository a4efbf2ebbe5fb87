//! Galleries: which there are, what is committed of each part, and who holds or held it.

mod apply;
mod command;
mod state;

pub(crate) use apply::{apply, close, purge};
pub use command::{Command, Commit, Loss};
pub use state::{Closed, Galleries, Gallery, Part, Receipt};
