//! The eight-bit coarse pass over some panels of a block.
//!
//! The panels stream past their probes in stretches that stay in the second-level cache; within a stretch every tile of
//! probes meets every panel. A kernel keeps all sums of its tile in registers over the full width of the templates,
//! compares them with each probe's threshold there, and writes them out only where one reaches it.

use std::ops::Range;

use super::Kernel;
use super::narrow::Look;
use super::probes::{Packing, Probes, Tile};
use crate::gallery::Part;
use crate::layout::PANEL_ROWS;
use crate::memory;
use crate::panel::{Panel, panel_bytes};
use crate::select::Selection;

/// Bytes of panels that all probes meet before the next are read. Half of the smallest second-level cache of
/// current server cores (1 MiB), so that probes and stacks fit beside it.
const STRETCH_BYTES: usize = 512 * 1024;

/// Panels whose sums are kept to find a first threshold, before any row is looked at alone.
const WARM_UP_PANELS: usize = 16;

/// Integer sums of one panel for `P` probes.
pub(super) type Sums<const P: usize> = [[i32; PANEL_ROWS]; P];

/// What a kernel is asked about one panel.
#[derive(Debug)]
pub(super) struct Ask<'a, const P: usize> {
    /// The codes of each probe, as the [`Packing`] has them.
    pub(super) codes: &'a [i32],
    /// Where each probe's sums start.
    pub(super) starts: [i32; P],
    /// How far a row's error reaches for each probe.
    pub(super) reaches: [f32; P],
    /// Each probe's threshold: rows whose upper bound is not below it are wanted. Infinite for places without a probe.
    pub(super) lowest: [f32; P],
}

/// Adds to `selections`, one for each of `probes`, the rows of `panels` that the bound cannot exclude.
pub(super) fn scan(kernel: Kernel, part: &Part, panels: Range<usize>, probes: &Probes, selections: &mut [Selection]) {
    let dims = probes.dims;
    let stretch_panels = (STRETCH_BYTES / panel_bytes(dims)).max(WARM_UP_PANELS);
    for start in panels.clone().step_by(stretch_panels) {
        let stretch = start..panels.end.min(start + stretch_panels);
        for tile in &probes.tiles {
            let of_tile = &mut selections[tile.first..tile.first + tile.count];
            let view = View { kernel, packing: probes.packing, part, panels: stretch.clone() };
            match tile.width {
                12 => view.scan_tile::<12>(probes, tile, of_tile),
                8 => view.scan_tile::<8>(probes, tile, of_tile),
                4 => view.scan_tile::<4>(probes, tile, of_tile),
                2 => view.scan_tile::<2>(probes, tile, of_tile),
                _ => view.scan_tile::<1>(probes, tile, of_tile),
            }
        }
    }
}

/// The bytes of some panels.
pub(super) fn panels_of(part: &Part, panels: Range<usize>) -> &[u8] {
    let size = panel_bytes(part.block.dims());
    &part.block.panels()[panels.start * size..panels.end * size]
}

/// A stretch of panels and what scores it.
struct View<'a> {
    kernel: Kernel,
    packing: Packing,
    part: &'a Part,
    panels: Range<usize>,
}

