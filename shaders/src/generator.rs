//! Made-up templates for the self-test and for timing.

/// Numerical Recipes' linear congruential generator: any spread will do.
pub(crate) struct Generator(pub(crate) u32);

impl Generator {
    /// `count` templates of unit norm.
    pub(crate) fn rows(&mut self, count: usize, dims: usize) -> Vec<f32> {
        self.rows_around(0.0, count, dims)
    }

    /// As [`Generator::rows`], of values within one half of `level` before they are normalised.
    pub(crate) fn rows_around(&mut self, level: f32, count: usize, dims: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(count * dims);
        for _ in 0..count {
            let start = rows.len();
            for _ in 0..dims {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                rows.push((self.0 >> 8) as f32 / (1u32 << 24) as f32 - 0.5 + level);
            }
            let row = &mut rows[start..];
            let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let inverse = (1.0 / norm) as f32;
            row.iter_mut().for_each(|value| *value *= inverse);
        }
        rows
    }
}
