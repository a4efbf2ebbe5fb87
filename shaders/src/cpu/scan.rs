//! The eight-bit coarse pass over some panels of a block.
//!
//! The panels stream past their probes in stretches that stay in the second-level cache; within a stretch every tile of
//! probes meets every panel. A kernel keeps all sums of its tile in registers over the full width of the templates,
//! compares them with each probe's threshold there, and writes them out only where one reaches it.

use std::ops::Range;

use super::Kernel;
use super::probes::{Probes, Tile};
use crate::batch::K_MAX;
use crate::gallery::Part;
use crate::layout::PANEL_ROWS;
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
    /// `dims / 4` groups of four codes of each probe, as the kernel's [`Packing`](super::probes::Packing) has them.
    pub(super) codes: &'a [i32],
    /// Where each probe's sums start.
    pub(super) starts: [i32; P],
    /// How far a row's error reaches for each probe.
    pub(super) reaches: [f32; P],
    /// Each probe's threshold: rows whose upper bound is not below it are wanted. Infinite for places without a probe.
    pub(super) lowest: [f32; P],
}

/// Adds to `selections`, one for each of `probes`, the rows of `panels` that the bound cannot exclude. `ahead` is memory
/// that will be read next.
pub(super) fn scan(
    kernel: Kernel,
    part: &Part,
    panels: Range<usize>,
    probes: &Probes,
    selections: &mut [Selection],
    ahead: &[u8],
) {
    let dims = probes.dims;
    let stretch_panels = (STRETCH_BYTES / panel_bytes(dims)).max(WARM_UP_PANELS);
    for start in panels.clone().step_by(stretch_panels) {
        let stretch = start..panels.end.min(start + stretch_panels);
        let last_of_all = stretch.end == panels.end;
        for (index, tile) in probes.tiles.iter().enumerate() {
            let of_tile = &mut selections[tile.first..tile.first + tile.count];
            // Only the first tile meets panels that are not in a cache yet, and only the last is followed by others.
            let behind = if index + 1 == probes.tiles.len() && last_of_all { ahead } else { &[] };
            let view = View { kernel, part, panels: stretch.clone(), cold: index == 0, behind };
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

/// The bytes of one panel, or none where there is no such panel.
pub(super) fn panel_bytes_of(part: &Part, index: usize) -> &[u8] {
    let size = panel_bytes(part.block.dims());
    part.block.panels().get(index * size..(index + 1) * size).unwrap_or(&[])
}

/// A stretch of panels and what scores it.
struct View<'a> {
    kernel: Kernel,
    part: &'a Part,
    panels: Range<usize>,
    cold: bool,
    behind: &'a [u8],
}

impl View<'_> {
    fn scan_tile<const P: usize>(&self, probes: &Probes, tile: &Tile, selections: &mut [Selection]) {
        let groups = probes.dims / crate::panel::GROUP;
        let mut ask = Ask::<P> {
            codes: &probes.codes[tile.start..tile.start + groups * probes.packing.group_words(P)],
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
        let mut sums = [[0; PANEL_ROWS]; P];
        for index in panels {
            let panel = self.part.block.panel(index);
            let reached = self.kernel.score(&panel, &ask, self.ahead(index), &mut sums);
            let live = self.part.live(index);
            let row_first = self.row_first(index);
            for (place, reached) in reached.into_iter().enumerate() {
                if reached & live != 0 {
                    selections[place].insert(&panel, &sums[place], row_first, reached & live);
                    ask.lowest[place] = selections[place].threshold();
                }
            }
        }
    }

    /// Scores the first panels of a gallery. Each lane's highest lower bound over the panels is that of another row, so
    /// the k-th of these is a lower bound that k rows have, and nearly the highest there is.
    fn warm_up<const P: usize>(&self, panels: Range<usize>, ask: &Ask<'_, P>, selections: &mut [Selection]) {
        let everything = Ask { lowest: [f32::NEG_INFINITY; P], ..*ask };
        let mut sums = [[[0; PANEL_ROWS]; P]; WARM_UP_PANELS];
        for (index, sums) in panels.clone().zip(&mut sums) {
            self.kernel.score(&self.part.block.panel(index), &everything, self.ahead(index), sums);
        }
        for (place, selection) in selections.iter_mut().enumerate() {
            let mut best = [[f32::NEG_INFINITY; PANEL_ROWS]; 2];
            for (index, sums) in panels.clone().zip(&sums) {
                let panel = self.part.block.panel(index);
                let (best, reach, live) = (&mut best[index % 2], ask.reaches[place], self.part.live(index));
                self.kernel.raise_lanes(best, &panel, &sums[place], reach, live);
            }
            let kth = kth_highest(best.as_flattened(), selection.wanted().k);
            selection.raise(selection.reach().threshold(f64::from(kth)));
            let lowest = selection.threshold();
            for (index, sums) in panels.clone().zip(&sums) {
                let panel = self.part.block.panel(index);
                let reached = self.kernel.reached(&panel, &sums[place], ask.reaches[place], lowest);
                let reached = reached & self.part.live(index);
                if reached != 0 {
                    selection.insert(&panel, &sums[place], self.row_first(index), reached);
                }
            }
        }
    }

    fn row_first(&self, panel: usize) -> u32 {
        self.part.first + (panel * PANEL_ROWS) as u32
    }

    /// The memory to ask for while panel `index` is scored.
    fn ahead(&self, index: usize) -> &[u8] {
        if index + 1 == self.panels.end && !self.behind.is_empty() {
            return self.behind;
        }
        if self.cold { panel_bytes_of(self.part, index + 1) } else { &[] }
    }
}

/// The `k`-th highest of at least `k` values. Few of them come among the highest so far, which takes less than sorting.
fn kth_highest(values: &[f32], k: usize) -> f32 {
    let mut highest = [f32::NEG_INFINITY; K_MAX];
    let highest = &mut highest[..k];
    for value in values {
        if *value > highest[k - 1] {
            let place = highest.partition_point(|other| other >= value);
            highest.copy_within(place..k - 1, place + 1);
            highest[place] = *value;
        }
    }
    highest[k - 1]
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
