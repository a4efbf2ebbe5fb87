//! The eight-bit coarse pass over some panels of a block.
//!
//! The panels are read in stretches that stay in the second-level cache; within a stretch every tile of probes meets
//! every panel. A kernel keeps all sums of its tile in registers over the full width of the templates, compares them
//! with each probe's threshold there, and writes them out only where a row reaches it.

use std::ops::Range;

use super::first_look::FirstLook;
use super::kernel::Kernel;
use super::lanes::{Ask, Sums};
use super::packing::Packing;
use super::probes::{Probes, Tile};
use crate::gallery::Part;
use crate::layout::PANEL_ROWS;
use crate::memory;
use crate::panel::{Panel, panel_bytes};
use crate::select::Selection;

/// Bytes of panels that all probes meet before the next are read: half of the smallest second-level cache of current
/// server cores (1 MiB), so that probes and stacks fit beside them.
const STRETCH_BYTES: usize = 512 * 1024;

/// Panels whose sums are kept to find a first threshold before any row is looked at alone.
const WARM_UP_PANELS: usize = 16;

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

/// A stretch of panels and the kernel that scores it.
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
        let mut look = FirstLook::new(self.kernel, probes, tile, selections);
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

    /// Scores the first panels of a gallery to find a first threshold. The highest lower bound of each lane belongs to
    /// another row. So k rows reach the k-th highest of them, which is nearly the highest value that k rows reach.
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
                    // No further panel can exclude these rows. Those of several probes would be too many at once.
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
