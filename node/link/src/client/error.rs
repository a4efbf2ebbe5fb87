//! Why a gate got no answer, told apart by who has to act.

use std::fmt;
use std::net::SocketAddr;

use cluster_config::wire::Refusal;

use crate::endpoint;
use crate::error::{Actor, LinkError};

/// A node that was asked and gave no answer that helps.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The node.
    pub address: SocketAddr,
    /// What came of it.
    pub failure: Failure,
}

/// What came of asking one node.
#[derive(Debug, Clone)]
pub enum Failure {
    Link(LinkError),
    /// The node refused. Another node, or the same one later, may not.
    Refused(Refusal),
    /// The node was asked and has not answered.
    Silent,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            // A link's error begins with the address.
            Failure::Link(error) => write!(f, "{error}"),
            Failure::Refused(refusal) => write!(f, "{}: refused: {refusal}", self.address),
            Failure::Silent => write!(f, "{}: no answer", self.address),
        }
    }
}

/// Prints the nodes tried, one after the other.
struct List<'a>(&'a [Tried]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no node was tried");
        }
        for (index, tried) in self.0.iter().enumerate() {
            write!(f, "{}{tried}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Why a request of a gate was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The request itself is refused: it has to be changed. Sending it again does not help.
    #[error("{address}: refused: {refusal}")]
    Refused {
        /// The node that refused.
        address: SocketAddr,
        /// Why, and what to do.
        refusal: Refusal,
    },
    /// The request cannot be sent at all, or no address was given.
    #[error("{0}")]
    Request(LinkError),
    /// This machine did not open a socket.
    #[error("{0}")]
    Socket(String),
    /// No node takes this gate's certificate, or no node's certificate is accepted here.
    #[error("no node could be reached because of certificates: {}", List(tried))]
    Certificate { tried: Vec<Tried> },
    /// No node could be reached.
    #[error("no node could be reached within {deadline_ms} ms: {}", List(tried))]
    Unreachable {
        /// How long was tried.
        deadline_ms: u64,
        tried: Vec<Tried>,
    },
    /// Nodes were reached, but none answered in time. A boarding may have been recorded or not: ask again with the same
    /// encounter.
    #[error("no answer within {deadline_ms} ms: {}", List(tried))]
    Overdue {
        /// How long was waited.
        deadline_ms: u64,
        tried: Vec<Tried>,
    },
}

impl ClientError {
    /// Who has to act.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Refused { .. } | Self::Request(_) => Actor::Caller,
            Self::Socket(_) | Self::Certificate { .. } | Self::Unreachable { .. } => Actor::Operator,
            Self::Overdue { .. } => Actor::Us,
        }
    }

    /// The nodes that were asked and gave no answer that helps.
    pub fn tried(&self) -> &[Tried] {
        match self {
            Self::Certificate { tried } | Self::Unreachable { tried, .. } | Self::Overdue { tried, .. } => tried,
            Self::Refused { .. } | Self::Request(_) | Self::Socket(_) => &[],
        }
    }

    /// The error of a request that found no answer before its deadline.
    pub(super) fn out_of_time(deadline_ms: u64, tried: Vec<Tried>) -> Self {
        let certificate = |tried: &Tried| {
            matches!(tried.failure, Failure::Link(LinkError::Certificate { .. } | LinkError::NotANode { .. }))
        };
        if !tried.is_empty() && tried.iter().all(certificate) {
            return Self::Certificate { tried };
        }
        let callers = |tried: &Tried| matches!(&tried.failure, Failure::Refused(refusal) if refusal.code.is_callers());
        if let Some(Tried { address, failure: Failure::Refused(refusal) }) = tried.first()
            && tried.iter().all(callers)
        {
            return Self::Refused { address: *address, refusal: refusal.clone() };
        }
        let unreached = |tried: &Tried| matches!(&tried.failure, Failure::Link(error) if error.nothing_done());
        if tried.iter().all(unreached) {
            return Self::Unreachable { deadline_ms, tried };
        }
        Self::Overdue { deadline_ms, tried }
    }
}

impl From<endpoint::Error> for ClientError {
    fn from(error: endpoint::Error) -> Self {
        Self::Socket(error.to_string())
    }
}
