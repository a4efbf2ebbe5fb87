//! What only the leader can carry out: changes of the group itself.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::ids::NodeId;
use cluster_config::member::Member;
use cluster_config::wire::operator::{Draining, Move, Request, Response, Voters};
use cluster_config::wire::{Fix, Refusal, RefusalCode, peer};
use coordinator::{Coordinator, Planner};
use coordinator_core::State;
use coordinator_core::placement::leaving;
use node_core::joining::Answer;
use node_core::moving;
use node_core::newcomer;
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
    planner: Arc<Planner>,
}

impl Leader {
    /// The way from the node that has this state and these links, and is so known to others.
    pub fn new(coordinator: Coordinator, links: Links, presence: Arc<Presence>, planner: Arc<Planner>) -> Self {
        Self { coordinator, links, presence, planner }
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
                let before = self.coordinator.voters();
                let mut after = before.clone();
                after.extend(voter.then_some(member.id));
                self.check_newcomer(&member).await?;
                self.coordinator.add_member(actor, member, voter).await.map_err(failed)?;
                let (before, after) = (before.len() as u32, after.len() as u32);
                return Ok(Response::Voters(Voters { before, after }));
            }
            Request::RemoveMember { node, i_know } => {
                let change = self.check_removal(node, i_know)?;
                self.coordinator.remove_member(actor, node).await.map_err(failed)?;
                return Ok(Response::Voters(change));
            }
            Request::DrainStatus(node) => return self.drain_status(node).map(Response::Draining),
            Request::DrainPreview(node) => return self.drain_preview(node).map(Response::Moves),
            Request::MoveMember(member) => {
                let known = self.coordinator.with_state(|state| state.members().get(member.id).cloned());
                // Whom this leader could not have heard yet may well be alive.
                let is_alive = !self.planner.inventory().is_lost(member.id);
                moving::check(known.as_ref().map(|known| &known.member), &member, is_alive)?;
                self.coordinator.move_member(actor, member).await.map_err(failed)?;
            }
            Request::TransferLeader(node) => self.coordinator.transfer_leader(node).await.map_err(failed)?,
            _ => {
                let (problem, fix) = ("it is none that only the leader carries out", "ask any node, not the leader");
                return Err(Refusal::new(RefusalCode::BadValue, "request", problem, fix));
            }
        }
        Ok(Response::Done)
    }

    async fn check_newcomer(&self, newcomer: &Member) -> Result<(), Refusal> {
        let known = self.coordinator.with_state(|state| state.members().get(newcomer.id).cloned());
        moving::is_there(known.as_ref().map(|known| &known.member), newcomer)?;
        let mut answer = None;
        for _ in 0..GREETINGS_MAX {
            answer = self.presence.greet(&newcomer.address).await;
            if answer.is_some() {
                break;
            }
            tokio::time::sleep(GREETINGS_PAUSE).await;
        }
        let hello = match answer {
            Some(Answer::Refused(refusal)) => {
                let problem = format!("it refuses: {}: {}", refusal.place, refusal.problem);
                return Err(Refusal::new(refusal.code, format!("node {}", newcomer.id), problem, refusal.fix));
            }
            Some(Answer::Hello(hello)) => Some(hello),
            None => None,
        };
        let (ours, written) = (self.presence.bond().founding(), self.coordinator.version());
        newcomer::check(newcomer, hello.as_deref(), ours, written)
    }

    /// What the group survives with and without a node, where that may be removed.
    fn check_removal(&self, node: NodeId, i_know: bool) -> Result<Voters, Refusal> {
        let (before, inventory) = (self.coordinator.voters(), self.planner.inventory());
        let mut after = before.clone();
        after.remove(&node);
        let change = leaving::voters(&inventory, before.len(), &after);
        if i_know {
            return Ok(change.unwrap_or(Voters { before: before.len() as u32, after: after.len() as u32 }));
        }
        self.coordinator.with_state(|state| leaving::keeps_copies(state, &inventory, node))?;
        change
    }

    fn drain_status(&self, node: NodeId) -> Result<Draining, Refusal> {
        let (inventory, leads) = (self.planner.inventory(), self.coordinator.leader() == Some(node));
        self.coordinator.with_state(|state| {
            is_member(state, node)?;
            Ok(leaving::draining(state, &inventory, node, leads, Canaries::of_process()))
        })
    }

    fn drain_preview(&self, node: NodeId) -> Result<Vec<Move>, Refusal> {
        let (inventory, now) = (self.planner.inventory(), self.coordinator.now());
        self.coordinator.with_state(|state| {
            is_member(state, node)?;
            Ok(leaving::preview(state, &inventory, node, now))
        })
    }
}

fn is_member(state: &State, node: NodeId) -> Result<(), Refusal> {
    if state.members().contains(node) {
        return Ok(());
    }
    let fix = "see `tvs cluster status` for the members";
    Err(Refusal::new(RefusalCode::NotFound, format!("member {node}"), "it is not known", fix))
}
