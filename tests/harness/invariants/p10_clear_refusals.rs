//! P10: bad input of any kind is answered with one error that names the place, the problem and the fix.

use std::process::Output;

use cluster_config::wire::{Refusal, RefusalCode};

/// The verbs that a fix may begin with. No error's text begins with one, so that none passes for a fix.
const IMPERATIVES: [&str; 42] = [
    "add", "allow", "announce", "answer", "ask", "build", "check", "choose", "close", "correct", "count", "divide",
    "encode", "fetch", "free", "give", "hand", "install", "issue", "leave", "list", "look", "move", "open", "order",
    "pass", "plan", "register", "remove", "report", "retire", "run", "see", "send", "speak", "split", "start",
    "submit", "take", "try", "use", "wait",
];

/// Words that make a sentence. A place is a name and has none of them.
const SENTENCES: [&str; 30] = [
    "already", "are", "became", "can", "cannot", "could", "did", "do", "does", "ended", "ends", "failed", "gives",
    "had", "has", "have", "holds", "is", "it", "lacks", "may", "must", "no", "nobody", "not", "took", "was", "were",
    "will", "wrong",
];

/// What is unclear about a refusal; absent where it has a place, a problem and a fix, each of them in its part.
///
/// A place has no word that makes a sentence: such a word means that it holds the problem. A fix begins with an
/// imperative, and no clause of a problem does. No part says again what another one says.
pub fn unclear(refusal: &Refusal) -> Option<String> {
    let (place, problem, fix) = (refusal.place.as_str(), refusal.problem.as_str(), refusal.fix.as_str());
    for (part, text) in [("place", place), ("problem", problem), ("fix", fix)] {
        if text.trim().is_empty() {
            return Some(format!("it has no {part}"));
        }
        if text.trim() != text || text.contains('\n') {
            return Some(format!("its {part} is not one trimmed line"));
        }
    }
    if let Some(word) = words(place).find(|word| SENTENCES.contains(word)) {
        return Some(format!("its place holds a problem: {word:?}"));
    }
    if !words(fix).next().is_some_and(|word| IMPERATIVES.contains(&word)) {
        return Some("its fix does not begin with what to do".to_owned());
    }
    let advises = |clause: &str| words(clause).next().is_some_and(|word| IMPERATIVES.contains(&word));
    if problem.split("; ").any(advises) {
        return Some("its problem holds a fix".to_owned());
    }
    let parts = [("place", place), ("problem", problem), ("fix", fix)];
    let twice = |part: &str, text: &str| parts.iter().find(|(other, said)| *other != part && said.contains(text));
    // A place is often a word of the sentence about it.
    [("problem", problem), ("fix", fix)]
        .into_iter()
        .find_map(|(part, text)| twice(part, text).map(|(other, _)| format!("its {other} repeats its {part}")))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
}

/// A refusal has this code and this place, and is clear ([`unclear`]).
///
/// # Panics
/// Where it is not.
pub fn check(case: &str, refusal: &Refusal, code: RefusalCode, place: &str) {
    assert_eq!(refusal.code, code, "{case}: {refusal}");
    assert!(refusal.place.contains(place), "{case}: {refusal:?} does not name {place:?} as its place");
    check_text(case, &refusal.to_string(), place);
    if let Some(why) = unclear(refusal) {
        panic!("{case}: {why}: {refusal:?}");
    }
}

/// A text of one line names this place.
///
/// # Panics
/// Where it does not.
pub fn check_text(case: &str, text: &str, place: &str) {
    assert!(text.contains(place), "{case}: {text:?} does not name {place:?}");
    assert!(text.lines().count() == 1 && text.len() < 1_000, "{case}: not one line: {text:?}");
}

/// A command ended with exit code 2 and one line on standard error that names this place; nothing went to standard
/// output.
///
/// # Panics
/// Where it did not.
pub fn check_command(case: &str, output: &Output, place: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{case}: {errors}");
    assert!(output.stdout.is_empty(), "{case}: printed {}", String::from_utf8_lossy(&output.stdout));
    check_text(case, errors.trim_end(), place);
}

#[cfg(test)]
mod tests {
    use cluster_config::wire::Fix;

    use super::*;

    fn why(place: &str, problem: &str, fix: &str) -> Option<String> {
        unclear(&Refusal::new(RefusalCode::Busy, place, problem, Fix::with(fix.to_owned())))
    }

    #[test]
    fn a_part_that_is_missing_or_holds_another_is_found() {
        let place = "node 3: gallery AA1-20300101-JFK/face/m-1/0";
        assert_eq!(why(place, "no other node gives its people", "submit its manifest again"), None);
        assert_eq!(why("leader", "the leader did not answer", "try again; a leader is elected soon"), None);
        let cases = [
            ("", "it is full", "try again", "it has no place"),
            (place, " ", "try again", "it has no problem"),
            (place, "it is full", "", "it has no fix"),
            (place, "it is full\nhere", "try again", "its problem is not one trimmed line"),
            ("gallery 1: no other node gives it", "it is lost", "try again", "its place holds a problem: \"no\""),
            ("node 3: it ends", "it is lost", "try again", "its place holds a problem: \"it\""),
            (place, "it is full", "invalid digit found in string", "its fix does not begin with what to do"),
            (place, "it is full", "it is not kept here; ask another", "its fix does not begin with what to do"),
            (place, "part 2 has changed; build it again", "ask again", "its problem holds a fix"),
            (place, "send less", "send less at once", "its problem holds a fix"),
            (place, "queue 1", "wait for queue 1", "its fix repeats its problem"),
            ("queue 1 of node 2", "queue 1", "ask again", "its place repeats its problem"),
            (place, "who asks must ask again", "ask again", "its problem repeats its fix"),
        ];
        for (place, problem, fix, wanted) in cases {
            assert_eq!(why(place, problem, fix).as_deref(), Some(wanted), "{place}: {problem}; {fix}");
        }
    }
}
