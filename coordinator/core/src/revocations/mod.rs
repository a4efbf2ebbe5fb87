//! Certificates and names that are revoked: whoever shows one is cut off.

mod apply;
mod command;
mod state;

pub(crate) use apply::apply;
pub use command::Command;
pub use state::Revocations;
