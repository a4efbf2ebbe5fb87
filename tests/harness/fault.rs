//! What can be done to a node, to its links and to its machine.

use std::fmt;

use cluster_config::ids::NodeId;

use crate::emulator::{Conditions, Shape};
use crate::shim::Troubles;

/// One blow, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL: the process is gone, its disk stays.
    Kill(NodeId),
    /// SIGTERM: a planned stop.
    Stop(NodeId),
    /// The process starts again on its disk.
    Start(NodeId),
    /// SIGSTOP: the process stands still and its sockets stay open.
    Pause(NodeId),
    /// SIGCONT: it goes on.
    Resume(NodeId),
    /// Links are cut. Needs a target with an emulated network.
    Cut(Shape),
    /// A node's links with its peers become bad, both ways. Needs an emulated network.
    Worsen(NodeId, Conditions),
    /// All links are perfect again.
    Heal,
    /// The cable of a node's machine is pulled, or plugged in again. Needs machines of their own for nodes.
    Pull(NodeId, bool),
    /// The network card of a node's machine is switched off, or on again. Needs machines of their own.
    SwitchOff(NodeId, bool),
    /// A node's disk, clock and GPU misbehave, in this way alone. Needs a target with the preloaded library.
    Trouble(NodeId, Troubles),
    /// One bit of one file of a node that does not run is turned over; the number chooses file and bit.
    Flip(NodeId, u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(node) => write!(f, "kill node {node}"),
            Self::Stop(node) => write!(f, "stop node {node}"),
            Self::Start(node) => write!(f, "start node {node}"),
            Self::Pause(node) => write!(f, "pause node {node}"),
            Self::Resume(node) => write!(f, "resume node {node}"),
            Self::Cut(shape) => shape.fmt(f),
            Self::Worsen(node, conditions) => write!(f, "worsen the links of node {node}: {conditions}"),
            Self::Heal => f.write_str("heal all links"),
            Self::Pull(node, true) => write!(f, "pull the cable of node {node}"),
            Self::Pull(node, false) => write!(f, "plug in the cable of node {node}"),
            Self::SwitchOff(node, true) => write!(f, "switch off the network card of node {node}"),
            Self::SwitchOff(node, false) => write!(f, "switch on the network card of node {node}"),
            Self::Trouble(node, troubles) => write!(f, "node {node}: {troubles}"),
            Self::Flip(node, _) => write!(f, "flip a bit on the disk of node {node}"),
        }
    }
}
