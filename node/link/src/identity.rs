//! Who a process is, and who the other side of a connection is: certificates say both.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use cluster_config::actor::Actor;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::version;

/// Why files do not make an identity. An operator can mend all of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}: cannot be read ({reason}); check the path and its permissions")]
    Unreadable { path: PathBuf, reason: String },
    /// A file is not what it should be.
    #[error("{path}: {reason}; issue it again with `tvs certs issue`")]
    Invalid {
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not make a usable pair.
    #[error("{certificate} and {key} do not work together ({reason}); use the pair that `tvs certs issue` wrote")]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        /// The TLS library's words.
        reason: String,
    },
}

/// Reads the identity out of a certificate's subject alternative names.
///
/// # Errors
/// Text that says what is missing: exactly one `tvs://ROLE/NAME` has to be there.
pub(crate) fn actor_of_certificate(certificate: &X509Certificate<'_>) -> Result<Actor, String> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| format!("subject alternative names do not parse: {error}"))?
        .ok_or("the certificate has no subject alternative names")?;
    let mut found = None;
    for name in &names.value.general_names {
        let GeneralName::URI(uri) = name else { continue };
        if found.is_some() {
            return Err("the certificate has more than one URI".to_owned());
        }
        found = Some(uri.parse()?);
    }
    found.ok_or_else(|| "the certificate has no tvs://ROLE/NAME".to_owned())
}

/// What names one certificate: the SHA-256 of its DER form.
pub type Fingerprint = [u8; 32];

/// What the certificate of a connection's other side says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) actor: Actor,
    pub(crate) fingerprint: Fingerprint,
}

/// Reads the certificate of a connection's other side. This is done once for each connection.
pub(crate) fn shown_by(connection: &quinn::Connection) -> Result<Shown, String> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or("the other side showed no certificate")?;
    let der = chain.first().ok_or("the other side showed an empty certificate chain")?;
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("the certificate does not parse: {error}"))?;
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Ok(Shown { actor: actor_of_certificate(&certificate)?, fingerprint })
}

/// A process's own certificate and key, and the authority that it trusts, for connections in both directions. Clones
/// share everything.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    peer: Actor,
    expires_at: SystemTime,
    server: Arc<QuicServerConfig>,
    client: Arc<QuicClientConfig>,
    restart_key: hmac::Key,
}

impl fmt::Debug for Identity {
    /// Prints no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.inner.peer)
    }
}

impl Identity {
    /// Loads an identity from PEM files: the authority's certificate, the own certificate, and its key.
    ///
    /// An expired certificate is loaded with a warning in the log: the peers will refuse it.
    ///
    /// # Errors
    /// [`Error`] names the file and what to do.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, Error> {
        let mut roots = rustls::RootCertStore::empty();
        for root in certificates(authority)? {
            roots.add(root).map_err(|error| Error::Invalid { path: authority.into(), reason: error.to_string() })?;
        }
        let chain = certificates(certificate)?;
        let (peer, expires_at) =
            inspect(&chain[0]).map_err(|reason| Error::Invalid { path: certificate.into(), reason })?;
        if expires_at < SystemTime::now() {
            tracing::warn!(%peer, file = %certificate.display(), "the certificate has expired; issue it again");
        }
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| Error::Invalid {
            path: key.into(),
            reason: format!("is not a private key in PEM: {error}"),
        })?;
        let restart_key = hmac::Key::new(hmac::HMAC_SHA256, private.secret_der());
        let (server, client) = tls(Arc::new(roots), chain, private).map_err(|reason| Error::Pair {
            certificate: certificate.into(),
            key: key.into(),
            reason,
        })?;
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self { inner: Arc::new(Inner { peer, expires_at, server, client, restart_key }) })
    }

    /// What the own certificate says.
    pub fn peer(&self) -> Actor {
        self.inner.peer
    }

    /// When the own certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.inner.expires_at
    }

    /// A key that only this identity has, and that is the same after a restart at the same address.
    pub(crate) fn restart_key(&self, address: SocketAddr) -> hmac::Key {
        let purpose = format!("tvs stateless reset {address}");
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.inner.restart_key, purpose.as_bytes()).as_ref())
    }

    /// How an endpoint accepts connections as this process.
    pub(crate) fn server_tls(&self) -> Arc<QuicServerConfig> {
        self.inner.server.clone()
    }

    /// How an endpoint makes connections as this process.
    pub(crate) fn client_tls(&self) -> Arc<QuicClientConfig> {
        self.inner.client.clone()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Unreadable { path: path.into(), reason: error.to_string() })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let invalid = |reason| Error::Invalid { path: path.into(), reason };
    let bytes = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(format!("is not a certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(invalid("has no certificate in PEM".to_owned()));
    }
    Ok(chain)
}

fn inspect(certificate: &CertificateDer<'_>) -> Result<(Actor, SystemTime), String> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| format!("the certificate does not parse: {error}"))?;
    let expires_at_s = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(expires_at_s);
    Ok((actor_of_certificate(&certificate)?, expires_at))
}

/// TLS 1.3 with certificates on both sides. Sessions are never resumed, because a resumed one could outlive the
/// certificate that began it. Nothing is sent before the handshake is done.
fn tls(
    roots: Arc<rustls::RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(QuicServerConfig, QuicClientConfig), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = &[&rustls::version::TLS13];
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| error.to_string())?;
    server.alpn_protocols = version::names();
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| error.to_string())?;
    client.alpn_protocols = version::names();
    client.resumption = rustls::client::Resumption::disabled();
    let server = QuicServerConfig::try_from(server).map_err(|error| error.to_string())?;
    let client = QuicClientConfig::try_from(client).map_err(|error| error.to_string())?;
    Ok((server, client))
}
