//! Probes as the eight-bit kernels read them.

use crate::panel::{GROUP, OFFSET};
use crate::quantise::{Quantised, Reach, quantise, split};

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
    /// Quantises and packs probes of `dims` values.
    pub(crate) fn new<'a>(
        packing: Packing,
        dims: usize,
        mut probes: impl ExactSizeIterator<Item = &'a [f32]>,
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
        let (mut codes, mut fine) = (vec![0i8; dims], vec![0i16; dims]);
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
                match packing {
                    Packing::Bytes if width == 1 => packed.add_alone(values, start, &mut fine),
                    Packing::Bytes => {
                        packed.add(&quantise(values, &mut codes));
                        packed.write_column(start + place, width, &codes);
                    }
                    Packing::Pairs => {
                        packed.add(&quantise(values, &mut fine));
                        packed.write_pairs(start + 2 * place, width, &fine);
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

    /// Adds a probe of fine codes, in two columns.
    fn add_alone(&mut self, values: &[f32], start: usize, fine: &mut [i16]) {
        self.add(&quantise(values, fine));
        let mut columns = vec![0; 2 * self.dims];
        let (first, second) = columns.split_at_mut(self.dims);
        split(fine, [first, second]);
        self.write_column(start, 2, first);
        self.write_column(start + 1, 2, second);
    }

    /// Writes a column whose first group lies at `start`, among `width` of them.
    fn write_column(&mut self, start: usize, width: usize, codes: &[i8]) {
        let slots = self.codes[start..].iter_mut().step_by(width);
        let (groups, _) = bytemuck::cast_slice::<i8, u8>(codes).as_chunks::<GROUP>();
        for (slot, group) in slots.zip(groups) {
            *slot = i32::from_ne_bytes(*group);
        }
    }

    /// Writes a probe's pairs, of which the first lies at `start`, in a tile for `width` probes.
    fn write_pairs(&mut self, start: usize, width: usize, fine: &[i16]) {
        let slots = self.codes[start..].chunks_mut(Packing::Pairs.group_words(width));
        for (slot, [a, b, c, d]) in slots.zip(fine.as_chunks::<GROUP>().0) {
            slot[..2].copy_from_slice(&[[*a, *c], [*b, *d]].map(bytemuck::cast::<[i16; 2], i32>));
        }
    }
}
