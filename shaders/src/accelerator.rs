//! The device beside the CPU: opened, tested, timed, lost, and opened again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::batch::{Group, Job, group_by_gallery};
use crate::cpu::{Cpu, PRODUCTS_MIN, may_be_shared};
use crate::error::Error;
use crate::exact;
use crate::gallery::Gallery;
use crate::gpu::{self, DevicePass, Gpu, Lost};
use crate::quantise::{Reach, quantise};
use crate::select::Candidate;

/// Pauses before a lost device is opened again: the first, and the longest after doubling. A driver that resets is back
/// within a second or two; one that is gone costs a try a minute, on a thread of its own. A device that has served for the
/// longest pause is trusted like a new one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// See [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// The gallery and the probes that both sides are timed with: large enough that a device's fixed cost does not hide what a
/// byte costs, and a tenth of a second to make.
const TIMED_ROWS: usize = 65_536;
/// As [`TIMED_ROWS`], for a small gallery.
const TIMED_ROWS_SMALL: usize = 400;
/// As [`TIMED_ROWS`], for what the CPU scores on one thread alone: few enough that it does.
const TIMED_ROWS_ALONE: usize = 4_096;
/// See [`TIMED_ROWS`].
const TIMED_PROBES: usize = 16;
/// See [`TIMED_ROWS`].
const TIMED_DIMS: usize = 512;

const _: () = assert!(
    !may_be_shared((TIMED_ROWS_ALONE * TIMED_DIMS) as u64)
        && !may_be_shared((TIMED_ROWS_SMALL * TIMED_DIMS * TIMED_PROBES) as u64)
);

/// Probes that passes for many are held against each other with: 34 billion products are some tenths of a millisecond's work
/// of a large device, more than it takes to begin.
const TIMED_PROBES_MANY: usize = 1_024;
/// Rows and such probes where the device is a software one: some hundredths of a second of the processors that nodes work on.
const TIMED_IN_SOFTWARE: (usize, usize) = (2_048, 64);

/// What a call costs, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    /// Whatever it is about.
    fixed: f64,
    /// For each byte of codes that is read.
    byte: f64,
    /// For each product beyond one a byte.
    product: f64,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Work {
    /// Bytes of codes, each gallery once.
    bytes: f64,
    /// Products of codes, each probe counted.
    products: f64,
}

impl Work {
    fn of(gallery: &Gallery, probes: usize) -> Work {
        let bytes = (gallery.rows() * gallery.dims()) as f64;
        Work { bytes, products: bytes * probes as f64 }
    }
}

impl Cost {
    /// From the times of jobs with one probe, a small one and a large one, and of a gallery with one probe, `narrow`, and with
    /// [`TIMED_PROBES`], `wide`.
    fn of(small: (Work, f64), large: (Work, f64), narrow: (Work, f64), wide: (Work, f64)) -> Cost {
        let per = |nanoseconds: f64, units: f64| (nanoseconds / units).max(0.0);
        let byte = per(large.1 - small.1, large.0.bytes - small.0.bytes);
        let product = per(wide.1 - narrow.1, wide.0.products - narrow.0.products);
        Cost { fixed: (small.1 - byte * small.0.bytes).max(0.0), byte, product }
    }

    fn nanoseconds(&self, work: Work) -> f64 {
        self.fixed + self.byte * work.bytes + self.product * (work.products - work.bytes).max(0.0)
    }
}

/// What the CPU and the device cost, as measured at the start.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// On one thread alone, which scores what has few products where no call was just before.
    alone: Cost,
    /// On all threads.
    shared: Cost,
    device: Cost,
}

impl Costs {
    fn device_pays(&self, work: Work) -> bool {
        let cpu = if work.products < PRODUCTS_MIN as f64 { self.alone } else { self.shared };
        self.device.nanoseconds(work) < cpu.nanoseconds(work)
    }
}

/// An open device.
pub(crate) struct Open {
    pub(crate) gpu: Gpu,
    /// None where the device was asked for by name: then it scores everything.
    costs: Option<Costs>,
    since: Instant,
}

