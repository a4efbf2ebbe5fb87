//! Who decides: the openraft group, its log on sled, its snapshots and the planner loop.
//!
//! [`Coordinator`] is the one door. The rules themselves are in `coordinator-core`; the network is given by the node
//! as a [`Transport`]. This crate opens no socket and reads no wall clock.

mod archive;
mod batcher;
mod coordinator;
mod durable;
pub mod error;
mod high_water;
mod journal;
pub mod log;
mod log_store;
mod log_writer;
pub mod machine;
mod opening;
pub mod planner;
pub mod raft;
mod record;
pub mod snapshot;
pub mod transport;

use std::sync::Arc;

pub use batcher::Batcher;
pub use coordinator::{Coordinator, Leadership, Options};
pub use error::{Error, ProposeError};
pub use machine::StateGuard;
pub use opening::DISK_FREE_BYTES_MIN;
pub use planner::Planner;
pub use transport::{Transport, TransportError};

/// Called with the reason when the storage or openraft itself has failed, perhaps by more than one thread. The node
/// ends its process: what a failed disk holds is unknown, and only a fresh start checks it.
pub type OnFault = Arc<dyn Fn(String) + Send + Sync>;
