//! The x86-64 kernels. Loads go through pointers, because bounds checks in the innermost loop would cost
//! as much as the arithmetic; the lengths they rely on are asserted once at the top of each function.

use std::arch::x86_64::*;

use super::Scores;
use crate::layout::PANEL_ROWS;

/// Scores one panel (`dims x 32` values) against `P` probes (`dims x P` values): two 512-bit registers of
/// rows by `P` probes, in `SPLIT` independent sums over the dimensions, so that narrow tiles too have the
/// eight chains that hide the latency of a multiply-add. Returns for each probe the rows, as bits, whose score
/// is not below `lowest`; `scores` is written only for probes that have such a row.
///
/// Unsafe to call only for what the processor must have: AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) fn score_tile_avx512<const P: usize, const SPLIT: usize>(
    panel: &[f32],
    probes: &[f32],
    lowest: &[f32; P],
    scores: &mut Scores<P>,
) -> [u32; P] {
    let dims = panel.len() / PANEL_ROWS;
    assert!(panel.len() == dims * PANEL_ROWS && probes.len() == dims * P && dims.is_multiple_of(SPLIT));
    let mut sums = [[[_mm512_setzero_ps(); 2]; P]; SPLIT];
    let (mut line, mut values) = (panel.as_ptr(), probes.as_ptr());
    for _ in 0..dims / SPLIT {
        for sums in &mut sums {
            // SAFETY: the loops run `dims` times in all; each turn reads 32 values of the panel and `P` of the
            // probes and steps over them, which the assertion above says are there.
            unsafe {
                let (low, high) = (_mm512_loadu_ps(line), _mm512_loadu_ps(line.add(16)));
                for (place, sums) in sums.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*values.add(place));
                    sums[0] = _mm512_fmadd_ps(low, value, sums[0]);
                    sums[1] = _mm512_fmadd_ps(high, value, sums[1]);
                }
                line = line.add(PANEL_ROWS);
                values = values.add(P);
            }
        }
    }
    let mut reached = [0u32; P];
    for place in 0..P {
        let [mut low, mut high] = sums[0][place];
        for part in &sums[1..] {
            low = _mm512_add_ps(low, part[place][0]);
            high = _mm512_add_ps(high, part[place][1]);
        }
        let bound = _mm512_set1_ps(lowest[place]);
        let low_mask = u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(low, bound));
        let high_mask = u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(high, bound));
        reached[place] = low_mask | high_mask << 16;
        if reached[place] != 0 {
            let out = scores[place].as_mut_ptr();
            // SAFETY: `scores[place]` has 32 values.
            unsafe {
                _mm512_storeu_ps(out, low);
                _mm512_storeu_ps(out.add(16), high);
            }
        }
    }
    reached
}

/// As [`score_tile_avx512`], in sub-tiles of two 256-bit registers of rows by `GROUP` probes: with `GROUP` 6
/// that is 12 sums, 2 rows and 1 probe value in the 16 registers there are.
///
/// Unsafe to call only for what the processor must have: AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn score_tile_avx2<const P: usize, const GROUP: usize, const SPLIT: usize>(
    panel: &[f32],
    probes: &[f32],
    lowest: &[f32; P],
    scores: &mut Scores<P>,
) -> [u32; P] {
    const { assert!(P.is_multiple_of(GROUP)) };
    let dims = panel.len() / PANEL_ROWS;
    assert!(panel.len() == dims * PANEL_ROWS && probes.len() == dims * P && dims.is_multiple_of(SPLIT));
    let mut reached = [0u32; P];
    for group in (0..P).step_by(GROUP) {
        for row in (0..PANEL_ROWS).step_by(16) {
            let mut sums = [[[_mm256_setzero_ps(); 2]; GROUP]; SPLIT];
            // SAFETY: `row` is below the panel's 32 rows, `group` below the tile's `P` probes.
            let (mut line, mut values) = unsafe { (panel.as_ptr().add(row), probes.as_ptr().add(group)) };
            for _ in 0..dims / SPLIT {
                for sums in &mut sums {
                    // SAFETY: the loops run `dims` times in all; each turn reads 16 of the 32 values of one
                    // dimension of the panel and `GROUP` of the `P` of the probes, which the assertion says are there.
                    // The pointers step with `wrapping_add`, because the last step leaves the slice.
                    unsafe {
                        let (low, high) = (_mm256_loadu_ps(line), _mm256_loadu_ps(line.add(8)));
                        for (place, sums) in sums.iter_mut().enumerate() {
                            let value = _mm256_set1_ps(*values.add(place));
                            sums[0] = _mm256_fmadd_ps(low, value, sums[0]);
                            sums[1] = _mm256_fmadd_ps(high, value, sums[1]);
                        }
                    }
                    line = line.wrapping_add(PANEL_ROWS);
                    values = values.wrapping_add(P);
                }
            }
            for place in 0..GROUP {
                let [mut low, mut high] = sums[0][place];
                for part in &sums[1..] {
                    low = _mm256_add_ps(low, part[place][0]);
                    high = _mm256_add_ps(high, part[place][1]);
                }
                let bound = _mm256_set1_ps(lowest[group + place]);
                let low_mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(low, bound)) as u32;
                let high_mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(high, bound)) as u32;
                reached[group + place] |= (low_mask | high_mask << 8) << row;
                let out = &mut scores[group + place][row..row + 16];
                // SAFETY: the slice has 16 values.
                unsafe {
                    _mm256_storeu_ps(out.as_mut_ptr(), low);
                    _mm256_storeu_ps(out.as_mut_ptr().add(8), high);
                }
            }
        }
    }
    reached
}
