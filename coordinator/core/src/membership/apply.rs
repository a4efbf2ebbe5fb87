//! How commands about nodes are applied.

use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::limits::NODES_MAX;
use cluster_config::member::Member;
use cluster_config::wire::RefusalCode;

use super::command::Command;
use super::state::{MemberState, Members};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command) -> Outcome {
    let members = &mut state.members;
    match command {
        Command::Register(member) => members.register(member),
        Command::AnnounceStart { node, incarnation } => members.announce_start(*node, *incarnation),
        Command::Remove(node) => members.remove(*node),
        Command::SetDraining { node, draining } => members.set_draining(*node, *draining),
    }
}

fn unknown(node: NodeId, fix: &'static str) -> Outcome {
    Outcome::refused(RefusalCode::NotFound, format!("member {node}"), "it is not known", fix)
}

impl Members {
    fn register(&mut self, member: &Member) -> Outcome {
        if self.len() >= NODES_MAX && !self.contains(member.id) {
            return Outcome::refused(
                RefusalCode::TooLarge,
                "members",
                format!("there are {NODES_MAX}, and no more can be"),
                "remove a node with `tvs cluster remove` first",
            );
        }
        let taken = self.iter().find(|m| m.member.address == member.address && m.member.id != member.id);
        if let Some(other) = taken {
            let place = format!("address {} of member {}", member.address, member.id);
            let problem = format!("node {} has that address", other.member.id);
            return Outcome::refused(RefusalCode::Conflict, place, problem, "give each node an address of its own");
        }
        let known = self.get(member.id);
        let draining = known.is_some_and(|known| known.draining);
        let incarnation = known.map(|known| known.incarnation).unwrap_or_default();
        self.0.insert(member.id, MemberState { member: member.clone(), incarnation, draining });
        Outcome::Done
    }

    fn announce_start(&mut self, node: NodeId, incarnation: Incarnation) -> Outcome {
        let Some(member) = self.0.get_mut(&node) else {
            return unknown(node, "register the node first");
        };
        member.incarnation = member.incarnation.max(incarnation);
        Outcome::Done
    }

    fn remove(&mut self, node: NodeId) -> Outcome {
        match self.0.remove(&node) {
            Some(_) => Outcome::Done,
            None => unknown(node, "see `tvs cluster status` for the members"),
        }
    }

    fn set_draining(&mut self, node: NodeId, draining: bool) -> Outcome {
        let Some(member) = self.0.get_mut(&node) else {
            return unknown(node, "see `tvs cluster status` for the members");
        };
        member.draining = draining;
        Outcome::Done
    }
}
