//! UDP sockets and QUIC settings, the same for every endpoint of the system.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use cluster_config::limits::STREAMS_PER_CONNECTION_MAX;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::identity::Identity;
use crate::limits;

/// The server name in every certificate: nodes are told apart by their `tvs://node/NAME`, not by where they are.
pub const SERVER_NAME: &str = "tvs.internal";

/// Why an endpoint cannot be opened. Both are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the port.
    #[error(
        "UDP port {} of {} is taken; stop the process that holds it (`ss -ulpn`) or choose another port",
        .0.port(), .0.ip()
    )]
    PortTaken(SocketAddr),
    /// The system refuses the socket.
    #[error("UDP socket at {address} cannot be opened ({reason}); choose an address of this machine that may be bound")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        reason: io::Error,
    },
}

/// Opens an endpoint that accepts connections at `address` (port 0: chosen by the system) and can make its own.
/// Call it inside a tokio runtime; the endpoint's work runs there.
///
/// # Errors
/// [`Error::PortTaken`] and [`Error::Socket`].
pub fn bind(address: SocketAddr, identity: &Identity) -> Result<Endpoint, Error> {
    open(address, identity, Some(server_config(identity.server_tls())))
}

/// Opens an endpoint that only makes connections, to addresses of the same family as `towards`.
///
/// # Errors
/// [`Error::Socket`].
pub fn bind_client(towards: SocketAddr, identity: &Identity) -> Result<Endpoint, Error> {
    let address: SocketAddr = match towards {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    open(address, identity, None)
}

fn open(address: SocketAddr, identity: &Identity, server: Option<quinn::ServerConfig>) -> Result<Endpoint, Error> {
    let failed = |reason: io::Error| match reason.kind() {
        io::ErrorKind::AddrInUse => Error::PortTaken(address),
        _ => Error::Socket { address, reason },
    };
    let socket = socket(address).map_err(failed)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    // Only a listening endpoint comes back at its old address, and two endpoints must not share a key.
    let mut config = match server {
        Some(_) => restartable(identity.restart_key(socket.local_addr().map_err(failed)?)),
        None => EndpointConfig::default(),
    };
    config.max_udp_payload_size(limits::DATAGRAM_BYTES_MAX).map_err(|error| failed(io::Error::other(error)))?;
    let mut endpoint = Endpoint::new(config, server, socket, runtime).map_err(failed)?;
    endpoint.set_default_client_config(client_config(identity.client_tls()));
    Ok(endpoint)
}

/// Settings of an endpoint that may be killed and started again. It then tells its former peers at once that their
/// connections are gone (stateless reset, RFC 9000, section 10.3), for which it has to sign with the same key as
/// before. Without this they would find out after [`limits::IDLE_TIMEOUT`].
fn restartable(key: hmac::Key) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(RandomIds)).min_reset_interval(limits::RESET_INTERVAL_MIN);
    config
}

/// Connection ids that do not show which process made them. quinn's default ids do: a process ignores packets with ids
/// of another one, and would never answer those that its predecessor made.
struct RandomIds;

impl RandomIds {
    const BYTES: usize = 8;
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; Self::BYTES];
        // Without randomness from the system ids collide, and quinn asks for another one until it is free.
        if aws_lc_rs::rand::fill(&mut id).is_err() {
            tracing::error!("the system gives no random numbers");
        }
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        Self::BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The system limits buffers (net.core.rmem_max) silently. Smaller ones are slower, not wrong.
    for result in [
        socket.set_recv_buffer_size(limits::SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(limits::SOCKET_BUFFER_BYTES),
    ] {
        if let Err(error) = result {
            tracing::debug!(%address, %error, "the system refused larger UDP buffers");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn transport() -> TransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.max_ack_delay(Some(limits::ACKNOWLEDGEMENT_DELAY_MAX));
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(limits::DATAGRAM_BYTES_MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_PER_CONNECTION_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(limits::IDLE_TIMEOUT.as_millis() as u32))))
        .stream_receive_window(limits::STREAM_WINDOW_BYTES.into())
        .receive_window(limits::WINDOW_BYTES_MIN.into())
        .send_window(limits::SEND_WINDOW_BYTES)
        .initial_rtt(limits::ROUND_TRIP_ASSUMED)
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acknowledgements));
    transport
}

fn server_config(tls: Arc<QuicServerConfig>) -> quinn::ServerConfig {
    let mut config = quinn::ServerConfig::with_crypto(tls);
    config
        .transport_config(Arc::new(transport()))
        // A gate behind a NAT that forgets it goes on from another port. Who it is, its certificate says.
        .migration(true)
        .max_incoming(limits::HANDSHAKES_MAX)
        .incoming_buffer_size(16 << 10)
        .incoming_buffer_size_total((limits::HANDSHAKES_MAX as u64) << 14);
    config
}

fn client_config(tls: Arc<QuicClientConfig>) -> quinn::ClientConfig {
    let mut transport = transport();
    // Only the connecting side sends signs of life. They keep the timers of both sides from running out, with half of
    // the packets. Its receive window is a node's, because answers to nodes carry segments.
    transport
        .keep_alive_interval(Some(limits::KEEP_ALIVE_INTERVAL))
        .receive_window(limits::PEER_CONNECTION_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams(0_u32.into());
    let mut config = quinn::ClientConfig::new(tls);
    config.transport_config(Arc::new(transport));
    config
}
