//! How far a score computed from codes can be from the exact one: every error bound of the crate.
//!
//! The quantiser (`quantise.rs`) turns a template `x` into integer codes `q` and a scale `s`, so that `x = s q + e`,
//! where the norm of the rest `e` is known. For a gallery row `x` (scale `s`, codes `q`, rest `e`) and a probe `p`
//! (scale `t`, codes `c`, rest `f`)
//!
//! ```text
//! x . p  =  s t (q . c)  +  e . (t c)  +  x . f
//! ```
//!
//! The first term is an integer sum times two scales. By Cauchy-Schwarz the second is at most `|e| |t c|` and the
//! third at most `|x| |f|`, whatever the data. Everything is counted in units of the probe's scale `t`: the centre
//! `s (q . c)`, the row's radius `|e| * reach` with `reach = |c|`, and the probe's margin `(1 + tolerance) |f| / t`.
//! The exact score lies within radius and margin of the centre.
//!
//! **Rounding of the kernels.** With eight-bit codes `|q . c|` is at most `127 * 127 * 1024 < 2^24`, so the sum is
//! exact in `i32` and in `f32`. With a probe of twelve bits it is below 2^28: exact in `i32`, and rounded in `f32` like
//! a product. A kernel computes `s * (q . c)` plus and minus `error * reach` in `f32` with at most three roundings, two
//! products and a sum. Each is of relative size 2^-24 on a CPU, and 2^-23 on a device, because WGSL's "correctly
//! rounded" names no direction (WGSL, section 15.7.4). `|s (q . c)| <= |s q| |c| <= (|x| + |e|) reach`, with
//! `|x| <= 1.0011` and `|e| <= 0.13` (half a step of `1.001 / 127` in each of 1024 places). So all three roundings
//! together stay below `2^-23 (1.14 + 0.14 + 1.28) reach < 2^-21 reach`. With twelve bits, which only CPUs score, they
//! stay below `2^-24 (1.14 + 1.14 + 0.14 + 1.28) reach`. The stored error of a row is `|e| + 2^-20`, which covers twice
//! that. How norms are rounded ([`NORM_SLACK`], [`REST_SLACK`]) is counted as well.

/// How far a template's norm may be from 1. Encoders normalise in `f32`, so true deviations are near 1e-6. The
/// tolerance leaves room for templates that were stored in half precision.
pub(crate) const NORM_TOLERANCE: f64 = 1e-3;

/// The largest norm of a checked template. The checked norm was itself computed in `f64`; 1e-12 covers its rounding.
const NORM_MAX: f64 = 1.0 + NORM_TOLERANCE + 1e-12;

/// Unit roundoff of `f64`, round to nearest.
const UNIT_ROUNDOFF_F64: f64 = 1.0 / (1u64 << 53) as f64;

/// Covers the rounding of a norm that was summed in `f64`, or in `f32` lanes of at most 64 terms each: 2^-24 for the
/// square and for each addition, half of which is left under the root.
pub(crate) const NORM_SLACK: f64 = 1.0 + 33.0 / (1u64 << 24) as f64;

/// Covers the rounding of the rests in `f32`. Product and difference are off by at most `2^-24 (|s q| + |e|)`, of which
/// the norms are below 1.15 and 0.13; for narrow codes, whose step is at most `1.001 sqrt(16) / 250`, they are below
/// 1.27 and 0.26. What underflows when it is squared is far less.
pub(crate) const REST_SLACK: f64 = 1.0 / (1u64 << 23) as f64;

/// Covers the rounding of the kernels' comparison, as counted above.
pub(crate) const ROUNDING: f64 = 1.0 / (1u64 << 20) as f64;

/// How far a correct device's upper bound may be off, in units of the probe's reach, as counted above.
pub(crate) const UPPER_ERROR_MAX: f64 = 1.0 / (1u64 << 21) as f64;

/// Covers what a device rounds when it takes a margin from a lower bound, in units of the probe's reach: less than
/// 2^-22.
pub(crate) const DEVICE_MARGIN_SLACK: f64 = 1.0 / (1u64 << 20) as f64;

