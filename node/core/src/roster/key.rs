//! What tells two people of a journey apart, made of what a list says of them.

use cluster_config::person::{Document, Person};

use super::letters::zone;
use super::states::alike;

/// What stands in the place of a document's number where there is none.
const NO_NUMBERS: [&str; 16] = [
    "UNKNOWN",
    "NONE",
    "NOTKNOWN",
    "NOTAVAILABLE",
    "NODOC",
    "NODOCUMENT",
    "NOPASSPORT",
    "PASSPORT",
    "NIL",
    "NULL",
    "NA",
    "NO",
    "TBA",
    "TBD",
    "TEST",
    "MISSING",
];

/// What stands in the place of a name where there is none.
const NO_NAMES: [&str; 10] = ["UNKNOWN", "NONE", "NN", "FNU", "LNU", "FNULNU", "TBA", "TBD", "NAMEUNKNOWN", "NOTKNOWN"];

/// Digits that are counted up to a stand-in for a number. Six of them are too many for chance.
const COUNTED: &str = "01234567890123456789";
const COUNTED_DIGITS_MIN: usize = 5;

/// A person by what a list says: normalised as a machine-readable zone is, without what says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersonKey {
    /// The carrier's unique reference of the passenger.
    pub reference: Option<String>,
    /// Travel documents: number, and issuing state where it is said; sorted, so that their order says nothing.
    pub documents: Vec<(String, Option<String>)>,
    /// Family name and given names in one: senders part them differently.
    pub name: Option<String>,
    /// Date of birth, YYYYMMDD.
    pub born: Option<u32>,
}

/// What two keys say of one another in one respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreement {
    Same,
    Differs,
    /// One of the two does not say.
    Unknown,
}

/// How sure it is that two entries mean the same person, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The entries say the same.
    Exact,
    /// The carrier's reference is the same, and something else as well, or nothing else is said.
    Reference,
    /// A document, the name and the date of birth are the same.
    Whole,
    /// A document is the same, and the name or the date of birth: the other one was corrected, or is not said.
    Document,
    /// Name and date of birth are the same: the document was corrected, or is not said.
    NameAndBirth,
    /// What both say is the same, and that is a name or a document alone; or the reference is the same, and one thing
    /// is not.
    Weak,
}

impl Level {
    /// All of them, the surest first.
    pub const ALL: [Self; 6] =
        [Self::Exact, Self::Reference, Self::Whole, Self::Document, Self::NameAndBirth, Self::Weak];
}

impl PersonKey {
    /// The key of a person.
    pub fn of(person: &Person) -> Self {
        let all = person.document.iter().chain(&person.other_documents);
        let mut documents: Vec<_> = all.filter_map(document).collect();
        documents.sort();
        documents.dedup();
        let name = zone(&person.family_name) + &zone(&person.given_names);
        let reference = person.reference.as_deref().map(zone);
        Self {
            reference: reference.filter(|reference| !is_stand_in(reference)),
            documents,
            name: Some(name).filter(|name| !name.is_empty() && !NO_NAMES.contains(&name.as_str())),
            born: person.date_of_birth,
        }
    }

    /// Whether it says nothing by which somebody could be told.
    pub fn is_empty(&self) -> bool {
        self.reference.is_none() && self.documents.is_empty() && self.name.is_none()
    }

    /// How sure it is that both mean the same person; absent where they do not, as far as they say. A shared document
    /// alone makes nobody the same person where name and date of birth are others: an infant travels on a parent's
    /// passport.
    pub fn agrees(&self, other: &Self) -> Option<Level> {
        use Agreement::{Differs, Same, Unknown};
        if self == other {
            return Some(Level::Exact);
        }
        let document = self.document_agreement(other);
        let name = agreement(&self.name, &other.name);
        let born = agreement(&self.born, &other.born);
        let reference = agreement(&self.reference, &other.reference);
        let others = [document, name, born];
        let against = others.iter().filter(|found| **found == Differs).count();
        if reference == Same && (others.contains(&Same) || against == 0) {
            return Some(Level::Reference);
        }
        match (document, name, born) {
            _ if reference == Same && against == 1 => Some(Level::Weak),
            (Same, Same, Same) => Some(Level::Whole),
            (Same, Same, _) | (Same, _, Same) => Some(Level::Document),
            (_, Same, Same) => Some(Level::NameAndBirth),
            (Unknown, Same, Unknown) | (Same, Unknown, Unknown) => Some(Level::Weak),
            _ => None,
        }
    }

