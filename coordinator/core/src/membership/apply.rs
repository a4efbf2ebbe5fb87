//! How commands about nodes are applied.

use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::limits::NODES_MAX;
use cluster_config::member::Member;
use cluster_config::versions::Version;
use cluster_config::wire::{Refusal, RefusalCode};

use super::command::Command;
use super::state::{MemberState, Members};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command) -> Outcome {
    let members = &mut state.members;
    match command {
        Command::Register(member) => members.register(member),
        Command::AnnounceStart { node, incarnation, version } => members.announce_start(*node, *incarnation, *version),
        Command::Remove(node) => members.remove(*node),
        Command::SetDraining { node, draining } => members.set_draining(*node, *draining),
    }
}

fn unknown(node: NodeId, fix: &'static str) -> Outcome {
    Outcome::refused(RefusalCode::NotFound, format!("member {node}"), "it is not known", fix)
}

impl Members {
    /// Whether a node may be a member, as it is described.
    ///
    /// # Errors
    /// Where there are too many, or another has its address.
    pub fn may_register(&self, member: &Member) -> Result<(), Refusal> {
        if self.len() >= NODES_MAX && !self.contains(member.id) {
            let problem = format!("there are {NODES_MAX}, and no more can be");
            let fix = "remove a node with `tvs cluster remove` first";
            return Err(Refusal::new(RefusalCode::TooLarge, "members", problem, fix));
        }
        let taken = self.iter().find(|m| m.member.address == member.address && m.member.id != member.id);
        let Some(other) = taken else { return Ok(()) };
        let place = format!("address {} of member {}", member.address, member.id);
        let problem = format!("node {} has that address", other.member.id);
        Err(Refusal::new(RefusalCode::Conflict, place, problem, "give each node an address of its own"))
    }

    fn register(&mut self, member: &Member) -> Outcome {
        if let Err(refusal) = self.may_register(member) {
            return Outcome::Refused(refusal);
        }
        let known = self.get(member.id);
        let draining = known.is_some_and(|known| known.draining);
        let incarnation = known.map(|known| known.incarnation).unwrap_or_default();
        let version = known.and_then(|known| known.version);
        self.all.insert(member.id, MemberState { member: member.clone(), incarnation, draining, version });
        Outcome::Done
    }

    fn announce_start(&mut self, node: NodeId, incarnation: Incarnation, version: Version) -> Outcome {
        let Some(member) = self.all.get_mut(&node) else {
            return unknown(node, "register the node first");
        };
        // An announcement of an earlier start may come late.
        if incarnation >= member.incarnation {
            member.incarnation = incarnation;
            member.version = Some(version);
        }
        self.raise_version();
        Outcome::Done
    }

    fn remove(&mut self, node: NodeId) -> Outcome {
        if self.all.remove(&node).is_none() {
            return unknown(node, "see `tvs cluster status` for the members");
        }
        self.raise_version();
        Outcome::Done
    }

    fn set_draining(&mut self, node: NodeId, draining: bool) -> Outcome {
        let Some(member) = self.all.get_mut(&node) else {
            return unknown(node, "see `tvs cluster status` for the members");
        };
        member.draining = draining;
        Outcome::Done
    }
}