impl Open {
    /// Whether the device is quicker than the CPU with these.
    pub(crate) fn pays(&self, groups: &[Group<'_>]) -> bool {
        let work = groups.iter().map(|group| Work::of(group.gallery, group.probes.len()));
        let sum = |a: Work, b: Work| Work { bytes: a.bytes + b.bytes, products: a.products + b.products };
        self.pays_for(work.fold(Work::default(), sum))
    }

    /// Whether the device is quicker than the CPU with one probe.
    pub(crate) fn pays_for_one(&self, gallery: &Gallery) -> bool {
        self.pays_for(Work::of(gallery, 1))
    }

    fn pays_for(&self, work: Work) -> bool {
        self.costs.is_none_or(|costs| costs.device_pays(work))
    }
}

#[derive(Default)]
struct State {
    open: Option<Arc<Open>>,
    /// When a lost device is opened again, and the pause after that.
    again: Option<(Instant, Duration)>,
}

/// A device that may be lost and come back.
pub(crate) struct Accelerator {
    by_name: bool,
    pass: DevicePass,
    cache: Option<PathBuf>,
    cpu: Arc<Cpu>,
    state: RwLock<State>,
    opening: AtomicBool,
}

impl Accelerator {
    /// Opens a device. One that was asked for `by_name` may be a software one and scores everything; any other scores what
    /// it is quicker with than the CPU. Compiled pipelines are kept in the folder `cache`. A certain `pass` is one that the
    /// device has to have.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(crate) fn start(
        by_name: bool,
        pass: DevicePass,
        cache: Option<PathBuf>,
        cpu: Arc<Cpu>,
    ) -> Result<Arc<Accelerator>, String> {
        let accelerator =
            Accelerator { by_name, pass, cache, cpu, state: RwLock::default(), opening: AtomicBool::new(false) };
        accelerator.open()?;
        Ok(Arc::new(accelerator))
    }

    /// The device, where it is there. A lost one is opened again, in time, by a thread of its own.
    pub(crate) fn usable(self: &Arc<Self>) -> Option<Arc<Open>> {
        let (open, again) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.open.clone(), state.again)
        };
        let due = open.is_none() && again.is_some_and(|(at, _)| Instant::now() >= at);
        if due && !self.opening.swap(true, Ordering::AcqRel) {
            let accelerator = self.clone();
            let opening = std::thread::Builder::new().name("gpu-again".into()).spawn(move || {
                if accelerator.open().is_err() {
                    accelerator.wait_longer();
                }
                accelerator.opening.store(false, Ordering::Release);
            });
            if opening.is_err() {
                self.opening.store(false, Ordering::Release);
            }
        }
        open
    }

    /// Takes note that a device is lost.
    pub(crate) fn lost(&self, lost: &Arc<Open>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, lost)) {
            state.open = None;
            let known = state.again.filter(|_| lost.since.elapsed() < PAUSE_MAX);
            let pause = known.map_or(PAUSE_MIN, |(_, pause)| pause);
            state.again = Some((Instant::now() + pause, (pause * 2).min(PAUSE_MAX)));
        }
    }

    fn wait_longer(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.again = state.again.map(|(_, pause)| (Instant::now() + pause, (pause * 2).min(PAUSE_MAX)));
    }

    fn open(&self) -> Result<(), String> {
        let open = |with_special| Gpu::open(self.by_name, with_special, self.cache.as_deref());
        let mut gpu = open(true)?;
        if test(&mut gpu, &self.cpu).is_err() {
            // What only some devices have may have brought it down.
            gpu = open(false)?;
            test(&mut gpu, &self.cpu)?;
        }
        if !gpu.has(self.pass) {
            return Err(format!("{} has not what the pass {:?} needs", gpu.adapter(), self.pass));
        }
        let mut costs = None;
        if self.pass == DevicePass::Auto {
            let timed = Timed::new(&gpu)?;
            choose(&mut gpu, &self.cpu, &timed)?;
            if !self.by_name {
                costs = Some(measure(&gpu, &self.cpu, &timed)?);
            }
            gpu.release(&timed.small);
            gpu.release(&timed.large);
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.open = Some(Arc::new(Open { gpu, costs, since: Instant::now() }));
        Ok(())
    }
}

