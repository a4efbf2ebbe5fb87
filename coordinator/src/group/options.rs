//! What a node's part in the group is started with.

use std::path::PathBuf;

use cluster_config::cluster::ClusterSettings;
use cluster_config::ids::NodeId;

use crate::{Now, Watchlist};

/// What a coordinator is started with.
#[derive(Clone)]
pub struct Options {
    /// This node. Its id is bound to its data folder for as long as the folder lives.
    pub node_id: NodeId,
    /// Folder of the log and the snapshots; made where it is missing.
    pub data_dir: PathBuf,
    pub settings: ClusterSettings,
    /// The wall clock.
    pub now: Now,
    /// What has to go on; it is told as well when the storage has failed.
    pub watch: Watchlist,
}
