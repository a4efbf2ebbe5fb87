//! How commands about nodes are applied.

use std::collections::BTreeMap;

use cluster_config::canary::Canaries;
use cluster_config::cluster::Founding;
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::limits::NODES_MAX;
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use cluster_config::wire::{Refusal, RefusalCode};

use super::command::Command;
use super::state::{MemberState, Members};
use crate::outcome::Outcome;
use crate::state::State;

pub(crate) fn apply(state: &mut State, command: &Command, canaries: Canaries) -> Outcome {
    let members = &mut state.members;
    match command {
        Command::Register(member) => members.register(member),
        Command::AnnounceStart { node, incarnation, version, past } => {
            members.announce_start(*node, (*incarnation, *version), *past, canaries)
        }
        Command::Remove(node) => members.remove(*node),
        Command::SetDraining { node, draining } => members.set_draining(*node, *draining),
        Command::Found(founding) => members.found(founding),
        Command::Mark(marks) => members.mark(marks),
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

    fn found(&mut self, founding: &Founding) -> Outcome {
        match &self.founding {
            None => self.founding = Some(founding.clone()),
            Some(known) if known == founding => {}
            Some(known) => {
                let (place, problem) = (format!("cluster {}", founding.cluster), format!("this is {}", known.cluster));
                let fix = "give the node the data folder that it has in this cluster";
                return Outcome::refused(RefusalCode::Conflict, place, problem, fix);
            }
        }
        Outcome::Done
    }

    fn register(&mut self, member: &Member) -> Outcome {
        if let Err(refusal) = self.may_register(member) {
            return Outcome::Refused(refusal);
        }
        match self.all.get_mut(&member.id) {
            Some(known) => known.member = member.clone(),
            None => drop(self.all.insert(member.id, MemberState::new(member.clone()))),
        }
        Outcome::Done
    }

    fn announce_start(
        &mut self,
        node: NodeId,
        (incarnation, version): (Incarnation, Version),
        past: Past,
        canaries: Canaries,
    ) -> Outcome {
        let Some(member) = self.all.get_mut(&node) else {
            return unknown(node, "add the node first");
        };
        // An announcement of an earlier start may come late.
        if incarnation >= member.incarnation {
            if let Some(refusal) = member.doubt_folder(past, incarnation, true, canaries) {
                return Outcome::Refused(refusal);
            }
            member.incarnation = incarnation;
            member.version = Some(version);
            member.folder = Some(past.folder);
        }
        self.raise_version();
        Outcome::Done
    }

    fn mark(&mut self, marks: &BTreeMap<NodeId, u64>) -> Outcome {
        for (node, mark) in marks {
            if let Some(member) = self.all.get_mut(node) {
                member.mark = member.mark.max(*mark);
            }
        }
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
