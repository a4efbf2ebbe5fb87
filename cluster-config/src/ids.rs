//! Newtypes for everything that is named across machines, so that a shard is never taken for a journey.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty or longer than the id can hold.
    Length {
        /// Which id was being read.
        kind: &'static str,
        /// The offending text, shortened to what an id can hold.
        text: String,
        /// Its length in bytes.
        length: usize,
        /// The longest that is taken.
        length_max: usize,
    },
    /// A character outside the id's alphabet.
    Character {
        /// Which id was being read.
        kind: &'static str,
        text: String,
        /// Byte offset of the first bad character.
        position: usize,
    },
    /// Not a number where a number is needed.
    Number {
        /// Which id was being read.
        kind: &'static str,
        text: String,
    },
}

impl Error {
    /// What is wrong.
    pub fn problem(&self) -> String {
        match self {
            Self::Length { kind, text, length, .. } => format!("{kind} {text:?} has {length} characters"),
            Self::Character { kind, text, position } => {
                format!("{kind} {text:?} has a character that is not allowed at position {position}")
            }
            Self::Number { kind, text } => format!("{kind} {text:?} is not a valid number"),
        }
    }

    /// What is accepted.
    pub fn fix(&self) -> Cow<'static, str> {
        match self {
            Self::Length { length_max, .. } => format!("give 1 to {length_max}").into(),
            Self::Character { .. } => "use A-Z, 0-9, '-', '.' and '_'".into(),
            Self::Number { .. } => "give its digits alone".into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.problem(), self.fix())
    }
}

/// Declares a `Copy` id that holds a short ASCII text inline, so that the hot path allocates nothing for it.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length_max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            bytes: [u8; $length_max],
            length: u8,
        }

        impl $name {
            /// The longest text in bytes.
            pub const LENGTH_MAX: usize = $length_max;

            /// The id as text.
            pub fn as_str(&self) -> &str {
                // Only `from_str` builds the bytes and it takes ASCII alone, so the fallback is never reached.
                std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                if text.is_empty() || text.len() > $length_max {
                    return Err(Error::Length {
                        kind: $kind,
                        text: text.chars().take($length_max).collect(),
                        length: text.len(),
                        length_max: $length_max,
                    });
                }
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                if let Some(position) = text.bytes().position(|byte| !allowed(byte)) {
                    return Err(Error::Character { kind: $kind, text: text.to_owned(), position });
                }
                let mut bytes = [0; $length_max];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                Ok(Self { bytes, length: text.len() as u8 })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a {} of 1 to {} ASCII characters", $kind, $length_max)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

text_id!(
    /// One departure or arrival with a manifest, such as `AA100-20261124-JFK-LHR`.
    JourneyId, "journey id", 40
);
text_id!(
    /// A gallery that belongs to no journey, such as `LAREDO-PEDESTRIAN` or `DEROGATORY`.
    StandingId, "standing gallery id", 40
);
text_id!(
    /// One capture device or operator account, as its certificate names it, such as `JFK-T4-B32-1`.
    DeviceId, "device id", 40
);
text_id!(
    /// A port of entry or exit: IATA code or UN/LOCODE.
    PortCode, "port code", 8
);
text_id!(
    /// A part of a port: an airport, a terminal, a gate, a lane.
    PlaceName, "place name", 16
);
text_id!(
    /// Whoever owns a device: a carrier, an airport, an agency.
    OwnerName, "owner", 24
);
text_id!(
    /// A carrier: IATA or ICAO code.
    CarrierCode, "carrier code", 8
);
text_id!(
    /// A failure domain: machines that may die together share it.
    Zone, "zone", 24
);
text_id!(
    /// The model that made a template. Templates of different models are never compared.
    ModelVersion, "model version", 24
);

impl DeviceId {
    /// A prefix and a number, such as `node-3`.
    ///
    /// # Panics
    /// Where the prefix leaves no room for the number: it is a constant of ours.
    pub fn numbered(prefix: &'static str, number: u64) -> Self {
        format!("{prefix}{number}").parse().expect("a short prefix of allowed characters")
    }
}

/// Declares an integer newtype.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                text.parse().map(Self).map_err(|_| Error::Number { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

number_id!(
    /// One member of the cluster for as long as its disk lives; a node whose disk was wiped comes back under a new one.
    NodeId, u64, "node id"
);
number_id!(
    /// One start of a node's process; messages of an earlier one are ignored.
    Incarnation, u64, "incarnation"
);
number_id!(
    /// Generation of one shard's ownership; orders with an older one are refused.
    Epoch, u64, "epoch"
);
number_id!(
    /// Generation of the blueprint.
    Generation, u64, "generation"
);
number_id!(
    /// Version of one gallery shard's content; 0 is "nothing built yet".
    GalleryVersion, u32, "gallery version"
);
/// One person inside one journey's galleries: random, so that it says nothing about the person outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SubjectId(pub u64);

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for SubjectId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self).map_err(|_| Error::Number { kind: "subject id", text: text.to_owned() })
    }
}

