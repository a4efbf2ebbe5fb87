//! Why a node does not start, or ends.

use crate::gallery::store;
use crate::group::presence;
use crate::{engine, folder, holdings, observe};

/// Why a node does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Configuration(#[from] cluster_config::file::Error),
    #[error(transparent)]
    Identity(#[from] node_link::identity::Error),
    /// The certificate says another role or name.
    #[error("certificate {path}: it is for {found}, this needs `tvs certs issue --role node --name {wanted}`")]
    WrongCertificate {
        path: String,
        found: String,
        /// The name that is needed.
        wanted: String,
    },
    #[error(transparent)]
    Endpoint(#[from] node_link::endpoint::Error),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error("the galleries on disk do not open; {}", .0.fix())]
    Store(#[from] store::Error),
    #[error(transparent)]
    Holdings(#[from] holdings::Error),
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
    /// This node must not join.
    #[error(transparent)]
    Joining(#[from] presence::Error),
    #[error(transparent)]
    Metrics(#[from] observe::Error),
    /// A thread or a runtime.
    #[error("the operating system gives no thread; raise its limits")]
    Thread(#[source] std::io::Error),
    /// It was a member, and is none any more.
    #[error(
        "node {node} was removed from the cluster, as node {told_by} says; to use this machine again, set its data \
         folder aside and add it with `tvs cluster add` under a new id"
    )]
    Removed { node: cluster_config::ids::NodeId, told_by: String },
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// Something that cannot go on.
    #[error("{0}")]
    Fault(String),
}
