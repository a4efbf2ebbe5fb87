//! The kernels without intrinsics. The arrays are small enough for the compiler to keep in registers and
//! regular enough for it to vectorise: SSE2 on x86-64, NEON on AArch64.

use super::Scores;
use crate::layout::PANEL_ROWS;

/// Scores one panel (`dims x 32` values) against `P` probes (`dims x P` values), a sub-tile of `ROWS` rows
/// by `GROUP` probes at a time. Returns for each probe the rows, as bits, whose score is not below
/// `lowest`; `scores` is written for all rows.
pub(super) fn score_tile<const P: usize, const GROUP: usize, const ROWS: usize>(
    panel: &[f32],
    probes: &[f32],
    lowest: &[f32; P],
    scores: &mut Scores<P>,
) -> [u32; P] {
    const { assert!(P.is_multiple_of(GROUP) && PANEL_ROWS.is_multiple_of(ROWS)) };
    let (lines, _) = panel.as_chunks::<PANEL_ROWS>();
    let (values, _) = probes.as_chunks::<P>();
    for group in (0..P).step_by(GROUP) {
        for row in (0..PANEL_ROWS).step_by(ROWS) {
            let sums = sub_tile::<P, GROUP, ROWS>(lines, values, group, row);
            for (scores, sums) in scores[group..group + GROUP].iter_mut().zip(&sums) {
                scores[row..row + ROWS].copy_from_slice(sums);
            }
        }
    }
    let mut reached = [0u32; P];
    for ((reached, scores), lowest) in reached.iter_mut().zip(scores.iter()).zip(lowest) {
        for (lane, score) in scores.iter().enumerate() {
            *reached |= u32::from(*score >= *lowest) << lane;
        }
    }
    reached
}

/// The sums of `ROWS` rows by `GROUP` probes over all dimensions. The sums are handled one dimension at a time as whole
/// arrays of fixed size: that is the form which the compiler turns into vector registers.
#[inline(always)]
fn sub_tile<const P: usize, const GROUP: usize, const ROWS: usize>(
    lines: &[[f32; PANEL_ROWS]],
    values: &[[f32; P]],
    group: usize,
    row: usize,
) -> [[f32; ROWS]; GROUP] {
    let mut sums = [[0.0f32; ROWS]; GROUP];
    for dimension in 0..lines.len().min(values.len()) {
        let elements = &lines[dimension].as_chunks::<ROWS>().0[row / ROWS];
        let probe_values = &values[dimension].as_chunks::<GROUP>().0[group / GROUP];
        for place in 0..GROUP {
            for lane in 0..ROWS {
                sums[place][lane] = multiply_add(elements[lane], probe_values[place], sums[place][lane]);
            }
        }
    }
    sums
}

/// Fused where every processor of the architecture has the instruction; elsewhere `mul_add` would be a
/// call into libm, a hundred times slower. The error bound holds for both.
#[inline(always)]
fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
    if cfg!(target_arch = "aarch64") { a.mul_add(b, sum) } else { a * b + sum }
}
