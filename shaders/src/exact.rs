//! Why the answer is exact: the error bound of a coarse score, the selection that respects it, and the
//! one way in which the selected rows are scored again ([`dot`]).

use crate::batch::{Hit, Wanted};
pub use crate::dot::dot;
use crate::dot::dots;
use crate::gallery::{Gallery, NORM_TOLERANCE};
use crate::memory;
use crate::quantise::Reach;
use crate::select;

/// Unit roundoff of `f32`, round to nearest.
const UNIT_ROUNDOFF_F32: f64 = 1.0 / (1u64 << 24) as f64;

/// Unit roundoff of `f64`, round to nearest.
const UNIT_ROUNDOFF_F64: f64 = 1.0 / (1u64 << 53) as f64;

/// Free places for candidates beyond k before the buffer is sieved for the first time.
const SIEVE_SLACK: usize = 16;

/// Pairs of templates that are asked for before they are scored. One was a little slower; many at once are dropped
/// ([`memory`]).
const PAIRS_AHEAD: usize = 2;

/// An upper bound of `|coarse - dot|` for two templates of `dims` values that passed the norm check.
///
/// Let `s` be the real inner product of `a` and `b`. For any order of summation, with or without fused
/// multiply-add, the computed value is off by at most `gamma_n * sum |a_i b_i|` with `gamma_n = n u / (1 - n u)`
/// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). By Cauchy-Schwarz
/// `sum |a_i b_i| <= |a| |b| <= (1 + tolerance)^2`. That holds for the coarse `f32` value and for the
/// `f64` value of [`dot`], so the two differ by at most the sum of both bounds. Products below the normal range add at
/// most 2^-126 each.
pub fn coarse_error_max(dims: usize) -> f64 {
    sum_error_max(dims, UNIT_ROUNDOFF_F32) + dot_error_max(dims) + dims as f64 * f64::from(f32::MIN_POSITIVE)
}

/// The `f64` part of [`coarse_error_max`]: how far [`dot`] can be from the real inner product.
pub(crate) fn dot_error_max(dims: usize) -> f64 {
    sum_error_max(dims, UNIT_ROUNDOFF_F64)
}

