//! Bounds that only this crate needs, each with its argument; those that machines share are in
//! [`cluster_config::limits`].

use std::time::Duration;

/// Connections that a node holds at once: 1,500 journeys a day need a few hundred gates, each with two connections
/// to different nodes; 4,096 leaves room for a restart of all of them while the old ones time out.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Connections that one certificate may hold at one node, so that one stolen or faulty gate cannot take them all. A
/// node holds three (one for each lane), a gate one, a load generator with one certificate a few dozen.
pub const CONNECTIONS_PER_IDENTITY_MAX: usize = 256;

/// Handshakes under way at once. Each costs about a millisecond of one core, so more than this would only wait.
pub const HANDSHAKES_MAX: usize = 512;

/// Handshakes under way above which a newcomer has to prove its address first (a stateless retry): spoofed packets
/// then cost no state.
pub const HANDSHAKES_BEFORE_ADDRESS_PROOF: usize = 64;

/// How long a handshake may take; the idle timeout alone would let a peer stretch it for ever.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Silence after which a connection is lost. It bounds how long a vanished node keeps state anywhere; requests do
/// not wait for it, because they are hedged or carry their own time limit.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(2_000);

/// How often the connecting side shows that it is there: four of them may be lost before [`IDLE_TIMEOUT`].
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(400);

/// Pause between two stateless resets: a restarted node tells 1,000 gates within two seconds, and a forger of packets
/// gets no more out of it than he sends.
pub const RESET_INTERVAL_MIN: Duration = Duration::from_millis(2);

/// Acknowledgements are delayed by no more than this. With QUIC's usual 25 ms a lost last packet of a request costs
/// 30 ms and more; answers usually leave sooner than 2 ms and carry the acknowledgement for nothing.
pub const ACKNOWLEDGEMENT_DELAY_MAX: Duration = Duration::from_millis(2);

/// Round trip assumed before one was measured: a lost first packet is sent again after three of these. The standard's
/// 333 ms stands for the whole internet; airports are nearer to their nodes than 50 ms.
pub const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(50);

/// Largest datagram tried where the path carries it (jumbo frames, loopback): a capture with 512 numbers then travels in
/// one instead of two. Paths that do not carry it stay at what they do (RFC 8899).
pub const DATAGRAM_BYTES_MAX: u16 = 4_096;

/// Unread bytes that one stream may have on its way: 2 MiB fill a 1 Gbit/s path of 16 ms.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// Unread bytes that one connection of a gate or an operator may have on its way.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The same for a node's connection, which carries segments.
pub const PEER_CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Bytes that may wait in a connection's send buffer.
pub const SEND_WINDOW_BYTES: u64 = 8 << 20;

/// Wanted size of the UDP socket's buffers: a burst of 2,000 requests of 2 KB arrives while the endpoint's task waits
/// for its core. The system may give less.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Bodies up to this size cost no budget: 1,024 streams with one each are 16 MiB.
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// Bodies above [`SMALL_BODY_BYTES`] that one gate's connection may have half-read at once, bytes: four photographs.
pub const GATE_BODIES_BYTES_MAX: usize = 4 * cluster_config::limits::GATE_FRAME_BYTES_MAX;

/// The same for an operator's connection: four of the largest manifests.
pub const OPERATOR_BODIES_BYTES_MAX: usize = 4 * cluster_config::limits::OPERATOR_FRAME_BYTES_MAX;

/// The same for a node's connection: two of the largest segments, which are far larger than the usual ones.
pub const PEER_BODIES_BYTES_MAX: usize = 2 * cluster_config::limits::PEER_FRAME_BYTES_MAX;

/// How long a frame may take to arrive, before [`FRAME_RATE_MIN`] is added for its length. A gate waits no longer.
pub const FRAME_TIMEOUT: Duration = Duration::from_millis(cluster_config::limits::GATE_DEADLINE_MS);

/// Slowest arrival of a long frame that is waited for, bytes a second: a tenth of a poor airport line.
pub const FRAME_RATE_MIN: u64 = 1 << 20;

/// How long requests under way may take to finish when a node stops; below what a gate waits for its answer.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(1_500);

/// How long the connections of a stopping node stay open to refuse new requests with an answer instead of silence,
/// where no request is under way any more.
pub const SHUTDOWN_NOTICE: Duration = Duration::from_millis(50);

const _: () = assert!(KEEP_ALIVE_INTERVAL.as_millis() * 4 < IDLE_TIMEOUT.as_millis());
const _: () = assert!(SHUTDOWN_GRACE.as_millis() < cluster_config::limits::GATE_DEADLINE_MS as u128);
