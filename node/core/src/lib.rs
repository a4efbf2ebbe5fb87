//! Who works, pure: what a capture means, where it is searched, and what a replica does next.
//!
//! Nothing here reads a clock, draws a random number, waits or does I/O. The actors of `node/src/gallery` are shells
//! around these: they hand in what happened and perform the effects that come out.
//!
//! The one arrow beyond `cluster-config` goes to `coordinator-core`, for the replicated state that nodes reconcile
//! themselves with.

pub mod authority;
pub mod build;
pub mod decide;
pub mod encounter;
#[cfg(test)]
mod fixture;
pub mod freshness;
pub mod hedge;
pub mod incarnation;
pub mod joining;
pub mod keeper;
pub mod moving;
pub mod newcomer;
pub mod proposal;
pub mod queue;
pub mod reach;
pub mod rebuild;
pub mod reconcile;
pub mod removal;
pub mod reporting;
pub mod roster;
pub mod search;
pub mod shard;
pub mod standing;
pub mod turns;
