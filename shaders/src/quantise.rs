//! Templates as integer codes.
//!
//! A template `x` becomes codes `q` and a scale `s`, so that `x = s q + e`. [`crate::bound`] says how far a score
//! computed from the codes can be from the exact one.
//!
//! Gallery rows have eight bits, from -127 to 127, because a pass reads them from memory. A probe may have fine codes
//! of twelve bits, from -2032 to 2032: its margin is a sixteenth of that of eight bits. A kernel that multiplies
//! sixteen bits takes fine codes as they are, for every probe. A kernel that multiplies eight bits reads them as two
//! columns, for a probe that is alone: there memory takes the time, and the second column costs none. And a probe may
//! have narrow codes, from -64 to 64, for a first look at a large gallery ([`Narrow`]): the same bounds hold.

use crate::bound::{NORM_SLACK, Quantised, REST_SLACK};

/// Fine steps in a step of eight bits: a fine code is sixteen times a code of eight bits, plus a rest from -8 to 7.
pub(crate) const FINE: i32 = 16;

/// A kind of code. Symmetric, so that a product of two of eight bits fits in 14 bits and a sign.
pub(crate) trait Code: Copy {
    /// The largest code.
    const MAX: f32;

    /// The code of a whole number from `-MAX` to `MAX`.
    fn of(whole: i32) -> Self;

    /// The value of one step for a template.
    #[inline(always)]
    fn step(values: &[f32]) -> f32 {
        largest(values) / Self::MAX
    }
}

impl Code for i8 {
    const MAX: f32 = 127.0;

    fn of(whole: i32) -> i8 {
        whole as i8
    }
}

/// Fine codes: as large as two columns of eight bits can make them.
impl Code for i16 {
    const MAX: f32 = 127.0 * FINE as f32;

    fn of(whole: i32) -> i16 {
        whole as i16
    }
}

/// Codes of a probe for products that are summed up in sixteen bits, [`NARROW_GROUPS`] groups of four at a time. Of
/// each group two products go to one lane and two to another. With a row's codes, from -127 to 127, no such sum leaves
/// sixteen bits, and neither does the sum of two products with a row's codes plus 128.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Narrow(pub(crate) i8);

/// Groups of four codes whose products are summed up in sixteen bits.
pub(crate) const NARROW_GROUPS: usize = 8;

impl Code for Narrow {
    /// `255 (64 + 64) < 2^15`.
    const MAX: f32 = 64.0;

    fn of(whole: i32) -> Narrow {
        Narrow(whole as i8)
    }

    /// The codes of a lane may sum up to at most 258, without their signs: `127 * 258 < 2^15`. Rounding to whole codes
    /// adds at most a half for each of a lane's sixteen. Hence 258.9 and not 259 below: the rest is far more than `f32`
    /// rounds in the sums.
    #[inline(always)]
    fn step(values: &[f32]) -> f32 {
        let mut largest_sum = 0.0f32;
        for values in values.chunks(4 * NARROW_GROUPS) {
            let mut sums = [0.0; 4];
            for group in values.as_chunks::<4>().0 {
                for (sum, value) in sums.iter_mut().zip(group) {
                    *sum += value.abs();
                }
            }
            largest_sum = largest_sum.max(sums[0] + sums[1]).max(sums[2] + sums[3]);
        }
        (largest(values) / Self::MAX).max(largest_sum / (258.9 - NARROW_GROUPS as f32))
    }
}

impl From<Narrow> for i32 {
    fn from(code: Narrow) -> i32 {
        code.0.into()
    }
}

/// Splits a fine code into two of eight bits: sixteen times the first plus the second.
pub(crate) fn split(fine: i16) -> [i8; 2] {
    let coarse = (i32::from(fine) + FINE / 2) >> FINE.ilog2();
    [coarse as i8, (i32::from(fine) - FINE * coarse) as i8]
}

/// 1.5 x 2^23: adding it to a value below 2^22 leaves the value, rounded to the nearest integer, in the lowest bits.
const ROUND_MAGIC: f32 = 12_582_912.0;

/// Places of independent sums, as many as the exact inner product has.
const LANES: usize = 16;

/// Writes the codes of a finite, non-zero template to `codes`, which has the same length.
pub(crate) fn quantise<C: Code>(values: &[f32], codes: &mut [C]) -> Quantised {
    quantise_beside(values, codes, || ())
}

/// As [`quantise`], and calls `beside` after every [`LANES`] values, to do a little other work meanwhile.
pub(crate) fn quantise_beside<C: Code>(values: &[f32], codes: &mut [C], beside: impl FnMut()) -> Quantised {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, which is all that the function asks for.
            return unsafe { quantise_avx2(values, codes, beside) };
        }
    }
    quantise_portable(values, codes, beside)
}