    /// Whether two entries of one list are one person, listed twice: nothing is said differently, and more than a name
    /// or a document is the same. Namesakes without anything else are two people.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        use Agreement::{Differs, Same};
        let document = self.document_agreement(other);
        let name = agreement(&self.name, &other.name);
        let born = agreement(&self.born, &other.born);
        let reference = agreement(&self.reference, &other.reference);
        if [name, born, reference].contains(&Differs) {
            return false;
        }
        match reference {
            Same => true,
            _ if document == Differs => false,
            _ => [document, name, born].iter().filter(|found| **found == Same).count() >= 2,
        }
    }

    fn document_agreement(&self, other: &Self) -> Agreement {
        if self.documents.is_empty() || other.documents.is_empty() {
            return Agreement::Unknown;
        }
        let is_one = |(number, state): &(String, Option<String>)| {
            let same =
                |(n, s): &(String, Option<String>)| n == number && (s.is_none() || state.is_none() || s == state);
            other.documents.iter().any(same)
        };
        if self.documents.iter().any(is_one) { Agreement::Same } else { Agreement::Differs }
    }
}

fn agreement<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> Agreement {
    match (one, other) {
        (Some(one), Some(other)) if one == other => Agreement::Same,
        (Some(_), Some(_)) => Agreement::Differs,
        _ => Agreement::Unknown,
    }
}

fn document(document: &Document) -> Option<(String, Option<String>)> {
    let number = zone(&document.number);
    (!is_stand_in(&number)).then(|| (number, document.issuing_state.as_deref().and_then(alike)))
}

