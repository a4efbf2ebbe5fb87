//! Short names for galleries: a trace would be half as long again with the gallery's id in it.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::gallery::GalleryId;
use serde::{Deserialize, Serialize};

/// The galleries that have traces, each with a number that is its own while it has some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Option<GalleryId>>", into = "Vec<Option<GalleryId>>")]
pub(super) struct Names {
    galleries: Vec<Option<GalleryId>>,
    numbers: BTreeMap<GalleryId, u32>,
    free: BTreeSet<u32>,
}

impl From<Vec<Option<GalleryId>>> for Names {
    fn from(galleries: Vec<Option<GalleryId>>) -> Self {
        let numbered = || (0..).zip(&galleries);
        let numbers = numbered().filter_map(|(number, gallery)| Some(((*gallery)?, number))).collect();
        let free = numbered().filter(|(_, gallery)| gallery.is_none()).map(|(number, _)| number).collect();
        Self { galleries, numbers, free }
    }
}

impl From<Names> for Vec<Option<GalleryId>> {
    fn from(names: Names) -> Self {
        names.galleries
    }
}

impl Names {
    /// The number of a gallery; it is given one where it has none.
    pub fn number(&mut self, gallery: GalleryId) -> u32 {
        if let Some(number) = self.numbers.get(&gallery) {
            return *number;
        }
        let number = self.free.pop_first().unwrap_or(self.galleries.len() as u32);
        match self.galleries.get_mut(number as usize) {
            Some(place) => *place = Some(gallery),
            None => self.galleries.push(Some(gallery)),
        }
        self.numbers.insert(gallery, number);
        number
    }

    pub fn known(&self, gallery: GalleryId) -> Option<u32> {
        self.numbers.get(&gallery).copied()
    }

    pub fn gallery(&self, number: u32) -> Option<GalleryId> {
        self.galleries.get(number as usize).copied().flatten()
    }

    /// The gallery has no traces any more: its number becomes another's.
    pub fn forget(&mut self, gallery: GalleryId) {
        if let Some(number) = self.numbers.remove(&gallery) {
            self.galleries[number as usize] = None;
            self.free.insert(number);
        }
        while self.galleries.last().is_some_and(Option::is_none) {
            self.galleries.pop();
            self.free.remove(&(self.galleries.len() as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_gallerys_own_while_it_is_used_and_the_table_does_not_grow() {
        let gallery = |name: u32| GalleryId::Standing(format!("G{name}").parse().expect("an id"));
        let mut names = Names::default();
        for round in 0..100 {
            let three = [0, 1, 2].map(|place| gallery(3 * round + place));
            assert_eq!(three.map(|gallery| names.number(gallery)), [0, 1, 2], "round {round}");
            assert_eq!(three.map(|gallery| names.number(gallery)), [0, 1, 2]);
            assert_eq!(names.gallery(1), Some(three[1]));
            names.forget(three[1]);
            assert_eq!((names.gallery(1), names.known(three[1])), (None, None));
            let thawed = Names::from(Vec::from(names.clone()));
            assert_eq!(thawed, names);
            assert_eq!(names.number(gallery(1_000)), 1);
            [gallery(1_000), three[0], three[2]].into_iter().for_each(|gallery| names.forget(gallery));
            assert_eq!(names, Names::default());
        }
    }
}
