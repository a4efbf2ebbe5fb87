//! Fields and variants that come or go with a version: functions for `#[serde(with = "…")]`.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::version::{Version, present};

/// A field that came with version `V`: absent from older forms, and read there as its default.
#[derive(Debug)]
pub struct Since<const V: u8>;

/// A field that was dropped with version `V`: there in older forms, and absent since, where it reads as its default.
#[derive(Debug)]
pub struct Until<const V: u8>;

/// The value of a variant that came with version `V`: it cannot be said in an older one.
#[derive(Debug)]
pub struct OnlySince<const V: u8>;

/// The value of a variant that was dropped with version `V`: it cannot be said since.
#[derive(Debug)]
pub struct OnlyUntil<const V: u8>;

fn is_since<const V: u8>() -> bool {
    present() >= Version(V)
}

/// Why a variant cannot be said.
fn unsaid(wanted: &str) -> String {
    format!("it is of {wanted}, and version {} is spoken here", present())
}

impl<const V: u8> Since<V> {
    /// See [`Since`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        if is_since::<V>() { value.serialize(serializer) } else { serializer.serialize_unit() }
    }

    /// See [`Since`].
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de> + Default,
        D: Deserializer<'de>,
    {
        if is_since::<V>() {
            T::deserialize(deserializer)
        } else {
            <()>::deserialize(deserializer).map(|()| T::default())
        }
    }
}

impl<const V: u8> Until<V> {
    /// See [`Until`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        if is_since::<V>() { serializer.serialize_unit() } else { value.serialize(serializer) }
    }

    /// See [`Until`].
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de> + Default,
        D: Deserializer<'de>,
    {
        if is_since::<V>() {
            <()>::deserialize(deserializer).map(|()| T::default())
        } else {
            T::deserialize(deserializer)
        }
    }
}

impl<const V: u8> OnlySince<V> {
    /// See [`OnlySince`].
    ///
    /// # Errors
    /// In an older version, and those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        if is_since::<V>() {
            value.serialize(serializer)
        } else {
            Err(S::Error::custom(unsaid(&format!("version {V} or later"))))
        }
    }

    /// See [`OnlySince`].
    ///
    /// # Errors
    /// In an older version, and those of the deserializer.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        if is_since::<V>() {
            T::deserialize(deserializer)
        } else {
            Err(D::Error::custom(unsaid(&format!("version {V} or later"))))
        }
    }
}

impl<const V: u8> OnlyUntil<V> {
    /// See [`OnlyUntil`].
    ///
    /// # Errors
    /// Since that version, and those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        if is_since::<V>() {
            Err(S::Error::custom(unsaid(&format!("a version before {V}"))))
        } else {
            value.serialize(serializer)
        }
    }

    /// See [`OnlyUntil`].
    ///
    /// # Errors
    /// Since that version, and those of the deserializer.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        if is_since::<V>() {
            Err(D::Error::custom(unsaid(&format!("a version before {V}"))))
        } else {
            T::deserialize(deserializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::super::version::within;
    use super::*;
    use crate::wire::codec::{decode_here, encode_here};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        first: u8,
        #[serde(with = "Until::<1>")]
        dropped: u8,
        #[serde(with = "Since::<1>")]
        added: u8,
        last: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Request {
        Plain,
        Dropped(#[serde(with = "OnlyUntil::<1>")] u8),
        Added(#[serde(with = "OnlySince::<1>")] u8),
    }

    const OLD: Version = Version(0);
    const NEW: Version = Version(1);

    // The codec itself takes understood versions alone; here it is the thread's version that counts.
    fn written<T: Serialize>(value: &T, version: Version) -> Result<Vec<u8>, String> {
        within(version, || encode_here(value, 100).map_err(|error| error.to_string()))
    }

    fn read<T: DeserializeOwned>(bytes: &[u8], version: Version) -> Result<T, String> {
        within(version, || decode_here(bytes, 100).map_err(|error| error.to_string()))
    }

    /// P13.
    #[test]
    fn a_field_comes_and_goes_with_its_version() {
        let record = Record { first: 1, dropped: 2, added: 3, last: 4 };
        let (old, new) = (written(&record, OLD).expect("old"), written(&record, NEW).expect("new"));
        assert_eq!((old.as_slice(), new.as_slice()), ([1, 2, 4].as_slice(), [1, 3, 4].as_slice()));
        assert_eq!(read(&[1, 2, 4], OLD), Ok(Record { first: 1, dropped: 2, added: 0, last: 4 }));
        assert_eq!(read(&new, NEW), Ok(Record { first: 1, dropped: 0, added: 3, last: 4 }));
    }

    /// P10, P13.
    #[test]
    fn a_variant_is_refused_where_its_version_is_not_spoken() {
        assert_eq!(written(&Request::Dropped(7), OLD), Ok(vec![1, 7]));
        assert_eq!(written(&Request::Added(7), NEW), Ok(vec![2, 7]));
        for (refused, why) in [
            (written(&Request::Added(7), OLD).map(|_| ()), "version 1 or later"),
            (read::<Request>(&[2, 7], OLD).map(|_| ()), "version 1 or later"),
            (written(&Request::Dropped(7), NEW).map(|_| ()), "a version before 1"),
            (read::<Request>(&[1, 7], NEW).map(|_| ()), "a version before 1"),
        ] {
            let problem = refused.expect_err("refused");
            assert!(problem.contains(why) && problem.contains("is spoken here"), "{problem}");
        }
        assert_eq!(read(&[0], OLD), Ok(Request::Plain));
    }

    #[test]
    fn the_version_before_is_back_after_a_panic_too() {
        let before = present();
        let panicked = std::panic::catch_unwind(|| within(OLD, || panic!("in the middle")));
        assert!(panicked.is_err() && present() == before);
    }
}
