//! Who decides: the openraft group, its log on sled, its snapshots and the planner loop.
//!
//! [`Coordinator`] is the one door. The rules themselves are in `coordinator-core`; the network is given by the node
//! as a [`Transport`]. This crate opens no socket and reads no wall clock.

pub mod chunks;
pub mod error;
pub mod group;
pub mod log;
pub mod machine;
pub mod planner;
mod proposing;
pub mod upkeep;
pub mod watchlist;

use std::sync::Arc;

use cluster_config::ids::UnixMs;

pub use chunks::Chunks;
pub use error::{Error, ProposeError};
pub use group::coordinator::Coordinator;
pub use group::opening::{DISK_FREE_BYTES_MIN, Leadership};
pub use group::options::Options;
pub use group::transport::{Transport, TransportError};
pub use machine::StateGuard;
pub use planner::Planner;
pub use proposing::batcher::Batcher;
pub use upkeep::Upkeep;
pub use watchlist::Watchlist;

/// The wall clock: by it entries are stamped and journeys depart. Silence is measured by the machine's steady clock.
pub type Now = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// Called with the reason when the storage or openraft itself has failed, perhaps by more than one thread. The node
/// ends its process: what a failed disk holds is unknown, and only a fresh start checks it.
pub type OnFault = Arc<dyn Fn(String) + Send + Sync>;
