//! A traveller, with what is true about them.

use cluster_config::person::Person;
use cluster_config::policy::Scope;
use node_population::Population;

#[derive(Debug, Clone)]
pub struct Guest {
    /// As the manifest has them.
    pub person: Person,
    /// Whether their boarding is a crossing: no citizen, and of an age in scope (R1, R4).
    pub in_scope: bool,
    /// Whether holdings have a photograph.
    pub known: bool,
}

impl Guest {
    /// A person of a population who travels on this day (YYYYMMDD, UTC), under the default policy.
    pub fn new(population: &Population, person: Person, day: u32) -> Self {
        let in_scope = in_scope(&Scope::default(), day, &person);
        Self { in_scope, known: population.photographs(&person) > 0, person }
    }
}

/// Whether a crossing of this person on this day (YYYYMMDD, UTC) is recorded. It is written out of the requirements
/// (R1, R3, R4) and shares no code with the product: an unknown nationality or date of birth counts as in scope.
fn in_scope(scope: &Scope, day: u32, person: &Person) -> bool {
    let citizen = person.nationality.as_ref().is_some_and(|state| scope.home_country_codes.contains(state));
    let age = person.date_of_birth.map(|born| day.saturating_sub(born) / 10_000);
    let ages = u32::from(scope.age_min)..=u32::from(scope.age_max);
    !citizen && age.is_none_or(|age| ages.contains(&age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citizens_and_people_of_other_ages_are_out_of_scope() {
        let person = |state: Option<&str>, born| Person {
            nationality: state.map(str::to_owned),
            date_of_birth: born,
            ..node_population::people::person(1, 1)
        };
        let on = |person: &Person| in_scope(&Scope::default(), 20_261_129, person);
        assert!(!on(&person(Some("USA"), Some(19_800_101))), "a citizen");
        assert!(on(&person(Some("GBR"), Some(20_121_129))), "14 today");
        assert!(!on(&person(Some("GBR"), Some(20_121_130))), "14 tomorrow");
        assert!(on(&person(Some("GBR"), Some(19_461_130))), "80 tomorrow");
        assert!(!on(&person(Some("GBR"), Some(19_461_129))), "80 today");
        assert!(on(&person(None, None)), "nobody is left out for a gap in the carrier's data");
    }
}
