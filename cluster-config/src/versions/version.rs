//! The version, and in which one something is being read or written.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of all that travels between processes and lies on disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u8);

/// A version that this release does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "version {found} is not understood here, where versions {oldest} to {newest} are",
    oldest = Version::OLDEST,
    newest = Version::CURRENT
)]
pub struct Unknown {
    pub found: Version,
}

impl Unknown {
    /// What there is to do.
    pub const FIX: &'static str = "run a release that understands it";
}

/// What the name of the protocol in a TLS handshake begins with (ALPN, RFC 7301); the version follows.
const ALPN_PREFIX: &str = "tvs/";

impl Version {
    /// The newest version that this release understands.
    #[cfg(not(feature = "next"))]
    pub const CURRENT: Self = Self(1);
    /// The newest version that this build understands: the one after the release's.
    #[cfg(feature = "next")]
    pub const CURRENT: Self = Self(2);

    /// The oldest version that this release understands. A node reads its own version and the one before. It goes on
    /// reading older ones for as long as a log may hold entries of them: entries are not written again, and leave the
    /// log only behind a snapshot.
    pub const OLDEST: Self = Self(1);

    /// All that are understood, oldest first.
    pub fn understood() -> impl DoubleEndedIterator<Item = Self> {
        (Self::OLDEST.0..=Self::CURRENT.0).map(Self)
    }

    /// This version, where it is understood.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn check(self) -> Result<Self, Unknown> {
        if (Self::OLDEST..=Self::CURRENT).contains(&self) { Ok(self) } else { Err(Unknown { found: self }) }
    }

    /// Its name in a TLS handshake, by which the ends of a link agree on it.
    pub fn alpn(self) -> Vec<u8> {
        format!("{ALPN_PREFIX}{self}").into_bytes()
    }

    /// The version of a name in a TLS handshake.
    pub fn of_alpn(name: &[u8]) -> Option<Self> {
        std::str::from_utf8(name).ok()?.strip_prefix(ALPN_PREFIX)?.parse().ok().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

thread_local! {
    static PRESENT: Cell<Version> = const { Cell::new(Version::CURRENT) };
}

/// The version in which this thread reads or writes at this moment.
pub(super) fn present() -> Version {
    PRESENT.get()
}

/// Reads or writes in a version: what `work` encodes and decodes on this thread has that form. bincode's bytes do not
/// say what they are, so whoever reads them has to know.
pub fn within<T>(version: Version, work: impl FnOnce() -> T) -> T {
    /// The version before, also where `work` panics.
    struct Before(Version);
    impl Drop for Before {
        fn drop(&mut self) {
            PRESENT.set(self.0);
        }
    }
    let _before = Before(PRESENT.replace(version));
    work()
}
