//! What only the leader can carry out: changes of the group itself.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use cluster_config::wire::operator::{Request, Response};
use cluster_config::wire::{Fix, Refusal, RefusalCode, peer};
use coordinator::Coordinator;
use node_core::proposal::unavailable;
use node_link::Lane;

use super::presence::Presence;
use super::proposer::CHANGE_TIMEOUT;
use crate::peers::links::{Links, out_of_turn};

/// How often a newcomer is greeted that does not answer.
const GREETINGS_MAX: usize = 6;

/// Pause after each of these, for a node that is just starting.
const GREETINGS_PAUSE: Duration = Duration::from_millis(250);

/// The way to the leader. A cheap handle.
#[derive(Clone)]
pub struct Leader {
    coordinator: Coordinator,
    links: Links,
    presence: Arc<Presence>,
}

impl Leader {
    /// The way from the node that has this state and these links, and is so known to others.
    pub fn new(coordinator: Coordinator, links: Links, presence: Arc<Presence>) -> Self {
        Self { coordinator, links, presence }
    }

    /// Has the leader carry out a request; it may be this node.
    ///
    /// # Errors
    /// The leader's refusal, or `unavailable` where none is known or it does not answer.
    pub async fn carry_out(&self, actor: Actor, request: Request) -> Result<Response, Refusal> {
        let leader = self.coordinator.leader().ok_or_else(|| unavailable("no leader is known"))?;
        if leader == self.coordinator.node_id() {
            return self.lead(actor, request).await;
        }
        let request = peer::Request::ForLeader { actor, request };
        match self.links.ask(leader, Lane::Raft, &request, CHANGE_TIMEOUT).await? {
            peer::Response::ForLeader(Response::Refused(refusal)) => Err(refusal),
            peer::Response::ForLeader(response) => Ok(response),
            _ => Err(out_of_turn(leader)),
        }
    }

    /// Answers a request that another node has handed on because it takes this one for the leader.
    pub async fn answer(&self, actor: Actor, request: Request) -> Response {
        self.lead(actor, request).await.unwrap_or_else(Response::Refused)
    }

    /// Gives leadership to another voter where `node` has it, so that nobody waits for an election.
    ///
    /// # Errors
    /// As [`Leader::carry_out`].
    pub async fn leave(&self, actor: Actor, node: NodeId) -> Result<(), Refusal> {
        if self.coordinator.leader() != Some(node) {
            return Ok(());
        }
        let voters = self.coordinator.voters();
        match self.coordinator.with_state(|state| state.members().heir(&voters, node)) {
            Some(heir) => self.carry_out(actor, Request::TransferLeader(heir)).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn lead(&self, actor: Actor, request: Request) -> Result<Response, Refusal> {
        let failed = |error: coordinator::Error| {
            let code = match error {
                coordinator::Error::Refused(refusal) => return refusal,
                coordinator::Error::Membership(_) => RefusalCode::Conflict,
                _ => RefusalCode::Unavailable,
            };
            Refusal::new(code, "cluster", error.problem(), Fix::with(error.fix().to_owned()))
        };
        match request {
            Request::AddMember { member, voter } => {
                self.check_newcomer(&member).await?;
                self.coordinator.add_member(actor, member, voter).await.map_err(failed)?
            }
            Request::RemoveMember(node) => self.coordinator.remove_member(actor, node).await.map_err(failed)?,
            Request::TransferLeader(node) => self.coordinator.transfer_leader(node).await.map_err(failed)?,
            _ => {
                let (problem, fix) = ("it is none that only the leader carries out", "ask any node, not the leader");
                return Err(Refusal::new(RefusalCode::BadValue, "request", problem, fix));
            }
        }
        Ok(Response::Done)
    }

    /// A newcomer has to be there and to understand what the cluster writes: else raft would send it a log for nothing,
    /// and count it as a member.
    async fn check_newcomer(&self, newcomer: &Member) -> Result<(), Refusal> {
        let place = format!("node {}", newcomer.id);
        let refuse = |code, problem, fix: &'static str| Err(Refusal::new(code, place.clone(), problem, fix));
        let mut hello = None;
        for _ in 0..GREETINGS_MAX {
            hello = self.presence.greet(newcomer).await;
            if hello.is_some() {
                break;
            }
            tokio::time::sleep(GREETINGS_PAUSE).await;
        }
        let Some(hello) = hello else {
            let problem = format!("it does not answer at {}", newcomer.address);
            return refuse(RefusalCode::Unavailable, problem, "start it, then add it again");
        };
        if hello.node != newcomer.id {
            let problem = format!("node {} answers at {}", hello.node, newcomer.address);
            return refuse(RefusalCode::Conflict, problem, "give the address of the node that you add");
        }
        let (understood, written) = (hello.version, self.coordinator.version());
        if understood < written {
            let problem = format!("it understands version {understood}; the cluster writes version {written}");
            return refuse(RefusalCode::UnknownVersion, problem, "start a later release on it");
        }
        Ok(())
    }
}
