//! A certificate and its key out of files, which are read again when they change.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::shown::Shown;
use super::{Error, certificates};

/// How often files are looked at, at most: who renews a certificate sees it used a second later.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// What shows that files have changed.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Files {
    fn stamp(&self) -> Stamp {
        let stamp = |metadata: Metadata| Some((metadata.modified().ok()?, metadata.len()));
        [&self.certificate, &self.key].map(|path| stamp(path.metadata().ok()?))
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) shown: Shown,
    pub(super) certified: Arc<CertifiedKey>,
}

impl Pair {
    /// Reads a pair, and gives the bytes of its key as well.
    pub(super) fn read(files: &Files, provider: &CryptoProvider) -> Result<(Self, PrivateKeyDer<'static>), Error> {
        let chain: Vec<CertificateDer<'static>> = certificates(&files.certificate)?;
        let shown =
            Shown::by(&chain[0]).map_err(|reason| Error::Invalid { path: files.certificate.clone(), reason })?;
        let key = PrivateKeyDer::from_pem_slice(&read_private(&files.key)?).map_err(|error| Error::Invalid {
            path: files.key.clone(),
            reason: format!("is not a private key in PEM: {error}"),
        })?;
        let certified = CertifiedKey::from_der(chain, key.clone_key(), provider).map_err(|error| Error::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            reason: error.to_string(),
        })?;
        Ok((Self { shown, certified: Arc::new(certified) }, key))
    }
}

/// Reads a file that nobody but its owner may read.
fn read_private(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |error: std::io::Error| Error::Unreadable { path: path.into(), reason: error.to_string() };
    let mut file = File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Exposed { path: path.into(), mode });
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The pair that is used now. TLS asks for it at each handshake.
#[derive(Debug)]
pub(super) struct Keys {
    files: Files,
    provider: Arc<CryptoProvider>,
    now: RwLock<Arc<Pair>>,
    looks: Mutex<Looks>,
}

#[derive(Debug)]
struct Looks {
    next_at: Instant,
    /// What the files were when they were last read, or found unusable for good.
    read: Stamp,
    /// What they were when they were found unusable once. They may have been half-written.
    doubted: Option<Stamp>,
}

impl Keys {
    pub(super) fn new(files: Files, provider: Arc<CryptoProvider>, pair: Pair) -> Self {
        let looks = Looks { next_at: Instant::now() + LOOK_INTERVAL, read: files.stamp(), doubted: None };
        Self { files, provider, now: RwLock::new(Arc::new(pair)), looks: Mutex::new(looks) }
    }

    /// The pair that is used now.
    pub(super) fn pair(&self) -> Arc<Pair> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again if they have changed. A pair that cannot be used leaves the one before in use.
    pub(super) fn look(&self) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() < looks.next_at {
            return;
        }
        looks.next_at = Instant::now() + LOOK_INTERVAL;
        let stamp = self.files.stamp();
        if stamp == looks.read {
            return;
        }
        let (certificate, before) = (self.files.certificate.display(), self.pair());
        match Pair::read(&self.files, &self.provider) {
            Ok((pair, _)) if pair.shown.caller.holder == before.shown.caller.holder => {
                tracing::info!(%certificate, "the certificate was renewed");
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                looks.read = stamp;
            }
            Ok((pair, _)) => {
                let (is, was) = (pair.shown.caller, before.shown.caller);
                let problem = "the new certificate is somebody else's; the old one stays in use";
                tracing::warn!(%certificate, %is, %was, "{problem}");
                looks.read = stamp;
            }
            Err(error) if looks.doubted == Some(stamp) => {
                tracing::warn!(%error, "the new certificate cannot be used; the old one stays in use");
                looks.read = stamp;
            }
            Err(_) => looks.doubted = Some(stamp),
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.look();
        self.pair().certified.clone()
    }
}

impl rustls::server::ResolvesServerCert for Keys {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl rustls::client::ResolvesClientCert for Keys {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
