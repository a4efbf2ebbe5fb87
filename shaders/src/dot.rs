//! The one inner product that defines a score.

/// Accumulators. Sixteen make eight independent 128-bit chains on the narrowest machine and two 512-bit ones
/// on the widest; the number is part of the definition.
const LANES: usize = 16;

/// The inner product that defines a score: products in `f64` (exact for `f32` factors), summed in 16 lanes
/// by index modulo 16, the lanes then added pairwise, lane i to lane i + 8, i + 4, i + 2, i + 1.
///
/// Because each product is exact, a fused multiply-add gives the same bits as a multiplication and an addition:
/// the versions below differ in speed only. What one slice has beyond the other's length is ignored.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let length = a.len().min(b.len());
    let ((a, a_tail), (b, b_tail)) = (a[..length].as_chunks::<LANES>(), b[..length].as_chunks::<LANES>());
    let mut lanes = sum_lanes(a, b);
    for (lane, (x, y)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane += f64::from(*x) * f64::from(*y);
    }
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

fn sum_lanes(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> [f64; LANES] {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, which is all that the function asks for.
            return unsafe { sum_lanes_avx512(a, b) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, which is all that the function asks for.
            return unsafe { sum_lanes_avx2(a, b) };
        }
    }
    sum_lanes_portable(a, b)
}

/// Two 512-bit sums. Unsafe to call only for what the processor must have: AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_lanes_avx512(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> [f64; LANES] {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_setzero_pd(); 2];
    for index in 0..a.len().min(b.len()) {
        for (half, sum) in sums.iter_mut().enumerate() {
            let (x, y) = (a[index][half * 8..].as_ptr(), b[index][half * 8..].as_ptr());
            // SAFETY: half a chunk is 8 values.
            let (x, y) = unsafe { (_mm256_loadu_ps(x), _mm256_loadu_ps(y)) };
            *sum = _mm512_fmadd_pd(_mm512_cvtps_pd(x), _mm512_cvtps_pd(y), *sum);
        }
    }
    let mut lanes = [0.0; LANES];
    for (half, sum) in sums.into_iter().enumerate() {
        // SAFETY: half of the lanes are 8 values.
        unsafe { _mm512_storeu_pd(lanes[half * 8..].as_mut_ptr(), sum) };
    }
    lanes
}

/// Four 256-bit sums. Unsafe to call only for what the processor must have: AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sum_lanes_avx2(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> [f64; LANES] {
    use std::arch::x86_64::*;
    let mut sums = [_mm256_setzero_pd(); 4];
    for index in 0..a.len().min(b.len()) {
        for (quarter, sum) in sums.iter_mut().enumerate() {
            let (x, y) = (a[index][quarter * 4..].as_ptr(), b[index][quarter * 4..].as_ptr());
            // SAFETY: a quarter of a chunk is 4 values.
            let (x, y) = unsafe { (_mm_loadu_ps(x), _mm_loadu_ps(y)) };
            *sum = _mm256_fmadd_pd(_mm256_cvtps_pd(x), _mm256_cvtps_pd(y), *sum);
        }
    }
    let mut lanes = [0.0; LANES];
    for (quarter, sum) in sums.into_iter().enumerate() {
        // SAFETY: a quarter of the lanes are 4 values.
        unsafe { _mm256_storeu_pd(lanes[quarter * 4..].as_mut_ptr(), sum) };
    }
    lanes
}

fn sum_lanes_portable(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> [f64; LANES] {
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
            assert_eq!(sum_lanes(&a, &b).map(f64::to_bits), expected);
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                // SAFETY: the processor has AVX2 and FMA.
                assert_eq!(unsafe { sum_lanes_avx2(&a, &b) }.map(f64::to_bits), expected);
            }
        }
    }
}
