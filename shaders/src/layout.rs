//! The memory layouts that host and device agree on: `repr(C)` twins of the structs in `wgsl/layout.wgsl`,
//! and the panel geometry that both engines' kernels count with.

use bytemuck::{Pod, Zeroable};

/// Rows in one panel. On the CPU two 512-bit or four 256-bit registers; on a GPU the width of a
/// subgroup on most hardware, so that a load of one dimension is one full transaction.
pub(crate) const PANEL_ROWS: usize = 32;

/// Panels in one device tile. One invocation scores one row, and 8 x 32 rows are the 256 invocations
/// that WebGPU promises for a workgroup on every adapter. Twin of `TILE_ROWS` in the shader.
pub(crate) const TILE_PANELS: usize = 8;

/// Probes in one work item of `score_four`: the four components of a `vec4`.
pub(crate) const TILE_PROBES: usize = 4;

/// One workgroup's task: a tile of at most 256 rows against one probe (`score_one`) or four (`score_four`). Or one whole
/// grid's: a segment against sets of probes (`sieve`). Twin of `WorkItem` in the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct WorkItem {
    /// Where the first panel starts in the slab, in words of four bytes.
    pub(crate) panel_start: u32,
    /// Values in one template.
    pub(crate) dims: u32,
    /// Number of the first row within its gallery.
    pub(crate) row_first: u32,
    /// Rows, in a tile 0 to 256; 0 pads a work list and does nothing.
    pub(crate) rows: u32,
    /// Where the probes start, in groups of four words.
    pub(crate) probe_start: u32,
    /// How many candidates of each probe come back, at most.
    pub(crate) keep: u32,
    /// Where the first probe's candidates go; the next probe's follow `keep` places behind.
    pub(crate) result_start: u32,
    /// Where `sieve` counts the first probe's candidates. With it the struct has 32 bytes, so that eight of them are the
    /// largest binding alignment, 256 bytes.
    pub(crate) count_start: u32,
}

/// A row that may be in the top-k, with its upper bound. Twin of `Candidate` in the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Candidate {
    /// Upper bound of its score in units of the probe's scale, without the margin; see [`crate::quantise::Reach::bounds`].
    pub(crate) upper: f32,
    /// Row within the gallery.
    pub(crate) row: u32,
}

const _: () = assert!(size_of::<WorkItem>() == 32 && size_of::<Candidate>() == 8);
