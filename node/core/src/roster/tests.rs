use cluster_config::person::Document;

use super::*;

/// A gallery as its parts have it, each built on what all of them have at that moment.
struct Gallery {
    parts: Vec<Part>,
    lists: u8,
    drawn: u64,
    scope: Scope,
    boarded: BTreeMap<u32, SubjectId>,
    /// See `Part::lost` of the coordinator's state.
    lost: Option<ContentHash>,
    has_unnamed_boarded: bool,
}

impl Gallery {
    fn new(parts: usize) -> Self {
        let (scope, boarded) = (Scope::default(), BTreeMap::new());
        let parts = vec![Part::Unbuilt; parts];
        Self { parts, lists: 0, drawn: 0, scope, boarded, lost: None, has_unnamed_boarded: false }
    }

    /// Builds one part of a message.
    fn build(&mut self, part: usize, list: u8, listing: Listing, people: &[Person]) -> Result<Next, Error> {
        let manifest = ContentHash([list; 32]);
        let question = Question {
            part: part as u16,
            parts: &self.parts,
            manifest,
            people,
            listing,
            boarded: &self.boarded,
            has_lost: self.lost.is_some_and(|known_by| known_by != manifest),
            has_boarded: !self.boarded.is_empty(),
            has_unnamed_boarded: self.has_unnamed_boarded,
            scope: &self.scope,
            departs_at: UnixMs(1_800_000_000_000),
            canaries: Canaries::default(),
        };
        let drawn = &mut self.drawn;
        let mut dice = || {
            *drawn += 1;
            *drawn
        };
        let next = next(&question, &mut dice)?;
        let losses = self.parts.iter().filter_map(|part| match part {
            Part::Lost { is_numbered_by_list, .. } => Some(*is_numbered_by_list),
            Part::Unbuilt | Part::Known(_) => None,
        });
        if let Some(is_numbered) = losses.reduce(|all, one| all && one).filter(|_| !self.boarded.is_empty()) {
            let known_by = if is_numbered { manifest } else { ContentHash::default() };
            self.lost =
                Some(if self.lost.is_none_or(|before| before == known_by) { known_by } else { ContentHash::default() });
        }
        self.parts[part] = Part::Known(People { manifest, people: next.people.clone(), left: next.left.clone() });
        Ok(next)
    }

    /// Has all parts follow a message, in their order. Gives the unclear entries.
    fn submit(&mut self, listing: Listing, people: &[Person]) -> Result<BTreeSet<u32>, Error> {
        self.lists += 1;
        let mut unclear = BTreeSet::new();
        for part in 0..self.parts.len() {
            unclear.extend(self.build(part, self.lists, listing, people)?.unclear);
        }
        Ok(unclear)
    }

    fn whole(&mut self, people: &[Person]) {
        assert_eq!(self.submit(Listing::Whole, people), Ok(BTreeSet::new()));
    }

    fn known(&self) -> impl Iterator<Item = (usize, &Enrolled, bool)> {
        self.parts.iter().enumerate().flat_map(|(part, known)| {
            let people = known.people().into_iter();
            people.flat_map(move |known| {
                let present = known.people.iter().map(move |enrolled| (part, enrolled, true));
                present.chain(known.left.iter().map(move |enrolled| (part, enrolled, false)))
            })
        })
    }

    /// Who is expected, by given name: part, subject id and number.
    fn present(&self) -> BTreeMap<String, (usize, u64, u32)> {
        let present = self.known().filter(|(.., present)| *present);
        let who = present.map(|(part, enrolled, _)| {
            let person = &enrolled.person;
            (person.given_names.clone(), (part, enrolled.subject.0, person.manifest_ordinal))
        });
        who.collect()
    }

    /// Nobody is there twice, and nobody has another's id or number, those who have left included.
    fn check(&self) {
        let mut seen = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (part, enrolled, _) in self.known() {
            let person = &enrolled.person;
            assert!(seen.0.insert(person.given_names.clone()), "{} twice, in part {part} too", person.given_names);
            assert!(seen.1.insert(enrolled.subject), "{} has another's id", person.given_names);
            assert!(seen.2.insert(person.manifest_ordinal), "{} has another's number", person.given_names);
        }
    }
}

