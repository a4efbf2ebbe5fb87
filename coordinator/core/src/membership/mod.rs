//! The nodes of the cluster: who belongs, which start of each was announced, who is being emptied.

mod apply;
mod command;
mod doubt;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use doubt::{Evidence, Started};
pub use state::{MemberState, Members};
