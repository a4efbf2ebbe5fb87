//! Policy: what a programme decides, in parts; one document that is versioned and replicated, never compiled in.
//!
//! A part that is left out is the default one. A field that no part has is refused where it stands.

mod matching;
mod placement;
mod retention;
mod scope;

use serde::{Deserialize, Serialize};

pub use matching::{CalibrationPoint, Matching};
pub use placement::Placement;
pub use retention::Retention;
pub use scope::Scope;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("policy.{part}.{field}: {problem}; {fix}")]
pub struct Error {
    /// The part that the field stands in.
    pub part: &'static str,
    /// The field, as written in JSON.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What is accepted.
    pub fix: &'static str,
}

impl Error {
    /// Where the field stands.
    pub fn place(&self) -> String {
        format!("policy.{}.{}", self.part, self.field)
    }
}

/// All policy data of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Counts up with each change; an answer can be traced to the policy that it was made under.
    pub version: u32,
    /// When a capture counts as a match.
    #[serde(default)]
    pub matching: Matching,
    /// Whose crossings are recorded.
    #[serde(default)]
    pub scope: Scope,
    /// What is kept, and for how long.
    #[serde(default)]
    pub retention: Retention,
    /// How many nodes have each gallery.
    #[serde(default)]
    pub placement: Placement,
    /// Who is told of what.
    #[serde(default)]
    pub routing: Routing,
    /// What each touchpoint may do.
    #[serde(default)]
    pub touchpoints: Touchpoints,
    /// What each sender of manifests is known to send.
    #[serde(default)]
    pub senders: Senders,
}

/// Who is told of what. It has no fields yet: nobody is told anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {}

/// What each touchpoint may do. It has no fields yet: all are treated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touchpoints {}

/// What each sender of manifests is known to send. It has no fields yet: all are taken alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Senders {}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: 1,
            matching: Matching::default(),
            scope: Scope::default(),
            retention: Retention::default(),
            placement: Placement::default(),
            routing: Routing::default(),
            touchpoints: Touchpoints::default(),
            senders: Senders::default(),
        }
    }
}

impl Policy {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// The first field that does not, by its place in the file.
    pub fn check(&self) -> Result<(), Error> {
        self.matching.check()?;
        self.scope.check()?;
        self.retention.check()?;
        self.placement.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_an_unsound_field_is_named() {
        assert_eq!(Policy::default().check(), Ok(()));
        let mut policy = Policy::default();
        policy.matching.fpir_target = f64::NAN;
        assert_eq!(policy.check().expect_err("refused").place(), "policy.matching.fpir_target");
        let mut policy = Policy::default();
        policy.matching.calibration.swap(0, 1);
        assert_eq!(policy.check().expect_err("refused").place(), "policy.matching.calibration");
    }

    /// F20, P10: each bound is named by its place.
    #[test]
    fn a_policy_that_matches_everybody_or_nobody_can_follow_is_refused_by_its_place() {
        let refused = |change: &dyn Fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            policy.check().expect_err("refused").place().strip_prefix("policy.").expect("a place").to_owned()
        };
        assert_eq!(refused(&|policy| policy.matching.fpir_target = 0.999_999), "matching.fpir_target");
        assert_eq!(refused(&|policy| policy.matching.fpir_target = 0.0), "matching.fpir_target");
        assert_eq!(refused(&|policy| policy.matching.calibration[0].score = -1.0), "matching.calibration");
        assert_eq!(refused(&|policy| policy.matching.calibration[0].score = 0.0), "matching.calibration");
        assert_eq!(refused(&|policy| policy.matching.calibration[0].score = f32::NAN), "matching.calibration");
        assert_eq!(refused(&|policy| policy.matching.calibration.truncate(1)), "matching.calibration");
        assert_eq!(refused(&|policy| policy.matching.recapture_band = 0.2), "matching.recapture_band");
        assert_eq!(refused(&|policy| policy.matching.ambiguity_margin = -0.1), "matching.ambiguity_margin");
        assert_eq!(refused(&|policy| policy.matching.attempts_max = 11), "matching.attempts_max");
        assert_eq!(refused(&|policy| policy.scope.home_country_codes.clear()), "scope.home_country_codes");
        assert_eq!(refused(&|policy| policy.scope.age_min = 80), "scope.age_min");
        assert_eq!(refused(&|policy| policy.retention.build_ahead_hours_max = 0), "retention.build_ahead_hours_max");
        assert_eq!(refused(&|policy| policy.retention.close_after_minutes = 0), "retention.close_after_minutes");
        assert_eq!(refused(&|policy| policy.retention.ledger_days = u32::MAX), "retention.ledger_days");
        assert_eq!(refused(&|policy| policy.retention.purge_after_hours = 9_000), "retention.purge_after_hours");
        assert_eq!(refused(&|policy| policy.retention.revocation_days = 397), "retention.revocation_days");
        assert_eq!(refused(&|policy| policy.placement.replicas_boarding = 65), "placement.replicas_boarding");
    }

    /// P10: nobody takes a setting for one that works when it is misspelt, or stands in another part.
    #[test]
    fn a_document_may_leave_parts_out_and_have_nothing_that_is_not_known() {
        let read = |text: &str| serde_json::from_str::<Policy>(text).map_err(|error| error.to_string());
        let policy = read(r#"{"version": 2, "retention": {"ledger_days": 30}}"#).expect("a policy");
        let retention = Retention { ledger_days: 30, ..Retention::default() };
        assert_eq!(policy, Policy { version: 2, retention, ..Policy::default() });
        let unknown = [
            r#"{"version": 2, "ledger_days": 30}"#,
            r#"{"version": 2, "scope": {"ledger_days": 30}}"#,
            r#"{"version": 2, "senders": {"ledger_days": 30}}"#,
        ];
        for text in unknown {
            let error = read(text).expect_err("refused");
            assert!(error.contains("unknown field `ledger_days`") && error.contains("line 1 column"), "{error}");
        }
    }
}
