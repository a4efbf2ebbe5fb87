//! bincode with a hard limit: the only place that turns messages into bytes and back.
//!
//! bincode 2.0.1, standard configuration: little-endian, variable-length integers, field order as declared. The bytes
//! do not say in which [`Version`] they are written: whoever reads them knows it from a header, or from the first byte
//! of what is stamped.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::PEER_FRAME_BYTES_MAX;
use crate::versions::{Unknown, Version, within};

/// Why bytes are not a message, or a message does not become bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is over the limit of its channel.
    #[error("message of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// The bytes do not decode.
    #[error("message body does not decode at byte {position} of {bytes}: {reason}")]
    Malformed {
        /// Up to where the input was understood.
        position: usize,
        /// Length of the input.
        bytes: usize,
        /// The decoder's own words.
        reason: String,
    },
    /// The message is of a version that is not understood here.
    #[error(transparent)]
    Version(#[from] Unknown),
    /// The message could not be encoded: it has no form in that version, or the fault is ours.
    #[error("message does not encode: {0}")]
    Encode(String),
}

type Wire = Configuration<LittleEndian, Varint, Limit<PEER_FRAME_BYTES_MAX>>;

fn wire() -> Wire {
    bincode::config::standard().with_limit::<PEER_FRAME_BYTES_MAX>()
}

/// Encodes `message` in the newest version: for what does not leave this process, or has one form alone.
///
/// # Errors
/// As [`encode_as`].
pub fn encode<T: Serialize>(message: &T, bytes_max: usize) -> Result<Vec<u8>, Error> {
    encode_as(message, Version::CURRENT, bytes_max)
}

/// Decodes one message of the newest version that fills `bytes` to the last byte.
///
/// # Errors
/// As [`decode_as`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, Error> {
    decode_as(bytes, Version::CURRENT, bytes_max)
}

/// Encodes `message` in a version.
///
/// # Errors
/// [`Error::Version`], [`Error::TooLarge`] over `bytes_max`, [`Error::Encode`] where a value has no encoding.
pub fn encode_as<T: Serialize>(message: &T, version: Version, bytes_max: usize) -> Result<Vec<u8>, Error> {
    within(version.check()?, || encode_here(message, bytes_max))
}

/// Decodes one message of a version that fills `bytes` to the last byte.
///
/// # Errors
/// [`Error::Version`], [`Error::TooLarge`] over `bytes_max`, else [`Error::Malformed`] with the place.
pub fn decode_as<T: DeserializeOwned>(bytes: &[u8], version: Version, bytes_max: usize) -> Result<T, Error> {
    within(version.check()?, || decode_here(bytes, bytes_max))
}

/// As [`encode_as`], behind a byte that says the version.
///
/// # Errors
/// As [`encode_as`].
pub fn encode_stamped<T: Serialize>(message: &T, version: Version, bytes_max: usize) -> Result<Vec<u8>, Error> {
    encode_as(&(version, message), version, bytes_max)
}

/// Decodes what is stamped with its version, and says which that is.
///
/// # Errors
/// As [`decode_as`].
pub fn decode_stamped<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<(T, Version), Error> {
    // Without a single byte there is no version; the decoder says so, with the place.
    let version = bytes.first().map_or(Version::CURRENT, |byte| Version(*byte));
    let (version, message) = decode_as::<(Version, T)>(bytes, version, bytes_max)?;
    Ok((message, version))
}

/// Encodes in the version that this thread is within.
pub(crate) fn encode_here<T: Serialize>(message: &T, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let bytes = bincode::serde::encode_to_vec(message, wire()).map_err(|e| Error::Encode(e.to_string()))?;
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge { bytes: bytes.len(), bytes_max });
    }
    Ok(bytes)
}

/// Decodes in the version that this thread is within.
pub(crate) fn decode_here<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let (message, used) = bincode::serde::decode_from_slice(bytes, wire()).map_err(|e| Error::Malformed {
        position: understood::<T>(bytes),
        bytes: bytes.len(),
        reason: e.to_string(),
    })?;
    if used != bytes.len() {
        return Err(Error::Malformed {
            position: used,
            bytes: bytes.len(),
            reason: format!("{} bytes follow the message", bytes.len() - used),
        });
    }
    Ok(message)
}

/// Up to which byte `bytes` could be read as a message. bincode's errors do not say, so it is read once more, byte by
/// counted byte; only malformed messages cost that.
fn understood<T: DeserializeOwned>(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // It fails again, at the place that is wanted.
    let _ = bincode::serde::decode_from_std_read::<T, _, _>(&mut rest, wire());
    bytes.len() - rest.len()
}
