//! The version that a link speaks: the newest one that both of its ends understand. The handshake settles it, before
//! the first byte of a frame: each end names what it understands (ALPN, RFC 7301). A process of a release too far from
//! this one has no version in common with it, and there is no link.

use cluster_config::versions::Version;
use quinn::Connection;
use quinn::crypto::rustls::HandshakeData;

/// The names of all versions that are understood here, newest first: the first one in common is chosen.
pub(crate) fn names() -> Vec<Vec<u8>> {
    Version::understood().rev().map(Version::alpn).collect()
}

/// The version that was settled on for a connection.
pub(crate) fn version_of(connection: &Connection) -> Version {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let named = data.and_then(|data| Version::of_alpn(data.protocol.as_deref()?));
    // No handshake ends without one of the names above.
    named.unwrap_or(Version::OLDEST)
}
