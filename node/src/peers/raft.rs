//! The calls of the raft group over the node's links.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::wire::peer::{RaftCall, Request, Response};
use coordinator::TransportError::{self, Refused, Timeout, Unreachable};
use futures::future::BoxFuture;
use node_link::{Lane, LinkError, PeerLinks};

/// Carries the group's calls.
pub struct RaftLinks(pub PeerLinks);

/// A snapshot must not stand before a heartbeat.
fn lane_of(call: RaftCall) -> Lane {
    match call {
        RaftCall::Append | RaftCall::Vote | RaftCall::PreVote | RaftCall::TransferLeader => Lane::Raft,
        RaftCall::Snapshot => Lane::Bulk,
    }
}

impl coordinator::Transport for RaftLinks {
    fn call(
        &self,
        target: NodeId,
        address: &str,
        call: RaftCall,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>> {
        let address = address.parse::<SocketAddr>();
        let links = self.0.clone();
        Box::pin(async move {
            let address = address.map_err(|_| Unreachable(target))?;
            let begun = Instant::now();
            let answered = links.call((target, address), lane_of(call), &Request::Raft { call, body }, timeout).await;
            metrics::histogram!("tvs_raft_call_seconds").record(begun.elapsed().as_secs_f64());
            match answered {
                Ok(Response::Raft(body)) => Ok(body),
                Ok(Response::Refused(refusal)) => Err(Refused(target, refusal.to_string())),
                Ok(_) => Err(Refused(target, "an answer out of turn".to_owned())),
                Err(LinkError::TimedOut { .. }) => Err(Timeout(target)),
                Err(_) => Err(Unreachable(target)),
            }
        })
    }
}
