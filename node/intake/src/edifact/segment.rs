//! One segment and its values.

use crate::place::Place;

/// One segment, its values unescaped and decoded, with its place in the input.
///
/// Elements count from 1 as in the directories (0 is the tag), components from 0. Empty components are not
/// stored, so a segment of nothing but separators costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The tag without white space around it. May be no valid tag; see [`Segment::has_valid_tag`].
    pub tag: Box<str>,
    /// Where the segment begins.
    pub place: Place,
    /// Whether a value holds bytes outside of the declared character set.
    pub has_foreign_characters: bool,
    pub(super) components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) element: u16,
    pub(super) index: u16,
    pub(super) text: Box<str>,
    /// Byte positions in `text` of repetition separators; nearly always none.
    pub(super) repetitions: Option<Box<[u32]>>,
}

impl Segment {
    /// Whether the tag has the form of one: a capital letter and two capital letters or digits.
    pub fn has_valid_tag(&self) -> bool {
        let tag = self.tag.as_bytes();
        tag.len() == 3
            && tag[0].is_ascii_uppercase()
            && tag[1..].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    }

    /// The value as it was sent, or nothing if it is empty.
    ///
    /// A repetition separator inside of it is kept as it is, because hardly any element in a passenger list
    /// may repeat, and names and identifiers do contain `*`. Where repetition has a meaning, use
    /// [`Segment::first`].
    pub fn raw(&self, element: u16, component: u16) -> Option<&str> {
        self.find(element, component).map(|found| &*found.text)
    }

    /// The value without white space around it, or nothing if nothing is left.
    pub fn value(&self, element: u16, component: u16) -> Option<&str> {
        self.raw(element, component).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The first repetition of a value, without white space around it.
    pub fn first(&self, element: u16, component: u16) -> Option<&str> {
        let found = self.find(element, component)?;
        let end =
            found.repetitions.as_ref().and_then(|ends| ends.first()).map_or(found.text.len(), |end| *end as usize);
        found.text.get(..end).map(str::trim).filter(|text| !text.is_empty())
    }

    fn find(&self, element: u16, component: u16) -> Option<&Component> {
        self.components
            .binary_search_by_key(&(element, component), |found| (found.element, found.index))
            .ok()
            .and_then(|position| self.components.get(position))
    }
}
