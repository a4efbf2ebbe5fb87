//! The x86-64 kernels of the `f32` pass. As in the eight-bit ones, loads go through pointers and the lengths that they
//! rely on are asserted once at the top.

use std::arch::x86_64::*;

use super::single::{ROWS, Scores};
use super::wide;
use crate::avx512;
use crate::memory::{self, Upcoming};

/// Half of the eight rows of a step, with AVX2: with three probes their sums take 12 of 16 registers.
const HALF: usize = ROWS / 2;

/// Asks for the line that lies `ahead` values behind `value`: rows that come later. The kernels read several rows side by side,
/// which the hardware does not foresee.
#[inline(always)]
fn ask_for(value: *const f32, ahead: usize) {
    memory::ask_for_line(value.wrapping_add(ahead).cast());
}

/// Eight rows by three probes, at most, in 24 registers of sums over the dimensions; the sums of the eight rows of one probe are
/// then added across by a tree of shuffles. See [`super::single::score_portable`].
///
/// Unsafe to call only for what the processor must have: AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) fn score_avx512<const P: usize>(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; P],
    scores: &mut Scores<P>,
) -> [u32; P] {
    let dims = rows.len() / ROWS;
    assert!(rows.len() == dims * ROWS && probes.len() == dims * P);
    let mut sums = [[_mm512_setzero_ps(); ROWS]; P];
    let (rows, probes) = (rows.as_ptr(), probes.as_ptr());
    let mut element = 0;
    while element < dims {
        let left = dims - element;
        let mask: __mmask16 = if left < 16 { (1 << left) - 1 } else { u16::MAX };
        // SAFETY: `element` is below `dims`, and the mask keeps what lies behind a template's last value from being
        // read; the assertion says that there are so many templates.
        unsafe {
            let mut values = [_mm512_setzero_ps(); P];
            for (place, value) in values.iter_mut().enumerate() {
                let at = probes.add(place * dims + element);
                *value = _mm512_maskz_loadu_ps(mask, at);
                // The next step's probes come from the second-level cache.
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(P * dims).cast());
            }
            for lane in 0..ROWS {
                let row = rows.add(lane * dims + element);
                ask_for(row, ROWS * dims);
                let row = _mm512_maskz_loadu_ps(mask, row);
                for (sums, value) in sums.iter_mut().zip(values) {
                    sums[lane] = _mm512_fmadd_ps(row, value, sums[lane]);
                }
            }
        }
        element += 16;
    }
    let mut reached = [0; P];
    for place in 0..P {
        let score = add_across(&sums[place]);
        // SAFETY: `scores[place]` has eight values.
        unsafe { _mm256_storeu_ps(scores[place].as_mut_ptr(), score) };
        reached[place] = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(score, _mm256_set1_ps(lowest[place]))) as u32;
    }
    reached
}

/// The sum of the 16 lanes of each of eight registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_across(rows: &[__m512; ROWS]) -> __m256 {
    let pair = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let four = |a, b| {
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let (low, high) = (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
        _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    };
    let low = four(pair(rows[0], rows[1]), pair(rows[2], rows[3]));
    let high = four(pair(rows[4], rows[5]), pair(rows[6], rows[7]));
    let halves = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(low, high), _mm512_shuffle_f32x4::<0xEE>(low, high));
    let even = _mm512_shuffle_f32x4::<0x88>(halves, halves);
    let odd = _mm512_shuffle_f32x4::<0xDD>(halves, halves);
    _mm512_castps512_ps256(_mm512_add_ps(even, odd))
}

/// As [`score_avx512`], four rows by at most three probes at a time: 12 sums, 3 probes and a row in the 16 registers there are.
///
/// Unsafe to call only for what the processor must have: AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn score_avx2<const P: usize>(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; P],
    scores: &mut Scores<P>,
) -> [u32; P] {
    let dims = rows.len() / ROWS;
    assert!(rows.len() == dims * ROWS && probes.len() == dims * P && dims.is_multiple_of(4));
    let mut reached = [0; P];
    for first in [0, HALF] {
        let mut sums = [[_mm256_setzero_ps(); HALF]; P];
        // SAFETY: the assertion says that from `first` on there are so many rows, and so many probes.
        let (rows, probes) = (unsafe { rows.as_ptr().add(first * dims) }, probes.as_ptr());
        let whole = dims - dims % 8;
        for element in (0..whole).step_by(8) {
            // SAFETY: at `element` of each template eight values are left.
            unsafe { add_half(rows, probes, dims, element, |values| _mm256_loadu_ps(values), &mut sums) };
            (0..HALF).for_each(|lane| ask_for(rows.wrapping_add(lane * dims + element), ROWS * dims));
        }
        if whole < dims {
            // SAFETY: at `whole` four values are left.
            unsafe {
                add_half(rows, probes, dims, whole, |values| _mm256_zextps128_ps256(_mm_loadu_ps(values)), &mut sums)
            };
        }
        for place in 0..P {
            let [a, b, c, d] = sums[place];
            let sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let score = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
            // SAFETY: from `first` on there are four values.
            unsafe { _mm_storeu_ps(scores[place][first..first + HALF].as_mut_ptr(), score) };
            let mask = _mm_movemask_ps(_mm_cmpge_ps(score, _mm_set1_ps(lowest[place]))) as u32;
            reached[place] |= mask << first;
        }
    }
    reached
}

