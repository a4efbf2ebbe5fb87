//! A block: some templates that were checked and packed together and never change.

use crate::layout::PANEL_ROWS;
use crate::panel::{self, Panel, panel_bytes};
use crate::storage::{OWN_PAGES_BYTES_MIN, Storage};

/// Values of templates, row after row.
#[derive(Debug)]
enum Rows {
    /// As the caller handed them in: a copy of a large gallery would take as much memory again.
    Handed(Vec<f32>),
    /// A copy, of a small gallery.
    Stored(Storage),
}

impl Rows {
    fn of(values: Vec<f32>) -> Rows {
        match size_of_val(values.as_slice()) {
            OWN_PAGES_BYTES_MIN.. => Rows::Handed(values),
            _ => Rows::joined(&values, &[]),
        }
    }

    /// Copies of some values and of more behind them.
    fn joined(values: &[f32], more: &[f32]) -> Rows {
        let mut storage = Storage::zeroed(size_of_val(values) + size_of_val(more));
        let (first, second) = storage.bytes_mut().split_at_mut(size_of_val(values));
        first.copy_from_slice(bytemuck::cast_slice(values));
        second.copy_from_slice(bytemuck::cast_slice(more));
        Rows::Stored(storage)
    }

    fn values(&self) -> &[f32] {
        match self {
            Rows::Handed(values) => values,
            Rows::Stored(storage) => bytemuck::cast_slice(storage.bytes()),
        }
    }
}

/// Templates in two forms: `f32`, row-major, for exact scores, and panels of codes for the coarse pass.
#[derive(Debug)]
pub(crate) struct Block {
    dims: usize,
    row_count: usize,
    rows: Rows,
    panels: Storage,
}

impl Block {
    /// Packs checked templates, `n x dims` values.
    pub(crate) fn new(dims: usize, rows: Vec<f32>) -> Block {
        let row_count = rows.len() / dims;
        let mut panels = Storage::zeroed(row_count.div_ceil(PANEL_ROWS) * panel_bytes(dims));
        let mut codes = vec![0; dims];
        let panels_mut = panels.bytes_mut().chunks_exact_mut(panel_bytes(dims));
        for (panel, rows) in panels_mut.zip(rows.chunks(dims * PANEL_ROWS)) {
            panel::write_rows(panel, dims, 0, rows, &mut codes);
        }
        Block { dims, row_count, rows: Rows::of(rows), panels }
    }

    /// A copy with more checked templates behind its own. Only the new ones are quantised.
    pub(crate) fn with(&self, more: &[f32]) -> Block {
        let joined = Rows::joined(self.rows.values(), more);
        let rows = joined.values();
        let row_count = rows.len() / self.dims;
        let size = panel_bytes(self.dims);
        let mut panels = Storage::zeroed(row_count.div_ceil(PANEL_ROWS) * size);
        let mut codes = vec![0; self.dims];
        let bytes = panels.bytes_mut();
        bytes[..self.panels.bytes().len()].copy_from_slice(self.panels.bytes());
        let mut row = self.row_count;
        while row < row_count {
            let end = (row / PANEL_ROWS + 1) * PANEL_ROWS;
            let panel = &mut bytes[row / PANEL_ROWS * size..][..size];
            let values = &rows[row * self.dims..end.min(row_count) * self.dims];
            panel::write_rows(panel, self.dims, row % PANEL_ROWS, values, &mut codes);
            row = end;
        }
        Block { dims: self.dims, row_count, rows: joined, panels }
    }

    /// Values in one template.
    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    /// Number of templates.
    pub(crate) fn row_count(&self) -> usize {
        self.row_count
    }

    /// Number of panels.
    pub(crate) fn panel_count(&self) -> usize {
        self.row_count.div_ceil(PANEL_ROWS)
    }

    /// Template `row`.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.rows.values()[row * self.dims..(row + 1) * self.dims]
    }

    /// Panel `index`.
    pub(crate) fn panel(&self, index: usize) -> Panel<'_> {
        Panel::new(&self.panels.bytes()[index * panel_bytes(self.dims)..][..panel_bytes(self.dims)])
    }

    /// All panels, one behind the other.
    pub(crate) fn panels(&self) -> &[u8] {
        self.panels.bytes()
    }

    /// Host memory, bytes.
    pub(crate) fn bytes_resident(&self) -> usize {
        let rows = match &self.rows {
            Rows::Handed(values) => values.capacity() * size_of::<f32>(),
            Rows::Stored(storage) => storage.bytes().len(),
        };
        rows + self.panels.bytes().len()
    }
}
