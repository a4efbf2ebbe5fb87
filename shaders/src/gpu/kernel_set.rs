//! The kernels of a device, and which of them are used. Nothing here knows wgpu.

use crate::panel::GROUP;

/// How the invocations of a workgroup gather their results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gathering {
    #[default]
    Atomics,
    Subgroups,
}

/// Rows and columns of the square matrices that a device multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Eight,
    Sixteen,
}

impl Side {
    pub(super) const fn length(self) -> usize {
        match self {
            Side::Eight => 8,
            Side::Sixteen => 16,
        }
    }
}

/// The fewest workgroups that multiply matrices: fewer leave too much of a large device idle.
const MATRIX_GROUPS_MIN: usize = 256;

/// Matrices of rows that a subgroup multiplies by four matrices of probes.
pub(super) const TALL: usize = 4;

/// How many probes a workgroup scores together, and whether by matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    One,
    Four,
    Sixteen,
    Matrices(Side),
    WideMatrices(Side),
}

impl Width {
    /// Probes in a set.
    pub(super) const fn probes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Four => 4,
            Width::Sixteen => 16,
            Width::Matrices(side) => 4 * side.length(),
            Width::WideMatrices(side) => 8 * side.length(),
        }
    }

    pub(super) const fn tile_rows(self) -> usize {
        match self {
            Width::One | Width::Four | Width::Sixteen => 256,
            Width::Matrices(side) => 8 * TALL * side.length(),
            Width::WideMatrices(side) => 4 * TALL * side.length(),
        }
    }

    /// Words of a set's codes.
    pub(super) fn words(self, dims: usize) -> usize {
        match self {
            // The codes of a probe that is alone are filled up to whole vectors.
            Width::One => (dims / GROUP).next_multiple_of(4),
            _ => dims / GROUP * self.probes(),
        }
    }
}

/// What a sweep over rows is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sweeping {
    /// To find the peaks of a sample's tiles.
    Peaks,
    /// To find the rows that reach their probe's floor.
    Sieve,
}

impl Sweeping {
    pub(super) const ALL: [Sweeping; 2] = [Sweeping::Peaks, Sweeping::Sieve];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DeviceKernel {
    /// Gives each task its floor.
    SetFloor(Gathering),
    Sweep(Sweeping, Width, Gathering),
    /// Drops from each list the rows that its own bounds exclude.
    Cull(Gathering),
}

/// Which kernels are used, of those that do the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KernelSet {
    pub(super) gathering: Gathering,
    /// The matrices that are used for many probes, if any.
    pub(super) matrices: Option<Side>,
    /// Whether the matrices are used also for few probes.
    pub(super) for_few: bool,
}

impl KernelSet {
    /// How the next of `probes` probes are scored together against `rows` rows.
    pub(super) fn width(&self, probes: usize, rows: usize) -> Width {
        let by_matrices = self.matrices.map(|side| match Width::Matrices(side) {
            narrow if probes <= narrow.probes() => narrow,
            _ => Width::WideMatrices(side),
        });
        let pays = |width: &Width| {
            let groups = rows.div_ceil(width.tile_rows()) * probes.div_ceil(width.probes());
            probes > Width::Sixteen.probes() && groups >= MATRIX_GROUPS_MIN
        };
        match by_matrices.filter(|width| self.for_few || pays(width)) {
            Some(width) => width,
            None if probes > Width::Four.probes() => Width::Sixteen,
            None if probes > 1 => Width::Four,
            None => Width::One,
        }
    }

    /// The kernel that sweeps over rows against sets of this width.
    pub(super) fn kernel(&self, sweeping: Sweeping, width: Width) -> DeviceKernel {
        let gathering = match width {
            Width::Matrices(_) | Width::WideMatrices(_) => Gathering::Subgroups,
            _ => self.gathering,
        };
        DeviceKernel::Sweep(sweeping, width, gathering)
    }
}
