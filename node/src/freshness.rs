//! Whether what this node does not know is not there at all, or just has not reached it.

use std::time::{Duration, Instant};

use cluster_config::wire::operator::{Request, Response};
use cluster_config::wire::{Refusal, RefusalCode, peer};
use node_link::Lane;

use crate::context::{Context, out_of_turn};

/// How often a node that catches up looks whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until this node has applied everything that anybody had been told of before the call: what the leader had applied
/// once it had made sure that it leads (read index; Ongaro, section 6.4).
///
/// # Errors
/// `unavailable` where no leader with a quorum answers, or this node does not catch up with it by `deadline`: then what
/// this node does not know says nothing.
pub async fn catch_up(context: &Context, deadline: Instant) -> Result<(), Refusal> {
    let behind = || {
        let place = format!("node {}: it may lack what others know", context.me);
        Refusal::new(RefusalCode::Unavailable, place, "ask another node")
    };
    let caught_up = async {
        let leader = context.coordinator.leader().ok_or_else(behind)?;
        if leader == context.me {
            return context.coordinator.read_barrier().await.map_err(|_| behind());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let wanted =
            match context.ask(leader, Lane::Raft, &peer::Request::ForLeader(Request::ClusterStatus), left).await? {
                peer::Response::ForLeader(Response::ClusterStatus(status)) => status.applied_index,
                peer::Response::ForLeader(Response::Refused(refusal)) => return Err(refusal),
                _ => return Err(out_of_turn(leader)),
            };
        while context.coordinator.applied_index().unwrap_or(0) < wanted {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    };
    tokio::time::timeout_at(deadline.into(), caught_up).await.unwrap_or_else(|_| Err(behind()))
}
