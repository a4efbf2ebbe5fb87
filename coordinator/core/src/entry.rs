//! One entry of the log, and its form: an entry says its version first, so that a log of several releases reads.

use std::fmt;

use cluster_config::actor::Actor;
use cluster_config::ids::UnixMs;
use cluster_config::limits::PEER_FRAME_BYTES_MAX;
use cluster_config::versions::{Version, within};
use cluster_config::wire::codec;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::command::Command;

/// One entry of the log. The leader stamps it: applying reads no clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The version in which it is written, whatever carries it: the cluster's at that time.
    pub version: Version,
    /// Who asked for the change, as the door knew them.
    pub actor: Actor,
    /// When the leader took it, by the leader's clock.
    pub at: UnixMs,
    /// The change.
    pub command: Command,
}

/// The values in the bytes of an entry.
const VALUES: usize = 4;

impl Entry {
    /// An entry of the newest version.
    pub fn new(actor: Actor, at: UnixMs, command: Command) -> Self {
        Self { version: Version::CURRENT, actor, at, command }
    }

    /// The same in `version`, with nothing that has no place in that version: what this node is to apply is what every
    /// other node reads.
    ///
    /// # Errors
    /// Where the command cannot be said in that version.
    pub fn in_version(self, version: Version) -> Result<Self, codec::Error> {
        let entry = Self { version, ..self };
        // A release that understands one version alone has nothing to leave out. Any other does this for its newest
        // version too: a command may have come in an older one, with what has been dropped since.
        if Version::OLDEST == Version::CURRENT {
            return Ok(entry);
        }
        codec::decode(&codec::encode(&entry, PEER_FRAME_BYTES_MAX)?, PEER_FRAME_BYTES_MAX)
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = serializer.serialize_tuple(VALUES)?;
        values.serialize_element(&self.version)?;
        within(self.version, || {
            values.serialize_element(&self.actor)?;
            values.serialize_element(&self.at)?;
            values.serialize_element(&self.command)
        })?;
        values.end()
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(VALUES, Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of the log")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Entry, A::Error> {
        fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(values: &mut A, place: usize) -> Result<T, A::Error> {
            values.next_element()?.ok_or_else(|| A::Error::invalid_length(place, &Values))
        }
        let version: Version = next(&mut values, 0)?;
        let version = version.check().map_err(A::Error::custom)?;
        within(version, || {
            let (actor, at) = (next(&mut values, 1)?, next(&mut values, 2)?);
            Ok(Entry { version, actor, at, command: next(&mut values, 3)? })
        })
    }
}
