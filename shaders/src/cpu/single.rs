//! The `f32` coarse pass, over the templates as they are, row after row: for galleries or probes whose eight-bit codes
//! leave out too much, so that their bound would exclude too little.
//!
//! A step scores eight rows against three probes. The eight rows stay in the first-level cache while all probes of a
//! stretch, which stay in the second, pass by.

use super::Kernel;
use crate::batch::Probe;
use crate::dot;
use crate::exact::Selection;
use crate::gallery::{Gallery, Part};
use crate::layout::PANEL_ROWS;

/// Rows of one step.
pub(super) const ROWS: usize = 8;

/// Probes of one step.
pub(super) const PROBES: usize = 3;

/// Probes that stay in the second-level cache while the rows pass, a multiple of [`PROBES`]: 384 KiB at 512 dimensions.
const STRETCH_PROBES: usize = 192;

/// Rows up to this many bytes stay in the second-level cache, so that there is nothing to ask for ahead.
const CACHED_BYTES_MAX: usize = 1 << 20;

/// Scores of one step.
pub(super) type Scores = [[f32; ROWS]; PROBES];

/// One of several equal shares of a gallery's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) of: usize,
}

/// For each probe the rows of a share that the bound of [`crate::exact::coarse_error_max`] cannot exclude.
pub(super) fn scan(kernel: Kernel, gallery: &Gallery, probes: &[Probe<'_>], share: Share) -> Vec<Vec<u32>> {
    let dims = gallery.dims();
    let mut selections: Vec<Selection> = probes.iter().map(|probe| Selection::new(probe.wanted, dims)).collect();
    let mut packed = vec![0.0; probes.len().next_multiple_of(PROBES) * dims];
    for (place, probe) in packed.chunks_exact_mut(dims).zip(probes) {
        place.copy_from_slice(probe.values);
    }
    let mut padded = vec![0.0; ROWS * dims];
    let stretches = packed.chunks(STRETCH_PROBES * dims).zip(selections.chunks_mut(STRETCH_PROBES));
    for (packed, selections) in stretches {
        for part in gallery.parts() {
            let steps = part.block.row_count().div_ceil(ROWS);
            let (first, end) = (steps * share.index / share.of, steps * (share.index + 1) / share.of);
            let all = part.block.rows();
            for (step, rows) in all.chunks(ROWS * dims).enumerate().take(end).skip(first) {
                let next = if size_of_val(all) > CACHED_BYTES_MAX { (step + 1) * ROWS * dims } else { all.len() };
                let ahead = &all[next.min(all.len())..(next + ROWS * dims).min(all.len())];
                let rows = if rows.len() == padded.len() {
                    rows
                } else {
                    padded[..rows.len()].copy_from_slice(rows);
                    padded.as_slice()
                };
                offer(kernel, part, step * ROWS, [rows, ahead], packed, selections);
            }
        }
    }
    selections.into_iter().map(|selection| selection.finish().collect()).collect()
}

/// Scores eight rows from `row` of the part on against all probes and hands over what reaches a threshold. The rows that
/// come next are asked for meanwhile, some for each step.
fn offer(
    kernel: Kernel,
    part: &Part,
    row: usize,
    [rows, ahead]: [&[f32]; 2],
    probes: &[f32],
    selections: &mut [Selection],
) {
    let dims = rows.len() / ROWS;
    let live = part.live(row / PANEL_ROWS) >> (row % PANEL_ROWS) & 0xFF;
    let mut scores = [[0.0; ROWS]; PROBES];
    let mut ahead = ahead.chunks(ahead.len().div_ceil(probes.len() / (PROBES * dims)).max(1));
    for (probes, selections) in probes.chunks_exact(PROBES * dims).zip(selections.chunks_mut(PROBES)) {
        dot::ask_for(ahead.next().unwrap_or_default());
        let mut lowest = [f32::INFINITY; PROBES];
        for (lowest, selection) in lowest.iter_mut().zip(selections.iter()) {
            *lowest = selection.threshold();
        }
        let reached = kernel.score_single(rows, probes, &lowest, &mut scores);
        for ((selection, scores), reached) in selections.iter_mut().zip(&scores).zip(reached) {
            if reached & live != 0 {
                selection.insert(scores, part.first + row as u32, reached & live);
            }
        }
    }
}

/// Scores eight rows against three probes, `dims` values each. Returns for each probe the rows, as bits, whose score is
/// not below `lowest`; `scores` is written for all.
pub(super) fn score_portable(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; PROBES],
    scores: &mut Scores,
) -> [u32; PROBES] {
    const LANES: usize = 16;
    let dims = rows.len() / ROWS;
    let mut reached = [0; PROBES];
    for (place, probe) in probes.chunks_exact(dims).take(PROBES).enumerate() {
        for (lane, row) in rows.chunks_exact(dims).take(ROWS).enumerate() {
            let (chunks, tail) = row.as_chunks::<LANES>();
            let (probe_chunks, probe_tail) = probe.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for (a, b) in chunks.iter().zip(probe_chunks) {
                for index in 0..LANES {
                    sums[index] += a[index] * b[index];
                }
            }
            let rest: f32 = tail.iter().zip(probe_tail).map(|(a, b)| a * b).sum();
            scores[place][lane] = sums.iter().sum::<f32>() + rest;
            reached[place] |= u32::from(scores[place][lane] >= lowest[place]) << lane;
        }
    }
    reached
}
