//! What can go wrong between two processes, told apart by who has to act.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use cluster_config::ids::NodeId;
use cluster_config::versions::Version;
use cluster_config::wire::{Refusal, codec};
use quinn::{ConnectError, ConnectionError, VarInt};

use crate::codes::{CODE_ENDED, CODE_IDENTITY};

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Who made the request has to change it.
    Caller,
    /// Who runs the cluster has to mend a node, a network path or a certificate.
    Operator,
    /// We have to mend this software.
    Us,
}

/// Why a call between processes brought no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// No connection could be made; nothing was sent.
    Unreachable { address: SocketAddr, reason: String },
    /// TLS failed: one of the two certificates is not accepted. Nothing was done.
    Certificate { address: SocketAddr, reason: String },
    /// The two sides have no version in common. Nothing was sent.
    Version { address: SocketAddr },
    /// The other side is no node. Nothing was sent.
    NotANode {
        address: SocketAddr,
        /// What its certificate says.
        found: cluster_config::actor::Actor,
    },
    /// Another node answers there than the one that was meant. Nothing was sent.
    OtherNode {
        /// The other side.
        address: SocketAddr,
        /// Whose certificate it shows.
        found: cluster_config::actor::Actor,
        /// The node that was meant.
        wanted: NodeId,
    },
    /// The connection broke after some or all of the request was sent. The request may have been carried out or not.
    Lost { address: SocketAddr, reason: String },
    /// No answer in time. The request may have been carried out or not.
    TimedOut {
        address: SocketAddr,
        /// How long was waited.
        timeout: Duration,
    },
    /// The answer is not of this protocol.
    Answer {
        address: SocketAddr,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// This process closes its connections. Nothing was sent.
    Stopping {
        /// The other side.
        address: SocketAddr,
    },
    /// The request cannot be said in the version that both sides understand. Nothing was sent.
    Unsayable(String),
    /// The request is over its channel's limit. Nothing was sent.
    Request(String),
    /// There is nobody to ask.
    NoAddress,
}

impl LinkError {
    /// What is wrong. It begins with the address of the other side, where there is one.
    pub fn problem(&self) -> String {
        match self {
            Self::Unreachable { address, reason } => format!("{address}: not reachable ({reason})"),
            Self::Certificate { address, reason } => format!("{address}: TLS refused ({reason})"),
            Self::Version { address } => format!(
                "{address}: no version of the protocol is understood on both sides; here versions {} to {} are",
                Version::OLDEST,
                Version::CURRENT
            ),
            Self::NotANode { address, found } => format!("{address}: answered by {found}, which is not a node"),
            Self::OtherNode { address, found, wanted } => {
                format!("{address}: answered by {found}, which is not node {wanted}")
            }
            Self::Lost { address, reason } => {
                format!("{address}: connection lost with the request under way ({reason})")
            }
            Self::TimedOut { address, timeout } => format!("{address}: no answer within {} ms", timeout.as_millis()),
            Self::Answer { address, refusal } => {
                format!("{address}: the answer cannot be read ({}: {})", refusal.place, refusal.problem)
            }
            Self::Stopping { address } => format!("{address}: not asked, because this process stops"),
            Self::Unsayable(problem) => {
                format!("the request has no form in the version that is spoken here: {problem}")
            }
            Self::Request(problem) => format!("the request cannot be sent: {problem}"),
            Self::NoAddress => "no address was given".to_owned(),
        }
    }

