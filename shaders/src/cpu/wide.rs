//! The `f32` pass for many probes: they lie in panels of 32, the dimension outermost, so that a step multiplies one value
//! of each of twelve rows by one of each of 32 probes. All sums stay in registers over the full width of the templates, and
//! nothing has to be added across.

use bytemuck::Zeroable;

use super::Kernel;
use super::single::Rows;
use crate::exact::Selection;
use crate::memory::Upcoming;
use crate::storage::Line;

/// Rows of one step.
pub(super) const ROWS: usize = 12;

/// Probes of one panel.
pub(super) const PROBES: usize = 32;

/// Probes from which on a panel that is not full takes less time than the steps that it saves.
const PROBES_MIN: usize = 28;

/// Dimensions for each of which a kernel asks once for upcoming memory.
pub(super) const LINE: usize = 16;

/// Scores of one step.
pub(super) type Scores = [[f32; PROBES]; ROWS];

/// Some probes in panels.
pub(super) struct Panels {
    dims: usize,
    /// How many probes there are.
    pub(super) count: usize,
    lines: Vec<Line>,
    /// Each probe's threshold; infinite where a panel has no probe.
    lowest: Vec<[f32; PROBES]>,
}

impl Panels {
    /// Packs as many of `probes`, of `dims` values each, as are worth it, from the first on.
    pub(super) fn new(dims: usize, probes: &[f32], selections: &[Selection]) -> Panels {
        let all = probes.len() / dims;
        let count = if all % PROBES >= PROBES_MIN { all } else { all - all % PROBES };
        let panels = count.div_ceil(PROBES);
        let mut lines = vec![Line::zeroed(); panels * PROBES * dims * size_of::<f32>() / size_of::<Line>()];
        let mut lowest = vec![[f32::INFINITY; PROBES]; panels];
        let values: &mut [f32] = bytemuck::cast_slice_mut(&mut lines);
        for (place, (probe, selection)) in probes.chunks_exact(dims).take(count).zip(selections).enumerate() {
            let (panel, lane) = (place / PROBES, place % PROBES);
            lowest[panel][lane] = selection.threshold();
            for (slot, value) in values[panel * PROBES * dims + lane..].iter_mut().step_by(PROBES).zip(probe) {
                *slot = *value;
            }
        }
        Panels { dims, count, lines, lowest }
    }

    /// Panels to score.
    pub(super) fn len(&self) -> usize {
        self.lowest.len()
    }

    /// Scores `rows` against all panels and hands what reaches a threshold to `selections`, those of all these probes.
    pub(super) fn offer(&mut self, kernel: Kernel, rows: &Rows<'_>, selections: &mut [Selection]) {
        let values: &[f32] = bytemuck::cast_slice(&self.lines);
        let panels = values.chunks_exact(PROBES * self.dims).zip(&mut self.lowest);
        let steps = rows.values.chunks_exact(ROWS * self.dims);
        let mut upcoming = Upcoming::in_steps(rows.next, panels.len() * steps.len() * self.dims.div_ceil(LINE));
        let mut scores: Scores = [[0.0; PROBES]; ROWS];
        for ((values, lowest), selections) in panels.zip(selections[..self.count].chunks_mut(PROBES)) {
            for (step, of_step) in steps.clone().enumerate() {
                let reached = kernel.score_wide(of_step, values, lowest, &mut scores, &mut upcoming);
                for (row, (scores, mut reached)) in scores.iter().zip(reached).enumerate() {
                    let row = (step * ROWS + row) as u32;
                    if rows.live >> row & 1 == 0 {
                        continue;
                    }
                    while reached != 0 {
                        let lane = reached.trailing_zeros() as usize;
                        reached &= reached - 1;
                        selections[lane].offer(scores[lane], rows.first + row);
                        lowest[lane] = selections[lane].threshold();
                    }
                }
            }
        }
    }
}

/// Scores twelve rows against the panel `probes`. Returns for each row the probes, as bits, whose `lowest` its score is not
/// below; `scores` is written for all.
pub(super) fn score_portable(rows: &[f32], probes: &[f32], lowest: &[f32; PROBES], scores: &mut Scores) -> [u32; ROWS] {
    let dims = probes.len() / PROBES;
    let mut reached = [0; ROWS];
    for (place, row) in rows.chunks_exact(dims).take(ROWS).enumerate() {
        let mut sums = [0.0; PROBES];
        for (value, probes) in row.iter().zip(probes.as_chunks::<PROBES>().0) {
            for lane in 0..PROBES {
                sums[lane] += value * probes[lane];
            }
        }
        for lane in 0..PROBES {
            reached[place] |= u32::from(sums[lane] >= lowest[lane]) << lane;
        }
        scores[place] = sums;
    }
    reached
}
