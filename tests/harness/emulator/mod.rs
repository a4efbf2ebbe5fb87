//! A bad network for real processes on loopback: relays that lose, delay, repeat, reorder and cut.
//!
//! Every node listens on an address of its own and is known to gates and to the other nodes by the address of a relay.
//! A node's connections, those it makes and those it takes, all use the one socket that it listens on, so a relay knows
//! a packet's sender by its source address, and each ordered pair of nodes has conditions of its own: what goes from 1
//! to 2 may be cut while what goes from 2 to 1 arrives. Gates and whoever else is no node are one party,
//! [`Party::Outside`]. The relay sends on from a socket made for each sender, so that answers find the way back.
//!
//! It is no kernel: a packet passes two sockets more than it would without, and the operating system decides in what
//! order the relays run. The seed decides which packets of a link are lost, repeated or held back, by their number.

mod link;
mod relay;
mod shapes;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use link::Link;
pub use link::{Conditions, Counts};
use relay::Parcel;
pub use shapes::{Shape, swizzle};

/// Wanted size of a relay's socket buffers; a segment's burst fits. The system may give less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// Gates, operators, and everybody else who is no node.
    Outside,
    Node(NodeId),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("outside"),
            Self::Node(node) => write!(f, "{node}"),
        }
    }
}

/// The relays and the conditions of all links. Dropping it ends the relays.
pub struct Emulator {
    shared: Arc<Shared>,
    runtime: Handle,
    fronts: BTreeMap<SocketAddr, Arc<tokio::net::UdpSocket>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What all relays share.
struct Shared {
    seed: u64,
    host: Ipv4Addr,
    links: Mutex<BTreeMap<(Party, Party), Link>>,
    nodes: Mutex<BTreeMap<SocketAddr, NodeId>>,
    held: mpsc::UnboundedSender<Parcel>,
    /// How often gates were given other ports.
    rebound: AtomicU64,
}

impl Emulator {
    /// Starts the relays' thread and binds `fronts` relays at `host`, one for each node that there will be.
    ///
    /// # Panics
    /// Where the system gives no thread or socket.
    pub fn start(seed: u64, fronts: usize, host: Ipv4Addr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (held, parcels) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(Shared {
            seed,
            host,
            links: Mutex::default(),
            nodes: Mutex::default(),
            held,
            rebound: AtomicU64::new(0),
        });
        let fronts = {
            let _inside = handle.enter();
            let bound = (0..fronts).map(|_| Arc::new(socket(host)));
            bound.map(|socket| (socket.local_addr().expect("a bound socket"), socket)).collect()
        };
        let thread = std::thread::Builder::new().name("emulator".to_owned()).spawn(move || {
            runtime.spawn(relay::hold(parcels));
            // An error means that the emulator is gone, which is the end as well.
            let _ = runtime.block_on(stopped);
        });
        let thread = Some(thread.expect("a thread"));
        Self { shared, runtime: handle, fronts, stop: Some(stop), thread }
    }

    /// The relays' addresses, for [`node_stage::local::Options::fronts`].
    pub fn fronts(&self) -> Vec<SocketAddr> {
        self.fronts.keys().copied().collect()
    }

    /// Puts the relay at `front` before a node.
    ///
    /// # Panics
    /// Where there is no such relay.
    pub fn attach(&self, node: NodeId, front: SocketAddr, listen: SocketAddr) {
        self.shared.nodes().insert(listen, node);
        let socket = self.fronts.get(&front).expect("a relay of this emulator").clone();
        self.runtime.spawn(relay::run(self.shared.clone(), socket, node, listen));
    }

    /// Sets what happens to packets from one party to another.
    pub fn set(&self, from: Party, to: Party, conditions: Conditions) {
        let mut links = self.shared.links();
        let link = links.entry((from, to)).or_insert_with(|| Link::new(self.shared.seed, from, to));
        link.set(conditions);
    }

    /// Lets nothing from one party to another.
    pub fn cut(&self, from: Party, to: Party) {
        self.set(from, to, Conditions { cut: true, ..Conditions::default() });
    }

    /// Cuts the links of a shape among these nodes.
    pub fn cut_all(&self, shape: Shape, nodes: &[NodeId]) {
        for (from, to) in shape.cuts(nodes) {
            self.cut(from, to);
        }
    }

    /// Sets the same conditions on all links of a node with other nodes, both ways.
    pub fn worsen(&self, node: NodeId, nodes: &[NodeId], conditions: Conditions) {
        for other in nodes.iter().filter(|other| **other != node) {
            self.set(Party::Node(node), Party::Node(*other), conditions);
            self.set(Party::Node(*other), Party::Node(node), conditions);
        }
    }

    /// Makes one link perfect.
    pub fn mend(&self, from: Party, to: Party) {
        self.set(from, to, Conditions::default());
    }

    /// Makes all links perfect.
    pub fn heal(&self) {
        self.shared.links().values_mut().for_each(|link| link.set(Conditions::default()));
    }

    /// Has what all gates send come from other ports from now on, as a NAT does that has forgotten them.
    pub fn rebind(&self) {
        self.shared.rebound.fetch_add(1, Ordering::Relaxed);
    }

    /// What has happened to packets since the start, over all links that ever had conditions.
    pub fn counts(&self) -> Counts {
        self.shared.links().values().fold(Counts::default(), |sum, link| sum + link.counts())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The thread waits for nothing else.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A relay that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, BTreeMap<(Party, Party), Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, NodeId>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who sends from this address.
    fn party(&self, source: SocketAddr) -> Party {
        self.nodes().get(&source).map_or(Party::Outside, |node| Party::Node(*node))
    }

    /// When the copies of a packet arrive, after now: none where it is lost.
    fn pass(&self, from: Party, to: Party, bytes: usize) -> link::Copies {
        match self.links().get_mut(&(from, to)) {
            Some(link) => link.pass(Instant::now(), bytes),
            None => link::Copies::at_once(),
        }
    }
}

/// A loopback socket on a port that the system chose.
fn socket(host: Ipv4Addr) -> tokio::net::UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    // Less than asked for loses packets in bursts, as networks do.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true).expect("a socket that does not block");
    socket.bind(&SocketAddr::from((host, 0)).into()).expect("a port");
    tokio::net::UdpSocket::from_std(socket.into()).expect("a socket of this runtime")
}

/// How long a sender may be silent before its socket is given up: longer than any connection lives without a packet.
const FLOW_IDLE: Duration = Duration::from_secs(30);