/// Lets a device answer known jobs with each of the kernels: a driver that miscompiles them is not used.
fn test(gpu: &mut Gpu, cpu: &Cpu) -> Result<(), String> {
    let jobs = test_jobs().map_err(|error| error.to_string())?;
    for pass in DevicePass::ALL {
        if !gpu.has(pass) {
            continue;
        }
        match test_pass(gpu, cpu, &jobs, pass) {
            Ok(()) => {}
            // A device does without what it has and computes wrongly.
            Err(_) if !pass.is_plain() && gpu.is_alive() => gpu.leave_out(pass),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What devices are timed with.
struct Timed {
    small: Arc<Gallery>,
    large: Arc<Gallery>,
    probes: Vec<f32>,
}

impl Timed {
    fn new(gpu: &Gpu) -> Result<Timed, String> {
        let (rows, probes) = if gpu.is_software() { TIMED_IN_SOFTWARE } else { (TIMED_ROWS, TIMED_PROBES_MANY) };
        let mut spread = Spread(2);
        let (small, large) = (timed_gallery(&mut spread, TIMED_ROWS_SMALL)?, timed_gallery(&mut spread, rows)?);
        Ok(Timed { small, large, probes: spread.rows(probes, TIMED_DIMS) })
    }

    fn job(&self, gallery: &Arc<Gallery>, probes: usize) -> Job {
        Job::new(gallery.clone(), self.probes[..probes * TIMED_DIMS].to_vec(), 16)
    }

    fn many(&self) -> usize {
        self.probes.len() / TIMED_DIMS
    }
}

fn timed_gallery(spread: &mut Spread, rows: usize) -> Result<Arc<Gallery>, String> {
    Gallery::new(TIMED_DIMS, spread.rows(rows, TIMED_DIMS)).map(Arc::new).map_err(|error| error.to_string())
}

fn lost_while_timed(gpu: &Gpu) -> impl Fn(Lost) -> String {
    move |Lost| format!("{} is lost while it is timed", gpu.adapter())
}

/// Chooses, by what the device takes alone, the special passes that are quicker than the plain ones: with one probe and
/// with many.
fn choose(gpu: &mut Gpu, cpu: &Cpu, timed: &Timed) -> Result<(), String> {
    for (plain, special, probes) in
        [(DevicePass::Plain, DevicePass::Subgroups, 1), (DevicePass::Plain, DevicePass::Matrices, timed.many())]
    {
        let job = timed.job(&timed.large, probes);
        if gpu.has(special) && quickest(gpu, cpu, special, &job)? < quickest(gpu, cpu, plain, &job)? {
            gpu.choose(special);
        }
    }
    Ok(())
}

/// The shortest of some times that a pass takes, nanoseconds.
fn quickest(gpu: &Gpu, cpu: &Cpu, pass: DevicePass, job: &Job) -> Result<u128, String> {
    let (_, groups) = group_by_gallery(std::slice::from_ref(job), cpu);
    let mut shortest = u128::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        gpu.coarse(cpu, &groups, pass, |_, _, coarse| drop(coarse)).map_err(lost_while_timed(gpu))?;
        shortest = shortest.min(begun.elapsed().as_nanos());
    }
    Ok(shortest)
}

fn test_pass(gpu: &Gpu, cpu: &Cpu, jobs: &[Job], pass: DevicePass) -> Result<(), String> {
    let lost = |Lost| format!("{} fails its self-test", gpu.adapter());
    let (_, groups) = group_by_gallery(jobs, cpu);
    for (group, coarse) in groups.iter().zip(gpu.coarse(cpu, &groups, pass, |_, _, coarse| coarse).map_err(lost)?) {
        for (probe, candidates) in group.probes.iter().zip(coarse) {
            let wrong = || format!("{} computes wrong scores in its self-test", gpu.adapter());
            let (reach, uppers) = uppers(group.gallery, probe.values);
            let off = |found: &Candidate| (found.upper - uppers[found.row as usize]).abs();
            if candidates.iter().flat_map(|(_, all)| all).any(|found| off(found) > reach * UPPER_ERROR_MAX) {
                return Err(wrong());
            }
            let best = exact::rescore(group.gallery, probe.values, 0..group.gallery.rows() as u32, probe.wanted);
            let found = candidates.map(|(reach, candidates)| {
                exact::rescore_bounded(group.gallery, probe.values, &reach, &candidates, probe.wanted)
            });
            if found.as_ref() != Some(&best) {
                return Err(wrong());
            }
        }
        gpu.release(group.gallery);
    }
    Ok(())
}

/// How far a device's upper bound may be off, in units of the probe's reach: what [`crate::quantise`] counts with.
const UPPER_ERROR_MAX: f64 = 1.0 / (1u64 << 21) as f64;

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

/// Three hundred well-spread rows (more than one tile) against one probe, eighteen (sixteen and a set of up to four) and
/// eighty-three, and so many that their sample is looked at first: so that all kernels run. And forty nearly level ones of
/// the largest width, all of them candidates, whose sums of products take all the 24 bits that sums may take.
fn test_jobs() -> Result<Vec<Job>, Error> {
    let mut spread = Spread(1);
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
        let gallery = Arc::new(Gallery::new(dims, spread.rows_around(level, rows, dims))?);
        jobs.push(Job::new(gallery, spread.rows_around(level, probes, dims), k));
    }
    Ok(jobs)
}

/// Times both sides, each twice and the second time for good: the first uploads and warms up.
fn measure(gpu: &Gpu, cpu: &Cpu, timed: &Timed) -> Result<Costs, String> {
    type Score<'a> = &'a dyn Fn(&[Group<'_>]) -> Result<(), Lost>;
    let time = |score: Score<'_>, gallery: &Arc<Gallery>, probes: usize| {
        let job = timed.job(gallery, probes);
        let (_, groups) = group_by_gallery(std::slice::from_ref(&job), cpu);
        score(&groups)?;
        let begun = Instant::now();
        score(&groups)?;
        Ok((Work::of(gallery, probes), begun.elapsed().as_nanos() as f64))
    };
    let cost = |score: Score<'_>, large: &Arc<Gallery>, wide: &Arc<Gallery>| {
        let [small, large, narrow, wide] = [(&timed.small, 1), (large, 1), (wide, 1), (wide, TIMED_PROBES)]
            .map(|(gallery, probes)| time(score, gallery, probes));
        Ok(Cost::of(small?, large?, narrow?, wide?))
    };
    let on_cpu: Score<'_> = &|groups| {
        std::hint::black_box(cpu.search(groups));
        Ok(())
    };
    let on_device: Score<'_> =
        &|groups| gpu.coarse(cpu, groups, DevicePass::Auto, gpu::rescore).map(|hits| drop(std::hint::black_box(hits)));
    let alone = timed_gallery(&mut Spread(3), TIMED_ROWS_ALONE)?;
    let costs = || {
        Ok(Costs {
            alone: cost(on_cpu, &alone, &timed.small)?,
            shared: cost(on_cpu, &timed.large, &timed.large)?,
            device: cost(on_device, &timed.large, &timed.large)?,
        })
    };
    costs().map_err(lost_while_timed(gpu))
}

