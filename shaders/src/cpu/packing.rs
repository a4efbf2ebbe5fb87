//! In which forms kernels read the codes of probes.

use super::kernel::Kernel;
use crate::panel::GROUP;
use crate::quantise::NARROW_GROUPS;

/// In which form a kernel reads the codes of its probes. In a tile the dimension is outermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Groups of four codes of eight bits, as the four bytes of a word. A probe that is alone has fine codes, in two
    /// columns ([`crate::quantise`]).
    Bytes,
    /// Groups of four fine codes in two words, each of two times 16 bits: those at even places, then those at odd ones.
    Pairs,
    /// As `Pairs`. A tile that is wide enough for a first look has narrow codes beside them.
    NarrowThenPairs,
    /// For each [`NARROW_GROUPS`] groups first a word with the starts, two times 16 bits, of the two lanes that their
    /// products go to; then the groups of four narrow codes, as the four bytes of a word.
    Narrow,
}

impl Packing {
    /// How a kernel reads the codes of probes where it reads them once.
    pub(super) fn of_kernel(kernel: Kernel) -> Packing {
        match kernel {
            Kernel::Avx512 => Packing::Bytes,
            Kernel::Avx2 | Kernel::Neon | Kernel::Portable => Packing::Pairs,
        }
    }

    /// Words of a tile for `width` probes.
    pub(super) const fn words(self, dims: usize, width: usize) -> usize {
        let groups = dims / GROUP;
        match (self, width) {
            (Packing::Bytes, 1) => 2 * groups,
            (Packing::Bytes, _) => width * groups,
            (Packing::Pairs | Packing::NarrowThenPairs, _) => width * 2 * groups,
            (Packing::Narrow, _) => width * (groups + groups.div_ceil(NARROW_GROUPS)),
        }
    }
}
