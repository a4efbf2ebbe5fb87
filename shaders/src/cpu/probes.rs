//! Probes, quantised and packed as the kernels read them.

use super::narrow_codes::{self, NarrowProbes};
use super::packing::Packing;
use crate::bound::{Quantised, Reach};
use crate::memory::Upcoming;
use crate::panel::{GROUP, OFFSET};
use crate::quantise::{Narrow, quantise_beside, split};

/// Probes in the widest tile.
pub(super) const TILE_PROBES: usize = 12;

/// Some probes that are scored together: `count` probes from `first` on, in a tile that has room for `width`. Its codes
/// begin at `start`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) width: usize,
    pub(crate) start: usize,
    /// Where its narrow codes for a first look begin.
    pub(crate) narrow_start: usize,
}

/// All probes of a pass over one gallery.
#[derive(Debug)]
pub(crate) struct Probes {
    pub(crate) dims: usize,
    pub(crate) packing: Packing,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) codes: Vec<i32>,
    /// For each probe minus 128 times the sum of its codes: it takes away what the rows' offset of 128 adds to a sum.
    /// With [`Packing::Narrow`] the starts stand among the codes, and these are zero.
    pub(crate) starts: Vec<i32>,
    /// What the error bound needs of each probe.
    pub(crate) reaches: Vec<Reach>,
    /// The narrow codes of the tiles that have a first look.
    pub(crate) narrow: NarrowProbes,
}

impl Probes {
    /// Quantises and packs probes of `dims` values, and asks for upcoming memory meanwhile.
    pub(crate) fn new<'a>(
        packing: Packing,
        dims: usize,
        mut probes: impl ExactSizeIterator<Item = &'a [f32]>,
        mut upcoming: Upcoming<'_>,
    ) -> Probes {
        let mut packed = Probes {
            dims,
            packing,
            tiles: Vec::new(),
            codes: Vec::with_capacity(packing.words(dims, probes.len())),
            starts: Vec::with_capacity(probes.len()),
            reaches: Vec::with_capacity(probes.len()),
            narrow: NarrowProbes::default(),
        };
        let (mut codes, mut fine, mut narrow_codes) = (Vec::new(), Vec::new(), Vec::new());
        while probes.len() > 0 {
            // A wide tile pays where most of its places are taken.
            let width = match probes.len() {
                11.. => TILE_PROBES,
                7.. => 8,
                3.. => 4,
                2 => 2,
                _ => 1,
            };
            let (first, start) = (packed.starts.len(), packed.codes.len());
            packed.codes.resize(start + packing.words(dims, width), 0);
            let has_look = packing == Packing::NarrowThenPairs && width >= narrow_codes::WIDTH_MIN;
            let narrow_start = packed.narrow.codes.len();
            if has_look {
                packed.narrow.codes.resize(narrow_start + Packing::Narrow.words(dims, width), 0);
            }
            for (place, values) in probes.by_ref().take(width).enumerate() {
                let at = [start, width, place];
                if packing == Packing::Narrow {
                    narrow_codes.resize(dims, Narrow::default());
                    let quantised = quantise_beside(values, &mut narrow_codes, || upcoming.ask_for_some());
                    packed.reaches.push(Reach::new(&quantised, dims));
                    packed.starts.push(0);
                    narrow_codes::write(&mut packed.codes[start..], [width, place], &narrow_codes);
                    continue;
                }
                if packing == Packing::Bytes && width > 1 {
                    codes.resize(dims, 0);
                    packed.add(&quantise_beside(values, &mut codes, || upcoming.ask_for_some()));
                    packed.write(at, &codes, |codes| [word(codes)]);
                    continue;
                }
                fine.resize(dims, 0);
                packed.add(&quantise_beside(values, &mut fine, || upcoming.ask_for_some()));
                if has_look {
                    packed.narrow.add(values, &fine, [narrow_start, width, place]);
                }
                match packing {
                    Packing::Bytes => packed.write(at, &fine, |fine| {
                        let columns = fine.map(split);
                        [0, 1].map(|column| word(columns.map(|columns| columns[column])))
                    }),
                    _ => {
                        packed.write(at, &fine, |[a, b, c, d]| [[a, c], [b, d]].map(bytemuck::cast::<[i16; 2], i32>));
                    }
                }
            }
            packed.tiles.push(Tile { first, count: packed.starts.len() - first, width, start, narrow_start });
        }
        packed
    }

    fn add(&mut self, quantised: &Quantised) {
        self.starts.push(-OFFSET * quantised.sum);
        self.reaches.push(Reach::new(quantised, self.dims));
    }

    /// Writes a probe's groups, `N` words each, to its place in the tile for `width` probes that begins at `start`.
    fn write<C: Copy, const N: usize>(
        &mut self,
        [start, width, place]: [usize; 3],
        codes: &[C],
        words: impl Fn([C; GROUP]) -> [i32; N],
    ) {
        let (slots, groups) = (self.codes[start..].as_chunks_mut::<N>().0, codes.as_chunks::<GROUP>().0);
        if width == 1 {
            // Without a step the compiler takes vector instructions.
            slots.iter_mut().zip(groups).for_each(|(slot, group)| *slot = words(*group));
        } else {
            let slots = slots.iter_mut().skip(place).step_by(width);
            slots.zip(groups).for_each(|(slot, group)| *slot = words(*group));
        }
    }
}

/// Four codes as the bytes of a word.
fn word(codes: [i8; GROUP]) -> i32 {
    i32::from_ne_bytes(codes.map(|code| code as u8))
}
