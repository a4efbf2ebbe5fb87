//! The simulated network: who reaches whom, how late, how often. Every packet is a real frame: header and body as they
//! travel over QUIC, encoded by the one who sends and decoded by the one who gets it.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::ids::NodeId;
use cluster_config::versions::Version;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, FrameHeader, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dice::Dice;

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    Node(NodeId),
    /// A gate or an operator.
    Client(u64),
}

/// A frame on its way.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Who sent it.
    pub from: Address,
    /// Who is to get it.
    pub to: Address,
    /// The call that it belongs to; 0 is none.
    pub call: u64,
    /// Whether it is an answer.
    pub answer: bool,
    /// Header and body.
    pub frame: Vec<u8>,
}

/// Writes a frame.
///
/// # Panics
/// Where a message does not encode: a fault of the product.
pub fn frame<T: Serialize>(channel: Channel, message: &T) -> Vec<u8> {
    let body = codec::encode(message, channel.body_bytes_max()).expect("messages encode");
    let header = FrameHeader { version: Version::CURRENT, channel, body_bytes: body.len() as u32 };
    let mut frame = header.encode().to_vec();
    frame.extend_from_slice(&body);
    frame
}

/// The channel of a frame.
///
/// # Panics
/// Where the header does not read: the network changes no bytes, so that is a fault of the product.
pub fn channel(frame: &[u8]) -> Channel {
    let header = frame[..FRAME_HEADER_BYTES].try_into().expect("a header");
    FrameHeader::decode(header).expect("a header that was written here").channel
}

/// Reads a frame's body.
///
/// # Panics
/// As [`channel`].
pub fn body<T: DeserializeOwned>(frame: &[u8]) -> T {
    let channel = channel(frame);
    codec::decode(&frame[FRAME_HEADER_BYTES..], channel.body_bytes_max()).expect("a body that was written here")
}

/// What the links do to packets.
#[derive(Debug)]
pub struct Network {
    dice: Dice,
    /// Directed pairs that carry nothing, by the fault that cut them.
    pub cuts: BTreeMap<usize, BTreeSet<(Address, Address)>>,
    /// Nodes whose packets, both ways, are late by so many microseconds more, by the fault that slows them.
    pub slow: BTreeMap<usize, (NodeId, u64)>,
    /// Packets of a thousand that are lost.
    pub loss: u64,
    /// Packets of a thousand that arrive twice.
    pub doubled: u64,
    /// Upper end of the delay, microseconds: packets overtake each other within it.
    pub delay_us_max: u64,
}

/// The least that a packet takes, microseconds.
const DELAY_US_MIN: u64 = 150;

/// The most that it takes on a calm link, microseconds.
pub const DELAY_US_CALM: u64 = 900;

impl Network {
    /// A calm network.
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed, "network"),
            cuts: BTreeMap::new(),
            slow: BTreeMap::new(),
            loss: 0,
            doubled: 0,
            delay_us_max: DELAY_US_CALM,
        }
    }

    /// Everything reaches everybody again.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.slow.clear();
        (self.loss, self.doubled, self.delay_us_max) = (0, 0, DELAY_US_CALM);
    }

    /// Whether packets between two nodes arrive, and as soon as they can.
    pub fn is_well(&self, one: NodeId, other: NodeId) -> bool {
        let pairs = [(one, other), (other, one)].map(|(from, to)| (Address::Node(from), Address::Node(to)));
        let cut = self.cuts.values().any(|cut| pairs.iter().any(|pair| cut.contains(pair)));
        let slow = self.slow.values().any(|(node, _)| [one, other].contains(node));
        !cut && !slow && self.loss == 0
    }

    /// When the copies of a packet arrive, microseconds from now; none where it is lost.
    pub fn arrivals(&mut self, from: Address, to: Address) -> Vec<u64> {
        // Chance is drawn for lost packets too, so that a cut does not shift what the others meet.
        let (lost, doubled) = (self.dice.chance(self.loss), self.dice.chance(self.doubled));
        let mut late = 0;
        for (node, by_us) in self.slow.values() {
            if [from, to].contains(&Address::Node(*node)) {
                late += by_us;
            }
        }
        let mut delay = || late + self.dice.between(DELAY_US_MIN, self.delay_us_max);
        let arrivals = if doubled { vec![delay(), delay()] } else { vec![delay()] };
        let cut = self.cuts.values().any(|pairs| pairs.contains(&(from, to)));
        if lost || cut { Vec::new() } else { arrivals }
    }
}
