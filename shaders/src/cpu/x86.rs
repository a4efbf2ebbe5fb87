//! The x86-64 kernels of the eight-bit pass. Loads go through pointers, because bounds checks in the innermost loop
//! would cost as much as the arithmetic. Each function asserts once, at its top, the lengths that its loads rely on.

use std::arch::x86_64::*;

use super::lanes::{self, Ask, Sums};
use crate::avx512;
use crate::layout::PANEL_ROWS;
use crate::memory::LINE_BYTES;
use crate::panel::{GROUP_BYTES, Panel};
use crate::quantise::FINE;

/// How far ahead of their reads the kernels ask for memory, in bytes. The hardware prefetches a stream by itself. On a
/// Zen 4 this was a twentieth quicker than not asking; asking ten lines to four kilobytes ahead was a tenth to a
/// quarter slower.
pub(super) const AHEAD_BYTES: usize = 256;

/// Asks for `LINES` lines of memory from `line` on. Nothing is read, so there need not be any memory.
#[inline(always)]
pub(super) fn ask_for<const LINES: usize>(line: *const u8) {
    for index in 0..LINES {
        // SAFETY: SSE is part of x86-64, and asking for memory reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(index * LINE_BYTES).cast()) };
    }
}

/// Scores one panel against `P` probes with `C` columns of codes: one column a probe, or two for a single probe.
///
/// A step multiplies two 512-bit registers of rows by `C` columns. There are `SPLIT` independent sums over the
/// dimensions, so that narrow tiles too have the ten chains that hide the latency of a multiply-add. Returns for each
/// probe, as bits, the rows whose upper bound is not below its threshold; `sums` is written only for probes that have
/// such a row.
///
/// Unsafe to call only for what the processor must have: AVX-512F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn score_vnni<const P: usize, const C: usize, const SPLIT: usize>(
    panel: &Panel<'_>,
    ask: &Ask<'_, P>,
    sums: &mut Sums<P>,
) -> [u32; P] {
    let groups = panel.codes.len() / GROUP_BYTES;
    assert!(panel.codes.len() == groups * GROUP_BYTES && ask.codes.len() == groups * C && C >= P);
    let mut parts = [[[_mm512_setzero_si512(); 2]; C]; SPLIT];
    // The second of two columns counts once, the first sixteen times.
    for (part, start) in parts[0][C - P..].iter_mut().zip(ask.starts) {
        *part = [_mm512_set1_epi32(start); 2];
    }
    let (mut line, mut codes) = (panel.codes.as_ptr(), ask.codes.as_ptr());
    let mut group = 0;
    while group + SPLIT <= groups {
        for part in &mut parts {
            // SAFETY: `group` counts these turns and stays below `groups`. Each turn reads 128 bytes of the panel and
            // `C` groups of the probes and steps over them; the assertion above says that they are there.
            unsafe {
                multiply_add(line, codes, part);
                ask_for::<{ GROUP_BYTES / LINE_BYTES }>(line.wrapping_add(AHEAD_BYTES));
            }
            line = line.wrapping_add(GROUP_BYTES);
            codes = codes.wrapping_add(C);
        }
        group += SPLIT;
    }
    while group < groups {
        // SAFETY: as above; these are the groups that do not make a whole turn.
        unsafe { multiply_add(line, codes, &mut parts[0]) };
        line = line.wrapping_add(GROUP_BYTES);
        codes = codes.wrapping_add(C);
        group += 1;
    }
    let (scales, errors) = (panel.scales.as_ptr(), panel.errors.as_ptr());
    // SAFETY: scales and errors are 32 values each.
    let (scales, errors) = unsafe {
        (
            [_mm512_loadu_ps(scales), _mm512_loadu_ps(scales.add(16))],
            [_mm512_loadu_ps(errors), _mm512_loadu_ps(errors.add(16))],
        )
    };
    let sum = |column: usize, half: usize| {
        parts[1..].iter().fold(parts[0][column][half], |sum, part| _mm512_add_epi32(sum, part[column][half]))
    };
    let mut reached = [0u32; P];
    for place in 0..P {
        let halves = [0, 1].map(|half| match C - P {
            0 => sum(place, half),
            _ => _mm512_add_epi32(_mm512_mullo_epi32(sum(0, half), _mm512_set1_epi32(FINE)), sum(1, half)),
        });
        let (reach, lowest) = (_mm512_set1_ps(ask.reaches[place]), _mm512_set1_ps(ask.lowest[place]));
        for half in 0..2 {
            let centre = _mm512_mul_ps(scales[half], _mm512_cvtepi32_ps(halves[half]));
            let upper = _mm512_fmadd_ps(errors[half], reach, centre);
            reached[place] |= avx512::at_least(upper, lowest) << (16 * half);
        }
        if reached[place] != 0 {
            let out = sums[place].as_mut_ptr();
            // SAFETY: `sums[place]` has 32 values.
            unsafe {
                _mm512_storeu_si512(out.cast(), halves[0]);
                _mm512_storeu_si512(out.add(16).cast(), halves[1]);
            }
        }
    }
    reached
}

/// One group of 32 rows times one group of each column. The caller has 128 bytes at `line` and `C` values at `codes`.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn multiply_add<const C: usize>(line: *const u8, codes: *const i32, sums: &mut [[__m512i; 2]; C]) {
    // SAFETY: said above.
    unsafe {
        let (low, high) = (_mm512_loadu_si512(line.cast()), _mm512_loadu_si512(line.add(64).cast()));
        for (column, sums) in sums.iter_mut().enumerate() {
            let code = _mm512_set1_epi32(*codes.add(column));
            sums[0] = _mm512_dpbusd_epi32(sums[0], low, code);
            sums[1] = _mm512_dpbusd_epi32(sums[1], high, code);
        }
    }
}

