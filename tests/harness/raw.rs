//! A client that keeps to no rules: it sends the bytes it is given.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cluster_config::versions::Version;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, FrameHeader, Refusal, codec, gate, operator, peer};
use node_link::endpoint::SERVER_NAME;
use node_link::{Endpoint, Identity, bind_client};
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where unfinished handshakes come from.
const STALLING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);

/// Longest datagram that is passed on.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Handshakes that somebody begins and leaves unfinished, each begun anew when it is refused or out of time. They end
/// when this is dropped.
pub struct Stalling {
    _tasks: JoinSet<()>,
}

impl Stalling {
    /// Begins so many, all from one address of this machine that nobody else uses.
    ///
    /// # Panics
    /// Where the system gives no socket.
    pub async fn begin(node: SocketAddr, identity: &Identity, count: usize) -> Self {
        let inner = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let outer = UdpSocket::bind((STALLING, 0)).await.expect("a socket");
        outer.connect(node).await.expect("an address");
        let towards = inner.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // What the node answers goes nowhere, so that no handshake ends.
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                if let Ok(length) = inner.recv(&mut datagram).await {
                    let _ = outer.send(&datagram[..length]).await;
                }
            }
        });
        let endpoint = bind_client(towards, identity).expect("an endpoint");
        for _ in 0..count {
            let endpoint = endpoint.clone();
            tasks.spawn(async move {
                while let Ok(connecting) = endpoint.connect(towards, SERVER_NAME) {
                    let _ = connecting.await;
                }
            });
        }
        Self { _tasks: tasks }
    }
}

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

    /// Sends `bytes` again and again, on so many streams of one connection at a time, and makes a new connection when
    /// that is closed. Gives how often anything came back.
    pub async fn flood(&self, bytes: &[u8], streams: usize, lasts: Duration) -> u64 {
        let until = Instant::now() + lasts;
        let mut answered = 0;
        while Instant::now() < until {
            let connecting = self.endpoint.connect(self.address, SERVER_NAME).expect("an attempt");
            // One that is turned away tries again at once: it floods.
            let Ok(connection) = connecting.await else { continue };
            let stream = async || {
                let mut answered = 0;
                while Instant::now() < until {
                    let Ok((mut send, mut receive)) = connection.open_bi().await else { break };
                    let _ = send.write_all(bytes).await;
                    let _ = send.finish();
                    answered += u64::from(receive.read_to_end(ANSWER_BYTES_MAX).await.is_ok());
                }
                answered
            };
            let all = futures::future::join_all((0..streams).map(|_| stream()));
            let left = until.saturating_duration_since(Instant::now()) + TIMEOUT;
            let ended = tokio::time::timeout(left, all).await.expect("a node answers who floods it, or closes");
            answered += ended.into_iter().sum::<u64>();
        }
        answered
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
