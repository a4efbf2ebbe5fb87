//! Galleries: the actors that own shards, what a search reads of them, and where their content comes from and is kept.
//!
//! The actors are shells around the pure cores of `node/core`. [`keeper`] makes the shards that run here fit the
//! replicated state; [`shard`] is the actor of one replica; [`build`] makes its next version, out of what [`people`]
//! finds for each person, and [`orders`] sends such an order to the shard's owner. [`content`] gets a version from this
//! node's disk or from another node. [`segment`] is its form, [`store`] the disk, [`keys`] what seals it there.
//! [`directory`] says how each actor is reached and what it has [`published`](serving), which [`search`] reads.

pub mod build;
pub mod content;
pub mod directory;
pub mod keeper;
pub mod keys;
pub mod messages;
pub mod orders;
pub mod people;
pub mod search;
pub mod segment;
pub mod serving;
pub mod shard;
pub mod store;