/// [`lanes::raise_lanes`], compiled for AVX2. Unsafe to call only for what the processor must have.
#[target_feature(enable = "avx2")]
pub(super) fn raise_lanes(
    best: &mut [f32; PANEL_ROWS],
    panel: &Panel<'_>,
    sums: &[i32; PANEL_ROWS],
    reach: f32,
    live: u32,
) {
    lanes::raise_lanes(best, panel, sums, reach, live);
}

/// [`lanes::reached`], compiled for AVX2. Unsafe to call only for what the processor must have.
#[target_feature(enable = "avx2")]
pub(super) fn reached(panel: &Panel<'_>, sums: &[i32; PANEL_ROWS], reach: f32, lowest: f32) -> u32 {
    lanes::reached(panel, sums, reach, lowest)
}

/// As [`score_vnni`], with AVX2 and for codes in [`Packing::Pairs`](super::packing::Packing::Pairs).
///
/// `vpmaddubsw` would saturate at twice 255 x 127. So a row's codes at even and at odd places are widened to 16 bits
/// and multiplied by `vpmaddwd`, which cannot saturate, and which takes fine codes as well as coarse ones.
///
/// Unsafe to call only for what the processor must have: AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn score_avx2<const P: usize>(panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
    match P {
        1 => score_avx2_in::<P, 1, 4>(panel, ask, sums),
        2 => score_avx2_in::<P, 2, 2>(panel, ask, sums),
        _ => score_avx2_in::<P, 4, 2>(panel, ask, sums),
    }
}

/// [`score_avx2`] in sub-tiles of `LINES` 256-bit registers of rows by `GROUP` probes, of which `P` is a multiple.
#[target_feature(enable = "avx2,fma")]
fn score_avx2_in<const P: usize, const GROUP: usize, const LINES: usize>(
    panel: &Panel<'_>,
    ask: &Ask<'_, P>,
    sums: &mut Sums<P>,
) -> [u32; P] {
    const ROWS: usize = 8;
    let groups = panel.codes.len() / GROUP_BYTES;
    assert!(P.is_multiple_of(GROUP) && PANEL_ROWS.is_multiple_of(ROWS * LINES));
    assert!(panel.codes.len() == groups * GROUP_BYTES && ask.codes.len() == groups * 2 * P);
    let low_bytes = _mm256_set1_epi16(0xFF);
    let mut reached = [0u32; P];
    for first in (0..P).step_by(GROUP) {
        for row in (0..PANEL_ROWS).step_by(ROWS * LINES) {
            let mut parts = [[_mm256_setzero_si256(); LINES]; GROUP];
            for (place, part) in parts.iter_mut().enumerate() {
                *part = [_mm256_set1_epi32(ask.starts[first + place]); LINES];
            }
            for group in 0..groups {
                // SAFETY: these are 32 x `LINES` of the group's 128 bytes, from `row` on, and `GROUP` of its `P`
                // probes, from `first` on; the assertions say that `groups` of both are there.
                let (line, codes) = unsafe {
                    (
                        panel.codes.as_ptr().add(group * GROUP_BYTES + row * 4),
                        ask.codes.as_ptr().add((group * P + first) * 2),
                    )
                };
                match LINES {
                    4 => ask_for::<2>(line.wrapping_add(AHEAD_BYTES)),
                    _ => ask_for::<1>(line.wrapping_add(AHEAD_BYTES)),
                }
                let (mut even, mut odd) = ([low_bytes; LINES], [low_bytes; LINES]);
                for (place, (even, odd)) in even.iter_mut().zip(&mut odd).enumerate() {
                    // SAFETY: as above.
                    let line = unsafe { _mm256_loadu_si256(line.add(place * 32).cast()) };
                    *even = _mm256_and_si256(line, low_bytes);
                    *odd = _mm256_srli_epi16::<8>(line);
                }
                for (place, part) in parts.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let (code_even, code_odd) = unsafe {
                        (_mm256_set1_epi32(*codes.add(2 * place)), _mm256_set1_epi32(*codes.add(2 * place + 1)))
                    };
                    for (part, (even, odd)) in part.iter_mut().zip(even.iter().zip(&odd)) {
                        *part = _mm256_add_epi32(*part, _mm256_madd_epi16(*even, code_even));
                        *part = _mm256_add_epi32(*part, _mm256_madd_epi16(*odd, code_odd));
                    }
                }
            }
            for (place, part) in parts.iter().enumerate() {
                let probe = first + place;
                let (reach, lowest) = (_mm256_set1_ps(ask.reaches[probe]), _mm256_set1_ps(ask.lowest[probe]));
                for (line, part) in part.iter().enumerate() {
                    let first = row + ROWS * line;
                    let lanes = first..first + ROWS;
                    let (scales, errors) = (&panel.scales[lanes.clone()], &panel.errors[lanes.clone()]);
                    let out = &mut sums[probe][lanes];
                    // SAFETY: each of the slices has 8 values.
                    let upper = unsafe {
                        _mm256_storeu_si256(out.as_mut_ptr().cast(), *part);
                        let centre = _mm256_mul_ps(_mm256_loadu_ps(scales.as_ptr()), _mm256_cvtepi32_ps(*part));
                        _mm256_fmadd_ps(_mm256_loadu_ps(errors.as_ptr()), reach, centre)
                    };
                    let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(upper, lowest)) as u32;
                    reached[probe] |= mask << first;
                }
            }
        }
    }
    reached
}

/// [`lanes::kth_highest`], compiled for AVX2. Unsafe to call only for what the processor must have.
#[target_feature(enable = "avx2")]
pub(super) fn kth_highest(values: &[f32; 2 * PANEL_ROWS], k: usize) -> f32 {
    lanes::kth_highest(values, k)
}
