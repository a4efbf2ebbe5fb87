//! bincode with a hard limit: the only place that turns messages into bytes and back.
//!
//! bincode 2.0.1, standard configuration: little-endian, variable-length integers, field order as declared.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::PEER_FRAME_BYTES_MAX;

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
    /// The message could not be encoded: a fault of ours.
    #[error("message does not encode: {0}")]
    Encode(String),
}

type Wire = Configuration<LittleEndian, Varint, Limit<PEER_FRAME_BYTES_MAX>>;

fn wire() -> Wire {
    bincode::config::standard().with_limit::<PEER_FRAME_BYTES_MAX>()
}

/// Encodes `message`.
///
/// # Errors
/// [`Error::TooLarge`] over `bytes_max`, [`Error::Encode`] where a value has no encoding.
pub fn encode<T: Serialize>(message: &T, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let bytes = bincode::serde::encode_to_vec(message, wire()).map_err(|e| Error::Encode(e.to_string()))?;
    if bytes.len() > bytes_max {
        return Err(Error::TooLarge { bytes: bytes.len(), bytes_max });
    }
    Ok(bytes)
}

/// Decodes one message that fills `bytes` to the last byte.
///
/// # Errors
/// [`Error::TooLarge`] over `bytes_max`, else [`Error::Malformed`] with the place.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, Error> {
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
