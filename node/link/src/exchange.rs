//! One request and its answer on one stream of one connection: what all three client libraries share.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cluster_config::actor::{Caller, Role};
use cluster_config::versions::Version;
use cluster_config::wire::{Channel, Fix, Refusal, RefusalCode};
use quinn::{Connection, ConnectionError, Endpoint, ReadError, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::codes::CODE_IDENTITY;
use crate::endpoint::SERVER_NAME;
use crate::error::LinkError;
use crate::frame::{self, BodyError, Frame, HeaderError, Reader};
use crate::identity::{Identity, left_of, shown_by};
use crate::lifetime::Lifetime;
use crate::version::version_of;

/// A connection to a node.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) connection: Connection,
    /// Whose certificate the other side shows.
    pub(crate) node: Caller,
    /// It lasts as long as both certificates.
    pub(crate) lifetime: Lifetime,
}

/// Makes a connection to a node and checks that it is one.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    identity: &Identity,
    address: SocketAddr,
    timeout: Duration,
) -> Result<Made, LinkError> {
    let own_end = identity.expires_at();
    let connecting = endpoint.connect(address, SERVER_NAME).map_err(|error| LinkError::connect(address, &error))?;
    let connection = match tokio::time::timeout(timeout, connecting).await {
        Ok(Err(ConnectionError::LocallyClosed)) => return Err(LinkError::Stopping { address }),
        Ok(result) => result.map_err(|error| LinkError::before_sending(address, &error))?,
        Err(_) => {
            let reason = format!("no handshake within {} ms", timeout.as_millis());
            return Err(LinkError::Unreachable { address, reason });
        }
    };
    match shown_by(&connection) {
        Ok(shown) if shown.caller.actor().role == Role::Node => {
            let lifetime = Lifetime::new(Instant::now(), left_of(own_end.min(shown.expires_at)));
            Ok(Made { connection, node: shown.caller, lifetime })
        }
        Ok(shown) => {
            connection.close(CODE_IDENTITY, b"the certificate is not a node's");
            Err(LinkError::NotANode { address, found: *shown.caller.actor() })
        }
        Err(reason) => {
            connection.close(CODE_IDENTITY, reason.as_bytes());
            Err(LinkError::Certificate { address, reason })
        }
    }
}

/// An answer that has come, in its version.
#[derive(Debug)]
pub(crate) struct Answer {
    address: SocketAddr,
    channel: Channel,
    version: Version,
    body: Bytes,
}

impl Answer {
    /// What it says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, LinkError> {
        let read = frame::decode(self.channel, self.version, &self.body);
        read.map_err(|refusal| LinkError::Answer { address: self.address, refusal })
    }
}

/// Sends `request` on a new stream, in the version that both sides understand, and waits for the answer. The caller
/// sets the time limit; dropping the future gives the stream up.
pub(crate) async fn exchange<T: Serialize>(
    connection: &Connection,
    address: SocketAddr,
    channel: Channel,
    request: &T,
) -> Result<Answer, LinkError> {
    let frame = Frame::encode(channel, version_of(connection), request)?;
    exchange_frame(connection, address, channel, &frame).await
}

/// As [`exchange`], with a frame that is encoded in the connection's version.
pub(crate) async fn exchange_frame(
    connection: &Connection,
    address: SocketAddr,
    channel: Channel,
    frame: &Frame,
) -> Result<Answer, LinkError> {
    let (mut send, mut receive) =
        connection.open_bi().await.map_err(|error| LinkError::before_sending(address, &error))?;
    match frame.write(&mut send).await {
        // A node that refuses early stops reading. Its answer is on the way.
        Ok(()) | Err(WriteError::Stopped(_)) => {}
        Err(WriteError::ConnectionLost(error)) => return Err(LinkError::after_sending(address, &error)),
        Err(error) => return Err(LinkError::Lost { address, reason: error.to_string() }),
    }
    let gone = |error: ReadError| match error {
        ReadError::ConnectionLost(error) => LinkError::after_sending(address, &error),
        error => LinkError::Lost { address, reason: error.to_string() },
    };
    let mut reader = Reader::new(&mut receive);
    let header = reader.header().await.map_err(|error| match error {
        HeaderError::Refused { refusal, .. } => LinkError::Answer { address, refusal },
        HeaderError::Gone(error) => gone(error),
    })?;
    if header.channel != channel {
        let problem = format!("the answer comes on channel {:?}", header.channel);
        let fix = Fix::with(format!("answer on channel {channel:?}"));
        let refusal = Refusal::new(RefusalCode::MalformedFrame, "frame header byte 3", problem, fix);
        return Err(LinkError::Answer { address, refusal });
    }
    let body = reader.body(header.body_bytes as usize).await.map_err(|error| match error {
        BodyError::Refused(refusal) => LinkError::Answer { address, refusal },
        BodyError::Gone(error) => gone(error),
    })?;
    Ok(Answer { address, channel, version: header.version, body })
}
