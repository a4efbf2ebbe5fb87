//! Two steps of the 512-bit kernels, each for the processor and for Miri, which does not know their intrinsics.

use std::arch::x86_64::*;

/// The lanes whose value is not below `lowest`, as bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn at_least(values: __m512, lowest: __m512) -> u32 {
    if cfg!(miri) {
        // SAFETY: sixteen values either way.
        let [values, lowest] = [values, lowest].map(|lanes| unsafe { std::mem::transmute::<__m512, [f32; 16]>(lanes) });
        return (0..16).map(|lane| u32::from(values[lane] >= lowest[lane]) << lane).sum();
    }
    u32::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(values, lowest))
}

/// The lanes, widened to `f64`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn widen(values: __m256) -> __m512d {
    if cfg!(miri) {
        // SAFETY: eight values before and after.
        return unsafe {
            let lanes = std::mem::transmute::<__m256, [f32; 8]>(values);
            std::mem::transmute::<[f64; 8], __m512d>(lanes.map(f64::from))
        };
    }
    _mm512_cvtps_pd(values)
}
