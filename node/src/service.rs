//! What the node answers to gates and to other nodes; operators are answered in [`crate::operator`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cluster_config::actor::Actor;
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::rights::{Ask, Right};
use cluster_config::wire::{Refusal, RefusalCode, gate, operator, peer};
use coordinator_core::State;
use node_link::Handler;

use crate::actors::{build, content, shard};
use crate::context::Context;
use crate::entry::{self, Entry};
use crate::freshness;
use crate::operator::Operators;
use crate::proposer;

/// All answers of this node.
pub struct Service {
    /// What the node's parts share.
    pub context: Arc<Context>,
    /// Gates.
    pub entry: Entry,
    /// Operators.
    pub operators: Operators,
    /// The planner, which takes the reports of other nodes.
    pub planner: Arc<coordinator::Planner>,
}

impl Handler for Service {
    async fn gate(&self, from: &Actor, request: gate::Request) -> gate::Response {
        if let Err(refusal) = allowed(from, Ask::from(&request)) {
            return gate::Response::Refused(refusal);
        }
        let answered = match request {
            gate::Request::Hello => return gate::Response::Welcome(self.welcome()),
            gate::Request::Identify(capture) => self.entry.identify(capture).await,
            gate::Request::Board(capture) => self.entry.board(capture, from.name).await,
        };
        match answered {
            Ok(answer) => gate::Response::Answer(answer),
            Err(refusal) => {
                metrics::counter!("tvs_gate_refusals_total", "code" => refusal.code.as_str()).increment(1);
                gate::Response::Refused(refusal)
            }
        }
    }

    async fn peer(&self, from: &Actor, request: peer::Request) -> peer::Response {
        let allowed = allowed(from, Ask::from(&request));
        let answered = match allowed {
            Ok(()) => self.answer_peer(request).await,
            Err(refusal) => Err(refusal),
        };
        match answered {
            Ok(response) => response,
            Err(refusal) => peer::Response::Refused(refusal),
        }
    }

    async fn operator(&self, from: &Actor, request: operator::Request) -> operator::Response {
        match allowed(from, Ask::from(&request)) {
            Ok(()) => self.operators.answer(*from, request).await,
            Err(refusal) => operator::Response::Refused(refusal),
        }
    }
}

/// Asks the table of rights: the one door through which every request comes.
fn allowed(from: &Actor, ask: Ask) -> Result<(), Refusal> {
    match ask.right_of(from.role) {
        Right::Yes => Ok(()),
        Right::No => {
            let place = format!("{ask:?} from {from}");
            Err(Refusal::new(RefusalCode::WrongRole, place, "use a certificate of a role that may ask for this"))
        }
    }
}

impl Service {
    fn welcome(&self) -> gate::Welcome {
        let members =
            self.context.coordinator.with_state(|s| s.members().iter().map(|m| m.member.address.clone()).collect());
        gate::Welcome { node: self.context.me, members }
    }

    /// Whether a node has worked as a member, so that an empty disk of it is a wiped one: it has announced a start. A
    /// founder votes, and a learner is a member, before it has its first entry; neither knows anything of that yet.
    fn has_belonged(&self, node: NodeId) -> bool {
        let announced =
            |state: &State| state.members().get(node).is_some_and(|m| m.incarnation > Incarnation::default());
        self.context.coordinator.with_state(announced)
    }

    async fn answer_peer(&self, request: peer::Request) -> Result<peer::Response, Refusal> {
        let context = &self.context;
        let internal = |problem: String| {
            let place = format!("node {}: {problem}", context.me);
            Refusal::new(RefusalCode::Internal, place, "look at that node's log")
        };
        Ok(match request {
            peer::Request::Hello(hello) => peer::Response::Hello(peer::Hello {
                node: context.me,
                incarnation: context.incarnation,
                fingerprint: context.settings.fingerprint(),
                initialised: context.coordinator.initialised(),
                knows_you: self.has_belonged(hello.node),
            }),
            peer::Request::Raft { call, body } => {
                if !context.raft_open.load(Ordering::Acquire) {
                    let place = format!("node {}: its store is empty", context.me);
                    let fix = "ask again: it is finding out whether it was a member before";
                    return Err(Refusal::new(RefusalCode::Unavailable, place, fix));
                }
                let begun = Instant::now();
                let answered = context.coordinator.handle(call, &body).await;
                metrics::histogram!("tvs_raft_answer_seconds").record(begun.elapsed().as_secs_f64());
                peer::Response::Raft(answered.map_err(|error| internal(error.to_string()))?)
            }
            peer::Request::Propose { actor, command } => proposer::serve(context, actor, &command).await,
            peer::Request::Report(report) => {
                self.planner.report(report);
                peer::Response::Done
            }
            peer::Request::Search(search) => peer::Response::Found(entry::search_here(context, search).await?),
            peer::Request::Build(order) => peer::Response::Built(build::build_here(context, order).await?),
            peer::Request::StoreSegment(segment) => {
                let handle = context.directory.find(segment.shard).ok_or_else(|| self.absent(segment.shard))?;
                let shard = segment.shard;
                handle.store.send(shard::Store(segment)).await.map_err(|_| self.absent(shard))??;
                peer::Response::Done
            }
            peer::Request::FetchSegment { shard, version_min } => {
                let handle = context.directory.find(shard).ok_or_else(|| self.absent(shard))?;
                let fetched = handle.fetch.send(shard::Fetch(version_min)).await.map_err(|_| self.absent(shard))??;
                peer::Response::Segment(fetched)
            }
            peer::Request::FetchRoster { shard, version_min } => {
                peer::Response::Segment(content::roster_here(context, shard, version_min).await?)
            }
            peer::Request::ReadIndex => peer::Response::ReadIndex(freshness::read_index(context).await?),
            peer::Request::ForLeader { actor, request } => {
                peer::Response::ForLeader(self.operators.answer_as_leader(actor, request).await)
            }
        })
    }

    fn absent(&self, shard: cluster_config::gallery::ShardId) -> Refusal {
        let place = format!("node {}: gallery {shard}", self.context.me);
        Refusal::new(RefusalCode::Unavailable, place, "it does not run here; ask again, or another replica")
    }
}