/// Whether a number only fills a field that must not be empty.
fn is_stand_in(number: &str) -> bool {
    let mut letters = number.chars();
    let first = letters.next();
    let repeated = letters.all(|letter| Some(letter) == first);
    let counted = number.len() >= COUNTED_DIGITS_MIN && COUNTED.contains(number);
    repeated || counted || NO_NUMBERS.contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, born: u32, number: &str, state: &str) -> Person {
        let (family_name, given_names) = name.split_once(' ').unwrap_or((name, ""));
        Person {
            family_name: family_name.to_owned(),
            given_names: given_names.to_owned(),
            date_of_birth: (born > 0).then_some(born),
            document: (!number.is_empty()).then(|| Document {
                kind: "P".to_owned(),
                number: number.to_owned(),
                issuing_state: (!state.is_empty()).then(|| state.to_owned()),
            }),
            ..Person::default()
        }
    }

    fn level(one: &Person, other: &Person) -> Option<Level> {
        let (one, other) = (PersonKey::of(one), PersonKey::of(other));
        assert_eq!(one.agrees(&other), other.agrees(&one), "either way round");
        one.agrees(&other)
    }

    const LENA: u32 = 19_800_101;

    #[test]
    fn an_infant_on_the_passport_of_a_parent_is_somebody_else() {
        let parent = person("RIVERA LENA", LENA, "X0000", "PRT");
        let infant = person("RIVERA TOMAS", 20_300_101, "X0000", "PRT");
        assert_eq!(level(&parent, &infant), None);
        assert!(!PersonKey::of(&parent).is_repeated_by(&PersonKey::of(&infant)));
        // Twins on it are two people of one list, although the document and the day are the same.
        let twin = person("RIVERA ANA", 20_300_101, "X0000", "PRT");
        assert!(!PersonKey::of(&twin).is_repeated_by(&PersonKey::of(&infant)));
    }

    #[test]
    fn placeholders_are_no_documents() {
        for number in ["UNKNOWN", "none", "00000000", "12345678", "XXXXXXX", "9999", "N/A", "1234567890", "<<<"] {
            let key = PersonKey::of(&person("RIVERA LENA", 0, number, "PRT"));
            assert!(key.documents.is_empty(), "{number}");
        }
        let key = PersonKey::of(&person("RIVERA LENA", 0, "L12345678", "PRT"));
        assert_eq!(key.documents, [("L12345678".to_owned(), Some("PRT".to_owned()))]);
        assert!(PersonKey::of(&person("UNKNOWN", LENA, "00000", "")).is_empty());
    }

    #[test]
    fn case_blanks_fillers_and_two_letter_states_change_nobody() {
        let lena = person("RIVERA LENA", LENA, "X 0000-1", "PRT");
        for same in [
            person("Rivera Lena", LENA, "x00001", "PT"),
            person("RIVERA LENA<<<<", LENA, "X00001<<<", "PRT"),
            person("Rivéra Lena", LENA, "X00001", "prt"),
        ] {
            assert_eq!(level(&lena, &same), Some(Level::Exact));
        }
        assert_eq!(level(&lena, &person("RIVERA LENA", LENA, "X00001", "")), Some(Level::Whole));
        assert_eq!(
            level(&person("OKAFOR LENA", LENA, "X1234", "GB"), &person("OKAFOR LENA", LENA, "X1234", "GBR")),
            Some(Level::Exact)
        );
        assert_eq!(level(&lena, &person("RIVERA LENA", 0, "X00001", "ESP")), None, "another state's number");
    }

    #[test]
    fn a_correction_is_the_same_person_and_a_namesake_is_not() {
        let lena = person("RIVERA LENA", LENA, "X0000", "PRT");
        assert_eq!(level(&lena, &person("RIVERA LENA", LENA, "X0040", "PRT")), Some(Level::NameAndBirth));
        assert_eq!(level(&lena, &person("RIVERO LENA", LENA, "X0000", "PRT")), Some(Level::Document));
        assert_eq!(level(&lena, &person("RIVERA LENA", 19_800_110, "X0000", "PRT")), Some(Level::Document));
        assert_eq!(level(&lena, &person("RIVERA LENA", 19_900_101, "", "")), None, "born on another day");
        assert_eq!(level(&lena, &person("RIVERA LENA", 0, "X0099", "PRT")), None, "another document");
        assert_eq!(level(&lena, &person("RIVERA LENA", 0, "", "")), Some(Level::Weak));
        let namesakes = [person("RIVERA LENA", 0, "", ""), person("RIVERA LENA", 0, "", "")].map(|p| PersonKey::of(&p));
        assert!(!namesakes[0].is_repeated_by(&namesakes[1]));
        let twice = [&lena, &lena].map(PersonKey::of);
        assert!(twice[0].is_repeated_by(&twice[1]));
    }

    #[test]
    fn two_documents_are_one_person_in_any_order() {
        let with = |one: &str, other: &str| {
            let other = person("", 0, other, "PRT").document;
            Person { other_documents: other.into_iter().collect(), ..person("RIVERA LENA", LENA, one, "PRT") }
        };
        assert_eq!(level(&with("X0000", "Y1111"), &with("Y1111", "X0000")), Some(Level::Exact));
        assert_eq!(level(&with("X0000", "Y1111"), &person("RIVERA LENA", 0, "Y1111", "PRT")), Some(Level::Document));
    }

    #[test]
    fn the_reference_of_the_carrier_tells_a_person_unless_all_else_is_another() {
        let named = |reference: &str, person: Person| Person { reference: Some(reference.to_owned()), ..person };
        let lena = named("EX0001", person("RIVERA LENA", LENA, "X0000", "PRT"));
        assert_eq!(level(&lena, &named("ex0001", Person::default())), Some(Level::Reference), "by reference alone");
        let married = named("EX0001", person("HALL LENA", LENA, "X0040", "PRT"));
        assert_eq!(level(&lena, &married), Some(Level::Reference));
        let other = named("EX0001", person("CHEN OLA", 19_700_707, "X0077", "PRT"));
        assert_eq!(level(&lena, &other), None, "a number of the list, not of the person");
        let rebooked = named("EX0002", person("RIVERA LENA", LENA, "X0000", "PRT"));
        assert_eq!(level(&lena, &rebooked), Some(Level::Whole));
    }
}