fn sum_error_max(dims: usize, unit_roundoff: f64) -> f64 {
    let n = dims as f64;
    // The checked norm itself was computed in `f64`; 1e-12 covers its rounding.
    let norm_max = 1.0 + NORM_TOLERANCE + 1e-12;
    n * unit_roundoff / (1.0 - n * unit_roundoff) * norm_max * norm_max
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

/// The best rows by exact score while candidates are scored again: `f64` score descending, then the lower row.
struct Best {
    wanted: Wanted,
    scored: Vec<(f64, u32)>,
}

impl Best {
    fn new(wanted: Wanted) -> Best {
        Best { wanted, scored: Vec::with_capacity(wanted.k + 1) }
    }

    /// The score that a row has to reach now: the k-th best so far, or the floor.
    fn lowest(&self) -> f64 {
        match self.scored.last() {
            Some((kth, _)) if self.scored.len() == self.wanted.k => *kth,
            _ => self.wanted.floor,
        }
    }

    fn offer(&mut self, score: f64, row: u32) {
        if score < self.wanted.floor {
            return;
        }
        let better = |other: &(f64, u32)| other.0.total_cmp(&score).reverse().then(other.1.cmp(&row)).is_lt();
        let place = self.scored.partition_point(better);
        if place < self.wanted.k {
            self.scored.insert(place, (score, row));
            self.scored.truncate(self.wanted.k);
        }
    }

    fn hits(self) -> Vec<Hit> {
        self.scored.into_iter().map(|(score, row)| Hit { row, score: score as f32 }).collect()
    }
}

/// Scores `candidates` again and returns the wanted ones. Every row of the exact answer must be among the candidates,
/// none twice.
pub(crate) fn rescore(
    gallery: &Gallery,
    probe: &[f32],
    candidates: impl Iterator<Item = u32>,
    wanted: Wanted,
) -> Vec<Hit> {
    let mut best = Best::new(wanted);
    for row in candidates {
        best.offer(dot(probe, gallery.row(row as usize)), row);
    }
    best.hits()
}

/// As [`rescore`], for the candidates of an eight-bit pass, the highest upper bound first: it ends with the first that
/// cannot reach the exact k-th score, or the floor, any more, which all behind it cannot either.
pub(crate) fn rescore_bounded(
    gallery: &Gallery,
    probe: &[f32],
    reach: &Reach,
    candidates: &[select::Candidate],
    wanted: Wanted,
) -> Vec<Hit> {
    let row = |candidate: &select::Candidate| gallery.row(candidate.row as usize);
    let ask_for = |pair: &[select::Candidate]| pair.iter().for_each(|candidate| memory::ask_for(row(candidate)));
    let mut best = Best::new(wanted);
    let pairs = candidates.chunks(2);
    let mut ahead = pairs.clone();
    ahead.by_ref().take(PAIRS_AHEAD).for_each(ask_for);
    for pair in pairs {
        if !reach.can_reach(pair[0].upper, best.lowest()) {
            break;
        }
        ahead.by_ref().take(1).for_each(ask_for);
        if let [a, b] = pair {
            let scores = dots(probe, [row(a), row(b)]);
            best.offer(scores[0], a.row);
            best.offer(scores[1], b.row);
        } else {
            best.offer(dot(probe, row(&pair[0])), pair[0].row);
        }
    }
    best.hits()
}

/// A row that may be in the top-k, with its coarse score, within [`coarse_error_max`] of the exact one.
struct Candidate {
    score: f32,
    row: u32,
}

/// The candidates of one probe while its gallery streams past in `f32`.
///
/// Memory is bounded by what the bound cannot exclude: with many equal scores that may be the whole
/// gallery, and then the rescoring is a full `f64` scan; nothing is ever dropped without proof.
pub(crate) struct Selection {
    wanted: Wanted,
    dims: usize,
    /// Rows below it are excluded for good; it only rises.
    threshold: f32,
    /// Number of candidates at which the next sieving pays.
    sieve_at: usize,
    candidates: Vec<Candidate>,
}

impl Selection {
    /// Starts with no candidate, and excludes the rows that cannot reach the wanted floor.
    pub(crate) fn new(wanted: Wanted, dims: usize) -> Selection {
        let sieve_at = wanted.k + SIEVE_SLACK;
        let candidates = Vec::with_capacity(sieve_at);
        // An exact score of the floor or more comes with a coarse one of an error less at least.
        let threshold = ((wanted.floor - coarse_error_max(dims)) as f32).next_down();
        Selection { wanted, dims, threshold, sieve_at, candidates }
    }

    /// The coarse score below which no row matters any more.
    pub(crate) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes from the coarse scores of some rows in succession those whose bit in `reached` says that they are not below
    /// the threshold; `row_first` is the number of the first row.
    pub(crate) fn insert(&mut self, scores: &[f32], row_first: u32, mut reached: u32) {
        while reached != 0 {
            let lane = reached.trailing_zeros();
            reached &= reached - 1;
            let score = scores[lane as usize];
            if score >= self.threshold {
                self.offer(score, row_first + lane);
            }
        }
    }

    /// Takes one row whose score is not below the threshold.
    pub(crate) fn offer(&mut self, score: f32, row: u32) {
        self.candidates.push(Candidate { score, row });
        if self.candidates.len() >= self.sieve_at {
            self.sieve();
        }
    }

    /// Raises the threshold to what the candidates prove and drops those below.
    fn sieve(&mut self) {
        let k = self.wanted.k;
        if self.candidates.len() <= k {
            return;
        }
        let (_, kth, _) = self.candidates.select_nth_unstable_by(k - 1, |a, b| b.score.total_cmp(&a.score));
        self.threshold = self.threshold.max(threshold(kth.score, self.dims));
        let lowest = self.threshold;
        self.candidates.retain(|candidate| candidate.score >= lowest);
        // Doubling keeps the total cost linear where nothing can be excluded.
        self.sieve_at = (k + SIEVE_SLACK).max(2 * self.candidates.len());
    }

    /// The rows that may belong to the answer.
    pub(crate) fn finish(mut self) -> impl Iterator<Item = u32> {
        self.sieve();
        self.candidates.into_iter().map(|candidate| candidate.row)
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
