//! What a caller asks for and gets, and how one call's probes are grouped by gallery.

use std::sync::Arc;

use crate::error::Error;
use crate::gallery::Gallery;

/// The largest number of hits that can be asked for.
pub const K_MAX: usize = 64;

/// Some probes against one gallery.
#[derive(Clone, Debug)]
pub struct Job {
    /// The gallery to search.
    pub gallery: Arc<Gallery>,
    /// Probes, row-major, `q x gallery.dims()` values, each probe of unit norm.
    pub probes: Vec<f32>,
    /// Hits wanted for each probe, 1 to [`K_MAX`].
    pub k: usize,
    /// Only rows whose exact score is at least this are wanted; [`f32::NEG_INFINITY`] for all. The fewer rows reach it,
    /// the fewer have to be scored exactly.
    pub floor: f32,
}

impl Job {
    /// Asks for the best `k` of all rows.
    pub fn new(gallery: Arc<Gallery>, probes: Vec<f32>, k: usize) -> Job {
        Job { gallery, probes, k, floor: f32::NEG_INFINITY }
    }
}

/// One row of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Row within the gallery.
    pub row: u32,
    /// Inner product of probe and row, summed in `f64` in one fixed order and rounded to `f32`.
    pub score: f32,
}

/// One result a job, in the order of the jobs: for each probe its hits, best first.
pub(crate) type Results = Vec<Result<Vec<Vec<Hit>>, Error>>;

/// Which rows a probe asks for: the best `k` of those whose exact score is at least `floor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) k: usize,
    pub(crate) floor: f64,
}

#[cfg(test)]
impl Wanted {
    /// The best `k` of all rows.
    pub(crate) fn best(k: usize) -> Wanted {
        Wanted { k, floor: f64::NEG_INFINITY }
    }
}

/// One probe of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) job: usize,
    pub(crate) index: usize,
    pub(crate) values: &'a [f32],
    pub(crate) wanted: Wanted,
}

/// All probes of a call that go to one gallery.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) gallery: &'a Arc<Gallery>,
    pub(crate) probes: Vec<Probe<'a>>,
}
