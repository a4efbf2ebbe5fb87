//! The policy in force. Its form and what makes it valid stand in `cluster_config::policy`.

mod apply;
mod command;

pub(crate) use apply::apply;
pub use command::Command;
