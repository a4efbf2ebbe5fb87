//! Samples of a format and the bytes that they have, for tests that hold a format still.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shape::variants_of;
use crate::wire::codec::{decode, encode};

/// Samples by name, each with its bytes in hexadecimal.
#[derive(Debug, Default)]
pub struct Golden {
    lines: String,
    /// The enum and the variant of each sample.
    seen: BTreeSet<(&'static str, &'static str)>,
}

impl Golden {
    /// Adds a sample.
    ///
    /// # Panics
    /// Where the sample does not read back as what was written.
    pub fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, sample: &T) {
        let bytes = encode(sample, usize::MAX).expect("a sample encodes");
        assert_eq!(&decode::<T>(&bytes, usize::MAX).expect("a sample decodes"), sample, "{name}");
        self.add_bytes(name, &bytes);
        self.covers(sample);
    }

    /// Adds a sample of what has its own way of becoming bytes.
    pub fn add_bytes(&mut self, name: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // A string takes all that is written into it.
        let _ = writeln!(self.lines, "{name} {hex}");
    }

    /// Counts a sample's inner value as one of its own enum, such as the command within an entry.
    ///
    /// # Panics
    /// Where it does not encode.
    pub fn covers<T: Serialize + DeserializeOwned>(&mut self, inner: &T) {
        let bytes = encode(inner, usize::MAX).expect("a sample encodes");
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

    /// Compares with what is written down in `path`; with `TVS_BLESS=1` in the environment it is written anew.
    ///
    /// # Panics
    /// Where the bytes of a sample are others than those that are written down.
    pub fn hold(&self, path: &Path) {
        if std::env::var_os("TVS_BLESS").is_some() {
            std::fs::write(path, &self.lines).expect("the samples are written");
        }
        let written = std::fs::read_to_string(path).expect("the samples that are written down");
        for (now, before) in self.lines.lines().zip(written.lines()) {
            assert_eq!(now, before, "a format changed; see the head of this test's file");
        }
        assert_eq!(self.lines.lines().count(), written.lines().count(), "the number of samples");
    }
}
