//! What a coarse pass leaves of a gallery: candidates that are still to be scored exactly.

use crate::batch::{Hit, Wanted};
use crate::exact;
use crate::gallery::Gallery;
use crate::quantise::Reach;
use crate::select::{Candidate, Selection};

/// Probes from which on their candidates are scored by several threads: starting one costs as much as scoring the
/// candidates of ten.
const SHARED_MIN: usize = 128;

/// A gallery whose coarse pass is done for some probes.
pub(super) struct Scanned<'a> {
    gallery: &'a Gallery,
    probes: Vec<Unscored<'a>>,
}

/// A probe with its candidates, the highest upper bound first.
struct Unscored<'a> {
    values: &'a [f32],
    wanted: Wanted,
    reach: Reach,
    candidates: Vec<Candidate>,
}

impl<'a> Scanned<'a> {
    /// Takes each probe's values with what was selected for it.
    pub(super) fn new(gallery: &'a Gallery, probes: impl Iterator<Item = (&'a [f32], Selection)>) -> Scanned<'a> {
        let unscored = |(values, selection): (&'a [f32], Selection)| {
            let (wanted, reach) = (selection.wanted(), *selection.reach());
            Unscored { values, wanted, reach, candidates: selection.finish() }
        };
        Scanned { gallery, probes: probes.map(unscored).collect() }
    }

    /// The hits of each probe; of many probes found by `threads` threads, the asking one among them.
    pub(super) fn hits(&self, threads: usize) -> Vec<Vec<Hit>> {
        let score = |probes: &[Unscored<'_>]| -> Vec<Vec<Hit>> {
            let hits = |probe: &Unscored<'_>| {
                exact::rescore_bounded(self.gallery, probe.values, &probe.reach, &probe.candidates, probe.wanted)
            };
            probes.iter().map(hits).collect()
        };
        if threads == 1 || self.probes.len() < SHARED_MIN {
            return score(&self.probes);
        }
        let (own, others) = self.probes.split_at(self.probes.len().div_ceil(threads));
        std::thread::scope(|scope| {
            let others: Vec<_> = others.chunks(own.len()).map(|part| scope.spawn(move || score(part))).collect();
            let mut hits = score(own);
            for other in others {
                hits.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            hits
        })
    }
}
