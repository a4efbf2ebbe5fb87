//! Why the answer is exact: the error bound of a coarse score, the selection that respects it, and the
//! one way in which the selected rows are scored again ([`dot`]).

use crate::batch::Hit;
pub use crate::dot::dot;
use crate::gallery::{Gallery, NORM_TOLERANCE};
use crate::layout::{Candidate, PANEL_ROWS};

/// Unit roundoff counted with, 2^-23. IEEE round-to-nearest would allow 2^-24, but WGSL's "correctly
/// rounded" names no direction (WGSL, section 15.7.4), so the bound allows for either neighbour.
const UNIT_ROUNDOFF_F32: f64 = 1.0 / (1u64 << 23) as f64;

/// Unit roundoff of `f64`, round to nearest.
const UNIT_ROUNDOFF_F64: f64 = 1.0 / (1u64 << 53) as f64;

/// Free places for candidates beyond k before the buffer is sieved for the first time.
const SIEVE_SLACK: usize = 16;

/// An upper bound of `|coarse - dot|` for two templates of `dims` values that passed the norm check.
///
/// Let `s` be the real inner product of `a` and `b`. For any order of summation, with or without fused
/// multiply-add, the computed value is off by at most `gamma_n * sum |a_i b_i|` with `gamma_n = n u / (1 - n u)`
/// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). By Cauchy-Schwarz
/// `sum |a_i b_i| <= |a| |b| <= (1 + tolerance)^2`. That holds for the coarse `f32` value and for the
/// `f64` value of [`dot`], so the two differ by at most the sum of both bounds. A device may flush
/// subnormal inputs and results to zero: at most 4 n times an error of 2^-126 each (inputs, product and sum).
pub fn coarse_error_max(dims: usize) -> f64 {
    let n = dims as f64;
    let gamma = |unit_roundoff: f64| n * unit_roundoff / (1.0 - n * unit_roundoff);
    // The checked norm itself was computed in `f64`; 1e-12 covers its rounding.
    let norm_max = 1.0 + NORM_TOLERANCE + 1e-12;
    (gamma(UNIT_ROUNDOFF_F32) + gamma(UNIT_ROUNDOFF_F64)) * norm_max * norm_max + 4.0 * n * f64::from(f32::MIN_POSITIVE)
}

/// The lowest coarse score that a row of the exact top-k can have, where `kth` is the k-th largest coarse
/// score of any set of rows of the gallery.
///
/// At least k rows have a coarse score of `kth` or more, so an exact one of `kth - e` or more, so
/// the exact k-th score is at least `kth - e`. A row that reaches it has a coarse score of at
/// least `kth - 2 e`. The result is rounded down, so that a comparison in `f32` never excludes a row.
pub(crate) fn threshold(kth: f32, dims: usize) -> f32 {
    ((f64::from(kth) - 2.0 * coarse_error_max(dims)) as f32).next_down()
}

/// Scores `candidates` again and returns the best `k`: `f64` score descending, then the lower row. Every
/// row of the exact top-k must be among the candidates, none twice.
pub(crate) fn rescore(gallery: &Gallery, probe: &[f32], candidates: impl Iterator<Item = u32>, k: usize) -> Vec<Hit> {
    let mut scored: Vec<(f64, u32)> = candidates.map(|row| (dot(probe, gallery.row(row as usize)), row)).collect();
    let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if scored.len() > k {
        scored.select_nth_unstable_by(k - 1, order);
        scored.truncate(k);
    }
    scored.sort_unstable_by(order);
    scored.into_iter().map(|(score, row)| Hit { row, score: score as f32 }).collect()
}

/// The candidates of one probe while its gallery streams past.
///
/// Memory is bounded by what the bound cannot exclude: with many equal scores that may be the whole
/// gallery, and then the rescoring is a full `f64` scan; nothing is ever dropped without proof.
pub(crate) struct Selection {
    k: usize,
    dims: usize,
    /// Rows below it are excluded for good; it only rises.
    threshold: f32,
    /// Number of candidates at which the next sieving pays.
    sieve_at: usize,
    candidates: Vec<Candidate>,
}

impl Selection {
    /// Starts with no candidate, so with nothing excluded.
    pub(crate) fn new(k: usize, dims: usize) -> Selection {
        let sieve_at = k + SIEVE_SLACK;
        let candidates = Vec::with_capacity(sieve_at);
        Selection { k, dims, threshold: f32::NEG_INFINITY, sieve_at, candidates }
    }

    /// The coarse score below which no row matters any more.
    pub(crate) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes from one panel's coarse scores those whose bit in `reached` says that they are not below the
    /// threshold; `row_first` is the number of the panel's first row.
    pub(crate) fn insert(&mut self, scores: &[f32; PANEL_ROWS], row_first: u32, mut reached: u32) {
        while reached != 0 {
            let lane = reached.trailing_zeros();
            reached &= reached - 1;
            let score = scores[lane as usize];
            if score < self.threshold {
                continue;
            }
            self.push(Candidate { score, row: row_first + lane });
        }
    }

    /// Takes one candidate whose coarse score is not below the threshold.
    pub(crate) fn push(&mut self, candidate: Candidate) {
        self.candidates.push(candidate);
        if self.candidates.len() >= self.sieve_at {
            self.sieve();
        }
    }

    /// Raises the threshold to what the candidates prove and drops those below.
    fn sieve(&mut self) {
        if self.candidates.len() <= self.k {
            return;
        }
        let (_, kth, _) = self.candidates.select_nth_unstable_by(self.k - 1, |a, b| b.score.total_cmp(&a.score));
        self.threshold = threshold(kth.score, self.dims);
        let lowest = self.threshold;
        self.candidates.retain(|candidate| candidate.score >= lowest);
        // Doubling keeps the total cost linear where nothing can be excluded.
        self.sieve_at = (self.k + SIEVE_SLACK).max(2 * self.candidates.len());
    }

    /// The final lowest coarse score and the candidates that reach it.
    pub(crate) fn finish(mut self) -> (f32, Vec<Candidate>) {
        self.sieve();
        (self.threshold, self.candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_strictly_more_than_two_errors_below() {
        for kth in [-1.0f32, -0.1, 0.0, 0.3, 1.0] {
            let lowest = threshold(kth, 512);
            assert!(f64::from(lowest) <= f64::from(kth) - 2.0 * coarse_error_max(512));
        }
        assert!(coarse_error_max(1024) < 2e-4, "the bound has to stay useful at the widest template");
    }
}
