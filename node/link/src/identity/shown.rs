//! What a certificate says.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use cluster_config::actor::{Caller, Holder};
use cluster_config::ids::ContentHash;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::limits;

/// What a certificate says, its own or the other side's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) caller: Caller,
    pub(crate) valid_from: SystemTime,
    pub(crate) expires_at: SystemTime,
}

/// Reads the identity out of a certificate's subject alternative names.
///
/// # Errors
/// Text that says what is missing: exactly one `tvs://ROLE/NAME` has to be there.
fn holder_of(certificate: &X509Certificate<'_>) -> Result<Holder, String> {
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

impl Shown {
    /// Reads a certificate. Whether an authority has signed it, and whether it is valid now, is for TLS to judge.
    ///
    /// # Errors
    /// Text that says what is wrong with it.
    pub(super) fn by(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("the certificate does not parse: {error}"))?;
        let instant = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        let mut fingerprint = ContentHash::default();
        fingerprint.0.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        let shown = Self {
            caller: Caller { holder: holder_of(&certificate)?, certificate: fingerprint },
            valid_from: instant(validity.not_before.timestamp()),
            expires_at: instant(validity.not_after.timestamp()),
        };
        let role = shown.caller.actor().role;
        let days_max = limits::validity_days_max(role);
        let days = shown.validity().as_secs() / limits::DAY.as_secs();
        if days > u64::from(days_max) {
            return Err(format!(
                "the certificate is valid for {days} days, and one of role {role} may be for {days_max} at most"
            ));
        }
        Ok(shown)
    }

    /// For how long it is valid from its beginning on.
    pub(crate) fn validity(&self) -> Duration {
        self.expires_at.duration_since(self.valid_from).unwrap_or_default()
    }
}

/// Reads the certificate of a connection's other side. This is done once for each connection.
pub(crate) fn shown_by(connection: &quinn::Connection) -> Result<Shown, String> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or("the other side showed no certificate")?;
    Shown::by(chain.first().ok_or("the other side showed an empty certificate chain")?)
}
