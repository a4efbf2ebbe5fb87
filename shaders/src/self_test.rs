//! Known jobs that a device has to answer correctly before it is used: a driver that miscompiles the kernels is not.

use std::sync::Arc;

use crate::ask::{Group, Job};
use crate::batch::group_by_gallery;
use crate::bound::{Reach, UPPER_ERROR_MAX};
use crate::cpu::Cpu;
use crate::error::Error;
use crate::exact;
use crate::gallery::Gallery;
use crate::generator::Generator;
use crate::gpu::{DevicePass, Gpu, Lost};
use crate::quantise::quantise;
use crate::select::Candidate;

/// Lets a device answer known jobs with each of its kernels. A special pass that computes wrongly is left out.
///
/// # Errors
/// In words, where a kernel that every device needs fails.
pub(crate) fn run(gpu: &mut Gpu, cpu: &Cpu) -> Result<(), String> {
    let jobs = jobs().map_err(|error| error.to_string())?;
    for pass in DevicePass::ALL {
        if !gpu.has(pass) {
            continue;
        }
        match run_pass(gpu, cpu, &jobs, pass) {
            Ok(()) => {}
            Err(_) if !pass.is_plain() && gpu.is_alive() => gpu.leave_out(pass),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn run_pass(gpu: &Gpu, cpu: &Cpu, jobs: &[Job], pass: DevicePass) -> Result<(), String> {
    let lost = |Lost| format!("{} fails its self-test", gpu.adapter());
    let wrong = || format!("{} computes wrong scores in its self-test", gpu.adapter());
    let (_, groups) = group_by_gallery(jobs, cpu);
    for (group, coarse) in groups.iter().zip(gpu.coarse(cpu, &groups, pass, |_, _, coarse| coarse).map_err(lost)?) {
        if !coarse.iter().enumerate().all(|(probe, coarse)| is_right(group, probe, coarse.as_ref())) {
            return Err(wrong());
        }
        gpu.release(group.gallery);
    }
    Ok(())
}

/// Whether what a device left of a probe has the right bounds and leads to the right hits.
fn is_right(group: &Group<'_>, probe: usize, coarse: Option<&(Reach, Vec<Candidate>)>) -> bool {
    let Some((reach, candidates)) = coarse else { return false };
    let probe = &group.probes[probe];
    let (reach_expected, uppers) = uppers(group.gallery, probe.values);
    let off = |found: &Candidate| (found.upper - uppers[found.row as usize]).abs();
    if candidates.iter().any(|found| off(found) > reach_expected * UPPER_ERROR_MAX) {
        return false;
    }
    let best = exact::rescore(group.gallery, probe.values, 0..group.gallery.rows() as u32, probe.wanted);
    exact::rescore_bounded(group.gallery, probe.values, reach, candidates, probe.wanted) == best
}

/// The upper bound of each row against a probe of eight bits, and the probe's reach.
fn uppers(gallery: &Gallery, probe: &[f32]) -> (f64, Vec<f64>) {
    let (mut probe_codes, mut codes) = (vec![0i8; gallery.dims()], vec![0i8; gallery.dims()]);
    let reach = Reach::new(&quantise(probe, &mut probe_codes), gallery.dims());
    let upper = |row| {
        let quantised = quantise(gallery.row(row), &mut codes);
        let sum = codes.iter().zip(&probe_codes).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        reach.bounds(quantised.scale, quantised.error_stored(), sum).1
    };
    (f64::from(reach.reach), (0..gallery.rows()).map(upper).collect())
}

/// Jobs that run all kernels.
///
/// Three hundred well-spread rows are more than one tile. They meet one probe, eighteen (sixteen and a set of up to
/// four) and eighty-three. Of 2,100 rows a sample is looked at first. The last job has forty nearly level rows of the
/// largest width, all of them candidates, whose sums of products take all the 24 bits that sums may take.
fn jobs() -> Result<Vec<Job>, Error> {
    let mut generator = Generator(1);
    let mut jobs = Vec::new();
    for (dims, rows, probes, level, k) in [
        (132, 300, 1, 0.0, 5),
        (132, 300, 18, 0.0, 5),
        (132, 300, 83, 0.0, 5),
        (132, 2_100, 1, 0.0, 1),
        (132, 2_100, 18, 0.0, 1),
        (132, 2_100, 83, 0.0, 1),
        (1024, 40, 83, 60.0, 5),
    ] {
        let gallery = Arc::new(Gallery::new(dims, generator.rows_around(level, rows, dims))?);
        jobs.push(Job::new(gallery, generator.rows_around(level, probes, dims), k));
    }
    Ok(jobs)
}
