//! P10: bad input of any kind is answered with one error that names the place and the fix.

use std::process::Output;

use cluster_config::wire::{Refusal, RefusalCode};

/// A refusal has this code, and its text names this place and says something to do.
///
/// # Panics
/// Where it does not.
pub fn check(case: &str, refusal: &Refusal, code: RefusalCode, place: &str) {
    assert_eq!(refusal.code, code, "{case}: {refusal}");
    check_text(case, &refusal.to_string(), place);
    assert!(!refusal.fix.is_empty(), "{case}: {refusal} names no fix");
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
