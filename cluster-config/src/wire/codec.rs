//! bincode with a hard limit: the only place that turns messages into bytes and back.
//!
//! bincode 2.0.1, standard configuration: little-endian, variable-length integers, field order as declared. The bytes
//! do not say in which [`Version`] they are written: whoever reads them knows it from a header, or from the first byte
//! of what is stamped.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{GATE_FRAME_BYTES_MAX, OPERATOR_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX};
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

/// Bytes that bincode counts at most for one byte of a message: a small `u128` is one byte, and counts as 16.
const CLAIM_PER_BYTE: usize = 16;

/// A message up to here may claim [`SMALL_CLAIM_MAX`] and no more. Everything from outside the cluster is as short.
const SMALL_BYTES_MAX: usize = OPERATOR_FRAME_BYTES_MAX;
const SMALL_CLAIM_MAX: usize = CLAIM_PER_BYTE * SMALL_BYTES_MAX;

/// The same of the longest message.
const CLAIM_MAX: usize = CLAIM_PER_BYTE * PEER_FRAME_BYTES_MAX;

const _: () = assert!(GATE_FRAME_BYTES_MAX <= SMALL_BYTES_MAX);

type Wire<const CLAIM: usize> = Configuration<LittleEndian, Varint, Limit<CLAIM>>;

fn wire<const CLAIM: usize>() -> Wire<CLAIM> {
    bincode::config::standard().with_limit::<CLAIM>()
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
    let bytes_max = bytes_max.min(PEER_FRAME_BYTES_MAX);
    let bytes = bincode::serde::encode_to_vec(message, wire::<CLAIM_MAX>());
    let bytes = bytes.map_err(|e| Error::Encode(e.to_string()))?;
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge { bytes: bytes.len(), bytes_max });
    }
    Ok(bytes)
}

/// Decodes in the version that this thread is within.
pub(crate) fn decode_here<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, Error> {
    let bytes_max = bytes_max.min(PEER_FRAME_BYTES_MAX);
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge { bytes: bytes.len(), bytes_max });
    }
    match bytes.len() {
        ..=SMALL_BYTES_MAX => decode_claiming::<T, SMALL_CLAIM_MAX>(bytes),
        _ => decode_claiming::<T, CLAIM_MAX>(bytes),
    }
}

fn decode_claiming<T: DeserializeOwned, const CLAIM: usize>(bytes: &[u8]) -> Result<T, Error> {
    let decoded = bincode::serde::decode_from_slice(bytes, wire::<CLAIM>());
    let (message, used) = decoded.map_err(|e| Error::Malformed {
        position: understood::<T, CLAIM>(bytes),
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
fn understood<T: DeserializeOwned, const CLAIM: usize>(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // It fails again, at the place that is wanted.
    let _ = bincode::serde::decode_from_std_read::<T, _, _>(&mut rest, wire::<CLAIM>());
    bytes.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;

    /// One byte on the wire and 16 where bincode counts it; none in memory, so that a long message costs nothing here.
    #[derive(Clone, Copy)]
    struct Small;

    impl Serialize for Small {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u128(0)
        }
    }

    impl<'de> Deserialize<'de> for Small {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u128::deserialize(deserializer).map(|_| Self)
        }
    }

    /// F1: a limit that counted otherwise in reading than in writing made a snapshot that no start could read.
    #[test]
    fn what_encodes_decodes_up_to_the_last_byte_of_the_limit() {
        // One more than bincode's limit was good for, when it was that of the longest message.
        let numbers = vec![Small; PEER_FRAME_BYTES_MAX / CLAIM_PER_BYTE + 1];
        let bytes = encode(&numbers, PEER_FRAME_BYTES_MAX).expect("it is far below the limit");
        assert!(bytes.len() < PEER_FRAME_BYTES_MAX / CLAIM_PER_BYTE + 16);
        let read: Vec<Small> = decode(&bytes, PEER_FRAME_BYTES_MAX).expect("what encodes decodes");
        assert_eq!(read.len(), numbers.len());
        assert!(decode::<Vec<Small>>(&bytes, bytes.len()).is_ok(), "the limit itself is allowed");
        assert!(matches!(decode::<Vec<Small>>(&bytes, bytes.len() - 1), Err(Error::TooLarge { .. })));
        assert!(matches!(encode(&numbers, bytes.len() - 1), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_short_message_that_fills_its_limit_with_the_smallest_numbers_decodes() {
        // The length takes five bytes.
        let numbers = vec![Small; SMALL_BYTES_MAX - 5];
        let bytes = encode(&numbers, SMALL_BYTES_MAX).expect("it fits exactly");
        assert_eq!(bytes.len(), SMALL_BYTES_MAX);
        assert_eq!(decode::<Vec<Small>>(&bytes, SMALL_BYTES_MAX).expect("it decodes").len(), numbers.len());
    }

    #[test]
    fn a_short_message_cannot_ask_for_much_memory() {
        // A text of 1 TiB, of which nothing follows.
        let bytes = encode(&(1u64 << 40), 64).expect("a length");
        let error = decode::<String>(&bytes, 64).expect_err("nothing follows");
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}