/// A made-up person: known by the given name, which the tests never change.
fn person(number: u32) -> Person {
    Person {
        manifest_ordinal: number,
        family_name: "RIVERA".to_owned(),
        given_names: format!("G{number}"),
        date_of_birth: Some(19_800_101 + number % 28),
        nationality: Some("PRT".to_owned()),
        document: Some(Document {
            kind: "P".to_owned(),
            number: format!("X{number:05}"),
            issuing_state: Some("PRT".to_owned()),
        }),
        ..Person::default()
    }
}

/// These people in this order, numbered from 1 as a list does.
fn list(people: impl IntoIterator<Item = Person>) -> Vec<Person> {
    let numbered = people.into_iter().zip(1..);
    numbered.map(|(person, manifest_ordinal)| Person { manifest_ordinal, ..person }).collect()
}

fn people(numbers: impl IntoIterator<Item = u32>) -> Vec<Person> {
    list(numbers.into_iter().map(person))
}

fn with_document(number: &str, person: Person) -> Person {
    let document = Document { number: number.to_owned(), ..person.document.clone().unwrap_or_default() };
    Person { document: Some(document), ..person }
}

/// F9, P1, R43: one name more at the top of a list shifts everybody by one place and changes nobody.
#[test]
fn a_renumbered_list_changes_nobodys_part_subject_or_number() {
    let mut gallery = Gallery::new(2);
    gallery.whole(&people(1..=40));
    let before = gallery.present();
    assert!(before.values().any(|(part, ..)| *part == 0) && before.values().any(|(part, ..)| *part == 1));
    gallery.whole(&people([99].into_iter().chain(1..=40)));
    let mut after = gallery.present();
    let (_, _, number) = after.remove("G99").expect("the newcomer");
    assert_eq!(after, before);
    assert_eq!(number, 41, "a number that nobody ever had");
    gallery.whole(&people((1..=40).rev()));
    assert_eq!(gallery.present(), before);
    gallery.check();
}

/// R43.
#[test]
fn a_part_grows_out_of_another_and_who_is_known_stays() {
    let mut gallery = Gallery::new(1);
    gallery.whole(&people(1..=30));
    let before = gallery.present();
    gallery.parts.push(Part::Unbuilt);
    gallery.whole(&people(1..=60));
    let after = gallery.present();
    assert!(before.iter().all(|(name, known)| after.get(name) == Some(known)));
    let grown = after.values().filter(|(part, ..)| *part == 1).count();
    assert_eq!(after.len(), 60);
    assert!((5..=25).contains(&grown), "of 30 newcomers {grown} are in the new part");
    gallery.check();
}

/// R43, P1: a correction reaches its person in whichever part, and so does a return.
#[test]
fn who_is_corrected_leaves_and_comes_back_is_one_person() {
    let mut gallery = Gallery::new(3);
    gallery.whole(&people(1..=30));
    let before = gallery.present();
    for number in [4, 5, 6, 7] {
        let corrected = list([with_document(&format!("Z{number}"), person(number))]);
        assert_eq!(gallery.submit(Listing::Added, &corrected), Ok(BTreeSet::new()));
    }
    assert_eq!(gallery.present(), before);
    let off = list([with_document("Z4", person(4)), person(8), person(9)]);
    gallery.submit(Listing::Removed, &off).expect("clear");
    gallery.check();
    assert_eq!(gallery.present().len(), 27);
    gallery.submit(Listing::Removed, &off).expect("a repeat");
    // They come back with the number of before and with another one, and on a whole list.
    gallery.submit(Listing::Added, &list([with_document("Y4", person(4)), person(9)])).expect("clear");
    gallery.whole(&people((1..=30).rev()));
    assert_eq!(gallery.present(), before);
    gallery.check();
}

/// R43, P1.
#[test]
fn nobody_gets_the_number_of_somebody_who_has_left() {
    let mut gallery = Gallery::new(1);
    gallery.whole(&people([1, 2, 3]));
    gallery.submit(Listing::Removed, &people([3])).expect("clear");
    gallery.submit(Listing::Added, &people([7])).expect("clear");
    assert_eq!(gallery.present()["G7"].2, 4);
    gallery.whole(&people([1, 2, 8, 7]));
    assert_eq!(gallery.present()["G8"].2, 5, "3 belongs to G3");
    gallery.check();
}

