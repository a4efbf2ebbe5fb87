//! Probes as the eight-bit kernels read them.

use crate::panel::{GROUP, OFFSET};
use crate::quantise::{Quantised, Reach, quantise, split};

/// Some probes that are scored together: `count` from `first` on, packed `dims / 4 x width` groups from `start` on. One
/// alone has two columns of codes ([`crate::quantise`]).
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
    pub(crate) tiles: Vec<Tile>,
    /// Groups of four codes, as the four bytes of an `i32`; in a tile the dimension is outermost.
    pub(crate) codes: Vec<i32>,
    /// For each probe minus 128 times the sum of its codes: what the gallery's offset adds to a sum, taken away.
    pub(crate) starts: Vec<i32>,
    /// For each probe what the error bound needs.
    pub(crate) reaches: Vec<Reach>,
}

impl Probes {
    /// Quantises and packs probes of `dims` values.
    pub(crate) fn new<'a>(dims: usize, mut probes: impl ExactSizeIterator<Item = &'a [f32]>) -> Probes {
        let groups = dims / GROUP;
        let mut packed = Probes {
            dims,
            tiles: Vec::new(),
            codes: Vec::with_capacity(groups * probes.len().max(2)),
            starts: Vec::with_capacity(probes.len()),
            reaches: Vec::with_capacity(probes.len()),
        };
        let mut codes = vec![0; dims];
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
            packed.codes.resize(start + groups * width.max(2), 0);
            for (place, values) in probes.by_ref().take(width).enumerate() {
                if width == 1 {
                    packed.add_alone(values, start);
                } else {
                    packed.add(&quantise(values, &mut codes));
                    packed.write_column(start + place, width, &codes);
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
    fn add_alone(&mut self, values: &[f32], start: usize) {
        let mut fine = vec![0i16; self.dims];
        self.add(&quantise(values, &mut fine));
        let mut columns = vec![0; 2 * self.dims];
        let (first, second) = columns.split_at_mut(self.dims);
        split(&fine, [first, second]);
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
}
