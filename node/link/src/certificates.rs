//! A cluster's own certificate authority: enough to run `tvs certs init` and `tvs certs issue`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use cluster_config::actor::{Actor, Holder, Role};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::OffsetDateTime;

use crate::endpoint::SERVER_NAME;
use crate::{identity, limits};

/// How long an authority lives, days: ten years, longer than the machines that trust it.
const AUTHORITY_DAYS: u64 = 3_653;

/// How long before it is issued a certificate becomes valid, so that a machine with a slow clock takes it.
const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

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
    /// There is no certificate to renew.
    #[error("{path}: is not a certificate to renew ({reason}); issue one with `tvs certs issue`")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The name cannot stand in a certificate.
    #[error("certificate name")]
    Name(#[from] cluster_config::ids::Error),
    /// The validity ends before it begins, or is out of range.
    #[error("validity {0}; choose at least one day, or an end after the beginning, before the year 9999")]
    Validity(String),
    /// A certificate of this role may not be valid for so long.
    #[error("validity of {days} days; choose at most {days_max} for the role {role}, and renew in time")]
    TooLong {
        /// What was asked for.
        days: u64,
        /// The role.
        role: Role,
        /// The most.
        days_max: u32,
    },
    /// Others than its owner can read the authority's key.
    #[error("{path}: others can read this key; run `chmod 600 {path}`, and make a new authority if it was copied")]
    Exposed {
        /// The key's file.
        path: PathBuf,
    },
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
                (now.checked_sub(CLOCK_SKEW), now.checked_add(limits::DAY.saturating_mul(days)))
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
        if is_exposed(&key_path) {
            return Err(Error::Exposed { path: key_path });
        }
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

    /// Issues `NAME.pem` and `NAME.key` into the authority's folder. The certificate says `tvs://ROLE/NAME?…` and may
    /// be used on both sides of a connection.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Validity`], [`Error::TooLong`], [`Error::Exists`], [`Error::File`].
    pub fn issue(&self, role: Role, name: &str, validity: Validity) -> Result<Issued, Error> {
        self.issue_to(&Actor { role, name: name.parse()? }.into(), validity)
    }

    /// As [`Authority::issue`], with the place that bounds the holder's rights.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_to(&self, holder: &Holder, validity: Validity) -> Result<Issued, Error> {
        let issued = self.files(&holder.actor);
        absent(&[&issued.certificate, &issued.key])?;
        let (certificate, key) = self.make(holder, validity)?;
        write_new(&issued.key, &key, true)?;
        write_new(&issued.certificate, &certificate, false)?;
        Ok(issued)
    }

    /// Issues the certificate `NAME.pem` again, with a new key, for the same holder. Processes that use the
    /// files find the new ones by themselves.
    ///
    /// # Errors
    /// As [`Authority::issue`], and [`Error::Certificate`] where there is none of that name.
    pub fn renew(&self, name: &str, validity: Validity) -> Result<Issued, Error> {
        let holder = self.holder_of(name)?;
        let issued = self.files(&holder.actor);
        let (certificate, key) = self.make(&holder, validity)?;
        // Each file is whole at any time. Who reads one of each before both are there takes the next look.
        replace(&issued.key, &key, true)?;
        replace(&issued.certificate, &certificate, false)?;
        Ok(issued)
    }

    /// The role of the certificate `NAME.pem`.
    ///
    /// # Errors
    /// [`Error::Certificate`] where there is none of that name.
    pub fn role_of(&self, name: &str) -> Result<Role, Error> {
        Ok(self.holder_of(name)?.actor.role)
    }

    fn holder_of(&self, name: &str) -> Result<Holder, Error> {
        let path = self.folder.join(format!("{name}.pem"));
        let no_certificate = |reason: String| Error::Certificate { path: path.clone(), reason };
        let text = std::fs::read(&path).map_err(|error| no_certificate(error.to_string()))?;
        identity::holder_of_pem(&text).map_err(no_certificate)
    }

    fn files(&self, actor: &Actor) -> Issued {
        let file = |extension| self.folder.join(format!("{}.{extension}", actor.name));
        Issued { certificate: file("pem"), key: file("key") }
    }

    /// A certificate and its key, PEM.
    fn make(&self, holder: &Holder, validity: Validity) -> Result<(String, String), Error> {
        let actor = &holder.actor;
        let (from, until) = validity.bounds()?;
        let (days, days_max) = ((until - from - CLOCK_SKEW).whole_days(), limits::validity_days_max(actor.role));
        if days > i64::from(days_max) {
            return Err(Error::TooLong { days: days as u64, role: actor.role, days_max });
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (from, until);
        params.distinguished_name.push(DnType::CommonName, actor.name.as_str());
        params.subject_alt_names =
            vec![SanType::URI(holder.to_string().try_into()?), SanType::DnsName(SERVER_NAME.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
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

/// Puts a file in the place of another, whole at once.
fn replace(path: &Path, text: &str, private: bool) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let failed = |reason| Error::File { path: path.into(), reason };
    match std::fs::remove_file(&new) {
        // An earlier renewal was broken off.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    write_new(&new, text, private)?;
    std::fs::rename(&new, path).map_err(failed)
}

fn is_exposed(key: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        key.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = key;
        false
    }
}
