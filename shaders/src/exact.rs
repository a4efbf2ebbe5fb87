//! The exact score of a few rows: what a coarse pass selects is scored again here, in `f64`, for every engine alike.

use crate::ask::{Hit, Wanted};
use crate::bound::Reach;
use crate::dot::{dot, dots};
use crate::gallery::Gallery;
use crate::memory;
use crate::select::{Candidate, Selection};

/// Pairs of templates that are asked for before they are scored. One pair was a little slower, and a processor drops
/// requests for many at once ([`memory`]).
const PAIRS_AHEAD: usize = 2;

/// The best rows so far: `f64` score descending, then the lower row.
struct Best {
    wanted: Wanted,
    scored: Vec<(f64, u32)>,
}

impl Best {
    fn new(wanted: Wanted) -> Best {
        Best { wanted, scored: Vec::with_capacity(wanted.k + 1) }
    }

    /// The score that a row has to reach: the k-th best so far, or the floor.
    fn lowest(&self) -> f64 {
        match self.scored.last() {
            Some((kth, _)) if self.scored.len() == self.wanted.k => *kth,
            _ => self.wanted.floor,
        }
    }

    fn offer(&mut self, score: f64, row: u32) {
        if score < self.wanted.floor {
            return;
        }
        let better = |other: &(f64, u32)| other.0.total_cmp(&score).reverse().then(other.1.cmp(&row)).is_lt();
        let place = self.scored.partition_point(better);
        if place < self.wanted.k {
            self.scored.insert(place, (score, row));
            self.scored.truncate(self.wanted.k);
        }
    }

    fn hits(self) -> Vec<Hit> {
        self.scored.into_iter().map(|(score, row)| Hit { row, score: score as f32 }).collect()
    }
}

/// Scores `candidates` and returns the wanted ones; with all rows as candidates it is an exact scan. Every row of the
/// exact answer must be among the candidates, none twice.
pub(crate) fn rescore(
    gallery: &Gallery,
    probe: &[f32],
    candidates: impl Iterator<Item = u32>,
    wanted: Wanted,
) -> Vec<Hit> {
    let mut best = Best::new(wanted);
    for row in candidates {
        best.offer(dot(probe, gallery.row(row as usize)), row);
    }
    best.hits()
}

/// As [`rescore`], for the candidates of a coarse pass, the highest upper bound first. It stops at the first candidate
/// that can no longer reach the exact k-th score or the floor: those behind it cannot reach it either.
pub(crate) fn rescore_bounded(
    gallery: &Gallery,
    probe: &[f32],
    reach: &Reach,
    candidates: &[Candidate],
    wanted: Wanted,
) -> Vec<Hit> {
    let row = |candidate: &Candidate| gallery.row(candidate.row as usize);
    let ask_for = |pair: &[Candidate]| pair.iter().for_each(|candidate| memory::ask_for(row(candidate)));
    let mut best = Best::new(wanted);
    let pairs = candidates.chunks(2);
    let mut ahead = pairs.clone();
    ahead.by_ref().take(PAIRS_AHEAD).for_each(ask_for);
    for pair in pairs {
        if !reach.can_reach(pair[0].upper, best.lowest()) {
            break;
        }
        ahead.by_ref().take(1).for_each(ask_for);
        if let [a, b] = pair {
            let scores = dots(probe, [row(a), row(b)]);
            best.offer(scores[0], a.row);
            best.offer(scores[1], b.row);
        } else {
            best.offer(dot(probe, row(&pair[0])), pair[0].row);
        }
    }
    best.hits()
}

/// The hits of probes whose coarse pass is done: what was selected for each, scored exactly.
pub(crate) fn rescore_selected<'a>(
    gallery: &Gallery,
    probes: impl Iterator<Item = (&'a [f32], Selection)>,
) -> Vec<Vec<Hit>> {
    let hits = |(values, selection): (&[f32], Selection)| {
        let (wanted, reach) = (selection.wanted(), *selection.reach());
        rescore_bounded(gallery, values, &reach, &selection.finish(), wanted)
    };
    probes.map(hits).collect()
}
