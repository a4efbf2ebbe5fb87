//! What is known of each node.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::cluster::Founding;
use cluster_config::ids::{FolderId, Incarnation, NodeId};
use cluster_config::member::Member;
use cluster_config::versions::Version;
use serde::{Deserialize, Serialize};

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Id, address, zone.
    pub member: Member,
    /// The latest start of its process that it announced.
    pub incarnation: Incarnation,
    /// Whether it is being emptied.
    pub draining: bool,
    /// The newest version that it understands; absent until it has announced a start.
    pub version: Option<Version>,
    /// The folder that it works in; absent until it has announced a start.
    pub folder: Option<FolderId>,
    /// Up to this entry its log has what is committed. It follows the log in steps of
    /// [`cluster_config::limits::MARK_ENTRIES`].
    pub mark: u64,
}

impl MemberState {
    /// A member that has not announced a start.
    pub(super) fn new(member: Member) -> Self {
        Self { member, incarnation: Incarnation::default(), draining: false, version: None, folder: None, mark: 0 }
    }
}

/// The nodes, and the version that all of them understand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Members {
    pub(super) all: BTreeMap<NodeId, MemberState>,
    pub(super) version: Option<Version>,
    pub(super) founding: Option<Founding>,
}

impl Members {
    /// What the cluster is; absent until its first leader has said it.
    pub fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// What is known of a node.
    pub fn get(&self, node: NodeId) -> Option<&MemberState> {
        self.all.get(&node)
    }

    /// Whether the node is a member.
    pub fn contains(&self, node: NodeId) -> bool {
        self.all.contains_key(&node)
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.all.keys().copied()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &MemberState> {
        self.all.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Who of the `voters` takes over from a leader that leaves: one that is not being drained, if there is one.
    pub fn heir(&self, voters: &BTreeSet<NodeId>, leaving: NodeId) -> Option<NodeId> {
        let mut others = voters.iter().copied().filter(|voter| *voter != leaving);
        let serves = |id: &NodeId| self.contains(*id) && !self.is_draining(*id);
        others.clone().find(serves).or_else(|| others.next())
    }

    /// The version in which the cluster writes: what more than two nodes see has it. Absent until the first node has
    /// announced a start.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Counts the cluster's version up, once every member understands a newer one. It never goes down: the log has
    /// entries of it from then on. A member that has not announced a start yet holds it where it is; while it is not
    /// known, those that have announced one tell it.
    pub(super) fn raise_version(&mut self) {
        let understood = self.all.values().filter_map(|member| member.version.or(self.version)).min();
        self.version = self.version.max(understood);
    }

    /// As if a node were being emptied.
    pub(crate) fn empty(&mut self, node: NodeId) {
        if let Some(member) = self.all.get_mut(&node) {
            member.draining = true;
        }
    }

    /// Whether the node is being emptied.
    pub fn is_draining(&self, node: NodeId) -> bool {
        self.get(node).is_some_and(|member| member.draining)
    }
}
