//! What is known of each node.

use std::collections::BTreeMap;

use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::member::Member;
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
}

/// The nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Members(pub(super) BTreeMap<NodeId, MemberState>);

impl Members {
    /// What is known of a node.
    pub fn get(&self, node: NodeId) -> Option<&MemberState> {
        self.0.get(&node)
    }

    /// Whether the node is a member.
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains_key(&node)
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &MemberState> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the node is being emptied.
    pub fn is_draining(&self, node: NodeId) -> bool {
        self.get(node).is_some_and(|member| member.draining)
    }
}
