//! Samples of a format and the bytes that they have in each version, for tests that hold a format still.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shape::variants_of;
use super::version::Version;
use crate::wire::codec::{decode_as, encode_as};

/// How a line begins that gives the order of an enum's variants.
const ORDER: &str = "order ";

/// Samples by name, each with its bytes in hexadecimal.
#[derive(Debug, Default)]
pub struct Golden {
    /// The lines of each version's file.
    lines: BTreeMap<Version, String>,
    /// The enum and the variant of each sample.
    seen: BTreeSet<(&'static str, &'static str)>,
}

impl Golden {
    /// Adds a sample, in each version in which it can be said.
    ///
    /// # Panics
    /// Where it cannot be said in any, or its bytes do not read back as what they were.
    pub fn add<T: Serialize + DeserializeOwned>(&mut self, name: &str, sample: &T) {
        let mut forms = 0;
        for version in Version::understood() {
            let Ok(bytes) = encode_as(sample, version, usize::MAX) else { continue };
            forms += 1;
            let read: T = decode_as(&bytes, version, usize::MAX).expect("a sample decodes");
            // Every byte comes from the value, so the same bytes mean that nothing of them was lost.
            let again = encode_as(&read, version, usize::MAX).expect("a sample encodes");
            assert_eq!(again, bytes, "{name} in version {version}");
            self.add_line(name, version, &bytes);
        }
        assert!(forms > 0, "{name} has no form");
        self.covers(sample);
    }

    /// Adds the bytes, in one version, of what has its own way of becoming bytes.
    pub fn add_bytes(&mut self, name: &str, version: Version, bytes: &[u8]) {
        self.add_line(name, version, bytes);
    }

    fn add_line(&mut self, name: &str, version: Version, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // A string takes all that is written into it.
        let _ = writeln!(self.lines.entry(version).or_default(), "{name} {hex}");
    }

    /// Writes down the variants of an enum that stands within other types, in the order in which they are numbered: a
    /// variant may only be appended.
    ///
    /// # Panics
    /// Where `T` is no enum.
    pub fn order_of<T: DeserializeOwned>(&mut self) {
        let variants = variants_of::<T>();
        let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
        assert!(!variants.is_empty(), "{name} is no enum");
        for version in Version::understood() {
            // A string takes all that is written into it.
            let _ = writeln!(self.lines.entry(version).or_default(), "{ORDER}{name} {}", variants.join(" "));
        }
    }

    /// Counts a sample's inner value as one of its own enum, such as the command within an entry.
    ///
    /// # Panics
    /// Where it does not encode.
    pub fn covers<T: Serialize + DeserializeOwned>(&mut self, inner: &T) {
        let mut forms = Version::understood().filter_map(|version| encode_as(inner, version, usize::MAX).ok());
        let bytes = forms.next().expect("a sample encodes");
        // An enum begins with the number of its variant, in one byte below 251.
        let variant = bytes.first().and_then(|number| variants_of::<T>().get(usize::from(*number)));
        self.seen.extend(variant.map(|variant| (std::any::type_name::<T>(), *variant)));
    }

    /// Checks that each variant of `T` has a sample.
    ///
    /// # Panics
    /// Where one has none, by name.
    pub fn is_complete_for<T: DeserializeOwned>(&self) {
        let name = std::any::type_name::<T>();
        let variants = variants_of::<T>();
        assert!(!variants.is_empty(), "{name} is no enum");
        let missing: Vec<&str> = variants.iter().copied().filter(|v| !self.seen.contains(&(name, *v))).collect();
        assert!(missing.is_empty(), "{name} has variants without a sample: {missing:?}");
    }

    /// Compares each version with what is written down for it in `golden_VERSION.txt` in `folder`. With `TVS_BLESS=1`
    /// in the environment the newest version's is written anew; those of versions that were released never are.
    ///
    /// # Panics
    /// Where the bytes of a sample are others than those that are written down.
    pub fn hold(&self, folder: &Path, name: &str) {
        for (version, lines) in &self.lines {
            let path = folder.join(format!("{name}_{version}.txt"));
            if *version == Version::CURRENT && std::env::var_os("TVS_BLESS").is_some() {
                std::fs::write(&path, lines).expect("the samples are written");
            }
            let place = path.display();
            let written = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{place}: {error}"));
            for (now, before) in lines.lines().zip(written.lines()) {
                let is_longer = before.starts_with(ORDER) && *version < Version::CURRENT && now.starts_with(before);
                let now = if is_longer { before } else { now };
                assert_eq!(now, before, "a format changed, against {place}; see the head of this test's file");
            }
            assert_eq!(lines.lines().count(), written.lines().count(), "samples came or went: {place}");
        }
    }
}
