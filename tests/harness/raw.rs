//! A client that keeps to no rules: it sends the bytes it is given.

use std::net::SocketAddr;
use std::time::Duration;

use cluster_config::versions::Version;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, FrameHeader, Refusal, codec, gate, operator, peer};
use node_link::endpoint::SERVER_NAME;
use node_link::{Endpoint, Identity, bind_client};
use serde::Serialize;

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// One connection's endpoint and the address of the node; each sending makes a connection of its own, so that a node
/// that closes one disturbs nothing else.
pub struct Raw {
    endpoint: Endpoint,
    address: SocketAddr,
}

impl Raw {
    /// A client with this certificate.
    ///
    /// # Panics
    /// Where the system gives no socket.
    pub fn new(address: SocketAddr, identity: &Identity) -> Self {
        Self { endpoint: bind_client(address, identity).expect("an endpoint"), address }
    }

    /// Sends `bytes` on a stream of a new connection and gives what comes back, or the words with which the connection
    /// was closed.
    ///
    /// # Errors
    /// Those words.
    ///
    /// # Panics
    /// Where nothing comes back in time.
    pub async fn send(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let exchange = async {
            let connecting = self.endpoint.connect(self.address, SERVER_NAME).expect("an attempt");
            let connection = connecting.await.map_err(|error| error.to_string())?;
            let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
            // A node that refuses early stops reading; its answer counts, not whether everything was written.
            let _ = send.write_all(bytes).await;
            let _ = send.finish();
            match receive.read_to_end(ANSWER_BYTES_MAX).await {
                Ok(answer) => Ok(answer),
                Err(_) => Err(connection.closed().await.to_string()),
            }
        };
        tokio::time::timeout(TIMEOUT, exchange).await.expect("a node answers hostile bytes in time")
    }

    /// As [`Raw::send`], and reads the answer on `channel`; absent where it is no refusal.
    ///
    /// # Errors
    /// The words with which the connection was closed.
    pub async fn refused(&self, channel: Channel, bytes: &[u8]) -> Result<Option<Refusal>, String> {
        let answer = self.send(bytes).await?;
        let body = answer.get(FRAME_HEADER_BYTES..).expect("a frame comes back");
        Ok(match channel {
            Channel::Gate => match decode(body) {
                gate::Response::Refused(refusal) => Some(refusal),
                _ => None,
            },
            Channel::Peer => match decode(body) {
                peer::Response::Refused(refusal) => Some(refusal),
                _ => None,
            },
            Channel::Operator => match decode(body) {
                operator::Response::Refused(refusal) => Some(refusal),
                _ => None,
            },
        })
    }

    /// As [`Raw::refused`], where nothing but a refusal may come.
    ///
    /// # Errors
    /// The words with which the connection was closed.
    ///
    /// # Panics
    /// Where the answer is no refusal.
    pub async fn refusal(&self, channel: Channel, bytes: &[u8]) -> Result<Refusal, String> {
        Ok(self.refused(channel, bytes).await?.expect("a refusal"))
    }
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> T {
    codec::decode(body, ANSWER_BYTES_MAX).expect("an answer that decodes")
}

/// A frame with this message.
///
/// # Panics
/// Where it does not encode.
pub fn frame<T: Serialize>(channel: Channel, message: &T) -> Vec<u8> {
    let body = codec::encode(message, channel.body_bytes_max()).expect("encoded");
    let header = FrameHeader { version: Version::CURRENT, channel, body_bytes: body.len() as u32 }.encode();
    [&header[..], &body].concat()
}
