//! From candidates and policy to a decision.
//!
//! Terms as in ISO/IEC 19795-1: FMR, false match rate of one comparison; FPIR, false positive identification rate of
//! one search over a gallery of N templates. With independent comparisons FPIR = 1 - (1 - FMR)^N.

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::Candidate;
use cluster_config::decision::{Directive, Reason};
use cluster_config::policy::Matching;

/// What a capture comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What the gate does next.
    pub directive: Directive,
    /// Why.
    pub reason: Reason,
    /// Who it is, where *proceed*.
    pub who: Option<Candidate>,
}

/// The score from which on a search over `templates` templates calls a match, so that its FPIR is the policy's target.
///
/// Between two points of the calibration the score is interpolated over the logarithm of the false match rate; beyond
/// its ends the end's score holds, or the last segment's slope goes on where a lower rate is needed than was measured.
pub fn threshold(matching: &Matching, templates: u64) -> f32 {
    let templates = templates.max(1) as f64;
    let needed = -f64::exp_m1(f64::ln_1p(-matching.fpir_target) / templates);
    let points = &matching.calibration;
    let Some(first) = points.first() else {
        return 1.0;
    };
    if needed >= first.false_match_rate {
        return first.score;
    }
    let segment = points.windows(2).find(|pair| needed >= pair[1].false_match_rate).or(points.windows(2).last());
    let Some([left, right]) = segment else {
        return first.score;
    };
    let position = (needed.log10() - left.false_match_rate.log10())
        / (right.false_match_rate.log10() - left.false_match_rate.log10());
    let score = f64::from(left.score) + position * f64::from(right.score - left.score);
    score.min(1.0) as f32
}

/// The score below which a candidate changes no decision in a gallery of this size or a larger one: it lies below the
/// threshold by more than makes a *recapture*, and too far behind every match to be taken for it.
pub fn floor(matching: &Matching, templates: u64, canaries: Canaries) -> f32 {
    threshold_used(matching, templates, canaries) - matching.recapture_band.max(matching.ambiguity_margin)
}

fn threshold_used(matching: &Matching, templates: u64, canaries: Canaries) -> f32 {
    threshold(matching, if canaries.has(Canary::ThresholdOfOne) { 1 } else { templates })
}

/// Decides one capture.
///
/// `candidates` are the best templates of the whole gallery, best score first; `templates` is the gallery's size;
/// `attempt` counts this traveller's captures from 1. Several templates of one person are fused by their maximum.
pub fn decide(
    matching: &Matching,
    templates: u64,
    candidates: &[Candidate],
    attempt: u8,
    canaries: Canaries,
) -> Verdict {
    let last_attempt = attempt >= matching.attempts_max;
    let again = |reason| Verdict {
        directive: if last_attempt { Directive::Wait } else { Directive::Recapture },
        reason,
        who: None,
    };
    let no_match = Verdict { directive: Directive::Wait, reason: Reason::NoMatch, who: None };
    let Some(best) = candidates.first() else {
        return no_match;
    };
    let threshold = threshold_used(matching, templates, canaries);
    if best.score < threshold - matching.recapture_band {
        return no_match;
    }
    if best.score < threshold {
        return if last_attempt { no_match } else { again(Reason::NearThreshold) };
    }
    let second = candidates.iter().find(|candidate| candidate.subject != best.subject);
    let second = second.filter(|_| !canaries.has(Canary::IgnoredSecond));
    if second.is_some_and(|second| best.score - second.score < matching.ambiguity_margin) {
        return again(Reason::Ambiguous);
    }
    Verdict { directive: Directive::Proceed, reason: Reason::Matched, who: Some(*best) }
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::{PersonMark, SubjectId};

    use super::*;

    fn decide(matching: &Matching, templates: u64, candidates: &[Candidate], attempt: u8) -> Verdict {
        super::decide(matching, templates, candidates, attempt, Canaries::default())
    }

    fn candidate(subject: u64, score: f32) -> Candidate {
        Candidate {
            subject: SubjectId(subject),
            mark: PersonMark::default(),
            manifest_ordinal: subject as u32,
            score,
            in_scope: true,
        }
    }

    #[test]
    fn the_threshold_meets_the_calibration_and_rises_with_the_gallery() {
        let matching = Matching { fpir_target: 1e-6, ..Matching::default() };
        assert!((threshold(&matching, 1) - 0.2971).abs() < 1e-4, "one comparison: the score of FMR 1e-6");
        assert!((threshold(&matching, 100) - 0.3508).abs() < 1e-3, "a hundred: that of about 1e-8");
        let mut before = 0.0;
        for templates in [1, 10, 400, 42_000, 2_000_000, u64::MAX] {
            let now = threshold(&matching, templates);
            assert!(now > before && now <= 1.0, "{templates}: {now}");
            before = now;
        }
    }

    #[test]
    fn candidates_below_the_floor_change_no_decision() {
        let scores = [-0.1, 0.05, 0.2, 0.23, 0.25, 0.3, 0.31, 0.35, 0.36, 0.4, 0.7];
        let parts = [(0.05, 0.06), (0.06, 0.05), (0.3, 0.0), (0.0, 0.0), (1.0, 1.0)].map(|(margin, band)| Matching {
            ambiguity_margin: margin,
            recapture_band: band,
            ..Matching::default()
        });
        for matching in &parts {
            for (first, second) in scores.iter().flat_map(|first| scores.map(|second| (*first, second))) {
                let mut all = vec![candidate(1, first), candidate(2, second)];
                all.sort_by(|a, b| b.score.total_cmp(&a.score));
                for templates in [1, 400, 2_000_000] {
                    let floor = floor(matching, templates, Canaries::default());
                    let reaching: Vec<Candidate> = all.iter().filter(|who| who.score >= floor).copied().collect();
                    for attempt in [1, matching.attempts_max] {
                        let decided = decide(matching, templates, &reaching, attempt);
                        assert_eq!(
                            decided,
                            decide(matching, templates, &all, attempt),
                            "{first} {second} {matching:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_clear_match_proceeds_whoever_else_has_several_photographs() {
        let verdict = decide(&Matching::default(), 400, &[candidate(1, 0.7), candidate(1, 0.69), candidate(2, 0.2)], 1);
        assert_eq!((verdict.directive, verdict.reason), (Directive::Proceed, Reason::Matched));
        assert_eq!(verdict.who.map(|who| who.subject), Some(SubjectId(1)));
    }

    #[test]
    fn two_persons_too_close_are_captured_again_and_wait_at_last() {
        let twins = [candidate(1, 0.70), candidate(2, 0.67)];
        let matching = Matching::default();
        assert_eq!(decide(&matching, 400, &twins, 1).directive, Directive::Recapture);
        let last = decide(&matching, 400, &twins, matching.attempts_max);
        assert_eq!((last.directive, last.reason, last.who), (Directive::Wait, Reason::Ambiguous, None));
    }

    #[test]
    fn below_the_threshold_is_a_recapture_only_when_near_and_attempts_are_left() {
        let matching = Matching::default();
        let limit = threshold(&matching, 400);
        let near = [candidate(1, limit - 0.01)];
        assert_eq!(decide(&matching, 400, &near, 1).reason, Reason::NearThreshold);
        assert_eq!(decide(&matching, 400, &near, matching.attempts_max).reason, Reason::NoMatch);
        assert_eq!(decide(&matching, 400, &[candidate(1, limit - 0.2)], 1).reason, Reason::NoMatch);
        assert_eq!(decide(&matching, 400, &[], 1).directive, Directive::Wait);
    }
}
