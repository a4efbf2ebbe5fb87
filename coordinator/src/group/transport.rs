//! What the raft group needs of a network, and openraft's network on top of it. The node gives the transport (QUIC).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::wire::codec;
use cluster_config::wire::peer::RaftCall;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use openraft::entry::RaftEntry as _;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::group::lost::{Loss, Losses};
use crate::group::raft::{Peer, TypeConfig, Vote};
use crate::group::transfer::{Answer, Outgoing};
use crate::machine::{RaftSnapshot, SharedState, SnapshotData};

/// Shortest timeout of a call without entries, milliseconds. openraft gives it one heartbeat, and a busy machine can
/// take longer.
const CALL_MS_MIN: u64 = 20;

/// Shortest timeout of an append with entries, milliseconds. The follower answers when they are on its disk. Sending
/// them again to a slow disk would only add load. Heartbeats do not wait for the answer.
const APPEND_MS_MIN: u64 = 500;

/// How long a call that only reports a commit waits for entries to go with, milliseconds. openraft tells each follower
/// of a commit in a call of its own, and sends the next entries only after the answer. With boardings one after the
/// other that was half of all calls and a third of the time. Followers apply an entry so much later; no gate waits for
/// that.
const COMMIT_NEWS_MS: u64 = 2;

/// Why a call was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection to the node. openraft asks again after a pause.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// No answer in time. openraft asks again at once.
    #[error("node {0} did not answer in time")]
    Timeout(NodeId),
    /// The node refused, or its answer does not decode.
    #[error("node {0} refused: {1}")]
    Refused(NodeId, String),
}

/// Carries calls between the nodes of the group.
pub trait Transport: Send + Sync + 'static {
    /// Sends `body` to the node and returns the answer of its [`crate::Coordinator::handle`].
    ///
    /// The raft thread's runtime (tokio, current thread) polls the future. A transport that needs another runtime has
    /// to spawn its work there. The future must end within `timeout`, give or take a scheduling delay.
    fn call(
        &self,
        target: NodeId,
        address: &str,
        call: RaftCall,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>>;
}

type AppendResult = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Makes the connections of one node.
#[derive(Clone)]
pub struct Network {
    transport: Arc<dyn Transport>,
    /// Knows the version that every member understands.
    shared: Arc<SharedState>,
    losses: Losses,
}

impl Network {
    /// A network over `transport`.
    pub fn new(transport: Arc<dyn Transport>, shared: Arc<SharedState>, losses: Losses) -> Self {
        Self { transport, shared, losses }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Connection {
        Connection {
            transport: self.transport.clone(),
            shared: self.shared.clone(),
            losses: self.losses.clone(),
            target: NodeId(target),
            address: node.address.clone(),
        }
    }
}

/// The way to one node.
pub struct Connection {
    transport: Arc<dyn Transport>,
    shared: Arc<SharedState>,
    losses: Losses,
    target: NodeId,
    address: String,
}

impl Connection {
    /// Remembers what the node acknowledges. Where it has lost some of it, openraft is not told: it takes such an
    /// answer for a fault of its own.
    fn keep_account(
        &self,
        rpc: &AppendEntriesRequest<TypeConfig>,
        answer: AppendEntriesResponse<TypeConfig>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let before = self.losses.acknowledged(self.target, rpc.vote);
        let from = rpc.prev_log_id.map(|id| id.index);
        match &answer {
            AppendEntriesResponse::Success => {
                let upto = rpc.entries.last().map(|entry| entry.log_id().index).or(from);
                upto.into_iter().for_each(|upto| self.losses.acknowledge(self.target, rpc.vote, upto));
            }
            AppendEntriesResponse::Conflict => {
                if let (Some(acknowledged), Some(refused)) = (before, from)
                    && refused <= acknowledged
                {
                    self.losses.report(Loss { node: self.target, acknowledged, refused });
                    let lost = TransportError::Refused(self.target, "it has lost what it acknowledged".to_owned());
                    return Err(rpc_error(&lost));
                }
            }
            AppendEntriesResponse::PartialSuccess(_) | AppendEntriesResponse::HigherVote(_) => {}
        }
        Ok(answer)
    }

