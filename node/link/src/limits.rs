//! Bounds that only this crate needs, each with its argument; those that machines share are in
//! [`cluster_config::limits`].

use std::time::Duration;

/// Connections of gates and operators that a node holds at once. 1,500 journeys a day need a few hundred gates, and
/// each gate connects to two nodes. 4,096 leave room for a restart of all gates while their old connections time out.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Connections beside these that only other nodes get: three lanes each way for every node of the largest cluster, and
/// as many again that have not timed out yet.
pub const CONNECTIONS_FOR_PEERS: usize = 12 * cluster_config::limits::NODES_MAX;

/// Connections that one certificate may hold at one node. A node holds three (one for each lane), a gate one, or a few
/// while it comes back through a broken network. 64 certificates would have to be stolen to take them all.
pub const CONNECTIONS_PER_IDENTITY_MAX: usize = 64;

/// Requests that one gate's certificate may have under way at one node. A gate has one traveller before it; 256 serve a
/// terminal whose gates share a certificate, and 64 such certificates fill [`REQUESTS_IN_FLIGHT_MAX`].
pub const GATE_REQUESTS_IN_FLIGHT_MAX: usize = 256;

/// The same for an operator's certificate: a script that submits a day's 1,500 manifests has a few dozen under way.
pub const OPERATOR_REQUESTS_IN_FLIGHT_MAX: usize = 256;

/// The same for a node's certificate: as many as its three lanes have streams.
pub const PEER_REQUESTS_IN_FLIGHT_MAX: usize = 3 * cluster_config::limits::STREAMS_PER_CONNECTION_MAX as usize;

/// Requests of all gates and operators under way at once. It is twice the searches that a node works on
/// ([`cluster_config::limits::SEARCHES_IN_FLIGHT_MAX`]), so that these are shed by their priority first. Their short
/// bodies hold at most 256 MiB.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 2 * cluster_config::limits::SEARCHES_IN_FLIGHT_MAX;

/// The same for all nodes: nobody else takes of it.
pub const PEERS_REQUESTS_IN_FLIGHT_MAX: usize = 2 * cluster_config::limits::SEARCHES_IN_FLIGHT_MAX;

/// Requests of one gate's certificate within a minute at one node. The whole nation's peak is 100 searches a second
/// (the design, section 1), and no certificate needs more than the nation. They may come all at once.
pub const GATE_REQUESTS_A_MINUTE_MAX: u32 = 6_000;

/// Boardings among them. A gate boards 20 travellers a minute, so this is a terminal of 150 gates behind one
/// certificate. A stolen one writes 50 records a second into the ledger, where a node can write thousands.
pub const GATE_RECORDS_A_MINUTE_MAX: u32 = 3_000;

/// Requests of one operator's certificate within a minute at one node: a script that asks a thousand times a second.
pub const OPERATOR_REQUESTS_A_MINUTE_MAX: u32 = 60_000;

/// Refusals at once to an identity that is over its budget, and how long each occupies its place. At 800 a second an
/// honest client is refused at once, and a flood of requests costs a few hundredths of a core.
pub const REFUSALS_AT_ONCE: usize = 8;
/// See [`REFUSALS_AT_ONCE`].
pub const REFUSAL_PAUSE: Duration = Duration::from_millis(10);

/// Handshakes under way at once. Each takes about a millisecond of one core, so more of them would only wait.
pub const HANDSHAKES_MAX: usize = 512;

/// Among them, only for addresses from where there was a good handshake before: gates that have to move when a node is
/// lost.
pub const HANDSHAKES_FOR_KNOWN: usize = 128;

/// Among them, only for addresses from where nodes came before: three lanes of 21 nodes at once.
pub const HANDSHAKES_FOR_PEERS: usize = 64;

/// Handshakes under way from one address that is not known yet. An honest one takes a round trip or two, so 32 are 300
/// a second over 100 ms; ten addresses would have to be used to take what is for strangers.
pub const HANDSHAKES_PER_ADDRESS: usize = 32;