/// Numerical Recipes' linear congruential generator: any spread will do.
struct Spread(u32);

impl Spread {
    /// `count` templates of unit norm.
    fn rows(&mut self, count: usize, dims: usize) -> Vec<f32> {
        self.rows_around(0.0, count, dims)
    }

    /// As [`Spread::rows`], of values within one half of `level` before they are normalised.
    fn rows_around(&mut self, level: f32, count: usize, dims: usize) -> Vec<f32> {
        let mut rows = Vec::with_capacity(count * dims);
        for _ in 0..count {
            let start = rows.len();
            for _ in 0..dims {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                rows.push((self.0 >> 8) as f32 / (1u32 << 24) as f32 - 0.5 + level);
            }
            let row = &mut rows[start..];
            let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            let inverse = (1.0 / norm) as f32;
            row.iter_mut().for_each(|value| *value *= inverse);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_pays_from_the_size_on_that_the_measured_times_say() {
        let work = |bytes: f64, probes: f64| Work { bytes, products: bytes * probes };
        // Small, large and wide as a CPU with 20 GB/s and 200 billion products a second and a device with ten times as much
        // and 100 us a call would take them.
        let times = |fixed: f64, rate: f64| {
            let time = |work: Work| fixed + work.bytes / (20.0 * rate) + (work.products - work.bytes) / (200.0 * rate);
            [work(2e5, 1.0), work(8e6, 1.0), work(8e6, 16.0)].map(|work| (work, time(work)))
        };
        let cost = |[small, large, wide]: [(Work, f64); 3]| Cost::of(small, large, large, wide);
        let cpu = cost(times(0.0, 1.0));
        let costs = Costs { alone: cpu, shared: cpu, device: cost(times(1e5, 10.0)) };
        let device_pays = |work| costs.device_pays(work);
        assert!(!device_pays(work(2e5, 1.0)), "a flight's gallery is scored before a device has begun");
        assert!(!device_pays(work(2.2e6, 1.0)) && device_pays(work(2.3e6, 1.0)), "100 us are 0.9 of 2.2 MB's time");
        assert!(device_pays(work(2e5, 300.0)), "many probes of one gallery");

        let costs = Costs { shared: cost(times(0.0, 8.0)), ..costs };
        assert!(costs.device_pays(work(4e6, 1.0)), "one thread scores this alone, however many there are");
        assert!(!costs.device_pays(work(18e6, 1.0)), "eight threads share this");
    }

    #[test]
    fn a_machine_without_noise_is_not_assumed() {
        let at = |bytes: f64| Work { bytes, products: bytes };
        let cost = Cost::of((at(2e5), 900.0), (at(8e6), 700.0), (at(8e6), 700.0), (at(8e6), 600.0));
        assert_eq!(cost, Cost { fixed: 900.0, byte: 0.0, product: 0.0 });
    }
}
