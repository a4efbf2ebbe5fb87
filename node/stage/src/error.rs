//! Why a run on a stage cannot be carried through.

use cluster_config::wire::Refusal;
use node_link::client::ClientError;
use node_link::error::{Actor, LinkError};

use crate::{level, local};

/// See the module. A promise that did not hold is no error: it is what a run reports.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has to change something.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No node answered an operator.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No node answered a gate.
    #[error(transparent)]
    Gate(#[from] ClientError),
    /// The local cluster does not start, or a process of it does not do as it is told.
    #[error(transparent)]
    Local(#[from] local::Error),
    /// The cluster did not come to where it should.
    #[error(transparent)]
    Level(#[from] level::Missed),
    /// An answer does not belong to its question: the nodes run another version, or the fault is ours.
    #[error("the node answered out of turn; check that it runs this version of tvs")]
    OutOfTurn,
    /// This machine or the run itself failed.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// This machine or the run itself failed, for this reason.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }

    /// Whether the caller has to act, and not whoever runs the cluster.
    pub fn is_callers(&self) -> bool {
        match self {
            Self::Usage(_) => true,
            Self::Refused(refusal) => refusal.code.is_callers(),
            Self::Link(error) => error.actor() == Actor::Caller,
            Self::Gate(error) => error.actor() == Actor::Caller,
            Self::Local(_) | Self::Level(_) | Self::OutOfTurn | Self::Failed(_) => false,
        }
    }
}
