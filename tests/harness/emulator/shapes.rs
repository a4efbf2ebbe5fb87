//! The shapes in which networks come apart.

use std::fmt;

use cluster_config::ids::NodeId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::Party;

/// A way to cut links among the nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The node reaches nobody, gates included, and nobody reaches it.
    Alone(NodeId),
    /// The node and its peers do not reach each other; gates reach it.
    WithoutPeers(NodeId),
    /// The node and the gates do not reach each other; its peers do.
    WithoutGates(NodeId),
    /// Nothing that the node sends reaches a peer; what they send reaches it, and gates notice nothing.
    Mute(NodeId),
    /// Nothing that peers send reaches the node; what it sends reaches them, and gates notice nothing.
    Deaf(NodeId),
    /// The nodes fall into two halves, and this one, and no other, reaches both.
    Bridge(NodeId),
    /// The nodes up to this one and those after it do not reach each other.
    Halves(NodeId),
}

impl Shape {
    /// The ordered pairs that are cut.
    pub fn cuts(self, nodes: &[NodeId]) -> Vec<(Party, Party)> {
        let others = |node: NodeId| nodes.iter().copied().filter(move |other| *other != node).map(Party::Node);
        match self {
            Self::Alone(node) => both(others(node).chain([Party::Outside]), node),
            Self::WithoutPeers(node) => both(others(node), node),
            Self::WithoutGates(node) => both([Party::Outside].into_iter(), node),
            Self::Mute(node) => others(node).map(|other| (Party::Node(node), other)).collect(),
            Self::Deaf(node) => others(node).map(|other| (other, Party::Node(node))).collect(),
            Self::Bridge(middle) => {
                let rest: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != middle).collect();
                between(&rest[..rest.len() / 2], &rest[rest.len() / 2..])
            }
            Self::Halves(last) => {
                let (one, other): (Vec<NodeId>, Vec<NodeId>) = nodes.iter().partition(|node| **node <= last);
                between(&one, &other)
            }
        }
    }

    /// Whether a single node is cut off, which promise P3 covers; of the other shapes only safety is asked.
    pub fn strikes_one(self) -> bool {
        !matches!(self, Self::Bridge(_) | Self::Halves(_))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone(node) => write!(f, "cut node {node} off from everybody"),
            Self::WithoutPeers(node) => write!(f, "cut node {node} off from its peers"),
            Self::WithoutGates(node) => write!(f, "cut node {node} off from the gates"),
            Self::Mute(node) => write!(f, "node {node} is not heard by its peers"),
            Self::Deaf(node) => write!(f, "node {node} hears none of its peers"),
            Self::Bridge(node) => write!(f, "node {node} is the only bridge between halves"),
            Self::Halves(node) => write!(f, "nodes up to {node} cut off from the others"),
        }
    }
}

fn both(others: impl Iterator<Item = Party>, node: NodeId) -> Vec<(Party, Party)> {
    others.flat_map(|other| [(Party::Node(node), other), (other, Party::Node(node))]).collect()
}

fn between(one: &[NodeId], other: &[NodeId]) -> Vec<(Party, Party)> {
    let pairs = one.iter().flat_map(|a| other.iter().map(|b| (Party::Node(*a), Party::Node(*b))));
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

/// The order in which the nodes of a random subset are cut off one by one, and that in which they come back: after
/// FoundationDB's "swizzle clogging", which finds what an all-at-once partition does not.
pub fn swizzle(nodes: &[NodeId], generator: &mut ChaCha8Rng) -> (Vec<NodeId>, Vec<NodeId>) {
    let mut chosen: Vec<NodeId> = nodes.to_vec();
    shuffle(&mut chosen, generator);
    chosen.truncate(1 + generator.next_u32() as usize % nodes.len());
    let mut back = chosen.clone();
    shuffle(&mut back, generator);
    (chosen, back)
}

fn shuffle(nodes: &mut [NodeId], generator: &mut ChaCha8Rng) {
    for index in (1..nodes.len()).rev() {
        nodes.swap(index, generator.next_u32() as usize % (index + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_cut_what_they_say() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let node = Party::Node;
        assert_eq!(
            Shape::Mute(NodeId(2)).cuts(&nodes[..3]),
            [(node(NodeId(2)), node(NodeId(1))), (node(NodeId(2)), node(NodeId(3)))]
        );
        assert_eq!(Shape::Alone(NodeId(2)).cuts(&nodes).len(), 10);
        let bridge = Shape::Bridge(NodeId(3)).cuts(&nodes);
        assert_eq!(bridge.len(), 8);
        assert!(bridge.iter().all(|(a, b)| *a != node(NodeId(3)) && *b != node(NodeId(3))));
        assert_eq!(Shape::Halves(NodeId(2)).cuts(&nodes).len(), 12);
    }
}
