//! Why a node does not start, or ends.

use crate::gallery::store;
use crate::group::presence;
use crate::{engine, holdings, observe};

/// Why a node does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] cluster_config::file::Error),
    /// Certificates or key.
    #[error(transparent)]
    Identity(#[from] node_link::identity::Error),
    /// The certificate says another role or name.
    #[error("certificate {path}: it is for {found}, this needs `tvs certs issue --role node --name {wanted}`")]
    WrongCertificate {
        /// The file.
        path: String,
        /// What it says.
        found: String,
        /// The name that is needed.
        wanted: String,
    },
    /// The QUIC endpoint.
    #[error(transparent)]
    Endpoint(#[from] node_link::endpoint::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// Galleries on disk.
    #[error("the galleries on disk do not open; {}", .0.fix())]
    Store(#[from] store::Error),
    /// Holdings.
    #[error(transparent)]
    Holdings(#[from] holdings::Error),
    /// The raft group.
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
    /// This node must not join.
    #[error(transparent)]
    Joining(#[from] presence::Error),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] observe::Error),
    /// A thread or a runtime.
    #[error("the operating system gives no thread; raise its limits")]
    Thread(#[source] std::io::Error),
    /// The folder of the data.
    #[error("data folder {path}: {source}; give the node a folder of its own that it can write to")]
    DataFolder {
        /// The folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process works in the folder.
    #[error("data folder {path} is in use by another process; give each node a folder of its own")]
    DataFolderInUse {
        /// The folder.
        path: String,
    },
    /// Something that cannot go on.
    #[error("{0}")]
    Fault(String),
}
