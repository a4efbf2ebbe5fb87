//! Whose crossings are recorded.

use cluster_config::calendar::yyyymmdd;
use cluster_config::canary::{Canaries, Canary};
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

/// Whether this person's data are kept for a while once their journey is closed: of somebody who is known to be no
/// citizen (R116). Whose nationality is not known, or who shows a passport of the home country, counts as a citizen:
/// nothing of a citizen may be left (R117).
pub fn is_kept(scope: &Scope, person: &Person, canaries: Canaries) -> bool {
    if canaries.has(Canary::CitizensKept) {
        return true;
    }
    let Some(state) = person.nationality.as_deref().and_then(alike) else { return false };
    let is_home = |state: &String| scope.home_country_codes.iter().any(|code| alike(code).as_ref() == Some(state));
    let mut passports = person.document.iter().chain(&person.other_documents).filter(|document| document.kind == "P");
    let is_of_home =
        passports.any(|document| document.issuing_state.as_deref().and_then(alike).is_some_and(|s| is_home(&s)));
    !is_home(&state) && !is_of_home
}

#[cfg(test)]
mod tests {
    use cluster_config::calendar::unix_ms;
    use cluster_config::person::Document;

    use super::*;

    /// R116, R117.
    #[test]
    fn nobody_is_kept_who_may_be_a_citizen() {
        let kept = |nationality: Option<&str>, kind: &str, issuer: &str| {
            let document = Document { kind: kind.into(), number: "X1".into(), issuing_state: Some(issuer.into()) };
            let nationality = nationality.map(str::to_owned);
            let person = Person { nationality, other_documents: vec![document], ..Person::default() };
            is_kept(&Scope::default(), &person, Canaries::default())
        };
        assert!(kept(Some("GBR"), "P", "GBR"));
        assert!(kept(Some("GBR"), "V", "USA"), "a visa is for those who are none");
        assert!(!kept(Some("GBR"), "P", "US"), "two passports");
        assert!(!kept(Some("us"), "P", "GBR"));
        assert!(!kept(None, "P", "GBR"), "nobody knows");
    }

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
