//! The replicated state from this node's side: how it joins the group, changes the state, and asks the leader.

pub mod announce;
pub mod chunks;
pub mod freshness;
pub mod leader;
pub mod presence;
pub mod proposer;
pub mod removal;
