//! Whose crossings are recorded.

use cluster_config::calendar::yyyymmdd;
use cluster_config::ids::UnixMs;
use cluster_config::person::Person;
use cluster_config::policy::Scope;

use super::states::alike;

/// Whether a crossing of this person is recorded: not a citizen of the home country (R3, R4), and of an age in scope at
/// departure (R1). An unknown nationality or date of birth is taken as in scope: nobody is left out for a gap in the
/// carrier's data.
pub fn in_scope(scope: &Scope, departs_at: UnixMs, person: &Person) -> bool {
    let state = person.nationality.as_deref().and_then(alike);
    let is_home = |state: &String| scope.home_country_codes.iter().any(|code| alike(code).as_ref() == Some(state));
    if state.as_ref().is_some_and(is_home) {
        return false;
    }
    let Some(born) = person.date_of_birth else { return true };
    let age = yyyymmdd(departs_at).saturating_sub(born) / 10_000;
    (u32::from(scope.age_min)..=u32::from(scope.age_max)).contains(&age)
}

#[cfg(test)]
mod tests {
    use cluster_config::calendar::unix_ms;

    use super::*;

    fn person(nationality: &str, born: u32) -> Person {
        Person { nationality: Some(nationality.to_owned()), date_of_birth: Some(born), ..Person::default() }
    }

    #[test]
    fn scope_follows_citizenship_and_age_on_the_day_of_departure() {
        let scope = Scope::default();
        let departure = unix_ms(2026, 11, 23, 12, 0);
        assert!(!in_scope(&scope, departure, &person("USA", 19_800_101)), "a citizen");
        assert!(!in_scope(&scope, departure, &person("us", 19_800_101)), "a citizen by two letters");
        assert!(in_scope(&scope, departure, &person("GBR", 20_121_123)), "14 today");
        assert!(!in_scope(&scope, departure, &person("GBR", 20_121_124)), "14 tomorrow");
        assert!(in_scope(&scope, departure, &person("GBR", 19_461_124)), "79, 80 tomorrow");
        assert!(!in_scope(&scope, departure, &person("GBR", 19_461_123)), "80 today");
    }
}
