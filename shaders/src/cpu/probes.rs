//! Probes as the eight-bit kernels read them.

use crate::memory::Upcoming;
use crate::panel::{GROUP, OFFSET};
use crate::quantise::{Quantised, Reach, quantise_beside, split};

/// In which form a kernel reads the codes of its probes; in a tile the dimension is outermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Groups of four codes of eight bits, as the four bytes of a word. A probe that is alone has fine codes, in two columns
    /// ([`crate::quantise`]).
    Bytes,
    /// Groups of four fine codes in two words, each of two times 16 bits: those at even places, then those at odd places.
    Pairs,
}

impl Packing {
    /// Words of one group of codes of all probes of a tile.
    pub(crate) const fn group_words(self, width: usize) -> usize {
        match (self, width) {
            (Packing::Bytes, 1) => 2,
            (Packing::Bytes, _) => width,
            (Packing::Pairs, _) => 2 * width,
        }
    }
}

/// Some probes that are scored together: `count` from `first` on, in a tile for `width`, packed from `start` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) width: usize,
    pub(crate) start: usize,
}

/// All probes of one gallery's pass.
#[derive(Debug)]
pub(crate) struct Probes {
    pub(crate) dims: usize,
    pub(crate) packing: Packing,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) codes: Vec<i32>,
    /// For each probe minus 128 times the sum of its codes: what the gallery's offset adds to a sum, taken away.
    pub(crate) starts: Vec<i32>,
    /// For each probe what the error bound needs.
    pub(crate) reaches: Vec<Reach>,
}

impl Probes {
    /// Quantises and packs probes of `dims` values, and asks for upcoming memory beside that.
    pub(crate) fn new<'a>(
        packing: Packing,
        dims: usize,
        mut probes: impl ExactSizeIterator<Item = &'a [f32]>,
        mut upcoming: Upcoming<'_>,
    ) -> Probes {
        let groups = dims / GROUP;
        let mut packed = Probes {
            dims,
            packing,
            tiles: Vec::new(),
            codes: Vec::with_capacity(groups * packing.group_words(probes.len())),
            starts: Vec::with_capacity(probes.len()),
            reaches: Vec::with_capacity(probes.len()),
        };
        let (mut codes, mut fine) = (Vec::new(), Vec::new());
        while probes.len() > 0 {
            // A tile is worth its width where most of its places are taken.
            let width = match probes.len() {
                11.. => 12,
                7.. => 8,
                3.. => 4,
                2 => 2,
                _ => 1,
            };
            let (first, start) = (packed.starts.len(), packed.codes.len());
            packed.codes.resize(start + groups * packing.group_words(width), 0);
            for (place, values) in probes.by_ref().take(width).enumerate() {
                let at = [start, width, place];
                if packing == Packing::Bytes && width > 1 {
                    codes.resize(dims, 0);
                    packed.add(&quantise_beside(values, &mut codes, || upcoming.ask_for_some()));
                    packed.write(at, &codes, |codes| [word(codes)]);
                    continue;
                }
                fine.resize(dims, 0);
                packed.add(&quantise_beside(values, &mut fine, || upcoming.ask_for_some()));
                match packing {
                    Packing::Bytes => packed.write(at, &fine, |fine| {
                        let columns = fine.map(split);
                        [0, 1].map(|column| word(columns.map(|columns| columns[column])))
                    }),
                    Packing::Pairs => {
                        packed.write(at, &fine, |[a, b, c, d]| [[a, c], [b, d]].map(bytemuck::cast::<[i16; 2], i32>));
                    }
                }
            }
            packed.tiles.push(Tile { first, count: packed.starts.len() - first, width, start });
        }
        packed
    }

    fn add(&mut self, quantised: &Quantised) {
        self.starts.push(-OFFSET * quantised.sum);
        self.reaches.push(Reach::new(quantised, self.dims));
    }

    /// Writes a probe's groups, `N` words each, at its place in the tile for `width` probes that starts at `start`.
    fn write<C: Copy, const N: usize>(
        &mut self,
        [start, width, place]: [usize; 3],
        codes: &[C],
        words: impl Fn([C; GROUP]) -> [i32; N],
    ) {
        let (slots, groups) = (self.codes[start..].as_chunks_mut::<N>().0, codes.as_chunks::<GROUP>().0);
        if width == 1 {
            // Without a step it is vector instructions.
            slots.iter_mut().zip(groups).for_each(|(slot, group)| *slot = words(*group));
        } else {
            let slots = slots.iter_mut().skip(place).step_by(width);
            slots.zip(groups).for_each(|(slot, group)| *slot = words(*group));
        }
    }
}

/// The bytes of a word.
fn word(codes: [i8; GROUP]) -> i32 {
    i32::from_ne_bytes(codes.map(|code| code as u8))
}
