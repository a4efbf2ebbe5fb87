//! A hop between clients and a server, as a NAT is one: the server sees the hop's address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Longest datagram that is passed on.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// It goes when this is dropped.
pub struct Relay {
    /// Where clients connect to.
    pub address: SocketAddr,
    rebind: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// A hop to `server`, which sees it at `from`. Of what the server sends, clients get what `passes`.
    pub async fn start(server: SocketAddr, from: Ipv4Addr, passes: fn(&[u8]) -> bool) -> Self {
        let inner = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let address = inner.local_addr().expect("an address");
        let rebind = Arc::new(Notify::new());
        let task = tokio::spawn(pass(inner, server, from.into(), passes, rebind.clone()));
        Self { address, rebind, task }
    }

    /// Goes on from another port, as a NAT does that has forgotten a connection.
    pub fn rebind(&self) {
        self.rebind.notify_one();
    }
}

async fn outer(server: SocketAddr, from: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).await.expect("a socket");
    socket.connect(server).await.expect("an address");
    socket
}

async fn pass(inner: UdpSocket, server: SocketAddr, from: IpAddr, passes: fn(&[u8]) -> bool, rebind: Arc<Notify>) {
    let mut socket = outer(server, from).await;
    let mut client = None;
    let (mut out, mut back) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        // What cannot be sent or received now is lost, as it is on a network.
        tokio::select! {
            Ok((bytes, sender)) = inner.recv_from(&mut out) => {
                client = Some(sender);
                let _ = socket.send(&out[..bytes]).await;
            }
            Ok(bytes) = socket.recv(&mut back) => {
                if let Some(client) = client && passes(&back[..bytes]) {
                    let _ = inner.send_to(&back[..bytes], client).await;
                }
            }
            () = rebind.notified() => socket = outer(server, from).await,
        }
    }
}
