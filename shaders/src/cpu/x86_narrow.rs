//! The AVX2 kernels for narrow codes ([`super::narrow_codes`]).

use std::arch::x86_64::*;

use super::lanes::{Ask, Sums};
use super::packing::Packing;
use super::x86::{AHEAD_BYTES, ask_for};
use crate::layout::PANEL_ROWS;
use crate::memory::LINE_BYTES;
use crate::panel::{GROUP, GROUP_BYTES, Panel};
use crate::quantise::NARROW_GROUPS;

/// Rows in a 256-bit register.
const ROWS: usize = 8;

/// Scores one panel against `P` probes in [`Packing::Narrow`]; see [`super::portable::score_narrow`].
///
/// Unsafe to call only for what the processor must have: AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn score<const P: usize>(panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
    match P {
        1 => score_in::<P, 1, 4>(panel, ask, sums),
        2 => score_in::<P, 2, 4>(panel, ask, sums),
        12 => score_in::<P, 6, 2>(panel, ask, sums),
        _ => score_in::<P, 4, 2>(panel, ask, sums),
    }
}

/// [`score`] in sub-tiles of `LINES` registers of rows by `WIDTH` probes, of which `P` is a multiple.
#[target_feature(enable = "avx2,fma")]
fn score_in<const P: usize, const WIDTH: usize, const LINES: usize>(
    panel: &Panel<'_>,
    ask: &Ask<'_, P>,
    all_sums: &mut Sums<P>,
) -> [u32; P] {
    let groups = panel.codes.len() / GROUP_BYTES;
    assert!(P.is_multiple_of(WIDTH) && PANEL_ROWS.is_multiple_of(ROWS * LINES));
    assert!(panel.codes.len() == groups * GROUP_BYTES && ask.codes.len() == Packing::Narrow.words(groups * GROUP, P));
    let mut left = [0; P];
    for first in (0..P).step_by(WIDTH) {
        for row in (0..PANEL_ROWS).step_by(ROWS * LINES) {
            let mut sums = [[_mm256_setzero_si256(); LINES]; WIDTH];
            let mut line = panel.codes.as_ptr().wrapping_add(row * GROUP);
            let mut codes = ask.codes.as_ptr().wrapping_add(first);
            for _ in 0..groups / NARROW_GROUPS {
                // The black box keeps the sums in memory, aligned, and leaves the registers for the lanes. SAFETY:
                // together with the rest below these are `groups` groups of the panel and the words of each probe for
                // them, which the assertions say are there.
                unsafe { add_groups::<P, WIDTH, LINES>(line, codes, NARROW_GROUPS, std::hint::black_box(&mut sums)) };
                line = line.wrapping_add(NARROW_GROUPS * GROUP_BYTES);
                codes = codes.wrapping_add((1 + NARROW_GROUPS) * P);
            }
            if !groups.is_multiple_of(NARROW_GROUPS) {
                // SAFETY: as above.
                unsafe { add_groups::<P, WIDTH, LINES>(line, codes, groups % NARROW_GROUPS, &mut sums) };
            }
            for (place, sums) in sums.iter().enumerate() {
                let probe = first + place;
                let (reach, lowest) = (_mm256_set1_ps(ask.reaches[probe]), _mm256_set1_ps(ask.lowest[probe]));
                for (line, sum) in sums.iter().enumerate() {
                    let first = row + ROWS * line;
                    let (scales, errors) = (&panel.scales[first..first + ROWS], &panel.errors[first..first + ROWS]);
                    let out = &mut all_sums[probe][first..first + ROWS];
                    // SAFETY: each of the slices has 8 values.
                    let (scales, errors) = unsafe {
                        _mm256_storeu_si256(out.as_mut_ptr().cast(), *sum);
                        (_mm256_loadu_ps(scales.as_ptr()), _mm256_loadu_ps(errors.as_ptr()))
                    };
                    let centre = _mm256_mul_ps(scales, _mm256_cvtepi32_ps(*sum));
                    let upper = _mm256_fmadd_ps(errors, reach, centre);
                    let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(upper, lowest)) as u32;
                    left[probe] |= mask << first;
                }
            }
        }
    }
    left
}

