//! Who a process is, and who the other side of a connection is: certificates say both.

mod keys;
mod shown;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use cluster_config::actor::{Caller, Holder};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::{lifetime, limits, version};
use keys::{Files, Keys, Pair};

pub(crate) use shown::{Shown, shown_by};

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
    /// Others than its owner can read the key.
    #[error(
        "{path}: others can read this key (mode {mode:04o}); run `chmod 600 {path}`, and issue it again if it may have \
         been copied"
    )]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
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

/// How often [`Identity::watch`] looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// A process's own certificate and key, and the authority that it trusts, for connections in both directions. Clones
/// share everything.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    holder: Holder,
    keys: Arc<Keys>,
    server: Arc<QuicServerConfig>,
    client: Arc<QuicClientConfig>,
    restart_key: hmac::Key,
}

impl fmt::Debug for Identity {
    /// Prints no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.inner.holder)
    }
}

impl Identity {
    /// Loads an identity from PEM files: the authority's certificate, the own certificate, and its key. Certificate and
    /// key are read again when the files change: from then on handshakes are made with the new ones.
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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let files = Files { certificate: certificate.into(), key: key.into() };
        let (pair, private) = Pair::read(&files, &provider)?;
        let holder = pair.shown.caller.holder;
        if pair.shown.expires_at < SystemTime::now() {
            tracing::warn!(%holder, file = %certificate.display(), "the certificate has expired; issue it again");
        }
        let restart_key = hmac::Key::new(hmac::HMAC_SHA256, private.secret_der());
        let keys = Arc::new(Keys::new(files, provider.clone(), pair));
        let (server, client) = tls(Arc::new(roots), keys.clone(), provider).map_err(|reason| Error::Pair {
            certificate: certificate.into(),
            key: key.into(),
            reason,
        })?;
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Self { inner: Arc::new(Inner { holder, keys, server, client, restart_key }) })
    }

    /// What the own certificate says with which handshakes are made now.
    pub fn caller(&self) -> Caller {
        self.inner.keys.pair().shown.caller
    }

    /// When the own certificate expires with which handshakes are made now.
    pub fn expires_at(&self) -> SystemTime {
        self.inner.keys.look();
        self.inner.keys.pair().shown.expires_at
    }

    /// Whole days until the own certificate expires; 0 on its last day and from then on.
    pub fn days_left(&self) -> u64 {
        left_of(self.expires_at()).as_secs() / limits::DAY.as_secs()
    }

    /// Looks for renewed files, keeps the metric of the days left, and warns in the log before the certificate ends.
    /// It runs for as long as it is polled.
    pub async fn watch(self) {
        metrics::describe_gauge!("tvs_certificate_days_left", "days until the own certificate expires");
        let days_left = metrics::gauge!("tvs_certificate_days_left");
        let mut said = None;
        loop {
            self.inner.keys.look();
            let shown = self.inner.keys.pair().shown;
            let left = left_of(shown.expires_at);
            days_left.set(left.as_secs_f64() / limits::DAY.as_secs_f64());
            let due = lifetime::warning(left, shown.validity());
            if due != said
                && let Some(days) = due
            {
                let left_hours = left.as_secs() / 3_600;
                let fix = "renew it with `tvs certs renew`; a restart is not needed";
                tracing::warn!(holder = %self.inner.holder, left_hours, days, "the certificate ends soon; {fix}");
            }
            said = due;
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
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

/// What is left until then by the wall clock.
pub(crate) fn left_of(expires_at: SystemTime) -> Duration {
    expires_at.duration_since(SystemTime::now()).unwrap_or_default()
}

/// What a certificate says, in PEM.
pub(crate) fn holder_of_pem(pem: &[u8]) -> Result<Holder, String> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    Ok(Shown::by(&der)?.caller.holder)
}

/// What the certificate in a file says, and when it expires.
///
/// # Errors
/// [`Error`] names the file.
pub fn inspect(path: &Path) -> Result<(Caller, SystemTime), Error> {
    let shown = Shown::by(&certificates(path)?[0]);
    let shown = shown.map_err(|reason| Error::Invalid { path: path.into(), reason })?;
    Ok((shown.caller, shown.expires_at))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Unreadable { path: path.into(), reason: error.to_string() })
}

/// The certificates of a PEM file, one at least.
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

/// TLS 1.3 with certificates on both sides. Sessions are never resumed, because a resumed one could outlive the
/// certificate that began it. Nothing is sent before the handshake is done.
fn tls(
    roots: Arc<rustls::RootCertStore>,
    keys: Arc<Keys>,
    provider: Arc<CryptoProvider>,
) -> Result<(QuicServerConfig, QuicClientConfig), String> {
    let versions = &[&rustls::version::TLS13];
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(keys.clone());
    server.alpn_protocols = version::names();
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_cert_resolver(keys);
    client.alpn_protocols = version::names();
    client.resumption = rustls::client::Resumption::disabled();
    let server = QuicServerConfig::try_from(server).map_err(|error| error.to_string())?;
    let client = QuicClientConfig::try_from(client).map_err(|error| error.to_string())?;
    Ok((server, client))
}