/// The same from an address that is known: all gates of an airport come from one when their node is lost.
pub const HANDSHAKES_PER_KNOWN_ADDRESS: usize = 128;

/// Handshakes under way from which on a newcomer has to prove its address first (a stateless retry). Spoofed packets
/// then cost no state.
pub const HANDSHAKES_BEFORE_ADDRESS_PROOF: usize = 64;

/// The same for those from one address, so that who forges somebody's address takes little of their share.
pub const HANDSHAKES_OF_ADDRESS_BEFORE_PROOF: usize = 8;

/// After so long a handshake under way is given up where another one needs its place: four round trips of 100 ms.
pub const HANDSHAKE_GRACE: Duration = Duration::from_millis(400);

/// Failed handshakes from one address within a minute; after these, newcomers from there are turned away before any
/// cryptography until some are earned back. Twenty gates with expired certificates fail as often behind one address.
pub const FAILED_HANDSHAKES_A_MINUTE_MAX: u32 = 600;

/// The same where there was a good handshake before, since others are there, too: at 100 a second these cost a tenth of
/// a core.
pub const KNOWN_FAILED_HANDSHAKES_A_MINUTE_MAX: u32 = 6_000;

/// Addresses that are remembered as good: twice the connections, 40 bytes each.
pub const KNOWN_ADDRESSES_MAX: usize = 2 * CONNECTIONS_MAX;

/// Addresses whose failures are remembered. Beyond these each still has its share of handshakes under way alone.
pub const FAILING_ADDRESSES_MAX: usize = CONNECTIONS_MAX;

/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Days for which a certificate of a role may be valid at most. Machines renew theirs by themselves, and browsers take
/// no more than 398 days of anybody (CA/Browser Forum, ballot SC22). People come and go.
pub fn validity_days_max(role: cluster_config::actor::Role) -> u32 {
    use cluster_config::actor::Role;
    match role {
        Role::Gate | Role::Node | Role::System => 398,
        _ => 100,
    }
}

/// How long before a certificate ends a connection that was made with it is replaced: time for a thousand gates to do
/// so one after the other, and for a renewal that comes late.
pub const RENEWAL_EARLY: Duration = Duration::from_secs(3_600);

/// A connection of which less is left is not replaced early any more.
pub const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// How long a handshake may take. The idle timeout alone would let a peer stretch it for ever.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Silence after which a connection is lost. It bounds how long others keep state for a node that is gone. Requests do
/// not wait for it: they are hedged or have a time limit of their own.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(2_000);

/// How often the connecting side sends a sign of life: four of them may be lost before [`IDLE_TIMEOUT`].
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(400);

/// Silence on a gate's connection after which its node is asked last: two signs of life were not answered.
pub const UNANSWERED_MAX: Duration = Duration::from_millis(1_000);

/// Pause between two stateless resets. A restarted node tells 1,000 gates within two seconds, and forged packets cause
/// no more traffic than they are.
pub const RESET_INTERVAL_MIN: Duration = Duration::from_millis(2);

/// Longest delay of an acknowledgement. With QUIC's usual 25 ms the loss of a request's last packet costs 30 ms and
/// more. Most answers leave within 2 ms and carry the acknowledgement, which then costs no packet.
pub const ACKNOWLEDGEMENT_DELAY_MAX: Duration = Duration::from_millis(2);

/// Round trip that is assumed before one was measured. A lost first packet is sent again after three of these. The
/// standard's 333 ms are meant for the whole internet; airports are nearer to their nodes than 50 ms.
pub const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(50);

/// Largest datagram that is tried, for paths that carry it (jumbo frames, loopback). A capture with 512 numbers then
/// travels in one datagram instead of two. On other paths discovery finds the largest that they carry (RFC 8899).
pub const DATAGRAM_BYTES_MAX: u16 = 4_096;