impl Serialize for SubjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Above 2^53 most readers of JSON take one number for another (RFC 8259, section 6).
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for SubjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

/// Declares an id of 128 random bits, written as 32 hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                u128::from_str_radix(text, 16).map(Self).map_err(|_| Error::Number {
                    kind: concat!($kind, " (32 hexadecimal digits)"),
                    text: text.to_owned(),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // JSON has no 128-bit numbers that its readers agree on; the wire keeps the 16 bytes.
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.to_be_bytes().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(u128::from_be_bytes(bytes)))
                }
            }
        }
    };
}

random_id! {
    /// One capture presented at one device, made by the client: every retry carries the same.
    EncounterId, "encounter id"
}

random_id! {
    /// One cluster, made by the node that founds it: two clusters of the same name and authority are two.
    ClusterId, "cluster id"
}

random_id! {
    /// One data folder, made with it: a copy has the id of the original, an empty folder has another one.
    FolderId, "folder id"
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// Milliseconds from `earlier` to `self`, 0 where the clock went backwards.
    pub fn since(self, earlier: UnixMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// SHA-256 of a segment's bytes: what makes it the same segment on every node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Number { kind: "hash (64 hexadecimal digits)", text: text.to_owned() };
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Self);
        }
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The first half of the SHA-256 of what a request says ([`crate::wire::gate::Capture::content`]). Nobody finds another
/// request with the same one, and nothing of the request can be read out of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct RequestDigest(pub [u8; 16]);

impl fmt::Debug for RequestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Stands for one person of a gallery where nothing may tell who they are: a keyed hash of their subject id. The key
/// lies in the gallery's segments alone, so that the purge of the gallery makes noise of every mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PersonMark(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print_and_refuse_the_rest_with_its_place() {
        let journey: JourneyId = "AA100-20261124-JFK".parse().expect("valid");
        assert_eq!(journey.to_string().parse::<JourneyId>(), Ok(journey));
        let long = "X".repeat(JourneyId::LENGTH_MAX + 1);
        assert!(matches!(long.parse::<JourneyId>(), Err(Error::Length { length: 41, .. })));
        assert!(matches!("A/B".parse::<JourneyId>(), Err(Error::Character { position: 1, .. })));
        let encounter = EncounterId(0xfeed);
        assert_eq!(encounter.to_string().parse::<EncounterId>(), Ok(encounter));
        let hash = ContentHash([7; 32]);
        let json = serde_json::to_string(&hash).expect("json");
        assert_eq!(serde_json::from_str::<ContentHash>(&json).expect("json"), hash);
    }

    /// F20: what reads JSON numbers as doubles would take one person for another.
    #[test]
    fn a_large_id_is_a_string_in_json_and_a_number_on_the_wire() {
        let subject = SubjectId(u64::MAX - 1);
        let json = serde_json::to_string(&subject).expect("json");
        assert_eq!(json, "\"18446744073709551614\"");
        assert_eq!(serde_json::from_str::<SubjectId>(&json).expect("json"), subject);
        let bytes = crate::wire::codec::encode(&subject, 16).expect("bytes");
        assert_eq!(bytes, crate::wire::codec::encode(&subject.0, 16).expect("bytes"));
    }
}
