//! The wire: every message that leaves a process, and the codec that writes it.
//!
//! A connection is QUIC with mutual TLS; each request is one bidirectional stream that carries one frame there and
//! one frame back. A frame is an eight-byte header ([`FrameHeader`]) and a bincode body.

pub mod codec;
pub mod gate;
pub mod operator;
pub mod peer;
mod refusal;

use serde::{Deserialize, Serialize};

use crate::actor::Role;
use crate::versions::{Unknown, Version};

pub use refusal::{Fix, Refusal, RefusalCode};

/// First two bytes of each frame.
pub const FRAME_MAGIC: [u8; 2] = *b"TV";

/// Which family of messages a frame's body belongs to. Who may use it follows from [`crate::rights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Channel {
    /// [`gate::Request`], of gates.
    Gate = 1,
    /// [`peer::Request`], of nodes.
    Peer = 2,
    /// [`operator::Request`], of operators, carriers and whoever else works with the service.
    Operator = 3,
}

impl Channel {
    /// The channel on which somebody of a role is answered who has not said which: of machines their own.
    pub fn of(role: Role) -> Self {
        match role {
            Role::Gate => Self::Gate,
            Role::Node => Self::Peer,
            _ => Self::Operator,
        }
    }

    /// The channel of a header's byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Gate),
            2 => Some(Self::Peer),
            3 => Some(Self::Operator),
            _ => None,
        }
    }

    /// Longest body on this channel, bytes.
    pub fn body_bytes_max(self) -> usize {
        match self {
            Self::Gate => crate::limits::GATE_FRAME_BYTES_MAX,
            Self::Peer => crate::limits::PEER_FRAME_BYTES_MAX,
            Self::Operator => crate::limits::OPERATOR_FRAME_BYTES_MAX,
        }
    }
}

/// The eight bytes before each body: magic (2), version, channel, body length (u32, little endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The version in which the body is written. The answer to a request has the version of the request.
    pub version: Version,
    /// Family of the body.
    pub channel: Channel,
    /// Length of the body in bytes.
    pub body_bytes: u32,
}

/// Length of an encoded [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = 8;

impl FrameHeader {
    /// The header as it travels.
    pub fn encode(self) -> [u8; FRAME_HEADER_BYTES] {
        let length = self.body_bytes.to_le_bytes();
        [FRAME_MAGIC[0], FRAME_MAGIC[1], self.version.0, self.channel as u8, length[0], length[1], length[2], length[3]]
    }

    /// Reads and checks a header.
    ///
    /// # Errors A [`Refusal`] that names the offending byte: wrong magic, version, channel, or a length over the
    /// channel's limit.
    pub fn decode(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<Self, Refusal> {
        if bytes[..2] != FRAME_MAGIC {
            return Err(Refusal::new(
                RefusalCode::MalformedFrame,
                "frame header byte 0",
                format!("the magic is {:#04x} {:#04x}", bytes[0], bytes[1]),
                "start each frame with 'T' 'V'",
            ));
        }
        let version = Version(bytes[2]).check().map_err(|unknown| {
            Refusal::new(RefusalCode::UnknownVersion, "frame header byte 2", unknown.to_string(), Unknown::FIX)
        })?;
        let Some(channel) = Channel::from_byte(bytes[3]) else {
            return Err(Refusal::new(
                RefusalCode::MalformedFrame,
                "frame header byte 3",
                format!("there is no channel {}", bytes[3]),
                "use channel 1 (gate), 2 (peer) or 3 (operator)",
            ));
        };
        let body_bytes = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if body_bytes as usize > channel.body_bytes_max() {
            return Err(Refusal::new(
                RefusalCode::TooLarge,
                "frame header byte 4",
                format!("a body of {body_bytes} bytes is too long"),
                Fix::with(format!("send at most {} bytes on this channel", channel.body_bytes_max())),
            ));
        }
        Ok(Self { version, channel, body_bytes })
    }
}