/// Adds the products of `groups` groups, at most [`NARROW_GROUPS`], to `sums`. The caller has `groups` groups of a
/// panel at `line`; and at `codes`, of a tile of `P` probes, their starts and `groups` groups.
///
/// `vpmaddubsw` and the 16-bit sums of its results are exact for [`Narrow`](crate::quantise::Narrow) codes. A sum with
/// the rows' offset may not fit in 16 bits. The start takes the offset away again, and additions wrap around both ways.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_groups<const P: usize, const WIDTH: usize, const LINES: usize>(
    mut line: *const u8,
    mut codes: *const i32,
    groups: usize,
    sums: &mut [[__m256i; LINES]; WIDTH],
) {
    let mut lanes = [[_mm256_setzero_si256(); LINES]; WIDTH];
    for (place, lanes) in lanes.iter_mut().enumerate() {
        // SAFETY: said above.
        *lanes = [unsafe { _mm256_set1_epi32(*codes.add(place)) }; LINES];
    }
    for _ in 0..groups {
        codes = codes.wrapping_add(P);
        // SAFETY: said above.
        let rows: [__m256i; LINES] =
            std::array::from_fn(|place| unsafe { _mm256_loadu_si256(line.add(place * 32).cast()) });
        for (place, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: said above.
            let code = unsafe { _mm256_set1_epi32(*codes.add(place)) };
            for (lanes, rows) in lanes.iter_mut().zip(&rows) {
                *lanes = _mm256_add_epi16(*lanes, _mm256_maddubs_epi16(*rows, code));
            }
        }
        ask_for::<{ GROUP_BYTES / LINE_BYTES }>(line.wrapping_add(AHEAD_BYTES));
        line = line.wrapping_add(GROUP_BYTES);
    }
    let ones = _mm256_set1_epi16(1);
    for (sums, lanes) in sums.iter_mut().zip(&lanes) {
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*lanes, ones));
        }
    }
}

/// The sum of one row's codes, as they are stored plus 128, times `fine` codes.
///
/// Unsafe to call only for what the processor must have: AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn sum_row(panel: &Panel<'_>, row: usize, fine: &[i16]) -> i32 {
    /// Groups whose codes are two registers of sixteen bits.
    const GROUPS: usize = 8;
    let rows = panel.codes.as_chunks::<GROUP>().0;
    assert!(rows.len() == fine.len() / GROUP * PANEL_ROWS && row < PANEL_ROWS);
    let (chunks, rest) = rows.as_chunks::<{ GROUPS * PANEL_ROWS }>();
    let (fine_chunks, fine_rest) = fine.as_chunks::<{ GROUPS * GROUP }>();
    let mut sums = [_mm256_setzero_si256(); 2];
    for (chunk, fine) in chunks.iter().zip(fine_chunks) {
        let words: [i32; GROUPS] = std::array::from_fn(|group| i32::from_ne_bytes(chunk[group * PANEL_ROWS + row]));
        for (half, sum) in sums.iter_mut().enumerate() {
            let [a, b, c, d]: [i32; 4] = std::array::from_fn(|place| words[4 * half + place]);
            let row = _mm256_cvtepu8_epi16(_mm_setr_epi32(a, b, c, d));
            // SAFETY: 16 of the chunk's 32 codes.
            let fine = unsafe { _mm256_loadu_si256(fine.as_ptr().add(16 * half).cast()) };
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(row, fine));
        }
    }
    let sums = _mm256_add_epi32(sums[0], sums[1]);
    let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b01_00_11_10>(sums));
    let mut sum = _mm_cvtsi128_si32(sums) + _mm_extract_epi32::<1>(sums);
    for (row, fine) in rest.iter().skip(row).step_by(PANEL_ROWS).flatten().zip(fine_rest) {
        sum += i32::from(*row) * i32::from(*fine);
    }
    sum
}
