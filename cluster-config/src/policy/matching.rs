//! When a capture counts as a match.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::ids::ModelVersion;

/// Bounds of [`Matching::fpir_target`]. Above the upper one a gate lets strangers through as a matter of course; below
/// the lower one no calibration reaches.
const FPIR_TARGET_MIN: f64 = 1e-9;
const FPIR_TARGET_MAX: f64 = 0.01;

/// Points of a calibration: a measured distribution has one for each power of ten, with room.
const CALIBRATION_POINTS_MAX: usize = 64;

/// Captures of one traveller: after ten, a person has long had to come.
const ATTEMPTS_MAX: u8 = 10;

/// One point of a model's measured non-mated score distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationPoint {
    /// False match rate of one comparison (ISO/IEC 19795-1), 0 to 1.
    pub false_match_rate: f64,
    /// The score at which the model has that rate (cosine similarity, -1 to 1).
    pub score: f32,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matching {
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
}

impl Default for Matching {
    fn default() -> Self {
        // The synthetic model's non-mated scores are normal with mean 0 and standard deviation 0.0625 (see
        // `node/population/src/population.rs`); the scores below are that distribution's upper quantiles.
        let point = |false_match_rate, score| CalibrationPoint { false_match_rate, score };
        Self {
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
        }
    }
}

impl Matching {
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |field, problem, fix| Err(Error { part: "matching", field, problem, fix });
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
        Ok(())
    }
}