/// The portable code, compiled for AVX2. Unsafe to call only for what the processor must have.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quantise_avx2<C: Code>(values: &[f32], codes: &mut [C], beside: impl FnMut()) -> Quantised {
    quantise_portable(values, codes, beside)
}

#[inline(always)]
fn quantise_portable<C: Code>(values: &[f32], codes: &mut [C], mut beside: impl FnMut()) -> Quantised {
    assert_eq!(values.len(), codes.len());
    let (chunks, tail) = values.as_chunks::<LANES>();
    // A subnormal step would make its inverse infinite; unit-norm templates are far above it.
    let scale = C::step(values).max(f32::MIN_POSITIVE);
    let mut sums = Sums { scale, inverse: 1.0 / scale, rest: [0.0; LANES], codes: [0; LANES], squares: [0; LANES] };
    let (code_chunks, code_tail) = codes.as_chunks_mut::<LANES>();
    for (chunk, codes) in chunks.iter().zip(code_chunks) {
        sums.place(chunk, codes);
        beside();
    }
    if !tail.is_empty() {
        // Zeros have the code 0 and leave nothing out.
        let (mut values, mut codes) = ([0.0; LANES], [C::of(0); LANES]);
        values[..tail.len()].copy_from_slice(tail);
        sums.place(&values, &mut codes);
        code_tail.copy_from_slice(&codes[..tail.len()]);
    }
    Quantised {
        scale,
        error: sums.rest.into_iter().map(f64::from).sum::<f64>().sqrt() * NORM_SLACK + REST_SLACK,
        sum: sums.codes.iter().sum(),
        squares: sums.squares.into_iter().map(i64::from).sum(),
    }
}

/// The largest of some values, without their signs.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut largest = [0.0f32; LANES];
    let (chunks, tail) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            largest[lane] = largest[lane].max(chunk[lane].abs());
        }
    }
    largest.into_iter().chain(tail.iter().map(|value| value.abs())).fold(0.0, f32::max)
}

/// The sums of each lane while a template is quantised.
struct Sums {
    scale: f32,
    inverse: f32,
    /// Squares of what the codes leave out.
    rest: [f32; LANES],
    codes: [i32; LANES],
    /// Squares of codes. A lane has at most 64: of fine codes their sum is below 2^28.
    squares: [i32; LANES],
}

