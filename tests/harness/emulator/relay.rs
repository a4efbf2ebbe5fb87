//! One relay, which stands before one node, and the queue of packets that arrive later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster_config::ids::NodeId;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{FLOW_IDLE, Party, Shared, socket};

/// Longest packet; QUIC's are shorter.
const PACKET_BYTES_MAX: usize = 64 << 10;

/// A packet that arrives later.
pub(super) struct Parcel {
    at: Instant,
    socket: Arc<UdpSocket>,
    /// Absent where the socket is connected.
    to: Option<SocketAddr>,
    bytes: Vec<u8>,
}

/// What comes from one sender, and the way back to it.
struct Flow {
    from: Party,
    onward: Arc<UdpSocket>,
    /// Milliseconds after the relay's start.
    used_ms: Arc<AtomicU64>,
    /// How often gates had been given other ports when this was opened.
    rebound: u64,
    back: JoinHandle<()>,
}

impl Flow {
    /// Whether it goes on from where it was.
    fn stands(&self, shared: &Shared) -> bool {
        self.from != Party::Outside || self.rebound == shared.rebound.load(Ordering::Relaxed)
    }
}

/// Relays between everybody and the node that listens at `listen`.
pub(super) async fn run(shared: Arc<Shared>, front: Arc<UdpSocket>, node: NodeId, listen: SocketAddr) {
    let born = Instant::now();
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        // A port that nobody listens on answers with an error, which is no business of the relay's.
        let Ok((length, source)) = front.recv_from(&mut buffer).await else { continue };
        let now_ms = born.elapsed().as_millis() as u64;
        if !flows.get(&source).is_some_and(|flow| flow.stands(&shared)) {
            flows.retain(|_, flow| {
                let idle_ms = now_ms.saturating_sub(flow.used_ms.load(Ordering::Relaxed));
                let keep = idle_ms < FLOW_IDLE.as_millis() as u64;
                if !keep {
                    flow.back.abort();
                }
                keep
            });
            let flow = open(&shared, &front, node, listen, source, born).await;
            if let Some(forgotten) = flows.insert(source, flow) {
                forgotten.back.abort();
            }
        }
        let flow = &flows[&source];
        flow.used_ms.store(now_ms, Ordering::Relaxed);
        deliver(&shared, (flow.from, Party::Node(node)), &flow.onward, None, &buffer[..length]).await;
    }
}

async fn open(
    shared: &Arc<Shared>,
    front: &Arc<UdpSocket>,
    node: NodeId,
    listen: SocketAddr,
    source: SocketAddr,
    born: Instant,
) -> Flow {
    let onward = Arc::new(socket(shared.host));
    onward.connect(listen).await.expect("loopback");
    let from = shared.party(source);
    let used_ms = Arc::new(AtomicU64::new(0));
    let back = {
        let (shared, front, onward, used_ms) = (shared.clone(), front.clone(), onward.clone(), used_ms.clone());
        async move {
            let mut buffer = vec![0; PACKET_BYTES_MAX];
            loop {
                let Ok(length) = onward.recv(&mut buffer).await else { continue };
                used_ms.store(born.elapsed().as_millis() as u64, Ordering::Relaxed);
                deliver(&shared, (Party::Node(node), from), &front, Some(source), &buffer[..length]).await;
            }
        }
    };
    let rebound = shared.rebound.load(Ordering::Relaxed);
    Flow { from, onward, used_ms, rebound, back: tokio::spawn(back) }
}

/// Sends a packet on as the link's conditions have it.
async fn deliver(
    shared: &Shared,
    (from, to): (Party, Party),
    socket: &Arc<UdpSocket>,
    address: Option<SocketAddr>,
    bytes: &[u8],
) {
    for delay in shared.pass(from, to, bytes.len()).0.into_iter().flatten() {
        if delay.is_zero() {
            send(socket, address, bytes).await;
        } else {
            let parcel =
                Parcel { at: Instant::now() + delay, socket: socket.clone(), to: address, bytes: bytes.to_vec() };
            // The queue ends with the emulator.
            let _ = shared.held.send(parcel);
        }
    }
}

async fn send(socket: &UdpSocket, address: Option<SocketAddr>, bytes: &[u8]) {
    // Whatever the system refuses is lost, as on any network.
    let _ = match address {
        Some(address) => socket.send_to(bytes, address).await,
        None => socket.send(bytes).await,
    };
}

/// A parcel's place in the queue: by its time, then by its number.
struct Waiting(Reverse<(Instant, u64)>, Parcel);

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Holds parcels until their time, so that those of equal delay keep their order.
pub(super) async fn hold(mut parcels: mpsc::UnboundedReceiver<Parcel>) {
    let mut waiting: BinaryHeap<Waiting> = BinaryHeap::new();
    let mut number = 0;
    loop {
        let next = waiting.peek().map(|Waiting(Reverse((at, _)), _)| *at);
        tokio::select! {
            received = parcels.recv() => {
                let Some(parcel) = received else { return };
                number += 1;
                waiting.push(Waiting(Reverse((parcel.at, number)), parcel));
            }
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Some(Waiting(_, parcel)) = waiting.pop() {
                    send(&parcel.socket, parcel.to, &parcel.bytes).await;
                }
            }
        }
    }
}
