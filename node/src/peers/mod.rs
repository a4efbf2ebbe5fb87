//! The other nodes: connections to them, the raft group's calls over these, and whose turn it is to get content.

pub mod links;
pub mod raft;
pub mod standing;
pub mod turns;