/// Adds the products from `element` on of half of the rows and of `P` probes, `dims` values each, as far as `load` reads: there
/// must be that much.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_half<const P: usize>(
    rows: *const f32,
    probes: *const f32,
    dims: usize,
    element: usize,
    load: impl Fn(*const f32) -> __m256,
    sums: &mut [[__m256; HALF]; P],
) {
    let at = |of: *const f32, place: usize| load(of.wrapping_add(place * dims + element));
    let values: [__m256; P] = std::array::from_fn(|place| at(probes, place));
    for lane in 0..HALF {
        let row = at(rows, lane);
        for (sums, value) in sums.iter_mut().zip(values) {
            sums[lane] = _mm256_fmadd_ps(row, value, sums[lane]);
        }
    }
}

/// Two registers of probes by twelve rows, in 24 registers of sums. See [`wide::score_portable`].
///
/// Unsafe to call only for what the processor must have: AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) fn score_wide_avx512(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; wide::PROBES],
    scores: &mut wide::Scores,
    upcoming: &mut Upcoming<'_>,
) -> [u32; wide::ROWS] {
    const LANES: usize = 16;
    let dims = probes.len() / wide::PROBES;
    assert!(probes.len() == dims * wide::PROBES && rows.len() == dims * wide::ROWS);
    let (rows, probes) = (rows.as_ptr(), probes.as_ptr());
    let mut sums = [[_mm512_setzero_ps(); 2]; wide::ROWS];
    for element in 0..dims {
        if element % wide::LINE == 0 {
            upcoming.ask_for_some();
        }
        // SAFETY: `element` is below `dims`, and the assertion says that there are so many values of each row and of each
        // probe.
        unsafe {
            let probes = probes.add(element * wide::PROBES);
            let probes = [_mm512_loadu_ps(probes), _mm512_loadu_ps(probes.add(LANES))];
            for (place, sums) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*rows.add(place * dims + element));
                sums[0] = _mm512_fmadd_ps(value, probes[0], sums[0]);
                sums[1] = _mm512_fmadd_ps(value, probes[1], sums[1]);
            }
        }
    }
    let mut reached = [0; wide::ROWS];
    for (place, sums) in sums.into_iter().enumerate() {
        for (half, sum) in sums.into_iter().enumerate() {
            let out = &mut scores[place][half * LANES..];
            // SAFETY: from the start of a half on there are 16 values of either.
            let lowest = unsafe {
                _mm512_storeu_ps(out.as_mut_ptr(), sum);
                _mm512_loadu_ps(lowest[half * LANES..].as_ptr())
            };
            reached[place] |= avx512::at_least(sum, lowest) << (half * LANES);
        }
    }
    reached
}

/// As [`score_wide_avx512`], in four sub-tiles of two registers of probes by six rows: 12 sums, two of probes and a row's
/// value in the 16 registers there are.
///
/// Unsafe to call only for what the processor must have: AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn score_wide_avx2(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; wide::PROBES],
    scores: &mut wide::Scores,
    upcoming: &mut Upcoming<'_>,
) -> [u32; wide::ROWS] {
    const LANES: usize = 8;
    const SUB_ROWS: usize = wide::ROWS / 2;
    const SUB_TILES: usize = 4;
    let dims = probes.len() / wide::PROBES;
    assert!(probes.len() == dims * wide::PROBES && rows.len() == dims * wide::ROWS);
    let (rows, probes) = (rows.as_ptr(), probes.as_ptr());
    let mut reached = [0; wide::ROWS];
    for row in [0, SUB_ROWS] {
        for lane in [0, 2 * LANES] {
            let mut sums = [[_mm256_setzero_ps(); 2]; SUB_ROWS];
            for element in 0..dims {
                if element % (SUB_TILES * wide::LINE) == 0 {
                    upcoming.ask_for_some();
                }
                // SAFETY: `element` is below `dims`, and the assertion says that there are so many values of each row and of
                // each probe.
                unsafe {
                    let probes = probes.add(element * wide::PROBES + lane);
                    let probes = [_mm256_loadu_ps(probes), _mm256_loadu_ps(probes.add(LANES))];
                    for (place, sums) in sums.iter_mut().enumerate() {
                        let value = _mm256_set1_ps(*rows.add((row + place) * dims + element));
                        sums[0] = _mm256_fmadd_ps(value, probes[0], sums[0]);
                        sums[1] = _mm256_fmadd_ps(value, probes[1], sums[1]);
                    }
                }
            }
            for (place, sums) in sums.into_iter().enumerate() {
                for (half, sum) in sums.into_iter().enumerate() {
                    let lane = lane + half * LANES;
                    let out = &mut scores[row + place][lane..];
                    // SAFETY: from `lane` on there are eight values of either.
                    let lowest = unsafe {
                        _mm256_storeu_ps(out.as_mut_ptr(), sum);
                        _mm256_loadu_ps(lowest[lane..].as_ptr())
                    };
                    let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(sum, lowest)) as u32;
                    reached[row + place] |= mask << lane;
                }
            }
        }
    }
    reached
}
