//! Policy: numbers that a programme decides, versioned and replicated, never compiled in.

use serde::{Deserialize, Serialize};

use crate::ids::ModelVersion;
use crate::limits::NODES_MAX;

/// Bounds of [`Policy::fpir_target`]. Above the upper one a gate lets strangers through as a matter of course; below
/// the lower one no calibration reaches.
const FPIR_TARGET_MIN: f64 = 1e-9;
const FPIR_TARGET_MAX: f64 = 0.01;

/// Points of a calibration: a measured distribution has one for each power of ten, with room.
const CALIBRATION_POINTS_MAX: usize = 64;

/// Captures of one traveller: after ten, a person has long had to come.
const ATTEMPTS_MAX: u8 = 10;

/// A fortnight: no manifest comes earlier.
const BUILD_AHEAD_HOURS_MAX: u32 = 336;

/// Codes of one country.
const HOME_CODES_MAX: usize = 64;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("policy.{field}: {problem}; {fix}")]
pub struct Error {
    /// The field, as written in TOML or JSON.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What is accepted.
    pub fix: &'static str,
}

/// One point of a model's measured non-mated score distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationPoint {
    /// False match rate of one comparison (ISO/IEC 19795-1), 0 to 1.
    pub false_match_rate: f64,
    /// The score at which the model has that rate (cosine similarity, -1 to 1).
    pub score: f32,
}

/// All policy data of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Counts up with each change; an answer can be traced to the policy that it was made under.
    pub version: u32,
    /// The model whose scores the calibration describes.
    pub model: ModelVersion,
    /// Target false positive identification rate of one search over a whole gallery (ISO/IEC 19795-1, FPIR).
    pub fpir_target: f64,
    /// The model's non-mated distribution, false match rates falling, scores rising.
    pub calibration: Vec<CalibrationPoint>,
    /// A second person whose score is closer to the first than this makes the answer *recapture*.
    pub ambiguity_margin: f32,
    /// A best score below the threshold by at most this asks for another picture instead of a no-match.
    pub recapture_band: f32,
    /// Captures of one traveller before a recapture becomes a no-match.
    pub attempts_max: u8,
    /// Youngest age in scope, years (R1).
    pub age_in_scope_min: u8,
    /// Oldest age in scope, years (R1).
    pub age_in_scope_max: u8,
    /// The codes under which manifests name the country whose citizens are not recorded (R3, R4): ISO 3166-1 alpha-3,
    /// and alpha-2, which some carriers send.
    pub home_country_codes: Vec<String>,
    /// Hours before departure from which a gallery may be built (R36).
    pub build_ahead_hours_max: u32,
    /// Minutes after its scheduled departure when a journey is closed that nobody has closed: far beyond any delay with
    /// which people still board.
    pub close_after_minutes: u32,
    /// Minutes after the end of a journey when its records leave the replicated state for files: no gate repeats a
    /// request so late.
    pub ledger_seal_after_minutes: u32,
    /// Days for which records of the ledger are kept once they have left the state.
    pub ledger_days: u32,
    /// Replicas of each shard.
    pub replicas: u8,
    /// Replicas while a journey boards, where there are nodes enough.
    pub replicas_boarding: u8,
}

impl Default for Policy {
    fn default() -> Self {
        // The synthetic model's non-mated scores are normal with mean 0 and standard deviation 0.0625 (see
        // `node/population/src/population.rs`); the scores below are that distribution's upper quantiles.
        let point = |false_match_rate, score| CalibrationPoint { false_match_rate, score };
        Self {
            version: 1,
            model: "synthetic-512-v1".parse().unwrap_or_else(|_| unreachable!("a constant that fits")),
            fpir_target: 0.001,
            calibration: vec![
                point(1e-2, 0.1454),
                point(1e-3, 0.1931),
                point(1e-4, 0.2324),
                point(1e-5, 0.2666),
                point(1e-6, 0.2971),
                point(1e-7, 0.3250),
                point(1e-8, 0.3508),
                point(1e-9, 0.3749),
                point(1e-10, 0.3976),
            ],
            ambiguity_margin: 0.05,
            recapture_band: 0.06,
            attempts_max: 3,
            age_in_scope_min: 14,
            age_in_scope_max: 79,
            home_country_codes: vec!["USA".to_owned(), "US".to_owned()],
            build_ahead_hours_max: 24,
            close_after_minutes: 24 * 60,
            ledger_seal_after_minutes: 60,
            ledger_days: 400,
            replicas: 2,
            replicas_boarding: 3,
        }
    }
}