#[test]
fn somebody_who_is_listed_twice_is_one_person_and_namesakes_are_two() {
    let mut gallery = Gallery::new(2);
    gallery.whole(&list((1..=3).chain(1..=3).map(person)));
    assert_eq!(gallery.known().count(), 3);
    let bare = || Person { family_name: "RIVERA".to_owned(), given_names: "LENA".to_owned(), ..Person::default() };
    let mut namesakes = Gallery::new(2);
    namesakes.whole(&list([bare(), bare()]));
    assert_eq!(namesakes.known().count(), 2);
    namesakes.whole(&list([bare(), bare()]));
    assert_eq!(namesakes.known().count(), 2);
}

/// P15: the infant leaves, and the parent whose passport it has stays; two namesakes of whom one is cancelled stay.
#[test]
fn a_cancellation_takes_off_only_who_is_known_to_be_meant() {
    let mut gallery = Gallery::new(2);
    let infant = Person { date_of_birth: Some(20_260_601), ..with_document("X00001", person(50)) };
    let twins = [person(60), person(61)].map(|twin| Person { family_name: "CHEN".to_owned(), ..twin });
    let namesakes = twins.map(|twin| Person { given_names: "OLA".to_owned(), ..twin });
    let list_of_all = list((1..=20).map(person).chain([infant.clone()]).chain(namesakes));
    gallery.whole(&list_of_all);
    gallery.submit(Listing::Removed, &list([infant])).expect("clear");
    let present = gallery.present();
    assert!(!present.contains_key("G50") && present.contains_key("G1"));

    let before = gallery.parts.clone();
    let named = Person { family_name: "Chen".to_owned(), given_names: "Ola".to_owned(), ..Person::default() };
    let refused = gallery.submit(Listing::Removed, &list([person(3), named.clone()]));
    assert_eq!(refused, Err(Error::Unclear { place: 2, people: 2 }));
    assert_eq!(gallery.parts, before, "nobody left, in whichever part the two are");
    let who = gallery.known().filter(|(.., present)| *present).count();
    gallery.submit(Listing::Removed, &list([named.clone(), named])).expect("both are meant");
    assert_eq!(gallery.known().filter(|(.., present)| *present).count(), who - 2);
    let unbuilt = Gallery::new(1).submit(Listing::Removed, &people([1]));
    assert_eq!(unbuilt, Err(Error::Unbuilt));
}

#[test]
fn what_may_mean_several_people_changes_nobody_and_is_told() {
    let mut gallery = Gallery::new(2);
    let namesake = |number: u32| Person { given_names: "OLA".to_owned(), ..person(number) };
    gallery.whole(&list([person(1), namesake(2), namesake(3)]));
    let before: Vec<Enrolled> = gallery.known().map(|(_, enrolled, _)| enrolled.clone()).collect();
    let bare = Person { date_of_birth: None, document: None, ..namesake(0) };
    let unclear = gallery.submit(Listing::Whole, &list([person(1), bare])).expect("it is followed");
    assert_eq!(unclear, BTreeSet::from([2]));
    let after: Vec<Enrolled> = gallery.known().map(|(_, enrolled, _)| enrolled.clone()).collect();
    assert_eq!(after, before);
}

/// A newcomer whose place would be a part that has the list already goes to one that has not: here they were known to
/// the other part under another name, and that part was lost before it followed the list.
#[test]
fn a_part_that_has_the_list_takes_nobody_more() {
    let mut gallery = Gallery::new(2);
    gallery.whole(&people(1..=40));
    let renamed = list((1..=40).map(|number| Person { family_name: "HALL".to_owned(), ..person(number) }));
    gallery.build(0, 9, Listing::Whole, &renamed).expect("it is followed");
    gallery.parts[1] = Part::Lost { is_numbered_by_list: true, older: People::default() };
    gallery.build(1, 9, Listing::Whole, &renamed).expect("it is followed");
    assert_eq!(gallery.present().len(), 40);
    gallery.check();
}

