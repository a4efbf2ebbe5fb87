//! The other nodes: connections to them, the raft group's calls over these, whose turn it is to get content, and what
//! was said of each in the log.

pub mod links;
pub mod raft;
pub mod said;
pub mod standing;
pub mod turns;