/// Bytes that one stream may send before the other side reads: 2 MiB fill a 1 Gbit/s path of 16 ms.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// The same for a whole connection before it is known whose it is: 30 captures with a template.
pub const WINDOW_BYTES_MIN: u32 = 64 << 10;

/// The same for a whole connection of a gate or an operator.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Connections of one identity that get the whole window of their role. Further ones keep [`WINDOW_BYTES_MIN`], so that
/// 64 connections of a gate hold 20 MiB that nobody has read, and not 256.
pub const WHOLE_WINDOWS_PER_IDENTITY: u64 = 4;

/// The same for a node's connection, which carries segments.
pub const PEER_CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// Bytes that may wait in a connection's send buffer.
pub const SEND_WINDOW_BYTES: u64 = 8 << 20;

/// Wanted size of the UDP socket's buffers. It holds 2,000 requests of 2 KB, which may arrive while the endpoint's task
/// waits for its core. The system may give less.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Bodies up to this size are not counted: 1,024 streams with one each are 16 MiB.
pub const SMALL_BODY_BYTES: usize = 16 << 10;

/// Bodies above [`SMALL_BODY_BYTES`] that one gate's certificate may have half-read at once, bytes: four photographs.
pub const GATE_BODIES_BYTES_MAX: usize = 4 * cluster_config::limits::GATE_FRAME_BYTES_MAX;

/// The same for an operator's certificate: four of the largest manifests.
pub const OPERATOR_BODIES_BYTES_MAX: usize = 4 * cluster_config::limits::OPERATOR_FRAME_BYTES_MAX;

/// The same for a node's certificate: two of the largest segments.
pub const PEER_BODIES_BYTES_MAX: usize = 2 * cluster_config::limits::PEER_FRAME_BYTES_MAX;

/// The same for all gates and operators together: 32 certificates that take their whole share.
pub const BODIES_BYTES_MAX: usize = 32 * GATE_BODIES_BYTES_MAX;

/// The same for all nodes together, of which nobody else takes: four of the largest segments.
pub const PEERS_BODIES_BYTES_MAX: usize = 4 * cluster_config::limits::PEER_FRAME_BYTES_MAX;

/// How long a frame may take to arrive; [`FRAME_RATE_MIN`] gives more time to a long one. A gate waits no longer.
pub const FRAME_TIMEOUT: Duration = Duration::from_millis(cluster_config::limits::GATE_DEADLINE_MS);

/// Slowest arrival of a long frame, bytes a second: a tenth of a poor airport line.
pub const FRAME_RATE_MIN: u64 = 1 << 20;

/// How long requests under way may take to finish when a node stops. It is less than a gate waits for its answer.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(1_500);

/// How long a stopping node without requests keeps its connections open, so that it can refuse new requests with an
/// answer instead of silence.
pub const SHUTDOWN_NOTICE: Duration = Duration::from_millis(50);

const _: () = assert!(KEEP_ALIVE_INTERVAL.as_millis() * 4 < IDLE_TIMEOUT.as_millis());
const _: () = assert!(KEEP_ALIVE_INTERVAL.as_millis() * 2 < UNANSWERED_MAX.as_millis());
const _: () = assert!(SHUTDOWN_GRACE.as_millis() < cluster_config::limits::GATE_DEADLINE_MS as u128);
const _: () = assert!(CONNECTIONS_PER_IDENTITY_MAX * 64 <= CONNECTIONS_MAX);
const _: () = assert!(GATE_REQUESTS_IN_FLIGHT_MAX * 64 <= REQUESTS_IN_FLIGHT_MAX);
const _: () = assert!(OPERATOR_BODIES_BYTES_MAX * 4 <= BODIES_BYTES_MAX);
const _: () = assert!(HANDSHAKES_FOR_KNOWN + HANDSHAKES_FOR_PEERS + 8 * HANDSHAKES_PER_ADDRESS < HANDSHAKES_MAX);