    /// A short name of what went wrong, for logs that tell changes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::TimedOut { .. } | Self::NoAddress => "unreachable",
            Self::Stopping { .. } => "stopping",
            Self::Certificate { .. } => "certificate",
            Self::Version { .. } => "version",
            Self::NotANode { .. } => "not_a_node",
            Self::OtherNode { .. } => "other_node",
            Self::Answer { .. } => "answer",
            Self::Unsayable(_) | Self::Request(_) => "request",
        }
    }

    /// What who has to act can do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "check that the node runs and that UDP gets there",
            Self::Certificate { .. } => "issue a valid certificate of the same authority with `tvs certs issue`",
            Self::Version { .. } => "run releases that are next to each other",
            Self::NotANode { .. } => "check the address and the certificate used there",
            Self::OtherNode { .. } => "run each node at the address under which it was added",
            Self::Lost { .. } | Self::TimedOut { .. } => "ask again where repeating is safe",
            Self::Answer { .. } => "run the same version on both sides",
            Self::Stopping { .. } => "ask again when it runs",
            Self::Unsayable(_) => "ask for it once every node runs the new release",
            Self::Request(_) => "send a smaller message",
            Self::NoAddress => "name at least one node as IP:PORT",
        }
    }

    /// Who has to act.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Request(_) | Self::Unsayable(_) | Self::NoAddress => Actor::Caller,
            Self::Answer { .. } => Actor::Us,
            _ => Actor::Operator,
        }
    }

    /// Whether it is certain that the other side has not begun the request.
    pub fn nothing_done(&self) -> bool {
        !matches!(self, Self::Lost { .. } | Self::TimedOut { .. } | Self::Answer { .. })
    }

    /// The error of a connection that ended before a request could be written to it.
    pub(crate) fn before_sending(address: SocketAddr, error: &ConnectionError) -> Self {
        match tls_alert(error) {
            Some(NO_COMMON_VERSION) => Self::Version { address },
            Some(_) => Self::Certificate { address, reason: describe(error) },
            None if closed_with(error, &[CODE_IDENTITY, CODE_ENDED]) => {
                Self::Certificate { address, reason: describe(error) }
            }
            None => Self::Unreachable { address, reason: describe(error) },
        }
    }

    /// The error of a connection that ended with a request under way. If its handshake failed, the request did not get
    /// through, even if this side learns of the failure late.
    pub(crate) fn after_sending(address: SocketAddr, error: &ConnectionError) -> Self {
        match tls_alert(error) {
            Some(NO_COMMON_VERSION) => Self::Version { address },
            Some(_) => Self::Certificate { address, reason: describe(error) },
            // A connection that is turned away takes no request.
            None if closed_with(error, &[CODE_IDENTITY]) => Self::Certificate { address, reason: describe(error) },
            None => Self::Lost { address, reason: describe(error) },
        }
    }

    pub(crate) fn connect(address: SocketAddr, error: &ConnectError) -> Self {
        match error {
            ConnectError::EndpointStopping => Self::Stopping { address },
            _ => Self::Unreachable { address, reason: error.to_string() },
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.problem(), self.fix())
    }
}

impl From<codec::Error> for LinkError {
    fn from(error: codec::Error) -> Self {
        match error {
            codec::Error::TooLarge { .. } => Self::Request(error.to_string()),
            _ => Self::Unsayable(error.to_string()),
        }
    }
}

/// Whether the other side closed the connection with one of these codes.
fn closed_with(error: &ConnectionError, codes: &[VarInt]) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if codes.contains(&close.error_code))
}

/// The TLS alert (RFC 8446, section 6) of either side that ended a handshake. QUIC carries alerts as error codes 0x100
/// to 0x1ff (RFC 9001, section 4.8).
fn tls_alert(error: &ConnectionError) -> Option<u8> {
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => return None,
    };
    (0x100..0x200).contains(&code).then_some((code & 0xff) as u8)
}

/// The alert `no_application_protocol` (RFC 7301, section 3.2): of the versions offered none is understood.
const NO_COMMON_VERSION: u8 = 120;

/// A short name of how a handshake failed, for metrics.
pub(crate) fn handshake_label(error: &ConnectionError) -> &'static str {
    match (tls_alert(error), error) {
        (Some(alert), _) => alert_label(alert),
        (None, ConnectionError::TimedOut) => "timeout",
        (None, ConnectionError::VersionMismatch) => "quic_version",
        (None, ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_)) => "closed_by_peer",
        (None, _) => "transport",
    }
}

fn alert_label(alert: u8) -> &'static str {
    match alert {
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        48 => "unknown_authority",
        51 => "decrypt_error",
        70 => "tls_version",
        116 => "certificate_required",
        NO_COMMON_VERSION => "application_protocol",
        _ => "tls",
    }
}

/// The error in words; TLS alerts by name instead of by number, with the side whose certificate it is about.
pub(crate) fn describe(error: &ConnectionError) -> String {
    let Some(alert) = tls_alert(error) else { return error.to_string() };
    let whose = match error {
        ConnectionError::ConnectionClosed(_) => "the other side does not accept this one",
        _ => "this side does not accept the other",
    };
    format!("{}: {whose}: {error}", alert_label(alert))
}
