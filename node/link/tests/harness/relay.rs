//! A hop between clients and a server, as a NAT is one: the server sees the hop's address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    mute: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Lets all datagrams pass.
pub fn everything(_: &[u8]) -> bool {
    true
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
        let mute = Arc::new(AtomicBool::new(false));
        let outer = outer(server, from.into()).await;
        let task = tokio::spawn(pass(inner, outer, passes, (rebind.clone(), mute.clone())));
        Self { address, rebind, mute, task }
    }

    /// Drops everything from now on, both ways.
    pub fn mute(&self) {
        self.mute.store(true, Ordering::SeqCst);
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

async fn pass(
    inner: UdpSocket,
    mut socket: UdpSocket,
    passes: fn(&[u8]) -> bool,
    (rebind, mute): (Arc<Notify>, Arc<AtomicBool>),
) {
    let mut client = None;
    let (mut out, mut back) = (vec![0; DATAGRAM_BYTES_MAX], vec![0; DATAGRAM_BYTES_MAX]);
    loop {
        // What cannot be sent or received now is lost, as it is on a network.
        tokio::select! {
            Ok((bytes, sender)) = inner.recv_from(&mut out) => {
                client = Some(sender);
                if !mute.load(Ordering::SeqCst) {
                    let _ = socket.send(&out[..bytes]).await;
                }
            }
            Ok(bytes) = socket.recv(&mut back) => {
                let heard = !mute.load(Ordering::SeqCst) && passes(&back[..bytes]);
                if let Some(client) = client.filter(|_| heard) {
                    let _ = inner.send_to(&back[..bytes], client).await;
                }
            }
            () = rebind.notified() => {
                let local = socket.local_addr().expect("an address").ip();
                socket = outer(socket.peer_addr().expect("a server"), local).await;
            }
        }
    }
}
