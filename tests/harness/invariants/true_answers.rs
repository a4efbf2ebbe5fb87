//! Answers are true (P3 says "its true answer"): nobody is let through as somebody else, and hardly anybody who is in
//! the gallery is sent away.

use cluster_config::decision::Directive;
use node_stage::oracle::{Decisions, History};

/// Judges the decisions on boardings.
///
/// The policy's false positive identification rate is 0.001 for a search, so that false matches are counted against
/// that with room for chance: at most three, or 1 % where there are many searches. Of the synthetic population's
/// captures about 1 in 1,000 scores below the threshold; 2 % leaves room for chance in small banks.
///
/// # Panics
/// Where they are worse.
pub fn check(history: &History) -> Decisions {
    let decisions = history.decisions();
    let Decisions { true_matches, false_matches, false_non_matches, true_non_matches, recaptures } = decisions;
    let searches = true_matches + false_matches + false_non_matches + true_non_matches + recaptures;
    let asked_again = history.boardings().filter(|entry| {
        let is_again = entry.outcome.answer().is_some_and(|answer| answer.directive == Directive::Recapture);
        is_again && entry.who.as_ref().is_some_and(|guest| guest.known)
    });
    let not_at_once = false_non_matches + asked_again.count() as u64;
    assert!(false_matches <= 3.max(searches / 100), "too many false matches: {decisions}");
    assert!(not_at_once <= 3.max(searches / 50), "too many false non-matches: {decisions}");
    decisions
}
