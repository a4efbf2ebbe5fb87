//! The service characters: which bytes separate what.

/// The separators of one interchange (ISO 9735-1, service string advice UNA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCharacters {
    /// Between the components of a composite, `:` by default.
    pub component: u8,
    /// Between data elements, `+` by default.
    pub element: u8,
    /// Makes the next byte plain data, `?` by default; none where UNA has a space.
    pub release: Option<u8>,
    /// Between repetitions of an element (version 4); none where UNA has a space or is absent.
    ///
    /// ISO 9735 version 4 makes `*` the default. Real senders that give no UNA use `*` as data, so it
    /// separates only where UNA says so.
    pub repetition: Option<u8>,
    /// Ends a segment, `'` by default.
    pub terminator: u8,
}

impl ServiceCharacters {
    /// Whether `byte` is one of them.
    pub fn contains(&self, byte: u8) -> bool {
        [self.component, self.element, self.terminator].contains(&byte)
            || self.release == Some(byte)
            || self.repetition == Some(byte)
    }

    /// The six bytes after `UNA`, or nothing if they cannot be separators.
    ///
    /// The separators must differ from each other and be neither letters nor digits, or no segment tag could
    /// be told from its data.
    pub fn from_advice(advice: [u8; 6]) -> Option<Self> {
        // The decimal mark is not needed: no number in a passenger list has a fraction.
        let [component, element, _decimal, release, repetition, terminator] = advice;
        let unless_space = |byte: u8| (byte != b' ').then_some(byte);
        let characters = Self {
            component,
            element,
            release: unless_space(release),
            // Version 3 and before reserve this position, and some senders repeat another separator in it.
            repetition: unless_space(repetition)
                .filter(|byte| ![component, element, terminator, release].contains(byte)),
            terminator,
        };
        let separators = [component, element, terminator];
        let plain = separators.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte == b' ' || *byte >= 0x80);
        let release_separates = characters.release.is_some_and(|byte| separators.contains(&byte));
        let distinct = component != element && element != terminator && component != terminator;
        (distinct && !plain && !release_separates).then_some(characters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_means_not_used() {
        let characters = ServiceCharacters::from_advice(*b":+.  '").unwrap();
        assert_eq!((characters.release, characters.repetition), (None, None));
    }

    #[test]
    fn separators_must_differ_and_be_no_letters() {
        assert!(ServiceCharacters::from_advice(*b"++.? '").is_none());
        assert!(ServiceCharacters::from_advice(*b":A.? '").is_none());
        assert!(ServiceCharacters::from_advice(*b":+.+ '").is_none());
        assert!(ServiceCharacters::from_advice(*b"\x1f\x1d.? \x1c").is_some());
    }
}