    /// Encodes the request before it returns: the future does not borrow it.
    fn call<A: DeserializeOwned, R: Serialize>(
        &self,
        call: RaftCall,
        request: &R,
        timeout: Duration,
    ) -> impl Future<Output = Result<A, TransportError>> + Send + use<A, R> {
        let target = self.target;
        let body = codec::encode_stamped(request, self.shared.version(), PEER_FRAME_BYTES_MAX);
        let sent = body.map(|body| {
            let timeout = timeout.max(Duration::from_millis(CALL_MS_MIN));
            let moved = self.shared.address(target.0);
            self.transport.call(target, moved.as_deref().unwrap_or(&self.address), call, body, timeout)
        });
        async move {
            let refused = |error: codec::Error| TransportError::Refused(target, error.to_string());
            let answer = sent.map_err(refused)?.await?;
            codec::decode_stamped(&answer, PEER_FRAME_BYTES_MAX).map(|(answer, _)| answer).map_err(refused)
        }
    }
}

impl Connection {
    /// Sends a snapshot chunk by chunk. `whole` is how long the follower may take once it has all of it.
    async fn send_in_chunks(
        &self,
        vote: Vote,
        snapshot: &RaftSnapshot,
        whole: Duration,
    ) -> Result<SnapshotResponse<TypeConfig>, TransportError> {
        let mut outgoing = Outgoing::new(vote, snapshot);
        while let Some((chunk, timeout)) = outgoing.next(whole) {
            match self.call::<Answer, _>(RaftCall::Snapshot, &chunk, timeout).await {
                Ok(answer) => {
                    if let Some(response) = outgoing.take(answer) {
                        return Ok(response);
                    }
                }
                Err(TransportError::Timeout(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TransportError::Timeout(self.target))
    }
}

/// openraft pauses after `Unreachable` and asks again at once after the others.
fn rpc_error(error: &TransportError) -> RPCError<TypeConfig> {
    match error {
        TransportError::Timeout(_) => RPCError::Network(NetworkError::new(error)),
        TransportError::Unreachable(_) | TransportError::Refused(..) => RPCError::Unreachable(Unreachable::new(error)),
    }
}

/// Leaves out each call to a follower that only reports a commit, if entries follow within [`COMMIT_NEWS_MS`]: they
/// report it as well. openraft gives a request only after the follower has acknowledged the one before. So a request
/// without entries that begins where the last one ended is no probe of how far the two logs agree.
fn with_commits_aboard(
    requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static {
    Box::pin(stream::unfold((requests.fuse(), None), async |(mut requests, agreed)| {
        let mut request: AppendEntriesRequest<TypeConfig> = requests.next().await?;
        let until = tokio::time::Instant::now() + Duration::from_millis(COMMIT_NEWS_MS);
        while request.entries.is_empty() && agreed.is_some() && request.prev_log_id == agreed {
            match tokio::time::timeout_at(until, requests.next()).await {
                Ok(Some(newer)) => request = newer,
                Ok(None) | Err(_) => break,
            }
        }
        let agreed = request.entries.last().map(|entry| entry.log_id()).or(request.prev_log_id);
        Some((request, (requests, agreed)))
    }))
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotData;

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        stream_append_sequential(self, with_commits_aboard(requests), option)
    }

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = if rpc.entries.is_empty() {
            option.soft_ttl()
        } else {
            option.soft_ttl().max(Duration::from_millis(APPEND_MS_MIN))
        };
        let answer = self.call(RaftCall::Append, &rpc, timeout).await.map_err(|error| rpc_error(&error))?;
        self.keep_account(&rpc, answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(RaftCall::Vote, &rpc, option.soft_ttl()).await;
        answer.map_err(|error| rpc_error(&error))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(RaftCall::PreVote, &rpc, option.soft_ttl()).await;
        answer.map_err(|error| rpc_error(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = self.send_in_chunks(vote, &snapshot, option.soft_ttl());
        match select(Box::pin(sending), Box::pin(cancel)).await {
            Either::Left((answer, _)) => answer.map_err(|error| rpc_error(&error).into()),
            Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(RaftCall::TransferLeader, &request, option.soft_ttl()).await;
        answer.map_err(|error| rpc_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use cluster_config::actor::Actor;
    use cluster_config::ids::{NodeId, UnixMs};
    use cluster_config::policy::Policy;
    use coordinator_core::policy;
    use openraft::entry::RaftEntry;

    use super::*;
    use crate::group::raft::{Entry, LogId, Proposal};

    /// A request that follows entry `prev` with so many entries, and reports the commit of entry `committed`.
    fn request(prev: Option<u64>, entries: u64, committed: u64) -> AppendEntriesRequest<TypeConfig> {
        let at = |index| LogId::new(Vote::new(1, 1).leader_id, index);
        let entry = |index| {
            let command = policy::Command::Set(Policy::default()).into();
            let stamped = coordinator_core::Entry::new(Actor::node(NodeId(1)), UnixMs(0), command);
            Entry::new(at(index), openraft::EntryPayload::Normal(Proposal(Arc::new(stamped))))
        };
        let first = prev.map_or(0, |index| index + 1);
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: prev.map(at),
            leader_commit: Some(at(committed)),
            entries: (first..first + entries).map(entry).collect(),
        }
    }

    /// What is sent of `requests`: for each the number of entries and the commit that it reports.
    async fn sent(requests: Vec<AppendEntriesRequest<TypeConfig>>) -> Vec<(usize, Option<u64>)> {
        let told = |request: AppendEntriesRequest<TypeConfig>| {
            (request.entries.len(), request.leader_commit.map(|committed| committed.index))
        };
        with_commits_aboard(stream::iter(requests)).map(told).collect().await
    }

    #[tokio::test]
    async fn news_of_a_commit_ride_along_with_entries_or_go_alone_and_probes_are_left_alone() {
        let followed = vec![request(Some(4), 2, 4), request(Some(6), 0, 6), request(Some(6), 1, 6)];
        assert_eq!(sent(followed).await, [(2, Some(4)), (1, Some(6))]);
        let alone = vec![request(Some(4), 2, 4), request(Some(6), 0, 5), request(Some(6), 0, 6)];
        assert_eq!(sent(alone).await, [(2, Some(4)), (0, Some(6))], "the newest goes out");
        let probe = vec![request(Some(4), 0, 3), request(Some(4), 1, 3)];
        assert_eq!(sent(probe).await, [(0, Some(3)), (1, Some(3))], "nothing was agreed before it");

        let waiting = stream::iter(vec![request(Some(4), 2, 4), request(Some(6), 0, 6)]).chain(stream::pending());
        let first: Vec<_> = with_commits_aboard(waiting).take(2).collect().await;
        assert_eq!(first[1].leader_commit.map(|committed| committed.index), Some(6), "it does not wait for ever");
    }
}
