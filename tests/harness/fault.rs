//! What can be done to a node.

use std::fmt;

use cluster_config::ids::NodeId;

/// One blow, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL: the process is gone, its disk stays.
    Kill(NodeId),
    /// SIGTERM: a planned stop.
    Stop(NodeId),
    /// The process starts again on its disk.
    Start(NodeId),
    /// SIGSTOP: the process stands still and its sockets stay open.
    Pause(NodeId),
    /// SIGCONT: it goes on.
    Resume(NodeId),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, node) = match self {
            Self::Kill(node) => ("kill", node),
            Self::Stop(node) => ("stop", node),
            Self::Start(node) => ("start", node),
            Self::Pause(node) => ("pause", node),
            Self::Resume(node) => ("resume", node),
        };
        write!(f, "{verb} node {node}")
    }
}
