//! The calls of the raft group over the node's links.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::wire::RefusalCode;
use cluster_config::wire::peer::{RaftCall, Request, Response};
use coordinator::TransportError::{self, Refused, Timeout, Unreachable};
use futures::future::BoxFuture;
use node_link::{Lane, LinkError, PeerLinks};

use crate::folder::Bond;
use crate::peers::said::Said;

/// Carries the group's calls, once this node belongs to a cluster.
pub struct RaftLinks {
    links: PeerLinks,
    bond: Arc<Bond>,
    said: Arc<Said>,
}

impl RaftLinks {
    pub fn new(links: PeerLinks, bond: Arc<Bond>) -> Self {
        Self { links, bond, said: Arc::default() }
    }
}

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
        let (links, said) = (self.links.clone(), self.said.clone());
        let cluster = self.bond.cluster().filter(|_| self.bond.is_open());
        Box::pin(async move {
            let address = address.map_err(|_| Unreachable(target))?;
            let cluster = cluster.ok_or(Unreachable(target))?;
            let begun = Instant::now();
            let request = Request::Raft { cluster, call, body };
            let answered = links.call((target, address), lane_of(call), &request, timeout).await;
            metrics::histogram!("tvs_raft_call_seconds").record(begun.elapsed().as_secs_f64());
            match answered {
                Ok(Response::Raft(body)) => Ok(body),
                Ok(Response::Refused(refusal)) => {
                    // Whoever is busy or just starting is asked again; what is left is for an operator to mend.
                    if refusal.code == RefusalCode::Conflict
                        && let Some(times) = said.is_due(target, &refusal.problem)
                    {
                        tracing::warn!(node = %target, %refusal, times, "a node refuses calls of the raft group");
                    }
                    Err(Refused(target, refusal.to_string()))
                }
                Ok(_) => Err(Refused(target, "an answer out of turn".to_owned())),
                Err(LinkError::TimedOut { .. }) => Err(Timeout(target)),
                Err(_) => Err(Unreachable(target)),
            }
        })
    }
}
