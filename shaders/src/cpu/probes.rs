//! Probes as the eight-bit kernels read them.

use crate::batch::Probe;
use crate::panel::{GROUP, OFFSET};
use crate::quantise::{Reach, quantise};

/// Some probes that are scored together: `count` from `first` on, packed `dims / 4 x width` groups from `start` on.
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
    pub(crate) fn new(dims: usize, probes: &[Probe<'_>]) -> Probes {
        let groups = dims / GROUP;
        let mut packed = Probes {
            dims,
            tiles: Vec::new(),
            codes: Vec::with_capacity(groups * probes.len()),
            starts: Vec::with_capacity(probes.len()),
            reaches: Vec::with_capacity(probes.len()),
        };
        let mut codes = vec![0i8; dims];
        let mut first = 0;
        while first < probes.len() {
            // A tile is worth its width where most of its places are taken.
            let width = match probes.len() - first {
                11.. => 12,
                7.. => 8,
                3.. => 4,
                2 => 2,
                _ => 1,
            };
            let count = width.min(probes.len() - first);
            let start = packed.codes.len();
            packed.codes.resize(start + groups * width, 0);
            for (place, probe) in probes[first..first + count].iter().enumerate() {
                let quantised = quantise(probe.values, &mut codes);
                packed.starts.push(-OFFSET * quantised.sum);
                packed.reaches.push(Reach::new(&quantised, dims));
                let slots = packed.codes[start + place..].iter_mut().step_by(width);
                for (slot, group) in slots.zip(codes.as_chunks::<GROUP>().0) {
                    *slot = i32::from_ne_bytes(group.map(|code| code as u8));
                }
            }
            packed.tiles.push(Tile { first, count, width, start });
            first += count;
        }
        packed
    }
}
