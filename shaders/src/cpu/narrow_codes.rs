//! Narrow codes of probes, for processors whose widest multiply-add takes bytes but sums up in sixteen bits (AVX2):
//! they halve the time of the eight-bit pass.
//!
//! The rows are the panels of that pass; [`Narrow`] codes are another quantisation of a probe. On evenly spread data of
//! 512 dimensions their step, and with it the probe's margin, is three times that of eight bits. Where a floor excludes
//! nearly all rows, narrow codes are all that is needed ([`suffices`]). In a large gallery they serve for a first look
//! ([`pays`]).

use super::kernel::Kernel;
use super::packing::Packing;
use crate::ask::Group;
use crate::bound::Reach;
use crate::panel::{GROUP, OFFSET};
use crate::quantise::{NARROW_GROUPS, Narrow, quantise};

/// The floor from which narrow codes exclude nearly all rows, in standard deviations of the score of two templates
/// drawn evenly. Their bound is 0.7 of one, so it then cuts where one row in 100,000 is left.
const FLOOR_MIN: f64 = 5.0;

/// The width of a tile from which on a first look pays. With fewer probes memory takes the time.
pub(super) const WIDTH_MIN: usize = 4;

/// Probes as a first look reads them.
#[derive(Debug, Default)]
pub(crate) struct NarrowProbes {
    /// Tile after tile, in [`Packing::Narrow`].
    pub(super) codes: Vec<i32>,
    pub(super) reaches: Vec<Reach>,
    /// The fine codes, probe after probe.
    pub(super) fine: Vec<i16>,
}

/// What is quickest for a group.
pub(super) fn packing(kernel: Kernel, group: &Group<'_>) -> Packing {
    match Packing::of_kernel(kernel) {
        _ if narrows(kernel) && suffices(group) => Packing::Narrow,
        _ if narrows(kernel) && pays(group) => Packing::NarrowThenPairs,
        packing => packing,
    }
}

/// Whether a kernel is quicker with narrow codes than with others.
fn narrows(kernel: Kernel) -> bool {
    kernel == Kernel::Avx2
}

/// Whether narrow codes are all that a group needs, because its floors exclude nearly all rows. An identification's
/// floor does that.
fn suffices(group: &Group<'_>) -> bool {
    let deviation = 1.0 / (group.gallery.dims() as f64).sqrt();
    group.probes.iter().all(|probe| probe.wanted.floor >= FLOOR_MIN * deviation)
}

/// Whether a first look pays for a group. A threshold excludes most rows only after many were seen: the more, the more
/// hits are wanted, and the wider the templates are, whose scores then lie closer together.
fn pays(group: &Group<'_>) -> bool {
    let (rows, dims) = (group.gallery.rows(), group.gallery.dims());
    group.probes.iter().all(|probe| rows >= dims * probe.wanted.k)
}

/// Writes a probe's codes in [`Packing::Narrow`] to its place in the tile for `width` probes at the start of `tile`.
pub(super) fn write(tile: &mut [i32], [width, place]: [usize; 2], codes: &[Narrow]) {
    for (words, codes) in tile.chunks_mut((1 + NARROW_GROUPS) * width).zip(codes.chunks(GROUP * NARROW_GROUPS)) {
        let mut sums = [0; GROUP];
        let slots = words[width..].iter_mut().skip(place).step_by(width);
        for (slot, group) in slots.zip(codes.as_chunks::<GROUP>().0) {
            sums.iter_mut().zip(group).for_each(|(sum, code)| *sum += i32::from(*code));
            *slot = bytemuck::cast(group.map(|code| code.0));
        }
        let starts = [sums[0] + sums[1], sums[2] + sums[3]];
        words[place] = bytemuck::cast(starts.map(|sum| (-OFFSET * sum) as i16));
    }
}

impl NarrowProbes {
    /// Quantises a probe and writes it to its place in the tile for `width` probes that starts at `start`.
    pub(super) fn add(&mut self, values: &[f32], fine: &[i16], [start, width, place]: [usize; 3]) {
        let mut codes = vec![Narrow(0); values.len()];
        self.reaches.push(Reach::new(&quantise(values, &mut codes), values.len()));
        self.fine.extend_from_slice(fine);
        write(&mut self.codes[start..], [width, place], &codes);
    }
}
