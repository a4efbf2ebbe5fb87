//! Panels of eight-bit codes: what the coarse pass reads, on the CPU and on a device.
//!
//! A panel holds 32 rows. Four successive codes of a row make a group of four bytes. The panel stores the first groups
//! of its 32 rows, then the second groups, and so on: one group of 16 rows fills a 512-bit register, and a kernel reads
//! a panel from front to end. Codes are stored plus 128, because the multiply-add instructions want one side unsigned.
//! Behind the codes stand the scales of the 32 rows, then their errors, as `f32`.

use crate::layout::PANEL_ROWS;
use crate::quantise::quantise;

/// Codes of one row that lie side by side.
pub(crate) const GROUP: usize = 4;

/// Added to a code so that it is stored unsigned.
pub(crate) const OFFSET: i32 = 128;

/// Bytes of the codes of one group of all rows of a panel.
pub(crate) const GROUP_BYTES: usize = GROUP * PANEL_ROWS;

/// Bytes of the scales and the errors behind the codes.
const TAIL_BYTES: usize = 2 * PANEL_ROWS * size_of::<f32>();

/// Bytes of one panel; a multiple of 128.
pub(crate) fn panel_bytes(dims: usize) -> usize {
    dims * PANEL_ROWS + TAIL_BYTES
}

/// One panel, as it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel<'a> {
    /// `dims / 4` groups of 32 x 4 bytes.
    pub(crate) codes: &'a [u8],
    /// Each row's scale; 0 for places without a row.
    pub(crate) scales: &'a [f32; PANEL_ROWS],
    /// Each row's error.
    pub(crate) errors: &'a [f32; PANEL_ROWS],
}

impl<'a> Panel<'a> {
    /// Reads `bytes`, of [`panel_bytes`] length and at a multiple of 64.
    ///
    /// # Panics
    /// If the length or the alignment is another.
    pub(crate) fn new(bytes: &'a [u8]) -> Panel<'a> {
        let (codes, tail) = bytes.split_at(bytes.len() - TAIL_BYTES);
        let tail: &[[f32; PANEL_ROWS]] = bytemuck::cast_slice(tail);
        Panel { codes, scales: &tail[0], errors: &tail[1] }
    }
}

/// Quantises `rows` (`dims` values each, at most as many as the panel has places left) into the panel `bytes`, from
/// place `first` on. `codes` is scratch memory for `dims` codes.
pub(crate) fn write_rows(bytes: &mut [u8], dims: usize, first: usize, rows: &[f32], codes: &mut [i8]) {
    assert_eq!(bytes.len(), panel_bytes(dims));
    let (groups, tail) = bytes.split_at_mut(dims * PANEL_ROWS);
    let tail: &mut [[f32; PANEL_ROWS]] = bytemuck::cast_slice_mut(tail);
    for (place, values) in (first..PANEL_ROWS).zip(rows.chunks_exact(dims)) {
        let quantised = quantise(values, codes);
        tail[0][place] = quantised.scale;
        tail[1][place] = quantised.error_stored();
        let (codes, _) = codes.as_chunks::<GROUP>();
        for (group, codes) in groups.chunks_exact_mut(GROUP_BYTES).zip(codes) {
            group[place * GROUP..(place + 1) * GROUP].copy_from_slice(&codes.map(|code| (code as u8) ^ 0x80));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;

    #[test]
    fn a_panel_gives_every_row_back() {
        let dims = 132;
        let rows: Vec<f32> = (0..40 * dims).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
        let mut storage = Storage::zeroed(panel_bytes(dims));
        let mut codes = vec![0; dims];
        let bytes = storage.bytes_mut();
        write_rows(bytes, dims, 0, &rows[..30 * dims], &mut codes);
        write_rows(bytes, dims, 30, &rows[30 * dims..], &mut codes);
        let panel = Panel::new(storage.bytes());
        for row in 0..PANEL_ROWS {
            let quantised = quantise(&rows[row * dims..(row + 1) * dims], &mut codes);
            assert_eq!((panel.scales[row], panel.errors[row]), (quantised.scale, quantised.error_stored()));
            for (k, code) in codes.iter().enumerate() {
                let stored = panel.codes[k / GROUP * GROUP_BYTES + row * GROUP + k % GROUP];
                assert_eq!(i32::from(stored) - OFFSET, i32::from(*code), "row {row}, element {k}");
            }
        }
    }
}
