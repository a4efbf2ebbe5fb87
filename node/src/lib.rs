//! Who works: the rooms of a node and of the one binary `tvs`.
//!
//! Decisions are made in the pure cores (`coordinator/core`, `node/core`); this crate performs them. From the top:
//!
//! - [`cli`]: the command line. The demonstration and the benchmarks that it starts are `node/stage`'s, behind the
//!   feature `demo`.
//! - [`process`]: starts the parts of one node, gives each what it uses, and stops them.
//! - [`door`]: what a node answers to gates, to other nodes and to operators.
//! - [`folder`]: the folder of a node's data, and which cluster it belongs to.
//! - [`manifest`]: from a carrier's file to the galleries of its journeys.
//! - [`gallery`]: the actors that own gallery shards, and where the content of a shard comes from and is kept.
//! - [`group`]: the way into the replicated state, and how a node joins it.
//! - [`engine`]: scores what searches ask for. [`holdings`]: where templates come from.
//! - [`peers`]: connections to the other nodes. [`clock`] and [`observe`]: time, dice, logs and metrics.

pub mod cli;
pub mod clock;
pub mod door;
pub mod engine;
pub mod folder;
pub mod gallery;
pub mod group;
pub mod holdings;
pub mod manifest;
pub mod observe;
pub mod peers;
pub mod process;
