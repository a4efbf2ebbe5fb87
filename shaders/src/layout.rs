//! The memory layouts that host and device agree on: `repr(C)` twins of the structs in `wgsl/layout.wgsl`,
//! and the panel geometry that both engines' kernels count with.

use bytemuck::{Pod, Zeroable};

/// Rows in one panel. On the CPU two 512-bit or four 256-bit registers; on a GPU the width of a
/// subgroup on most hardware, so that a load of one dimension is one full transaction.
pub(crate) const PANEL_ROWS: usize = 32;

/// What says that all rows of a sweep count.
pub(crate) const NO_MASK: u32 = u32::MAX;

/// A run of panels against sets of probes. Twin of `Sweep` in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Sweep {
    /// Workgroups of its dispatch that belong to sweeps before it.
    pub(crate) group_first: u32,
    /// Where the first panel starts in the slab, in words of four bytes.
    pub(crate) panel_start: u32,
    /// Values in one template.
    pub(crate) dims: u32,
    /// Number of the first row within its gallery.
    pub(crate) row_first: u32,
    /// Rows, at least one.
    pub(crate) rows: u32,
    /// Where a bit for each row says whether it counts, in groups of four words among the probes; or [`NO_MASK`].
    pub(crate) mask_start: u32,
    /// Where the codes of the first set start, in groups of four words.
    pub(crate) probe_start: u32,
    /// The task of the first probe; those of the others follow.
    pub(crate) task_first: u32,
    /// Probes, at least one, and the sets that they make.
    pub(crate) probes: u32,
    /// See [`Sweep::probes`].
    pub(crate) sets: u32,
    /// Of how many tiles one is looked at.
    pub(crate) stride: u32,
    /// Where the peak of the first tile goes within its probe's lot.
    pub(crate) peak_first: u32,
}

/// A probe, and where its candidates go. Twin of `Task` in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Task {
    /// See `Reach::reach` in `bound.rs`.
    pub(crate) reach: f32,
    /// How far below the k-th highest lower bound an upper bound may be, rounded up.
    pub(crate) margin: f32,
    /// What an upper bound has to reach before anything is known of the gallery.
    pub(crate) floor: f32,
    /// Hits wanted.
    pub(crate) k: u32,
    /// Where its lot of candidates starts, and for how many there is room.
    pub(crate) lot_start: u32,
    /// See [`Task::lot_start`].
    pub(crate) room: u32,
    /// Tiles whose peaks give it a floor.
    pub(crate) peaks: u32,
    /// Where what is left of its lot goes, in words, and for how many rows there is room.
    pub(crate) found_start: u32,
    /// See [`Task::found_start`].
    pub(crate) keep: u32,
}

/// What is left of a task's lot, in front of the rows. Twin of the comment on `found` in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Found {
    /// Rows that reach the floor, also where there is no room for them.
    pub(crate) left: u32,
    /// The upper bound that all of them reach, and no other row.
    pub(crate) floor: f32,
    /// Rows that had reached the floor before, also where there was no room for them.
    pub(crate) all: u32,
}

/// A row that may be in the top-k. Twin of `Candidate` in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Candidate {
    /// Upper bound of its score in units of the probe's scale, without the margin; see `Reach::bounds` in `bound.rs`.
    pub(crate) upper: f32,
    /// Lower bound.
    pub(crate) lower: f32,
    /// Row within the gallery.
    pub(crate) row: u32,
}

const _: () = assert!(
    size_of::<Sweep>() == 48 && size_of::<Task>() == 36 && size_of::<Found>() == 12 && size_of::<Candidate>() == 12
);
