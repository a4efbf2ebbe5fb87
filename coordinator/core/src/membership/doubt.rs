//! Whether a node that has started is the member that the cluster knows, or a copy, an earlier state of its folder or
//! an empty one. The cluster's own memory decides: what lies in a folder goes back in time with it.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::member::{Member, Past};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use super::state::{MemberState, Members};

/// What a node says of itself at its start.
#[derive(Debug, Clone, Copy)]
pub struct Started<'a> {
    pub member: &'a Member,
    pub incarnation: Incarnation,
    pub past: Past,
    /// Whether its store belongs to a raft group.
    pub initialised: bool,
}

/// What is known of the node where it is judged, besides the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whether the raft group has it as a member.
    pub in_group: bool,
    /// The last entry that is applied here.
    pub applied: u64,
    /// The last committed entry that it has acknowledged to this leader.
    pub acknowledged: u64,
}

impl Members {
    /// What speaks against a node that has started; absent where it may take part.
    pub fn doubt(&self, started: Started<'_>, evidence: Evidence, canaries: Canaries) -> Option<Refusal> {
        let node = started.member.id;
        let Some(known) = self.get(node) else {
            let is_removed = started.initialised && !evidence.in_group && evidence.applied > started.past.last_entry;
            return is_removed.then(|| removed(node));
        };
        let is_elsewhere = known.member != *started.member;
        if is_elsewhere && !canaries.has(Canary::TwinAccepted) {
            return Some(elsewhere(&known.member, started.member));
        }
        known.doubt_folder(started.past, started.incarnation, started.initialised, canaries).or_else(|| {
            known.doubt_log(started.past, known.mark.max(evidence.acknowledged), started.initialised, canaries)
        })
    }
}

impl MemberState {
    /// Whether the folder is the one that the node worked in, as it was at the node's latest start or later.
    pub(super) fn doubt_folder(
        &self,
        past: Past,
        incarnation: Incarnation,
        initialised: bool,
        canaries: Canaries,
    ) -> Option<Refusal> {
        let node = self.member.id;
        let folder = self.folder?;
        if folder != past.folder {
            let problem = if initialised {
                "its data folder is another one than that in which it worked".to_owned()
            } else {
                "it is a member, but its data folder is empty: it could vote twice".to_owned()
            };
            return Some(refuse(node, problem));
        }
        // The same start again is no news.
        if past.started >= self.incarnation || incarnation == self.incarnation {
            return None;
        }
        let problem = format!(
            "its data folder has gone back in time: the folder's last start is {}, the cluster knows one of {}",
            past.started, self.incarnation
        );
        (!canaries.has(Canary::RollbackAccepted)).then(|| refuse(node, problem))
    }

    /// Whether the log has what the node has acknowledged.
    fn doubt_log(&self, past: Past, acknowledged: u64, initialised: bool, canaries: Canaries) -> Option<Refusal> {
        if !initialised || past.last_entry >= acknowledged || canaries.has(Canary::RollbackAccepted) {
            return None;
        }
        let problem = format!(
            "its data folder has gone back in time: its log ends at entry {}, and it has acknowledged entry \
             {acknowledged}",
            past.last_entry
        );
        Some(refuse(self.member.id, problem))
    }
}

fn refuse(node: NodeId, problem: String) -> Refusal {
    let fix = Fix::with(format!(
        "run `tvs node rejoin` on it, which gives it a new id; where its own folder is at hand, start it with that; \
         `tvs cluster remove {node}` takes the old id out"
    ));
    Refusal::new(RefusalCode::Conflict, format!("node {node}"), problem, fix)
}

fn elsewhere(known: &Member, started: &Member) -> Refusal {
    let node = known.id;
    let place = format!("node {node}");
    let problem = format!(
        "the cluster knows it at {} in zone {}, and it has started at {} in zone {}",
        known.address, known.zone, started.address, started.zone
    );
    let fix = Fix::with(format!(
        "run `tvs cluster move --id {node} --address {} --zone {}` where it has moved, and start it again; where this \
         is a copy of its folder, end it, or run `tvs node rejoin` on it",
        started.address, started.zone
    ));
    Refusal::new(RefusalCode::Conflict, place, problem, fix)
}

fn removed(node: NodeId) -> Refusal {
    let fix = "run `tvs node rejoin` on it, which gives it a new id, and add it";
    Refusal::new(RefusalCode::NotFound, format!("node {node}"), "it was taken out of the cluster", fix)
}
