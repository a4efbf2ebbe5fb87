//! Who of a list is who of those known before: an assignment, not a look-up, since each person has several keys and any
//! of them may have been corrected.
//!
//! The surest level comes first ([`Level::ALL`]). At each level an entry of the list and a person are the same where
//! each is the only one for the other; people who are present go before people who have left. Once no more pairs are
//! found, an entry that still fits somebody at this level is *unclear*: it means several people, or several entries
//! mean this one. Nobody is changed by it, and those whom it may mean are left out of the weaker levels. Who fits
//! nobody is *new*.
//!
//! Entries that say exactly the same are taken in their order: nothing tells them apart, so any pairing is right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::key::{Level, PersonKey};

/// People of one key that are looked at for one entry. A key that more people have tells nobody apart.
const CANDIDATES_MAX: usize = 64;

/// Somebody who is known.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// By what they are known.
    pub key: &'a PersonKey,
    /// Whether they are expected; else they have left.
    pub is_present: bool,
}

/// Who an entry of a list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    Known(usize),
    /// Any of these; or several entries may mean the same one.
    Unclear(Vec<usize>),
    /// Nobody who is known.
    New,
}

/// Finds the known by any of their keys.
pub struct Index<'a> {
    known: &'a [Candidate<'a>],
    documents: BTreeMap<&'a str, Vec<usize>>,
    names: BTreeMap<&'a str, Vec<usize>>,
    references: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    /// An index of `known`, but for those who are `left_out`.
    pub fn new(known: &'a [Candidate<'a>], left_out: &BTreeSet<usize>) -> Self {
        let mut index = Self { known, documents: BTreeMap::new(), names: BTreeMap::new(), references: BTreeMap::new() };
        for (place, candidate) in known.iter().enumerate().filter(|(place, _)| !left_out.contains(place)) {
            let key = candidate.key;
            for (number, _) in &key.documents {
                index.documents.entry(number).or_default().push(place);
            }
            if let Some(name) = &key.name {
                index.names.entry(name).or_default().push(place);
            }
            if let Some(reference) = &key.reference {
                index.references.entry(reference).or_default().push(place);
            }
        }
        index
    }

    /// Whom a key may mean, with how sure that is.
    pub fn fits(&self, key: &PersonKey) -> Vec<(usize, Level)> {
        let by_document = key.documents.iter().filter_map(|(number, _)| self.documents.get(number.as_str()));
        let by_name = key.name.iter().filter_map(|name| self.names.get(name.as_str()));
        let by_reference = key.reference.iter().filter_map(|reference| self.references.get(reference.as_str()));
        let lists = by_reference.chain(by_document).chain(by_name);
        let places: BTreeSet<usize> = lists.flat_map(|places| places.iter().take(CANDIDATES_MAX)).copied().collect();
        let fits = places.into_iter().filter_map(|place| Some((place, key.agrees(self.known[place].key)?)));
        fits.collect()
    }
}