/// How far the exact score, an inner product summed in `f64`, can be from the real one, for checked templates of `dims`
/// values.
///
/// For any order of summation the computed value is off by at most `gamma_n * sum |a_i b_i|` with
/// `gamma_n = n u / (1 - n u)` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1). By
/// Cauchy-Schwarz `sum |a_i b_i| <= |a| |b|`, at most the square of [`NORM_MAX`].
pub(crate) fn dot_error_max(dims: usize) -> f64 {
    let n = dims as f64;
    n * UNIT_ROUNDOFF_F64 / (1.0 - n * UNIT_ROUNDOFF_F64) * NORM_MAX * NORM_MAX
}

/// What a template's codes leave out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantised {
    /// Value of one step.
    pub(crate) scale: f32,
    /// An upper bound of the norm of what the codes leave out.
    pub(crate) error: f64,
    /// Sum of the codes.
    pub(crate) sum: i32,
    /// Sum of the squares of the codes, exact.
    pub(crate) squares: i64,
}

impl Quantised {
    /// The error as a gallery row stores it: rounded up, the kernels' own rounding included.
    pub(crate) fn error_stored(&self) -> f32 {
        ((self.error + ROUNDING) as f32).next_up()
    }
}

/// What the bound has to know of a probe. Lengths are in units of its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reach {
    /// Value of one step.
    pub(crate) scale: f64,
    /// An upper bound of the norm of the probe's codes: a row's error is stretched by it.
    pub(crate) reach: f32,
    /// An upper bound of what the probe's own rest and the rounding of the exact score add.
    pub(crate) margin: f64,
}

impl Reach {
    pub(crate) fn new(quantised: &Quantised, dims: usize) -> Reach {
        let scale = f64::from(quantised.scale);
        let margin = (NORM_MAX * quantised.error + dot_error_max(dims)) / scale;
        Reach {
            scale,
            reach: (((quantised.squares as f64).sqrt() * NORM_SLACK) as f32).next_up(),
            margin: margin * NORM_SLACK,
        }
    }

    /// Bounds of the exact score of a row, in units of the probe's scale, without the margin: lower, upper.
    ///
    /// The products are exact in `f64`. What the sum rounds is far below what [`ROUNDING`] has added to `error`.
    pub(crate) fn bounds(&self, row_scale: f32, row_error: f32, sum: i32) -> (f64, f64) {
        let centre = f64::from(row_scale) * f64::from(sum);
        let radius = f64::from(row_error) * f64::from(self.reach);
        (centre - radius, centre + radius)
    }

    /// The lowest upper bound that a row of the exact top-k can have, where at least k rows have a lower bound of
    /// `kth_lower` or more.
    ///
    /// The exact scores of those k rows are at least `kth_lower - margin`, so the exact k-th score is, and a row that
    /// reaches it has an upper bound of at least `kth_lower - 2 margin`. Rounded down, so that a comparison in `f32`
    /// never excludes a row.
    pub(crate) fn threshold(&self, kth_lower: f64) -> f32 {
        ((kth_lower - 2.0 * self.margin) as f32).next_down()
    }

    /// The lowest upper bound that a row with the exact score `score` can have, rounded down like
    /// [`Reach::threshold`]; see [`Reach::can_reach`].
    pub(crate) fn lowest_upper(&self, score: f64) -> f32 {
        (((score - 1e-12) / self.scale - self.margin) as f32).next_down()
    }

    /// The exact score that a row must reach where its upper bound must reach `threshold`, which comes from
    /// [`Reach::threshold`] or [`Reach::lowest_upper`].
    pub(crate) fn lowest_score(&self, threshold: f32) -> f64 {
        self.scale * (f64::from(threshold) + self.margin)
    }

    /// Whether a row whose upper bound is `upper` can reach the exact score `score`.
    pub(crate) fn can_reach(&self, upper: f64, score: f64) -> bool {
        // Both are below 2; 1e-12 is far above what their computation in `f64` rounds.
        self.scale * (upper + self.margin) + 1e-12 >= score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_says_no_higher_score_than_it_was_made_for() {
        let reach = Reach { scale: 1e-4, reach: 700.0, margin: 7.0 };
        for score in [-1.0, -0.1, 0.2, 0.999] {
            let kth_lower = score / reach.scale + reach.margin;
            for threshold in [reach.lowest_upper(score), reach.threshold(kth_lower)] {
                let lowest = reach.lowest_score(threshold);
                assert!(lowest <= score && lowest > score - 1e-6, "{lowest} of {score}");
            }
        }
        assert_eq!(reach.lowest_score(f32::NEG_INFINITY), f64::NEG_INFINITY);
    }
}
