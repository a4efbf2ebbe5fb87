//! P5 and "its true answer" of P3: every answer is the one that a plain matcher gives for some version of the gallery
//! that stood while the request was under way.
//!
//! The matcher here is written for reading, not for speed, and shares no code with the product: all rows, one after the
//! other, in `f64`. Where a score lies within `NEAR` of a bound, either side of it is taken as right.

use cluster_config::decision::{Confirmed, Directive, Reason};
use cluster_config::ids::SubjectId;
use cluster_config::policy::Matching;
use cluster_config::wire::gate::Answer;

/// How much two ways of adding up may differ.
const NEAR: f64 = 1e-5;

/// One template of a gallery.
#[derive(Debug, Clone)]
pub struct Row {
    /// Whose it is.
    pub subject: SubjectId,
    /// The person's number on the manifest.
    pub manifest_ordinal: u32,
    /// Whether the person's crossing is recorded.
    pub in_scope: bool,
    pub values: Vec<f32>,
}

/// What the matcher decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// What the gate is told.
    pub directive: Directive,
    /// Why.
    pub reason: Reason,
    /// Who it is, where *proceed*.
    pub confirmed: Option<Confirmed>,
    /// Whether nothing is recorded of who it is (R3): a retry that finds the record cannot tell then.
    pub leaves_no_trace: bool,
}

/// What is right for a probe: one decision, or several where a score lies on a bound.
pub fn decisions(matching: &Matching, rows: &[&Row], probe: &[f32], attempt: u8) -> Vec<Expected> {
    let mut right = Vec::new();
    for nudge in [0.0, NEAR, -NEAR] {
        for margin_nudge in [0.0, NEAR, -NEAR] {
            let decision = decide(matching, rows, probe, attempt, nudge, margin_nudge);
            if !right.contains(&decision) {
                right.push(decision);
            }
        }
    }
    right
}

fn decide(matching: &Matching, rows: &[&Row], probe: &[f32], attempt: u8, nudge: f64, margin_nudge: f64) -> Expected {
    let nobody = |directive, reason| Expected { directive, reason, confirmed: None, leaves_no_trace: false };
    let no_match = nobody(Directive::Wait, Reason::NoMatch);
    let last = attempt >= matching.attempts_max;
    let again = |reason| {
        let directive = if last { Directive::Wait } else { Directive::Recapture };
        nobody(directive, reason)
    };
    let mut scored: Vec<(f64, &Row)> = rows.iter().map(|row| (product(&row.values, probe), *row)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.subject.cmp(&b.1.subject)));
    let Some((best, row)) = scored.first() else { return no_match };
    let bound = bound(matching, rows.len()) + nudge;
    if *best < bound - f64::from(matching.recapture_band) {
        return no_match;
    }
    if *best < bound {
        return if last { no_match } else { again(Reason::NearThreshold) };
    }
    let second = scored.iter().find(|(_, other)| other.subject != row.subject);
    if second.is_some_and(|(score, _)| best - score < f64::from(matching.ambiguity_margin) + margin_nudge) {
        return again(Reason::Ambiguous);
    }
    let confirmed = Confirmed { subject: row.subject, manifest_ordinal: row.manifest_ordinal };
    let (directive, reason) = (Directive::Proceed, Reason::Matched);
    Expected { directive, reason, confirmed: Some(confirmed), leaves_no_trace: !row.in_scope }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// The score at which a search over so many templates has the policy's false positive identification rate: the needed
/// false match rate is 1 - (1 - FPIR)^(1/N), and the score is read off the calibration, over the rate's logarithm.
fn bound(matching: &Matching, templates: usize) -> f64 {
    let needed = 1.0 - (1.0 - matching.fpir_target).powf(1.0 / templates.max(1) as f64);
    let points: Vec<(f64, f64)> =
        matching.calibration.iter().map(|point| (point.false_match_rate.log10(), f64::from(point.score))).collect();
    let needed = needed.log10();
    if needed >= points[0].0 {
        return points[0].1;
    }
    let right = (1..points.len() - 1).find(|right| needed >= points[*right].0).unwrap_or(points.len() - 1);
    let ((rate_left, score_left), (rate_right, score_right)) = (points[right - 1], points[right]);
    let share = (needed - rate_left) / (rate_right - rate_left);
    (score_left + share * (score_right - score_left)).min(1.0)
}

/// Whether an answer is one of those. A boarding whose traveller has boarded before is told so in place of *proceed*;
/// who crossed how often is judged by P1.
pub fn allows(expected: &[Expected], answer: &Answer) -> bool {
    expected.iter().any(|right| {
        let same_person = answer.confirmed == right.confirmed || (right.leaves_no_trace && answer.confirmed.is_none());
        let told = (answer.directive, answer.reason) == (right.directive, right.reason) && same_person;
        let boarded_before = right.directive == Directive::Proceed
            && (answer.directive, answer.reason, answer.confirmed) == (Directive::Wait, Reason::AlreadyBoarded, None);
        told || boarded_before
    })
}
