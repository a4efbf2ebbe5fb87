//! This node's part in the raft group: its types, the way to the other nodes, the start, and the one door.

pub(crate) mod coordinator;
pub(crate) mod lost;
pub(crate) mod opening;
pub(crate) mod options;
pub mod raft;
mod transfer;
pub mod transport;
