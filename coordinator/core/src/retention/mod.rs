//! What was held and is destroyed: the receipts that end a purge.

mod apply;
mod command;

pub(crate) use apply::apply;
pub use command::Command;
