//! A gallery: checked once, packed once, immutable and shared from then on.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, VectorProblem};
use crate::exact;
use crate::layout::{Line, PANEL_ROWS};

/// Narrowest template that is supported.
pub const DIMS_MIN: usize = 128;
/// Widest template that is supported.
pub const DIMS_MAX: usize = 1024;
/// How far a template's norm may be from 1. Encoders normalise in `f32`, so true deviations are near
/// 1e-6; the tolerance leaves room for templates that were stored in half precision. The error bound
/// in [`exact`] counts with it.
pub const NORM_TOLERANCE: f64 = 1e-3;

/// The packed side is transposed in squares of this many values, so that reads and writes share cache lines.
const TRANSPOSE_BLOCK: usize = 16;

/// Templates of one shard: `rows() x dims()` values, row-major for exact rescoring, and packed in
/// panels of 32 rows for the kernels. A panel holds `dims x 32` values with the dimension outermost,
/// so that a kernel reads it from front to end; rows missing in the last panel are zero.
#[derive(Debug)]
pub struct Gallery {
    id: u64,
    dims: usize,
    rows: Vec<f32>,
    panels: Vec<Line>,
}

impl Gallery {
    /// Checks and packs `rows`, row-major, `n x dims` values, each row of unit norm. May be empty.
    ///
    /// # Errors
    /// [`Error::Dims`], [`Error::GalleryLength`], [`Error::GalleryRows`], or [`Error::Row`] with the first bad row.
    pub fn new(dims: usize, rows: Vec<f32>) -> Result<Gallery, Error> {
        if !(DIMS_MIN..=DIMS_MAX).contains(&dims) || !dims.is_multiple_of(4) {
            return Err(Error::Dims { dims });
        }
        if !rows.len().is_multiple_of(dims) {
            return Err(Error::GalleryLength { values: rows.len(), dims });
        }
        let row_count = rows.len() / dims;
        if u32::try_from(row_count).is_err() {
            return Err(Error::GalleryRows { rows: row_count });
        }
        for (row, values) in rows.chunks_exact(dims).enumerate() {
            check_vector(dims, values).map_err(|problem| Error::Row { row, problem })?;
        }
        // Ids are never used twice in a process, so a device-resident copy cannot be taken for another gallery's.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let panels = pack_panels(dims, &rows);
        Ok(Gallery { id, dims, rows, panels })
    }

    /// Unique within this process, never used twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Number of templates.
    pub fn rows(&self) -> usize {
        self.rows.len() / self.dims
    }

    /// Values in one template.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Template `row`, `dims()` values.
    ///
    /// # Panics
    /// If `row` is not below `rows()`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.dims..(row + 1) * self.dims]
    }

    /// Host memory held by this gallery's templates, in bytes, both forms together.
    pub fn bytes_resident(&self) -> usize {
        self.rows.capacity() * size_of::<f32>() + self.panels.capacity() * size_of::<Line>()
    }

    /// Number of panels, `rows()` divided by 32 and rounded up.
    pub(crate) fn panel_count(&self) -> usize {
        self.rows().div_ceil(PANEL_ROWS)
    }

    /// Values in one panel.
    pub(crate) fn panel_values(&self) -> usize {
        self.dims * PANEL_ROWS
    }

    /// All panels one after the other, `panel_count() x dims() x 32` values.
    pub(crate) fn panels(&self) -> &[f32] {
        bytemuck::cast_slice(&self.panels)
    }
}

/// Checks one probe: `dims` finite values of unit norm.
///
/// # Errors
/// [`Error::Probe`].
pub fn check_probe(dims: usize, probe: &[f32]) -> Result<(), Error> {
    check_vector(dims, probe).map_err(|problem| Error::Probe { problem })
}

/// The one rule for every template, gallery row or probe.
pub(crate) fn check_vector(dims: usize, values: &[f32]) -> Result<(), VectorProblem> {
    if values.len() != dims {
        return Err(VectorProblem::Length { found: values.len(), dims });
    }
    // A NaN or an infinity anywhere makes the sum of squares not finite, and finite `f32` values cannot
    // overflow it in `f64`: the element is only looked for where the sum already tells that there is one.
    let norm = exact::dot(values, values).sqrt();
    if !norm.is_finite() {
        let element = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
        return Err(VectorProblem::NotFinite { element, value: values[element] });
    }
    if (norm - 1.0).abs() > NORM_TOLERANCE {
        return Err(VectorProblem::Norm { norm });
    }
    Ok(())
}

fn pack_panels(dims: usize, rows: &[f32]) -> Vec<Line> {
    let panel_values = dims * PANEL_ROWS;
    let panel_count = (rows.len() / dims).div_ceil(PANEL_ROWS);
    let mut panels = vec![Line::default(); panel_count * panel_values / Line::VALUES];
    let packed: &mut [f32] = bytemuck::cast_slice_mut(&mut panels);
    for (panel, panel_rows) in packed.chunks_exact_mut(panel_values).zip(rows.chunks(dims * PANEL_ROWS)) {
        for block in (0..dims).step_by(TRANSPOSE_BLOCK) {
            let block_end = dims.min(block + TRANSPOSE_BLOCK);
            for (lane, row) in panel_rows.chunks_exact(dims).enumerate() {
                for k in block..block_end {
                    panel[k * PANEL_ROWS + lane] = row[k];
                }
            }
        }
    }
    panels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_every_row_transposed_and_zeros_behind_the_last() {
        let (dims, row_count) = (132, 33);
        let mut rows = vec![0.0f32; dims * row_count];
        for row in 0..row_count {
            rows[row * dims + (row * 7) % dims] = 1.0;
        }
        let gallery = Gallery::new(dims, rows).expect("unit rows are a gallery");
        assert_eq!(gallery.panel_count(), 2);
        for lane in 0..gallery.panel_count() * PANEL_ROWS {
            let panel = &gallery.panels()[lane / PANEL_ROWS * gallery.panel_values()..][..gallery.panel_values()];
            for k in 0..dims {
                let packed = panel[k * PANEL_ROWS + lane % PANEL_ROWS];
                let expected = if lane < row_count { gallery.row(lane)[k] } else { 0.0 };
                assert_eq!(packed, expected, "row {lane}, element {k}");
            }
        }
    }
}
