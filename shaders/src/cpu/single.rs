//! The `f32` coarse pass, over the templates as they are, row after row: for galleries or probes whose eight-bit codes
//! leave out too much, so that their bound would exclude too little.
//!
//! A tile of rows stays in the first two caches while all probes of a stretch, which stay in the second, pass by: many of
//! them in panels ([`super::wide`]), the rest as they are, eight rows against three probes a step, or fewer at the end.

use super::Kernel;
use super::wide::{self, Panels};
use crate::batch::Probe;
use crate::exact::Selection;
use crate::gallery::Gallery;

/// Rows of one step.
pub(super) const ROWS: usize = 8;

/// Probes of one step, at most.
pub(super) const PROBES: usize = 3;

/// Rows of a tile: whole steps of both kinds.
pub(super) const TILE_ROWS: usize = 24;

const _: () = assert!(TILE_ROWS.is_multiple_of(ROWS) && TILE_ROWS.is_multiple_of(wide::ROWS));

/// Probes that stay in the second-level cache while the rows pass, whole steps of both kinds: 384 KiB at 512 dimensions.
const STRETCH_PROBES: usize = 192;

/// Scores of one step with `P` probes.
pub(super) type Scores<const P: usize> = [[f32; ROWS]; P];

/// One of several equal shares of a gallery's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) of: usize,
}

/// Rows that all probes of a stretch meet before the next are read.
pub(super) struct Rows<'a> {
    /// Values of [`TILE_ROWS`] rows, fewer at the end, but whole steps.
    pub(super) values: &'a [f32],
    /// Number of the first.
    pub(super) first: u32,
    /// Those that are there, as bits.
    pub(super) live: u64,
    /// Values of the rows behind them, which are asked for meanwhile.
    pub(super) next: &'a [f32],
}

/// For each probe the rows of a share that the bound of [`crate::exact::coarse_error_max`] cannot exclude.
pub(super) fn scan(kernel: Kernel, gallery: &Gallery, probes: &[Probe<'_>], share: Share) -> Vec<Vec<u32>> {
    let dims = gallery.dims();
    let mut selections: Vec<Selection> = probes.iter().map(|probe| Selection::new(probe.wanted, dims)).collect();
    let packed: Vec<f32> = probes.iter().flat_map(|probe| probe.values).copied().collect();
    let mut padded = Vec::new();
    let stretches = packed.chunks(STRETCH_PROBES * dims).zip(selections.chunks_mut(STRETCH_PROBES));
    for (packed, selections) in stretches {
        let mut panels = Panels::new(dims, packed, selections);
        let whole = if panels.len() > 0 { TILE_ROWS } else { ROWS } * dims;
        for part in gallery.parts() {
            let tiles = part.block.row_count().div_ceil(TILE_ROWS);
            let (first, end) = (tiles * share.index / share.of, tiles * (share.index + 1) / share.of);
            let all = part.block.rows();
            let mut tiles = all.chunks(TILE_ROWS * dims).enumerate().take(end).skip(first).peekable();
            while let Some((tile, values)) = tiles.next() {
                let next = tiles.peek().map_or(&[][..], |(_, values)| values);
                let values = if values.len().is_multiple_of(whole) {
                    values
                } else {
                    padded.clear();
                    padded.extend_from_slice(values);
                    padded.resize(values.len().next_multiple_of(whole), 0.0);
                    padded.as_slice()
                };
                let row = tile * TILE_ROWS;
                let rows = Rows { values, first: part.first + row as u32, live: part.live_from(row), next };
                offer(kernel, dims, &rows, &mut panels, packed, selections);
            }
        }
    }
    selections.into_iter().map(|selection| selection.finish().collect()).collect()
}

/// Scores a tile of rows against all probes and hands over what reaches a threshold.
fn offer(
    kernel: Kernel,
    dims: usize,
    rows: &Rows<'_>,
    panels: &mut Panels,
    probes: &[f32],
    selections: &mut [Selection],
) {
    let left = selections.len() - panels.count;
    panels.offer(kernel, rows, selections);
    for (step, values) in rows.values.chunks_exact(ROWS * dims).enumerate().take_while(|_| left > 0) {
        let (first, live) = (rows.first + (step * ROWS) as u32, (rows.live >> (step * ROWS)) as u32 & 0xFF);
        let mut done = panels.count;
        while done < selections.len() {
            let count = step_probes(selections.len() - done);
            let (probes, selections) = (&probes[done * dims..], &mut selections[done..]);
            match count {
                1 => self::step::<1>(kernel, values, probes, selections, first, live),
                2 => self::step::<2>(kernel, values, probes, selections, first, live),
                _ => self::step::<PROBES>(kernel, values, probes, selections, first, live),
            }
            done += count;
        }
    }
}

/// Probes of the next step where so many are left: four go by twos, since a step with one waits for its rows.
fn step_probes(left: usize) -> usize {
    match left {
        1 => 1,
        2 | 4 => 2,
        _ => PROBES,
    }
}

/// Scores eight rows, of which the first has the number `first` and those in `live` are there, against the first `P`
/// probes.
fn step<const P: usize>(
    kernel: Kernel,
    rows: &[f32],
    probes: &[f32],
    selections: &mut [Selection],
    first: u32,
    live: u32,
) {
    let mut scores: Scores<P> = [[0.0; ROWS]; P];
    let lowest: [f32; P] = std::array::from_fn(|place| selections[place].threshold());
    let reached = kernel.score_single(rows, &probes[..P * rows.len() / ROWS], &lowest, &mut scores);
    for ((selection, scores), reached) in selections.iter_mut().zip(&scores).zip(reached) {
        if reached & live != 0 {
            selection.insert(scores, first, reached & live);
        }
    }
}

/// Scores eight rows against `P` probes, `dims` values each. Returns for each probe the rows, as bits, whose score is
/// not below `lowest`; `scores` is written for all.
pub(super) fn score_portable<const P: usize>(
    rows: &[f32],
    probes: &[f32],
    lowest: &[f32; P],
    scores: &mut Scores<P>,
) -> [u32; P] {
    const LANES: usize = 16;
    let dims = rows.len() / ROWS;
    let mut reached = [0; P];
    for (place, probe) in probes.chunks_exact(dims).take(P).enumerate() {
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
