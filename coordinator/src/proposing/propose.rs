//! One command on its way into the log, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::NodeId;
use coordinator_core::{Command, Outcome};
use openraft::errors::{ClientWriteError, RaftError};

use crate::error::ProposeError;
use crate::group::raft::Proposal;
use crate::machine::Raft;

/// Longest wait for the outcome of a proposal, milliseconds. It is twice the longest election, and half of the gate's
/// deadline, so that a record can be spooled in the other half.
pub const PROPOSE_MS_MAX: u64 = 1_000;

/// Proposes a command on the raft thread.
pub async fn submit(raft: &Raft, command: Command) -> Result<Outcome, ProposeError> {
    let wait = Duration::from_millis(PROPOSE_MS_MAX);
    let written = raft.client_write(Proposal(Arc::new(command)));
    match tokio::time::timeout(wait, written).await {
        Err(_) => Err(ProposeError::Unavailable),
        Ok(Ok(response)) => {
            response.data.ok_or_else(|| ProposeError::Fault("a command was applied without outcome".to_owned()))
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
            Err(ProposeError::NotLeader(forward.leader_id.map(NodeId)))
        }
        Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => Err(ProposeError::Unavailable),
        Ok(Err(error)) => Err(ProposeError::Fault(error.to_string())),
    }
}