/// P1: where the people are lost, the ledger tells who has boarded by the numbers, if the list is the one that gave
/// them. If it is not, nobody is let through without an officer.
#[test]
fn after_a_loss_nobody_boards_a_second_time() {
    let mut gallery = Gallery::new(2);
    gallery.whole(&people(1..=20));
    let before = gallery.present();
    gallery.boarded = before.values().map(|(_, subject, number)| (*number, SubjectId(*subject))).take(5).collect();
    let boarded: BTreeSet<u64> = gallery.boarded.values().map(|subject| subject.0).collect();
    let lose = |gallery: &mut Gallery, is_numbered_by_list| {
        gallery.parts = vec![Part::Lost { is_numbered_by_list, older: People::default() }; 2];
    };
    lose(&mut gallery, true);
    gallery.whole(&people(1..=20));
    let again = gallery.present();
    let same = again.iter().filter(|(name, known)| before[*name].1 == known.1).count();
    assert_eq!((same, again.len()), (5, 20));
    assert!(gallery.known().all(|(_, enrolled, _)| !enrolled.is_unsure));

    lose(&mut gallery, false);
    gallery.whole(&people((1..=20).rev()));
    assert!(gallery.known().all(|(_, enrolled, _)| enrolled.is_unsure && !boarded.contains(&enrolled.subject.0)));
    gallery.whole(&people(1..=21));
    let unsure = gallery.known().filter(|(_, enrolled, _)| enrolled.is_unsure).count();
    assert_eq!(unsure, 21, "they stay so; who comes later may have been on a list before");
    gallery.boarded.clear();
    lose(&mut gallery, false);
    gallery.whole(&people(1..=20));
    assert!(gallery.known().all(|(_, enrolled, _)| !enrolled.is_unsure), "nobody has boarded");
}

/// P1: a part that is built after the loss, and whoever had left before it, know nothing of it by themselves.
#[test]
fn after_a_loss_whoever_comes_may_have_boarded_whichever_part_takes_them() {
    let mut gallery = Gallery::new(1);
    gallery.whole(&people(1..=8));
    gallery.boarded = gallery.known().map(|(_, e, _)| (e.person.manifest_ordinal, e.subject)).collect();
    gallery.parts = vec![Part::Lost { is_numbered_by_list: false, older: People::default() }, Part::Unbuilt];
    gallery.whole(&people((2..=8).rev()));
    assert!(gallery.known().all(|(_, known, _)| known.is_unsure));
    assert!(gallery.known().any(|(part, ..)| part == 1), "nobody is in the second part");
    gallery.submit(Listing::Added, &people([1])).expect("it is followed");
    assert_eq!(gallery.known().filter(|(_, known, _)| known.is_unsure).count(), 8);
}

/// P1, F8: the ledger has nobody out of scope by a number.
#[test]
fn after_a_loss_people_out_of_scope_are_unsure_where_any_of_them_has_boarded() {
    for has_unnamed_boarded in [false, true] {
        let mut gallery = Gallery::new(1);
        let citizens = |people: Vec<Person>| -> Vec<Person> {
            let citizen = |person: Person| Person { nationality: Some("USA".into()), ..person };
            people.into_iter().enumerate().map(|(n, p)| if n % 2 == 0 { citizen(p) } else { p }).collect()
        };
        gallery.whole(&citizens(people(1..=20)));
        gallery.boarded = gallery
            .known()
            .filter(|(_, e, _)| e.in_scope)
            .map(|(_, e, _)| (e.person.manifest_ordinal, e.subject))
            .take(1)
            .collect();
        gallery.has_unnamed_boarded = has_unnamed_boarded;
        gallery.parts = vec![Part::Lost { is_numbered_by_list: true, older: People::default() }];
        gallery.whole(&citizens(people(1..=20)));
        assert!(gallery.known().all(|(_, known, _)| known.is_unsure == (has_unnamed_boarded && !known.in_scope)));
    }
}