impl View<'_> {
    fn scan_tile<const P: usize>(&self, probes: &Probes, tile: &Tile, selections: &mut [Selection]) {
        let mut ask = Ask::<P> {
            codes: &probes.codes[tile.start..tile.start + self.packing.words(probes.dims, P)],
            starts: [0; P],
            reaches: [0.0; P],
            lowest: [f32::INFINITY; P],
        };
        for (place, selection) in selections.iter().enumerate() {
            ask.starts[place] = probes.starts[tile.first + place];
            ask.reaches[place] = selection.reach().reach;
            ask.lowest[place] = selection.threshold();
        }
        let mut panels = self.panels.clone();
        if ask.lowest.contains(&f32::NEG_INFINITY) {
            let first = panels.start..panels.end.min(panels.start + WARM_UP_PANELS);
            panels.start = first.end;
            self.warm_up(first, &ask, selections);
            for (lowest, selection) in ask.lowest.iter_mut().zip(selections.iter()) {
                *lowest = selection.threshold();
            }
        }
        let mut look = Look::new(self.kernel, probes, tile, selections);
        let mut sums = [[0; PANEL_ROWS]; P];
        for index in panels {
            let panel = self.part.block.panel(index);
            let live = self.part.live(index);
            let looked = look.as_mut().and_then(|look| look.score(&panel, &ask, live, &mut sums));
            let reached = looked.unwrap_or_else(|| self.score(&panel, &ask, &mut sums));
            let row_first = self.row_first(index);
            for (place, reached) in reached.into_iter().enumerate() {
                if reached & live != 0 {
                    selections[place].insert(&panel, &sums[place], row_first, reached & live);
                    let threshold = selections[place].threshold();
                    if threshold > ask.lowest[place] {
                        ask.lowest[place] = threshold;
                        look.iter_mut().for_each(|look| look.rule_out(place, &selections[place]));
                    }
                }
            }
        }
    }

    fn score<const P: usize>(&self, panel: &Panel<'_>, ask: &Ask<'_, P>, sums: &mut Sums<P>) -> [u32; P] {
        match self.packing {
            Packing::Narrow => self.kernel.score_narrow(panel, ask, sums),
            _ => self.kernel.score(panel, ask, sums),
        }
    }

    /// Scores the first panels of a gallery. Each lane's highest lower bound over the panels is that of another row, so
    /// the k-th of these is a lower bound that k rows have, and nearly the highest there is.
    fn warm_up<const P: usize>(&self, panels: Range<usize>, ask: &Ask<'_, P>, selections: &mut [Selection]) {
        let everything = Ask { lowest: [f32::NEG_INFINITY; P], ..*ask };
        let mut sums = [[[0; PANEL_ROWS]; P]; WARM_UP_PANELS];
        for (index, sums) in panels.clone().zip(&mut sums) {
            self.score(&self.part.block.panel(index), &everything, sums);
        }
        for (place, selection) in selections.iter_mut().enumerate() {
            let mut best = [[f32::NEG_INFINITY; PANEL_ROWS]; 2];
            for (index, sums) in panels.clone().zip(&sums) {
                let panel = self.part.block.panel(index);
                let (best, reach, live) = (&mut best[index % 2], ask.reaches[place], self.part.live(index));
                self.kernel.raise_lanes(best, &panel, &sums[place], reach, live);
            }
            let kth = self.kernel.kth_highest(bytemuck::cast_ref(&best), selection.wanted().k);
            selection.raise(selection.reach().threshold(f64::from(kth)));
            let lowest = selection.threshold();
            for (index, sums) in panels.clone().zip(&sums) {
                let panel = self.part.block.panel(index);
                let reached = self.kernel.reached(&panel, &sums[place], ask.reaches[place], lowest);
                let reached = reached & self.part.live(index);
                if reached != 0 {
                    // No panel comes behind that could rule these rows out; those of several probes would be too many at once.
                    if P == 1 && self.panels == panels {
                        self.ask_for_rows(index, reached);
                    }
                    selection.insert(&panel, &sums[place], self.row_first(index), reached);
                }
            }
        }
    }

    /// Asks for the templates of some rows of a panel.
    fn ask_for_rows(&self, panel: usize, rows: u32) {
        let rows = (0..PANEL_ROWS).filter(|row| rows >> row & 1 != 0);
        rows.for_each(|row| memory::ask_for(self.part.block.row(panel * PANEL_ROWS + row)));
    }

    fn row_first(&self, panel: usize) -> u32 {
        self.part.first + (panel * PANEL_ROWS) as u32
    }
}

/// The `k`-th highest of at least `k` values, none of them NaN.
///
/// Found bit by bit, as the highest number that `k` of them reach: no branch depends on a value but the last, and each step
/// is some vector instructions.
#[inline(always)]
pub(super) fn kth_highest(values: &[f32; 2 * PANEL_ROWS], k: usize) -> f32 {
    let keys = values.map(|value| in_order(value.to_bits() as i32));
    let mut kth = i32::MIN;
    for bit in (0..i32::BITS).rev() {
        let tried = kth ^ (1 << bit);
        let reached: i32 = keys.iter().map(|key| i32::from(*key >= tried)).sum();
        if reached >= k as i32 {
            kth = tried;
        }
        if reached == k as i32 {
            kth = keys.iter().map(|key| if *key >= tried { *key } else { i32::MAX }).fold(i32::MAX, i32::min);
            break;
        }
    }
    f32::from_bits(in_order(kth) as u32)
}

/// The bits of a float as an integer that is ordered as it is, and back.
fn in_order(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// Raises each lane's best lower bound by one panel's rows. The `f32` rounding here is what the rows' errors allow for.
#[inline(always)]
pub(super) fn raise_lanes(
    best: &mut [f32; PANEL_ROWS],
    panel: &Panel<'_>,
    sums: &[i32; PANEL_ROWS],
    reach: f32,
    live: u32,
) {
    for (lane, (best, sum)) in best.iter_mut().zip(sums).enumerate() {
        let lower = panel.scales[lane] * *sum as f32 - panel.errors[lane] * reach;
        let there = if live >> lane & 1 != 0 { lower } else { f32::NEG_INFINITY };
        *best = best.max(there);
    }
}

/// The rows, as bits, whose upper bound is not below `lowest`.
#[inline(always)]
pub(super) fn reached(panel: &Panel<'_>, sums: &[i32; PANEL_ROWS], reach: f32, lowest: f32) -> u32 {
    let mut reached = 0;
    for (lane, sum) in sums.iter().enumerate() {
        let upper = panel.scales[lane] * *sum as f32 + panel.errors[lane] * reach;
        reached |= u32::from(upper >= lowest) << lane;
    }
    reached
}
