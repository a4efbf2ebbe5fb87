//! The one rule for every template, gallery row or probe: a supported width, finite values, unit norm.

use crate::bound::NORM_TOLERANCE;
use crate::dot::dot;
use crate::error::{Error, VectorProblem};

/// The narrowest template that is supported, in values.
const DIMS_MIN: usize = 128;
/// The widest template that is supported, in values.
const DIMS_MAX: usize = 1024;

/// Checks a width: a multiple of 4 from [`DIMS_MIN`] to [`DIMS_MAX`].
pub(crate) fn check_dims(dims: usize) -> Result<(), Error> {
    let supported = (DIMS_MIN..=DIMS_MAX).contains(&dims) && dims.is_multiple_of(4);
    if supported { Ok(()) } else { Err(Error::Dims { dims }) }
}

/// Checks rows that come behind `rows_before` others, and counts them.
pub(crate) fn check_rows(dims: usize, rows_before: usize, rows: &[f32]) -> Result<usize, Error> {
    if !rows.len().is_multiple_of(dims) {
        return Err(Error::GalleryLength { values: rows.len(), dims });
    }
    let row_count = rows.len() / dims;
    if u32::try_from(rows_before + row_count).is_err() {
        return Err(Error::GalleryRows { rows: rows_before + row_count });
    }
    for (row, values) in rows.chunks_exact(dims).enumerate() {
        check_vector(dims, values).map_err(|problem| Error::Row { row, problem })?;
    }
    Ok(row_count)
}

/// Checks one probe: `dims` finite values of unit norm.
///
/// # Errors
/// [`Error::Probe`].
pub fn check_probe(dims: usize, probe: &[f32]) -> Result<(), Error> {
    check_vector(dims, probe).map_err(|problem| Error::Probe { problem })
}

/// Checks one template: `dims` finite values of unit norm.
pub(crate) fn check_vector(dims: usize, values: &[f32]) -> Result<(), VectorProblem> {
    if values.len() != dims {
        return Err(VectorProblem::Length { found: values.len(), dims });
    }
    // A NaN or an infinity anywhere makes the sum of squares not finite, and finite `f32` values cannot overflow it in
    // `f64`. So the element is looked for only where the sum says that there is one.
    let norm = dot(values, values).sqrt();
    if !norm.is_finite() {
        let element = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
        return Err(VectorProblem::NotFinite { element, value: values[element] });
    }
    if (norm - 1.0).abs() > NORM_TOLERANCE {
        return Err(VectorProblem::Norm { norm });
    }
    Ok(())
}
