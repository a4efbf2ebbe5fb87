//! What a node answers to the other nodes.

use std::sync::Arc;
use std::time::Instant;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ClusterId, NodeId};
use cluster_config::wire::{Fix, Refusal, RefusalCode, peer};
use coordinator::{Coordinator, Planner};
use node_core::authority;

use crate::gallery::content::Contents;
use crate::gallery::directory::Directory;
use crate::gallery::messages::{Fetch, Store};
use crate::gallery::orders::Orders;
use crate::gallery::search::Searches;
use crate::group::chunks::ChunkFiles;
use crate::group::leader::Leader;
use crate::group::presence::Presence;
use crate::group::{freshness, proposer};
use crate::peers::standing::Standing;

pub struct Peers {
    /// The raft group and the replicated state.
    pub coordinator: Coordinator,
    /// This node, as the others come to know it.
    pub presence: Arc<Presence>,
    /// The planner, which takes the reports of other nodes.
    pub planner: Arc<Planner>,
    /// Who is a member.
    pub standing: Arc<Standing>,
    /// What the leader is asked.
    pub leader: Leader,
    /// What is searched here.
    pub searches: Searches,
    /// What is built here.
    pub orders: Orders,
    /// The actors of the shards that run here.
    pub directory: Arc<Directory>,
    /// Files of the ledger.
    pub chunks: Arc<ChunkFiles>,
    /// Rosters.
    pub contents: Arc<Contents>,
}

fn broken(me: NodeId, error: coordinator::Error) -> Refusal {
    if let coordinator::Error::Refused(refusal) = error {
        return refusal;
    }
    let fix = Fix::with(format!("look at that node's log; {}", error.fix()));
    Refusal::new(RefusalCode::Internal, format!("node {me}"), error.problem(), fix)
}

impl Peers {
    /// Answers one request of the node `from`.
    ///
    /// # Errors
    /// What is to be told to the node that asks.
    pub async fn answer(&self, from: &Actor, request: peer::Request) -> Result<peer::Response, Refusal> {
        let (me, caller) = (self.coordinator.node_id(), authority::caller(from)?);
        self.judge(caller, &request).await?;
        if let peer::Request::Raft { cluster, .. } = &request {
            self.presence.check_cluster(caller, *cluster)?;
        }
        Ok(match request {
            peer::Request::Hello(hello) => peer::Response::Hello(self.presence.greeted(&hello)?),
            peer::Request::Raft { cluster, call, body } => {
                self.belongs_here(cluster)?;
                let begun = Instant::now();
                let answered = self.coordinator.handle(caller, call, &body).await;
                metrics::histogram!("tvs_raft_answer_seconds").record(begun.elapsed().as_secs_f64());
                peer::Response::Raft(answered.map_err(|error| broken(me, error))?)
            }
            peer::Request::Propose { actor, command } => {
                proposer::serve(&self.coordinator, caller, actor, &command).await
            }
            peer::Request::Report(report) => {
                // Another start of the node than the one that it has announced is none of the member's.
                let announced = self.coordinator.with_state(|state| {
                    let known = state.members().get(report.node);
                    known.is_some_and(|known| known.incarnation == report.incarnation)
                });
                match announced && self.planner.report(report) {
                    true => peer::Response::Done,
                    false => peer::Response::TellAll,
                }
            }
            peer::Request::Search(search) => peer::Response::Found(self.searches.search(search).await?),
            peer::Request::Build(order) => peer::Response::Built(self.orders.here(order).await?),
            peer::Request::StoreSegment(segment) => {
                let handle = self.directory.find(segment.shard).ok_or_else(|| self.absent(segment.shard))?;
                let shard = segment.shard;
                handle.store.send(Store(segment)).await.map_err(|_| self.absent(shard))??;
                peer::Response::Done
            }
            peer::Request::FetchSegment { shard, version_min } => {
                let handle = self.directory.find(shard).ok_or_else(|| self.absent(shard))?;
                let fetched = handle.fetch.send(Fetch(version_min)).await.map_err(|_| self.absent(shard))??;
                peer::Response::Segment(fetched)
            }
            peer::Request::FetchRoster { shard, version_min } => {
                peer::Response::Segment(self.contents.roster_here(shard, version_min).await?)
            }
            peer::Request::Keeps { shard, version_min } => {
                self.contents.roster_here(shard, version_min).await?;
                peer::Response::Done
            }
            peer::Request::FetchChunk(hash) => peer::Response::Chunk(self.chunks.serve(hash).await?),
            peer::Request::ReadIndex => peer::Response::ReadIndex(freshness::read_index(&self.coordinator).await?),
            peer::Request::ForLeader { actor, request } => {
                peer::Response::ForLeader(self.leader.answer(actor, request).await)
            }
            peer::Request::Vouch(node) => peer::Response::Vouched(self.standing.knows(node)),
        })
    }

    async fn judge(&self, caller: NodeId, request: &peer::Request) -> Result<(), Refusal> {
        let is_member = match request {
            peer::Request::Hello(_) => false,
            peer::Request::Raft { .. } => self.standing.may_lead(caller).await,
            // Who is asked for a word goes by what it knows: else two nodes that know little would ask each other.
            peer::Request::Vouch(_) => self.standing.knows(caller),
            _ => self.standing.is_member(caller).await,
        };
        let canaries = Canaries::of_process();
        self.coordinator.with_state(|state| authority::judge(state, caller, is_member, request, canaries))
    }

    /// Refuses a call of the raft group that is not for this node.
    fn belongs_here(&self, cluster: ClusterId) -> Result<(), Refusal> {
        let place = format!("node {}", self.coordinator.node_id());
        let bond = self.presence.bond();
        let is_taken = bond.is_open()
            && bond.takes(cluster).map_err(|error| {
                Refusal::new(RefusalCode::Internal, place.clone(), error.to_string(), "look at that node's disk")
            })?;
        if is_taken {
            return Ok(());
        }
        let problem = "it has just started, and is finding out whether it is the member that is known";
        Err(Refusal::new(RefusalCode::Unavailable, place, problem, "ask again in a moment"))
    }

    fn absent(&self, shard: ShardId) -> Refusal {
        let place = format!("node {}: gallery {shard}", self.coordinator.node_id());
        Refusal::new(RefusalCode::Unavailable, place, "it does not run here", "ask again, or another replica")
    }
}
