//! One command on its way into the log, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::limits::PROPOSE_MS_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::{Entry, Outcome};
use openraft::errors::{ClientWriteError, RaftError};

use crate::error::ProposeError;
use crate::group::raft::Proposal;
use crate::machine::Raft;

/// Proposes an entry on the raft thread, in the version of the cluster. A command that came with a newer version is
/// refused: some member could not read it.
pub async fn submit(raft: &Raft, entry: Entry, version: Version) -> Result<Outcome, ProposeError> {
    let entry = match entry.in_version(version) {
        Ok(entry) => entry,
        Err(error) => {
            let fix = "see `tvs cluster status` for the versions of the members";
            let refusal = Refusal::new(RefusalCode::UnknownVersion, "command", error.to_string(), fix);
            return Ok(Outcome::Refused(refusal));
        }
    };
    let wait = Duration::from_millis(PROPOSE_MS_MAX);
    let written = raft.client_write(Proposal(Arc::new(entry)));
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
