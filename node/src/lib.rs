//! Who works: the parts of a node and of the one binary `tvs`.
//!
//! Decisions are made in the pure cores (`coordinator/core`, `node/core`); this crate performs them: actors own gallery
//! shards, an engine thread owns the matcher, a store owns the disk. The command line is here as well; the
//! demonstration and the benchmarks that it starts are `node/stage`'s, behind the feature `demo`.

pub mod actors;
pub mod builder;
pub mod cli;
pub mod clock;
pub mod context;
pub mod directory;
pub mod engine;
pub mod entry;
pub mod freshness;
pub mod holdings;
pub mod keys;
pub mod manifests;
pub mod observe;
pub mod operator;
pub mod process;
pub mod proposer;
pub mod segment;
pub mod service;
pub mod store;
pub mod turns;
