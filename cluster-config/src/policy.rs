//! Policy: numbers that a programme decides, versioned and replicated, never compiled in.

use serde::{Deserialize, Serialize};

use crate::ids::ModelVersion;

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
        if !(self.fpir_target > 0.0 && self.fpir_target < 1.0) {
            return refuse("fpir_target", "it is not between 0 and 1", "give a number between 0 and 1, both excluded");
        }
        if self.calibration.len() < 2 {
            return refuse("calibration", "it has fewer than two points", "give at least two points");
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
        if self.calibration.iter().any(|p| !(-1.0..=1.0).contains(&p.score)) {
            return refuse("calibration", "a score is not between -1 and 1", "give scores from -1 to 1");
        }
        if !(0.0..=1.0).contains(&self.ambiguity_margin) {
            return refuse("ambiguity_margin", "it is not between 0 and 1", "give a number from 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.recapture_band) {
            return refuse("recapture_band", "it is not between 0 and 1", "give a number from 0 to 1");
        }
        if self.attempts_max == 0 {
            return refuse("attempts_max", "it is 0", "allow at least 1 attempt");
        }
        if self.age_in_scope_min > self.age_in_scope_max {
            return refuse("age_in_scope_min", "it is above age_in_scope_max", "give no more than age_in_scope_max");
        }
        let is_code = |code: &String| (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase());
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
}