impl Policy {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// The first field that does not, by its name in the file.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, problem, fix| Err(Error { field, problem, fix });
        if !(FPIR_TARGET_MIN..=FPIR_TARGET_MAX).contains(&self.fpir_target) {
            let problem = "it is not between 1e-9 and 0.01, above which every hundredth stranger would be let through";
            return refuse("fpir_target", problem, "give a number from 1e-9 to 0.01");
        }
        if !(2..=CALIBRATION_POINTS_MAX).contains(&self.calibration.len()) {
            return refuse("calibration", "it has fewer than 2 points, or more than 64", "give 2 to 64 points");
        }
        for pair in self.calibration.windows(2) {
            if !(pair[1].false_match_rate < pair[0].false_match_rate && pair[1].score > pair[0].score) {
                let problem = "false match rates do not fall, or scores do not rise, from point to point";
                return refuse("calibration", problem, "order the points by rising score and falling false match rate");
            }
        }
        if self.calibration.iter().any(|p| !(p.false_match_rate > 0.0 && p.false_match_rate < 1.0)) {
            let problem = "a false match rate is not between 0 and 1";
            return refuse("calibration", problem, "give rates between 0 and 1, both excluded");
        }
        if self.calibration.iter().any(|p| !(p.score > 0.0 && p.score <= 1.0)) {
            // The cosines of many people's templates have no negative mean, so at 0 about half of all strangers match.
            let problem = "a score is not between 0 and 1: at 0 or below, nearly everybody would match everybody";
            return refuse("calibration", problem, "give scores above 0, up to 1");
        }
        if !(0.0..=1.0).contains(&self.ambiguity_margin) {
            return refuse("ambiguity_margin", "it is not between 0 and 1", "give a number from 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.recapture_band) {
            return refuse("recapture_band", "it is not between 0 and 1", "give a number from 0 to 1");
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts_max) {
            return refuse("attempts_max", "it is 0, or above 10", "allow 1 to 10 attempts");
        }
        if self.recapture_band >= self.calibration[0].score {
            let problem = "it reaches below a score of 0, so that everybody would be asked for another picture";
            return refuse("recapture_band", problem, "give less than the lowest score of the calibration");
        }
        if self.age_in_scope_min > self.age_in_scope_max {
            return refuse("age_in_scope_min", "it is above age_in_scope_max", "give no more than age_in_scope_max");
        }
        if !(1..=BUILD_AHEAD_HOURS_MAX).contains(&self.build_ahead_hours_max) {
            return refuse("build_ahead_hours_max", "it is 0, or above 336", "give 1 to 336 hours");
        }
        let is_code = |code: &String| (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase());
        if self.home_country_codes.len() > HOME_CODES_MAX {
            return refuse("home_country_codes", "it has more than 64 entries", "list the home country's codes alone");
        }
        if self.home_country_codes.is_empty() || !self.home_country_codes.iter().all(is_code) {
            let problem = "it is empty, or an entry is no code of two or three capital letters";
            return refuse("home_country_codes", problem, "list ISO 3166-1 codes such as USA and US");
        }
        if self.close_after_minutes == 0 {
            return refuse("close_after_minutes", "it is 0", "give at least 1 minute");
        }
        if self.ledger_days == 0 {
            return refuse("ledger_days", "it is 0", "give at least 1 day");
        }
        if self.replicas == 0 || self.replicas_boarding < self.replicas {
            let problem = "it is 0, or above replicas_boarding";
            return refuse("replicas", problem, "give at least 1, and no more than replicas_boarding");
        }
        if usize::from(self.replicas_boarding) > NODES_MAX {
            return refuse("replicas_boarding", "it is above 64, more than nodes can be", "give at most 64");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_an_unsound_field_is_named() {
        assert_eq!(Policy::default().check(), Ok(()));
        let policy = Policy { fpir_target: f64::NAN, ..Policy::default() };
        assert_eq!(policy.check().expect_err("refused").field, "fpir_target");
        let mut policy = Policy::default();
        policy.calibration.swap(0, 1);
        assert_eq!(policy.check().expect_err("refused").field, "calibration");
    }

    /// F20, P10: each bound is named by its field.
    #[test]
    fn a_policy_that_matches_everybody_or_nobody_can_follow_is_refused_by_its_field() {
        let refused = |change: &dyn Fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            policy.check().expect_err("refused").field
        };
        assert_eq!(refused(&|policy| policy.fpir_target = 0.999_999), "fpir_target");
        assert_eq!(refused(&|policy| policy.fpir_target = 0.0), "fpir_target");
        assert_eq!(refused(&|policy| policy.calibration[0].score = -1.0), "calibration");
        assert_eq!(refused(&|policy| policy.calibration[0].score = 0.0), "calibration");
        assert_eq!(refused(&|policy| policy.calibration[0].score = f32::NAN), "calibration");
        assert_eq!(refused(&|policy| policy.calibration.truncate(1)), "calibration");
        assert_eq!(refused(&|policy| policy.recapture_band = 0.2), "recapture_band");
        assert_eq!(refused(&|policy| policy.ambiguity_margin = -0.1), "ambiguity_margin");
        assert_eq!(refused(&|policy| policy.attempts_max = 11), "attempts_max");
        assert_eq!(refused(&|policy| policy.build_ahead_hours_max = 0), "build_ahead_hours_max");
        assert_eq!(refused(&|policy| policy.home_country_codes.clear()), "home_country_codes");
        assert_eq!(refused(&|policy| policy.replicas_boarding = 65), "replicas_boarding");
    }
}
