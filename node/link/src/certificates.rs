//! A cluster's own certificate authority: enough to run `tvs certs init` and `tvs certs issue`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use cluster_config::actor::Role;
use cluster_config::ids::DeviceId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::OffsetDateTime;

use crate::endpoint::SERVER_NAME;
use cluster_config::actor::Actor;

/// How long an authority lives, days: ten years, longer than the machines that trust it.
const AUTHORITY_DAYS: u64 = 3_653;

/// How long before it is issued a certificate becomes valid, so that a machine with a slow clock takes it.
const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there already. Nothing is ever overwritten.
    #[error("{0}: exists already; move it away first, or choose another folder or name")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: cannot be used ({reason}); check the path and its permissions")]
    File { path: PathBuf, reason: io::Error },
    /// The folder holds no usable authority.
    #[error("{path}: is not an authority's file ({reason}); make one with `tvs certs init`")]
    Authority { path: PathBuf, reason: String },
    /// The name cannot stand in a certificate.
    #[error("certificate name")]
    Name(#[from] cluster_config::ids::Error),
    /// The validity ends before it begins, or is out of range.
    #[error("validity {0}; choose at least one day, or an end after the beginning, before the year 9999")]
    Validity(String),
    /// The certificate library failed: a fault of ours.
    #[error("certificate could not be made: {0}")]
    Making(String),
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error.to_string())
    }
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From now (and an hour before, for slow clocks) for so many days.
    Days(u32),
    Between {
        from: SystemTime,
        until: SystemTime,
    },
}

impl Validity {
    fn bounds(self) -> Result<(OffsetDateTime, OffsetDateTime), Error> {
        let (from, until) = match self {
            Self::Days(0) => (None, None),
            Self::Days(days) => {
                let now = SystemTime::now();
                (now.checked_sub(CLOCK_SKEW), now.checked_add(DAY.saturating_mul(days)))
            }
            Self::Between { from, until } => (Some(from), Some(until)),
        };
        let wrong = || Error::Validity(format!("{self:?} cannot be used"));
        let instant = |time: SystemTime| {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
            OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
        };
        let from = from.and_then(instant).ok_or_else(wrong)?;
        let until = until.and_then(instant).ok_or_else(wrong)?;
        if until <= from {
            return Err(wrong());
        }
        Ok((from, until))
    }
}

/// The two files of one issued identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, readable by its owner alone.
    pub key: PathBuf,
}

/// A certificate authority in a folder: `ca.pem`, which everybody needs, and `ca.key`, which only the issuer may see.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    /// Prints no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.folder.display())
    }
}

impl Authority {
    /// Makes an authority in `folder`. The folder is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Exists`] where there is one already; [`Error::File`].
    pub fn create(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|reason| Error::File { path: folder.into(), reason })?;
        let (certificate_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
        absent(&[&certificate_path, &key_path])?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let (from, until) = Validity::Days(AUTHORITY_DAYS as u32).bounds()?;
        (params.not_before, params.not_after) = (from, until);
        params.distinguished_name.push(DnType::CommonName, authority_name(&key));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        write_new(&key_path, &key.serialize_pem(), true)?;
        write_new(&certificate_path, &certificate.pem(), false)?;
        Ok(Self { folder: folder.into(), issuer: Issuer::new(params, key) })
    }

    /// Loads the authority of `folder`.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Authority`] name the file.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(Error::Authority { path, reason: "no such file".to_owned() })
                }
                Err(reason) => Err(Error::File { path, reason }),
            }
        };
        let (key_path, key) = read("ca.key")?;
        let (certificate_path, certificate) = read("ca.pem")?;
        let key =
            KeyPair::from_pem(&key).map_err(|error| Error::Authority { path: key_path, reason: error.to_string() })?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key)
            .map_err(|error| Error::Authority { path: certificate_path, reason: error.to_string() })?;
        Ok(Self { folder: folder.into(), issuer })
    }

    /// The authority's certificate file, which every process has to be given.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Issues `NAME.pem` and `NAME.key` into the authority's folder. The certificate says `tvs://ROLE/NAME` and may
    /// be used on both sides of a connection.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Validity`], [`Error::Exists`], [`Error::File`].
    pub fn issue(&self, role: Role, name: &str, validity: Validity) -> Result<Issued, Error> {
        let name: DeviceId = name.parse()?;
        let certificate_path = self.folder.join(format!("{name}.pem"));
        let key_path = self.folder.join(format!("{name}.key"));
        absent(&[&certificate_path, &key_path])?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = validity.bounds()?;
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.subject_alt_names =
            vec![SanType::URI(Actor { role, name }.to_string().try_into()?), SanType::DnsName(SERVER_NAME.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write_new(&key_path, &key.serialize_pem(), true)?;
        write_new(&certificate_path, &certificate.pem(), false)?;
        Ok(Issued { certificate: certificate_path, key: key_path })
    }
}

/// A random name for an authority. A certificate of another cluster is so refused as one of an unknown authority, and
/// not as one with a broken signature.
fn authority_name(key: &KeyPair) -> String {
    let hash = digest::digest(&digest::SHA256, key.public_key_raw());
    let tag: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("TVS cluster authority {tag}")
}

/// Checks all files before the first is written, so that nothing is half-made.
fn absent(paths: &[&Path]) -> Result<(), Error> {
    match paths.iter().find(|path| path.exists()) {
        Some(path) => Err(Error::Exists(path.to_path_buf())),
        None => Ok(()),
    }
}

fn write_new(path: &Path, text: &str, private: bool) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = private;
    let write = |mut file: File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    options.open(path).and_then(write).map_err(|reason| match reason.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path.into()),
        _ => Error::File { path: path.into(), reason },
    })
}
