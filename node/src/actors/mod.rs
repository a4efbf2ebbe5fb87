//! Actors: shells around the pure cores of `node/core`.

pub mod build;
pub mod content;
pub mod keeper;
pub mod shard;