/// Who each entry of a list is.
pub fn assign(listed: &[PersonKey], known: &[Candidate<'_>]) -> Vec<Meaning> {
    let mut meanings = vec![Meaning::New; listed.len()];
    let taken = pair_the_same(listed, known, &mut meanings);
    let index = Index::new(known, &taken);
    let waiting = (0..listed.len()).filter(|entry| meanings[*entry] == Meaning::New);
    let mut fits: BTreeMap<usize, Vec<(usize, Level)>> =
        waiting.map(|entry| (entry, index.fits(&listed[entry]))).filter(|(_, fits)| !fits.is_empty()).collect();
    for level in Level::ALL {
        loop {
            let wanted = wanted_at(level, &fits, known);
            let pairs = only_ones(&wanted);
            if pairs.is_empty() {
                set_aside(wanted, &mut fits, &mut meanings);
                break;
            }
            for (entry, place) in &pairs {
                meanings[*entry] = Meaning::Known(*place);
                fits.remove(entry);
            }
            let places: BTreeSet<usize> = pairs.into_iter().map(|(_, place)| place).collect();
            forget(&mut fits, &places);
        }
    }
    meanings
}

/// Pairs the entries that say exactly what is known of somebody. Gives whom they mean.
fn pair_the_same(listed: &[PersonKey], known: &[Candidate<'_>], meanings: &mut [Meaning]) -> BTreeSet<usize> {
    let mut waiting: BTreeMap<&PersonKey, VecDeque<usize>> = BTreeMap::new();
    for present in [true, false] {
        for (place, candidate) in known.iter().enumerate().filter(|(_, known)| known.is_present == present) {
            waiting.entry(candidate.key).or_default().push_back(place);
        }
    }
    let mut taken = BTreeSet::new();
    for (key, meaning) in listed.iter().zip(meanings) {
        if let Some(place) = waiting.get_mut(key).and_then(VecDeque::pop_front) {
            *meaning = Meaning::Known(place);
            taken.insert(place);
        }
    }
    taken
}

/// Whom each waiting entry may mean at this level: of these the present ones, or else those who have left.
fn wanted_at(
    level: Level,
    fits: &BTreeMap<usize, Vec<(usize, Level)>>,
    known: &[Candidate<'_>],
) -> BTreeMap<usize, Vec<usize>> {
    let mut wanted = BTreeMap::new();
    for (entry, fits) in fits {
        let here = || fits.iter().filter(|(_, found)| *found == level).map(|(place, _)| *place);
        let present: Vec<usize> = here().filter(|place| known[*place].is_present).collect();
        let places = if present.is_empty() { here().collect() } else { present };
        if !places.is_empty() {
            wanted.insert(*entry, places);
        }
    }
    wanted
}

/// The entries that may mean one person alone whom no other entry may mean.
fn only_ones(wanted: &BTreeMap<usize, Vec<usize>>) -> Vec<(usize, usize)> {
    let mut claims: BTreeMap<usize, usize> = BTreeMap::new();
    for place in wanted.values().flatten() {
        *claims.entry(*place).or_default() += 1;
    }
    let only = wanted.iter().filter_map(|(entry, places)| match places[..] {
        [place] if claims[&place] == 1 => Some((*entry, place)),
        _ => None,
    });
    only.collect()
}

/// Entries that are unclear, and whom they may mean.
fn set_aside(
    wanted: BTreeMap<usize, Vec<usize>>,
    fits: &mut BTreeMap<usize, Vec<(usize, Level)>>,
    meanings: &mut [Meaning],
) {
    let places: BTreeSet<usize> = wanted.values().flatten().copied().collect();
    for (entry, places) in wanted {
        fits.remove(&entry);
        meanings[entry] = Meaning::Unclear(places);
    }
    forget(fits, &places);
}

fn forget(fits: &mut BTreeMap<usize, Vec<(usize, Level)>>, places: &BTreeSet<usize>) {
    if places.is_empty() {
        return;
    }
    for fits in fits.values_mut() {
        fits.retain(|(place, _)| !places.contains(place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `reference/document/name/birth`, each of which may be empty.
    fn key(text: &str) -> PersonKey {
        let parts: Vec<&str> = text.split('/').collect();
        let part = |index: usize| Some(parts[index].to_owned()).filter(|part| !part.is_empty());
        PersonKey {
            reference: part(0),
            documents: part(1).map(|number| (number, None)).into_iter().collect(),
            name: part(2),
            born: part(3).map(|born| born.parse().expect("a number")),
        }
    }

    /// Who each of the list is, by place; those known whose text begins with `-` have left.
    fn meant(listed: &[&str], known: &[&str]) -> Vec<Meaning> {
        let listed: Vec<PersonKey> = listed.iter().map(|text| key(text)).collect();
        let keys: Vec<PersonKey> = known.iter().map(|text| key(text.trim_start_matches('-'))).collect();
        let present = known.iter().map(|text| !text.starts_with('-'));
        let known: Vec<Candidate<'_>> =
            keys.iter().zip(present).map(|(key, is_present)| Candidate { key, is_present }).collect();
        assign(&listed, &known)
    }

    use Meaning::{Known, New, Unclear};

    #[test]
    fn a_correction_finds_its_person_and_a_newcomer_nobody() {
        let known = ["/X0/LENA/1980", "/X1/OLA/1981", "/X2/KIM/1982"];
        assert_eq!(meant(&["/X9/OLA/1981", "/X0/LENNA/1980", "/X7/NEW/1990"], &known), [Known(1), Known(0), New]);
        assert_eq!(meant(&["/X1/LENA/1980", "/X0/OLA/1981"], &known), [Known(0), Known(1)], "documents mixed up");
    }

    #[test]
    fn an_infant_is_told_from_the_parent_whose_passport_it_has() {
        let known = ["/X0/LENA/1980", "/X0/TOMAS/2030"];
        assert_eq!(meant(&["/X0/TOMAS/2030"], &known), [Known(1)]);
        assert_eq!(meant(&["/X0/TOMAS/2030"], &known[..1]), [New]);
        assert_eq!(meant(&["/X0/TOMAZ/2030", "/X0/LENA/1980"], &known), [Known(1), Known(0)]);
    }

    #[test]
    fn namesakes_without_anything_else_are_taken_in_order_and_a_third_one_is_new() {
        let known = ["//LENA/", "//LENA/"];
        assert_eq!(meant(&["//LENA/", "//LENA/", "//LENA/"], &known), [Known(0), Known(1), New]);
    }

    #[test]
    fn what_may_mean_several_people_changes_nobody() {
        let known = ["/X0/LENA/1980", "/X1/LENA/1981"];
        assert_eq!(meant(&["//LENA/"], &known), [Unclear(vec![0, 1])]);
        // Two who may both be the same one.
        assert_eq!(meant(&["//LENA/1980", "//LENA/1981"], &["//LENA/"]), [Unclear(vec![0]), Unclear(vec![0])]);
        // What is surer comes first, and takes the doubt away.
        assert_eq!(meant(&["//LENA/", "/X0/LENA/1980"], &known), [Known(1), Known(0)]);
    }

    #[test]
    fn who_is_present_goes_before_who_has_left_at_the_same_level() {
        assert_eq!(meant(&["/X5/LENA/1980"], &["-/X0/LENA/1980", "/X1/LENA/1980"]), [Known(1)]);
        assert_eq!(meant(&["/X0/LENA/1980"], &["-/X0/LENA/1980", "/X1/LENA/1980"]), [Known(0)], "surer, and left");
        assert_eq!(meant(&["/X5/LENA/1980"], &["-/X0/LENA/1980"]), [Known(0)]);
    }

    #[test]
    fn the_carriers_reference_comes_first_and_that_of_a_party_tells_nobody() {
        assert_eq!(meant(&["R1/X9/HALL/1980"], &["R1/X0/LENA/1980", "/X9/HALL/1990"]), [Known(0)]);
        let party = ["R1//LENA/", "R1//OLA/"];
        assert_eq!(meant(&["R1//OLA/", "R1//LENA/"], &party), [Known(1), Known(0)]);
        assert_eq!(meant(&["R1///"], &party), [Unclear(vec![0, 1])]);
    }

    /// F20.
    #[test]
    fn thousands_of_one_name_are_matched_in_time_that_grows_with_them() {
        let listed = vec![key("//LENA/1980"); 20_000];
        let keys: Vec<PersonKey> = (0..20_000).map(|number| key(&format!("/N{number}/LENA/"))).collect();
        let known: Vec<Candidate<'_>> = keys.iter().map(|key| Candidate { key, is_present: true }).collect();
        let meanings = assign(&listed, &known);
        assert!(meanings.iter().all(|meaning| matches!(meaning, Unclear(places) if places.len() == CANDIDATES_MAX)));
    }
}