impl Sums {
    /// Quantises one value a lane. Compilers turn one short loop a step into vector instructions; they take the
    /// caller's instruction set only where this is inlined.
    #[inline(always)]
    fn place<C: Code>(&mut self, values: &[f32; LANES], codes: &mut [C; LANES]) {
        let mut whole = [0i32; LANES];
        for lane in 0..LANES {
            let rounded = (values[lane] * self.inverse).clamp(-C::MAX, C::MAX) + ROUND_MAGIC;
            whole[lane] = (rounded.to_bits() as i32).wrapping_sub(ROUND_MAGIC.to_bits() as i32);
        }
        for (code, whole) in codes.iter_mut().zip(whole) {
            *code = C::of(whole);
        }
        for lane in 0..LANES {
            let left = values[lane] - self.scale * whole[lane] as f32;
            self.rest[lane] += left * left;
        }
        for (sum, whole) in self.codes.iter_mut().zip(whole) {
            *sum = sum.wrapping_add(whole);
        }
        for (sum, whole) in self.squares.iter_mut().zip(whole) {
            *sum = sum.wrapping_add(whole.wrapping_mul(whole));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bound::{ROUNDING, Reach};
    use crate::dot::dot;

    /// Templates that quantise well, badly, and exactly, and one whose weight is all in one lane of narrow codes.
    pub(crate) fn templates(dims: usize) -> Vec<Vec<f32>> {
        let unit = |values: Vec<f64>| -> Vec<f32> {
            let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
            values.iter().map(|value| (value / norm) as f32).collect()
        };
        let mut state = 7u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let mut all = vec![unit((0..dims).map(|i| f64::from(u8::from(i == dims / 2))).collect())];
        all.push(unit(vec![1.0; dims]));
        all.push(unit((0..dims).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect()));
        all.push(unit((0..dims).map(|i| if i < 32 && i % 4 < 2 { 1.0 } else { 0.001 }).collect()));
        for spread in [1.0, 3.0, 9.0, 30.0] {
            for _ in 0..if cfg!(miri) { 1 } else { 8 } {
                all.push(unit((0..dims).map(|_| next() * (next() * spread).exp2()).collect()));
            }
        }
        all
    }

    /// Each template's scale, rest and codes, as whole numbers.
    fn quantise_all<C: Code + Default + Into<i32>>(all: &[Vec<f32>]) -> Vec<(Vec<i32>, Quantised)> {
        let quantise = |values: &Vec<f32>| {
            let mut codes = vec![C::default(); values.len()];
            let quantised = quantise(values, &mut codes);
            (codes.into_iter().map(Into::into).collect(), quantised)
        };
        all.iter().map(quantise).collect()
    }

    #[test]
    fn every_exact_score_lies_within_the_bounds() {
        for &dims in crate::WIDTHS {
            let all = templates(dims);
            let rows = quantise_all::<i8>(&all);
            for probes in [quantise_all::<i8>(&all), quantise_all::<i16>(&all), quantise_all::<Narrow>(&all)] {
                for (probe, (probe_codes, probe_quantised)) in all.iter().zip(&probes) {
                    let reach = Reach::new(probe_quantised, dims);
                    for (row, (row_codes, row_quantised)) in all.iter().zip(&rows) {
                        let sum = row_codes.iter().zip(probe_codes).map(|(a, b)| a * b).sum();
                        let (lower, upper) = reach.bounds(row_quantised.scale, row_quantised.error_stored(), sum);
                        let score = dot(row, probe) / reach.scale;
                        assert!(lower - reach.margin <= score && score <= upper + reach.margin, "{dims}");
                        assert!(reach.can_reach(upper, dot(row, probe)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_fine_code_is_two_columns_and_its_margin_a_sixteenth() {
        for fine in -2_032..=2_032 {
            let [first, second] = split(fine);
            assert_eq!(FINE * i32::from(first) + i32::from(second), i32::from(fine));
            assert!(first != i8::MIN);
        }
        for values in templates(512).into_iter().skip(4) {
            let values = [values];
            let margin = |quantised: &Quantised| Reach::new(quantised, 512).margin * f64::from(quantised.scale);
            let [(_, coarse)] = &quantise_all::<i8>(&values)[..] else { panic!("one") };
            let [(_, fine)] = &quantise_all::<i16>(&values)[..] else { panic!("one") };
            assert!(margin(fine) * 12.0 < margin(coarse), "{} {}", margin(fine), margin(coarse));
        }
    }

    #[test]
    fn versions_agree_and_the_rest_is_as_counted() {
        count_the_rest::<i8>();
        count_the_rest::<i16>();
        count_the_rest::<Narrow>();
    }

    #[test]
    fn products_with_narrow_codes_stay_within_sixteen_bits() {
        for &dims in crate::WIDTHS {
            let mut largest = 0;
            for (codes, _) in quantise_all::<Narrow>(&templates(dims)) {
                for chunk in codes.chunks(4 * NARROW_GROUPS) {
                    let (mut lanes, mut pair) = ([0; 2], 0);
                    for group in chunk.chunks(2) {
                        let of_two: i32 = group.iter().map(|code| code.abs()).sum();
                        lanes.swap(0, 1);
                        lanes[0] += of_two;
                        pair = pair.max(of_two);
                    }
                    assert!(255 * pair <= i32::from(i16::MAX), "{dims} dimensions: a pair of {pair}");
                    assert!(
                        127 * lanes[0].max(lanes[1]) <= i32::from(i16::MAX),
                        "{dims} dimensions: lanes of {lanes:?}"
                    );
                    largest = largest.max(lanes[0]).max(lanes[1]);
                }
            }
            assert!(largest > 240, "what there is room for has to be used: {largest}");
        }
    }

    fn count_the_rest<C: Code + Default + PartialEq + std::fmt::Debug + Into<i32>>() {
        for &dims in crate::WIDTHS {
            for values in templates(dims) {
                let (mut codes, mut portable) = (vec![C::default(); dims], vec![C::default(); dims]);
                let quantised = quantise(&values, &mut codes);
                assert_eq!(quantised, quantise_portable(&values, &mut portable, || ()));
                assert_eq!(codes, portable);
                let codes: Vec<i32> = codes.into_iter().map(Into::into).collect();
                let rest = values.iter().zip(&codes).map(|(value, code)| {
                    let left = f64::from(*value) - f64::from(quantised.scale) * f64::from(*code);
                    left * left
                });
                let rest = rest.sum::<f64>().sqrt();
                assert!(rest <= quantised.error && quantised.error < rest * 1.001 + 2.0 * REST_SLACK);
                assert!(f64::from(quantised.error_stored()) > quantised.error + ROUNDING * 0.99);
                assert!(codes.iter().all(|code| code.abs() <= C::MAX as i32));
                assert_eq!(quantised.sum, codes.iter().sum::<i32>());
                assert_eq!(quantised.squares, codes.iter().map(|code| i64::from(code * code)).sum::<i64>());
            }
        }
    }
}
