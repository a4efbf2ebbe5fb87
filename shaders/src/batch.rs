//! Jobs in, hits out, and the grouping by gallery that turns many jobs into one ragged pass.

use std::ops::Range;
use std::sync::Arc;

use crate::cpu::Cpu;
use crate::error::Error;
use crate::gallery::{Gallery, check_vector};

/// The largest number of hits that can be asked for.
pub const K_MAX: usize = 64;

/// Some probes against one gallery.
#[derive(Clone, Debug)]
pub struct Job {
    /// The gallery to search.
    pub gallery: Arc<Gallery>,
    /// Probes, row-major, `q x gallery.dims()` values of unit norm each.
    pub probes: Vec<f32>,
    /// Hits wanted for each probe, 1 to [`K_MAX`].
    pub k: usize,
    /// Only rows whose exact score is at least this are wanted, [`f32::NEG_INFINITY`] for all: the fewer there are, the
    /// fewer rows have to be scored exactly.
    pub floor: f32,
}

impl Job {
    /// Asks for the best `k` of all rows.
    pub fn new(gallery: Arc<Gallery>, probes: Vec<f32>, k: usize) -> Job {
        Job { gallery, probes, k, floor: f32::NEG_INFINITY }
    }
}

/// Probes that one thread checks at a time: some tens of microseconds' work, for which it pays to wake one.
const CHECKED_TOGETHER: usize = 128;

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

/// One row of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Row within the gallery.
    pub row: u32,
    /// Inner product of probe and row, exact in `f64` to its last bits, rounded to `f32`.
    pub score: f32,
}

/// One result a job, in the order of the jobs: for each probe its hits, best first.
pub(crate) type Results = Vec<Result<Vec<Vec<Hit>>, Error>>;

/// One probe of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) job: usize,
    pub(crate) index: usize,
    pub(crate) values: &'a [f32],
    pub(crate) wanted: Wanted,
}

/// All probes of a batch that go to one gallery.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) gallery: &'a Arc<Gallery>,
    pub(crate) probes: Vec<Probe<'a>>,
}

/// Checks every job alone and groups the probes of the good ones by gallery. The results hold the errors
/// of the bad jobs and, for the good ones, an empty list of hits for each probe.
pub(crate) fn group_by_gallery<'a>(jobs: &'a [Job], cpu: &Cpu) -> (Results, Vec<Group<'a>>) {
    let checked = check(jobs, cpu).into_iter().zip(jobs);
    let results: Results = checked
        .map(|(checked, job)| checked.map(|()| vec![Vec::new(); job.probes.len() / job.gallery.dims()]))
        .collect();
    let mut order: Vec<usize> = (0..jobs.len()).filter(|&index| results[index].is_ok()).collect();
    order.sort_by_key(|&index| jobs[index].gallery.id());
    let mut groups: Vec<Group<'_>> = Vec::new();
    for index in order {
        let job = &jobs[index];
        let probes = job.probes.chunks_exact(job.gallery.dims()).enumerate().map(|(probe, values)| Probe {
            job: index,
            index: probe,
            values,
            wanted: Wanted { k: job.k, floor: f64::from(job.floor) },
        });
        match groups.last_mut() {
            Some(group) if group.gallery.id() == job.gallery.id() => group.probes.extend(probes),
            _ => groups.push(Group { gallery: &job.gallery, probes: probes.collect() }),
        }
    }
    (results, groups)
}

/// Checks every job; the probes of a large call on all threads.
fn check(jobs: &[Job], cpu: &Cpu) -> Vec<Result<(), Error>> {
    // What is left over behind the last whole probe is one too, of a wrong length.
    let probes = |job: &Job| job.probes.len().div_ceil(job.gallery.dims());
    let mut checked: Vec<Result<(), Error>> =
        jobs.iter().enumerate().map(|(index, job)| check_job(index, job)).collect();
    let pieces = jobs.iter().enumerate().filter(|(index, _)| checked[*index].is_ok()).flat_map(|(index, job)| {
        let firsts = (0..probes(job)).step_by(CHECKED_TOGETHER);
        firsts.map(move |first| (index, first..first + CHECKED_TOGETHER))
    });
    let pieces: Vec<(usize, Range<usize>)> = pieces.collect();
    let check = |piece: usize| {
        let (index, range) = &pieces[piece];
        check_probes(*index, &jobs[*index], range.clone()).err()
    };
    let problems: Vec<Option<Error>> = match jobs.iter().map(probes).sum() {
        ..=CHECKED_TOGETHER => (0..pieces.len()).map(check).collect(),
        _ => cpu.map(pieces.len(), check),
    };
    // Of each job the first is told.
    for ((index, _), problem) in pieces.iter().zip(problems) {
        if let (Ok(()), Some(problem)) = (&checked[*index], problem) {
            checked[*index] = Err(problem);
        }
    }
    checked
}

/// Checks some probes of a job, as far as it has them.
fn check_probes(job_index: usize, job: &Job, range: Range<usize>) -> Result<(), Error> {
    let dims = job.gallery.dims();
    for (probe, values) in job.probes.chunks(dims).enumerate().skip(range.start).take(range.len()) {
        check_vector(dims, values).map_err(|problem| Error::JobProbe { job: job_index, probe, problem })?;
    }
    Ok(())
}

/// Checks of a job all but its probes.
fn check_job(job_index: usize, job: &Job) -> Result<(), Error> {
    if !(1..=K_MAX).contains(&job.k) {
        return Err(Error::JobK { job: job_index, k: job.k });
    }
    if job.floor.is_nan() {
        return Err(Error::JobFloor { job: job_index });
    }
    if job.gallery.rows_live() == 0 {
        return Err(Error::JobGalleryEmpty { job: job_index });
    }
    Ok(())
}
