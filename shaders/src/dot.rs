//! The one inner product that defines a score.

/// Accumulators: eight independent 128-bit chains on the narrowest machine, two 512-bit ones on the widest. The number
/// is part of the definition of a score.
const LANES: usize = 16;

/// The inner product that defines a score: products in `f64` (exact for `f32` factors), summed in 16 lanes by index
/// modulo 16; the lanes are then added pairwise, lane i to lane i + 8, i + 4, i + 2, i + 1.
///
/// Because each product is exact, a fused multiply-add gives the same bits as a multiplication and an addition: the
/// versions below differ in speed only. Values of one slice beyond the other's length are ignored.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    dots(a, [b])[0]
}

/// The inner products of `a` with several rows, each with the bits that [`dot`] gives. Two rows at a time share the
/// conversions of `a`, and keep a wide processor busy where one row would wait for its own sums.
pub(crate) fn dots<const R: usize>(a: &[f32], rows: [&[f32]; R]) -> [f64; R] {
    let length = rows.iter().map(|row| row.len()).min().unwrap_or(0).min(a.len());
    let (a, a_tail) = a[..length].as_chunks::<LANES>();
    let rows = rows.map(|row| row[..length].as_chunks::<LANES>());
    let mut lanes = sum_lanes(a, rows.map(|(chunks, _)| chunks));
    for (lanes, (_, tail)) in lanes.iter_mut().zip(rows) {
        for (lane, (x, y)) in lanes.iter_mut().zip(a_tail.iter().zip(tail)) {
            *lane += f64::from(*x) * f64::from(*y);
        }
    }
    lanes.map(|mut lanes| {
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    })
}

/// Chunks of one row.
type Chunks<'a> = &'a [[f32; LANES]];

fn sum_lanes<const R: usize>(a: Chunks<'_>, rows: [Chunks<'_>; R]) -> [[f64; LANES]; R] {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, which is all that the function asks for.
            return unsafe { sum_lanes_avx512(a, rows) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, which is all that the function asks for.
            return unsafe { sum_lanes_avx2(a, rows) };
        }
    }
    rows.map(|row| sum_lanes_portable(a, row))
}

/// Two 512-bit sums a row. Unsafe to call only for what the processor must have: AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_lanes_avx512<const R: usize>(a: Chunks<'_>, rows: [Chunks<'_>; R]) -> [[f64; LANES]; R] {
    use crate::avx512::widen;
    use std::arch::x86_64::*;
    assert!(rows.iter().all(|row| row.len() >= a.len()));
    let mut sums = [[_mm512_setzero_pd(); 2]; R];
    for (index, chunk) in a.iter().enumerate() {
        for half in 0..2 {
            // SAFETY: `index` is below the length of `a` and, as asserted, of each row; half a chunk is 8 values.
            let x = widen(unsafe { _mm256_loadu_ps(chunk.as_ptr().add(half * 8)) });
            for (row, sums) in rows.iter().zip(&mut sums) {
                // SAFETY: as above.
                let y = widen(unsafe { _mm256_loadu_ps(row.as_ptr().add(index).cast::<f32>().add(half * 8)) });
                sums[half] = _mm512_fmadd_pd(x, y, sums[half]);
            }
        }
    }
    let mut lanes = [[0.0; LANES]; R];
    for (lanes, sums) in lanes.iter_mut().zip(sums) {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: half of the lanes are 8 values.
            unsafe { _mm512_storeu_pd(lanes[half * 8..].as_mut_ptr(), sum) };
        }
    }
    lanes
}

/// Four 256-bit sums a row. Unsafe to call only for what the processor must have: AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sum_lanes_avx2<const R: usize>(a: Chunks<'_>, rows: [Chunks<'_>; R]) -> [[f64; LANES]; R] {
    use std::arch::x86_64::*;
    assert!(rows.iter().all(|row| row.len() >= a.len()));
    let mut sums = [[_mm256_setzero_pd(); 4]; R];
    for (index, chunk) in a.iter().enumerate() {
        for quarter in 0..4 {
            // SAFETY: `index` is below the length of `a` and, as asserted, of each row; a quarter of a chunk is 4
            // values.
            let x = _mm256_cvtps_pd(unsafe { _mm_loadu_ps(chunk.as_ptr().add(quarter * 4)) });
            for (row, sums) in rows.iter().zip(&mut sums) {
                // SAFETY: as above.
                let y =
                    _mm256_cvtps_pd(unsafe { _mm_loadu_ps(row.as_ptr().add(index).cast::<f32>().add(quarter * 4)) });
                sums[quarter] = _mm256_fmadd_pd(x, y, sums[quarter]);
            }
        }
    }
    let mut lanes = [[0.0; LANES]; R];
    for (lanes, sums) in lanes.iter_mut().zip(sums) {
        for (quarter, sum) in sums.into_iter().enumerate() {
            // SAFETY: a quarter of the lanes are 4 values.
            unsafe { _mm256_storeu_pd(lanes[quarter * 4..].as_mut_ptr(), sum) };
        }
    }
    lanes
}

fn sum_lanes_portable(a: Chunks<'_>, b: Chunks<'_>) -> [f64; LANES] {
    let mut lanes = [0.0f64; LANES];
    for index in 0..a.len().min(b.len()) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(a[index][lane]) * f64::from(b[index][lane]);
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_versions_have_the_same_bits() {
        for chunks in [8, 9, 32, 64] {
            let a: Vec<[f32; LANES]> = (0..chunks)
                .map(|c| std::array::from_fn(|i| (((c * 16 + i) * 37 % 101) as f32 - 50.0) * 1.7e-3))
                .collect();
            let b: Vec<[f32; LANES]> = (0..chunks)
                .map(|c| std::array::from_fn(|i| (((c * 16 + i) * 53 % 97) as f32 - 48.0) * 1.3e-3))
                .collect();
            let expected = sum_lanes_portable(&a, &b).map(f64::to_bits);
            assert_eq!(sum_lanes(&a, [&b[..]])[0].map(f64::to_bits), expected);
            assert_eq!(sum_lanes(&a, [&b[..], &a, &b, &b])[3].map(f64::to_bits), expected);
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the processor has AVX2 and FMA.
                assert_eq!(unsafe { sum_lanes_avx2(&a, [&b[..], &a]) }[0].map(f64::to_bits), expected);
            }
        }
    }
}
