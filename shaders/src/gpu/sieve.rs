//! Large galleries in two passes: the first ranks a sample of the tiles, which gives each probe a floor that the best k
//! reach; the second goes through all rows and gives back those that reach it.
//!
//! The floor is proved, whatever the sample: it is the threshold of [`Selection`] after rows of the gallery itself. How many
//! rows reach it is not: if they are more than have room, the probe goes to the CPU.

use super::merge::Merge;
use super::plan::{DeviceKernel, Lot, Placed, Plan, ROUND_CANDIDATES_MAX, Round, Sieve, segments};
use crate::batch::{Group, Probe};
use crate::layout::{PANEL_ROWS, TILE_PANELS, TILE_PROBES, WorkItem};
use crate::panel::GROUP;
use crate::quantise::{Reach, quantise};
use crate::select::Selection;

/// Tiles from which on a gallery is sieved: before, ranking all of them takes less than a second pass.
const TILES_MIN: usize = 64;

/// Tiles in a sample, at least, and the share of all of them that it has at least.
const SAMPLE_TILES_MIN: usize = 16;
/// See [`SAMPLE_TILES_MIN`].
const STRIDE_MAX: usize = 32;

/// Tiles of a placed gallery.
pub(super) fn tiles(placed: &Placed<'_>) -> usize {
    segments(placed).map(|(_, segment)| segment.panels.div_ceil(TILE_PANELS)).sum()
}

/// Whether a gallery of so many tiles is better sieved than ranked.
pub(super) fn pays(tiles: usize) -> bool {
    tiles >= TILES_MIN
}

/// Of how many tiles the sample has one.
pub(super) fn stride(tiles: usize) -> usize {
    (tiles / SAMPLE_TILES_MIN).clamp(1, STRIDE_MAX)
}

/// Room for the rows of one probe that reach its floor. Of a sample of one row in `stride`, `k * stride` rows reach the k-th
/// score on average, and as many again are within the error bound below it; both vary the more the smaller k is.
fn room(k: usize, stride: usize) -> usize {
    4 * k * stride + 1024
}

/// Words of a set's probes.
pub(super) fn words(dims: usize, probes: usize) -> usize {
    probes * (2 + dims / GROUP)
}

impl<'a> Plan<'a> {
    /// Adds one group, whose gallery's parts lie in `placed` and whose probes have the proved `floors`, after a sample of one
    /// tile in `stride`.
    pub(super) fn sieve(&mut self, group: &Group<'a>, placed: &Placed<'a>, stride: usize, floors: &[f32]) {
        let all = group.probes.len();
        let by_matrices = self.ways.matrices.map(DeviceKernel::SieveMatrices);
        // A set of matrices that is half empty takes about as long as sets without.
        let many = by_matrices.map_or(0, |kernel| match all % kernel.set_probes() {
            rest if 2 * rest >= kernel.set_probes() => all,
            rest => all - rest,
        });
        let wide = all - (all - many) % DeviceKernel::SieveSixteen.set_probes();
        let split = |kernel, from: usize, to: usize| (kernel, &group.probes[from..to], &floors[from..to]);
        let runs = [
            split(by_matrices.unwrap_or(DeviceKernel::SieveSixteen), 0, many),
            split(DeviceKernel::SieveSixteen, many, wide),
            split(DeviceKernel::SieveFour, wide, all),
        ];
        for (kernel, probes, floors) in runs {
            let room = room(probes.iter().map(|probe| probe.wanted.k).max().unwrap_or(0), stride);
            // So many that they fill a round.
            let together = (ROUND_CANDIDATES_MAX / room).next_multiple_of(kernel.set_probes());
            for (probes, floors) in probes.chunks(together).zip(floors.chunks(together)) {
                self.sieve_together(group, placed, kernel, probes, floors, room);
            }
        }
    }

    fn sieve_together(
        &mut self,
        group: &Group<'a>,
        placed: &Placed<'a>,
        kernel: DeviceKernel,
        probes: &[Probe<'_>],
        floors: &[f32],
        room: usize,
    ) {
        let dims = group.gallery.dims();
        let probe_first = self.merges.len();
        let probe_start = (self.probes.len() / TILE_PROBES) as u32;
        for (set, floors) in probes.chunks(kernel.set_probes()).zip(floors.chunks(kernel.set_probes())) {
            self.pack_set(group, kernel, set, floors);
        }
        let full = |round: &Round| round.candidates + probes.len() * room > ROUND_CANDIDATES_MAX;
        if self.rounds.last().is_none_or(full) {
            self.rounds.push(Round::default());
        }
        let Some(round) = self.rounds.last_mut() else {
            return;
        };
        let (result_start, count_start) = (round.candidates, round.lots.len());
        for (part, segment) in segments(placed) {
            let row_first = segment.panel_first * PANEL_ROWS;
            let item = WorkItem {
                panel_start: segment.start,
                dims: dims as u32,
                row_first: part.first + row_first as u32,
                rows: (segment.panels * PANEL_ROWS).min(part.block.row_count() - row_first) as u32,
                probe_start,
                keep: room as u32,
                result_start: result_start as u32,
                count_start: count_start as u32,
            };
            round.sieves.push(Sieve {
                slab: segment.slab,
                kernel,
                item,
                sets: probes.len().div_ceil(kernel.set_probes()) as u32,
                tiles: segment.panels.div_ceil(kernel.tile_panels()) as u32,
            });
        }
        let lots = (0..probes.len()).map(|place| Lot {
            probe: probe_first + place,
            start: result_start + place * room,
            length: room,
        });
        round.lots.extend(lots);
        // The kernel neither counts nor places anything for the probes that a set lacks.
        round.candidates += probes.len() * room;
    }

    /// Quantises and packs one set as the kernel reads it.
    fn pack_set(&mut self, group: &Group<'a>, kernel: DeviceKernel, probes: &[Probe<'_>], floors: &[f32]) {
        let dims = group.gallery.dims();
        let width = kernel.set_probes();
        let start = self.probes.len();
        self.probes.resize(start + words(dims, width), 0);
        let set = &mut self.probes[start..];
        // A probe that is not there has a floor that nothing reaches.
        set[width..2 * width].fill(f32::MAX.to_bits());
        let mut codes = vec![0i8; dims];
        for (place, (probe, floor)) in probes.iter().zip(floors).enumerate() {
            let quantised = quantise(probe.values, &mut codes);
            let reach = Reach::new(&quantised, dims);
            set[place] = reach.reach.to_bits();
            // WGSL lets an implementation assume that there are no infinities.
            set[width + place] = floor.max(f32::MIN).to_bits();
            let slots = set[2 * width + place..].iter_mut().step_by(width);
            for (slot, group) in slots.zip(codes.as_chunks::<GROUP>().0) {
                *slot = u32::from_le_bytes(group.map(|code| code as u8));
            }
            let mut selection = Selection::new(probe.wanted, reach);
            selection.raise(*floor);
            self.merges.push(Merge::new(group.gallery, selection));
        }
    }
}
