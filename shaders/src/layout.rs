//! The memory layouts that host and device agree on: `repr(C)` twins of the structs in `wgsl/layout.wgsl`, and the
//! panel geometry that both engines' kernels count with.

use bytemuck::{Pod, Zeroable};

/// Rows in one panel. On the CPU they are two 512-bit or four 256-bit registers. On a GPU they are the width of a
/// subgroup on most hardware, so that a load of one group of codes is one full transaction.
pub(crate) const PANEL_ROWS: usize = 32;

/// The mask of a sweep whose rows all count.
pub(crate) const NO_MASK: u32 = u32::MAX;

/// A run of panels against sets of probes. Twin of `Sweep` in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Sweep {
    /// Workgroups of the dispatch that belong to the sweeps before this one.
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
    /// One tile in so many is looked at.
    pub(crate) stride: u32,
    /// Where the peak of the first tile goes within each probe's list.
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
    /// The upper bound that a row has to reach before anything is known of the gallery.
    pub(crate) floor: f32,
    /// Hits wanted.
    pub(crate) k: u32,
    /// Where its list of candidates starts, and for how many there is room.
    pub(crate) list_start: u32,
    /// See [`Task::list_start`].
    pub(crate) room: u32,
    /// Peaks that give it a floor, one a tile of the sample.
    pub(crate) peaks: u32,
    /// Where the rows that are left of its list go, in words, and for how many rows there is room.
    pub(crate) found_start: u32,
    /// See [`Task::found_start`].
    pub(crate) keep: u32,
}

/// The head of an answer to a task; the rows that are left of its list stand behind it. Twin of the comment on `found`
/// in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Found {
    /// Rows that reach the floor, those without room counted too.
    pub(crate) left: u32,
    /// The floor: all of these rows reach it, and no other row does.
    pub(crate) floor: f32,
    /// Rows that reached the floor of the sieve, those without room counted too.
    pub(crate) all: u32,
}

/// A row that may be in the top-k. Twin of `Candidate` in the shaders.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Candidate {
    /// Upper bound of its score, in units of the probe's scale and without the margin; see `Reach::bounds` in
    /// `bound.rs`.
    pub(crate) upper: f32,
    /// Lower bound.
    pub(crate) lower: f32,
    /// Row within the gallery.
    pub(crate) row: u32,
}

const _: () = assert!(
    size_of::<Sweep>() == 48 && size_of::<Task>() == 36 && size_of::<Found>() == 12 && size_of::<Candidate>() == 12
);
