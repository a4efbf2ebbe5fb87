//! The jobs of a call, checked and grouped by gallery, so that many jobs become one ragged pass.

use std::ops::Range;

use crate::ask::{Group, Job, K_MAX, Probe, Results, Wanted};
use crate::cpu::Cpu;
use crate::error::Error;
use crate::template::check_vector;

/// Probes that one thread checks at a time: some tens of microseconds of work, for which it pays to wake a thread.
const CHECKED_TOGETHER: usize = 128;

/// Checks every job alone and groups the probes of the good ones by gallery. The results hold the errors of the bad
/// jobs and, for the good ones, an empty list of hits for each probe.
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

/// Checks every job. The probes of a large call are checked on all threads.
fn check(jobs: &[Job], cpu: &Cpu) -> Vec<Result<(), Error>> {
    // Values behind the last whole probe count as a probe of a wrong length.
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
    // Each job is told its first problem.
    for ((index, _), problem) in pieces.iter().zip(problems) {
        if let (Ok(()), Some(problem)) = (&checked[*index], problem) {
            checked[*index] = Err(problem);
        }
    }
    checked
}

/// Checks those probes of a job that it has in `range`.
fn check_probes(job_index: usize, job: &Job, range: Range<usize>) -> Result<(), Error> {
    let dims = job.gallery.dims();
    for (probe, values) in job.probes.chunks(dims).enumerate().skip(range.start).take(range.len()) {
        check_vector(dims, values).map_err(|problem| Error::JobProbe { job: job_index, probe, problem })?;
    }
    Ok(())
}

/// Checks everything of a job but its probes.
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