#[test]
fn a_whole_list_is_known_by_its_numbers_as_long_as_everybody_stands_at_theirs() {
    let mut gallery = Gallery::new(1);
    let numbered = |gallery: &mut Gallery, list, listing, people: &[Person]| {
        gallery.build(0, list, listing, people).expect("it is followed").is_numbered_by_list
    };
    assert!(numbered(&mut gallery, 1, Listing::Whole, &people(1..=5)));
    assert!(numbered(&mut gallery, 2, Listing::Whole, &people(1..=8)), "more at the end");
    assert!(!numbered(&mut gallery, 3, Listing::Whole, &people([9].into_iter().chain(1..=8))));
    assert!(!numbered(&mut gallery, 4, Listing::Added, &people([10])));
}

#[test]
fn a_full_part_sends_newcomers_to_the_next_and_full_parts_refuse() {
    let full = SHARD_PEOPLE_MAX as u32;
    let mut gallery = Gallery::new(2);
    gallery.whole(&people(1..=2 * full));
    for part in &gallery.parts {
        assert_eq!(part.people().map(|known| known.people.len()), Some(SHARD_PEOPLE_MAX));
    }
    let refused = gallery.submit(Listing::Added, &people([2 * full + 1]));
    assert_eq!(refused, Err(Error::NoRoom { parts: 2 }));
    gallery.parts.push(Part::Unbuilt);
    gallery.submit(Listing::Added, &people([2 * full + 1])).expect("room");
    assert_eq!(gallery.present()[&format!("G{}", 2 * full + 1)].0, 2);
}

/// Numbers that look like chance (Marsaglia, "Xorshift RNGs", 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

/// P1, P15: whatever lists, changes and cancellations come, in whichever order the parts follow them, and where some
/// parts have followed a message that was broken off: nobody is in two parts, nobody in none, and nobody has another's
/// number.
#[test]
fn whatever_comes_nobody_is_in_two_parts_and_nobody_in_none() {
    for seed in 1..=300 {
        let mut chance = Chance(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        let mut gallery = Gallery::new(1 + chance.below(3) as usize);
        let mut documents: BTreeMap<u32, u32> = BTreeMap::new();
        let mut subjects: BTreeMap<String, u64> = BTreeMap::new();
        let mut expected: BTreeSet<u32> = BTreeSet::new();
        for _ in 0..12 {
            let listing = [Listing::Whole, Listing::Added, Listing::Removed][chance.below(3) as usize];
            let mut named: Vec<u32> = (1..=24).filter(|_| chance.below(3) > 0).collect();
            let turn = chance.below(named.len().max(1) as u32) as usize;
            named.rotate_left(turn);
            if chance.below(8) == 0 && gallery.parts.len() < 4 {
                gallery.parts.push(Part::Unbuilt);
            }
            let mut words = Vec::new();
            for number in named.iter().copied() {
                let version = documents.entry(number).or_default();
                *version += u32::from(chance.below(6) == 0);
                words.push(with_document(&format!("x{number:05}-{version}<<"), person(number)));
            }
            let words = list(words);
            let mut order: Vec<usize> = (0..gallery.parts.len()).collect();
            let turn = chance.below(order.len() as u32) as usize;
            order.rotate_left(turn);
            if listing == Listing::Removed && gallery.parts.contains(&Part::Unbuilt) {
                continue;
            }
            gallery.lists += 1;
            let reached = if chance.below(4) == 0 { chance.below(order.len() as u32) as usize } else { order.len() };
            for part in order.iter().take(reached).chain(&order) {
                let next = gallery.build(*part, gallery.lists, listing, &words).expect("it is followed");
                assert!(next.unclear.is_empty(), "seed {seed}");
                gallery.check();
            }
            match listing {
                Listing::Whole => expected = named.into_iter().collect(),
                Listing::Added => expected.extend(named),
                Listing::Removed => expected.retain(|number| !named.contains(number)),
            }
            let names: BTreeSet<String> = expected.iter().map(|number| format!("G{number}")).collect();
            let present = gallery.present();
            assert_eq!(present.keys().cloned().collect::<BTreeSet<_>>(), names, "seed {seed}");
            for (name, (_, subject, _)) in present {
                assert_eq!(*subjects.entry(name.clone()).or_insert(subject), subject, "seed {seed}: {name}");
            }
        }
    }
}
