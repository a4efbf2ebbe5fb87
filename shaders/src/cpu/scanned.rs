//! What a coarse pass leaves of a gallery: candidates that are still to be scored exactly.

use crate::batch::{Hit, Wanted};
use crate::exact;
use crate::gallery::Gallery;
use crate::quantise::Reach;
use crate::select::{Candidate, Selection};

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

    /// The hits of each probe.
    pub(super) fn hits(&self) -> Vec<Vec<Hit>> {
        let hits = |probe: &Unscored<'_>| {
            exact::rescore_bounded(self.gallery, probe.values, &probe.reach, &probe.candidates, probe.wanted)
        };
        self.probes.iter().map(hits).collect()
    }
}
