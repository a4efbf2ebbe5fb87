//! Which side is quicker with a call, the CPU or the device: a small table of times, measured when the device is
//! opened, and straight lines between its entries.

use std::sync::Arc;
use std::time::Instant;

use crate::ask::{Group, Job};
use crate::batch::group_by_gallery;
use crate::cpu::Cpu;
use crate::cpu::sharing::{PRODUCTS_MIN, may_be_shared};
use crate::gallery::Gallery;
use crate::generator::Generator;
use crate::gpu::{self, DevicePass, Gpu, Lost};

/// Width of the templates that both sides are timed with.
const DIMS: usize = 512;
/// Rows of the large gallery: so many that a device's fixed cost does not hide what a byte costs, and made in a tenth
/// of a second.
const ROWS: usize = 65_536;
/// Rows of the small gallery.
const ROWS_SMALL: usize = 400;
/// Rows of what the CPU scores on one thread alone: few enough that it does.
const ROWS_ALONE: usize = 4_096;
/// Probes of the wide entries; the narrow ones have one.
const PROBES: usize = 16;

const _: () = assert!(
    !may_be_shared((ROWS_ALONE * DIMS) as u64) && !may_be_shared((ROWS_SMALL * DIMS * PROBES) as u64),
    "these are timed on one thread"
);

/// Probes that device passes for many are compared with. 34 billion products are some tenths of a millisecond of work
/// of a large device, more than it takes to begin.
const PROBES_MANY: usize = 1_024;
/// Rows and such probes for a software device: some hundredths of a second of the processors that nodes work on.
const IN_SOFTWARE: (usize, usize) = (2_048, 64);

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Bytes of codes, each gallery once.
    bytes: f64,
    /// Products of codes, each probe counted.
    products: f64,
}

impl Work {
    pub(crate) fn of(gallery: &Gallery, probes: usize) -> Work {
        let bytes = (gallery.rows() * gallery.dims()) as f64;
        Work { bytes, products: bytes * probes as f64 }
    }

    pub(crate) fn of_groups(groups: &[Group<'_>]) -> Work {
        let work = groups.iter().map(|group| Work::of(group.gallery, group.probes.len()));
        work.fold(Work::default(), |a, b| Work { bytes: a.bytes + b.bytes, products: a.products + b.products })
    }
}

/// What a call costs, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    fixed: f64,
    /// For each byte of codes that is read.
    byte: f64,
    /// For each product beyond one a byte.
    product: f64,
}

/// What was measured of one side: the work of each entry and its time, nanoseconds.
struct Times {
    /// One probe against a small gallery.
    small: (Work, f64),
    /// One probe against a large gallery.
    large: (Work, f64),
    /// One probe against some gallery.
    narrow: (Work, f64),
    /// [`PROBES`] probes against that gallery.
    wide: (Work, f64),
}

impl Cost {
    fn of(times: &Times) -> Cost {
        let Times { small, large, narrow, wide } = times;
        // A shared machine may measure the larger work as the shorter one.
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
pub(crate) struct Costs {
    /// On one thread alone, which scores what has few products where no call was just before.
    alone: Cost,
    shared: Cost,
    device: Cost,
}

impl Costs {
    pub(crate) fn device_pays(&self, work: Work) -> bool {
        let cpu = if work.products < PRODUCTS_MIN as f64 { self.alone } else { self.shared };
        self.device.nanoseconds(work) < cpu.nanoseconds(work)
    }
}

/// The galleries and probes that sides are timed with.
pub(crate) struct Timed {
    small: Arc<Gallery>,
    large: Arc<Gallery>,
    probes: Vec<f32>,
}

impl Timed {
    pub(crate) fn new(gpu: &Gpu) -> Result<Timed, String> {
        let (rows, probes) = if gpu.is_software() { IN_SOFTWARE } else { (ROWS, PROBES_MANY) };
        let mut generator = Generator(2);
        let (small, large) = (gallery(&mut generator, ROWS_SMALL)?, gallery(&mut generator, rows)?);
        Ok(Timed { small, large, probes: generator.rows(probes, DIMS) })
    }

    fn job(&self, gallery: &Arc<Gallery>, probes: usize) -> Job {
        Job::new(gallery.clone(), self.probes[..probes * DIMS].to_vec(), 16)
    }

    /// Chooses, by what the device takes alone, the special passes that are quicker than the plain one: with one probe
    /// and with many.
    pub(crate) fn choose_passes(&self, gpu: &mut Gpu, cpu: &Cpu) -> Result<(), String> {
        let many = self.probes.len() / DIMS;
        for (special, probes) in [(DevicePass::Subgroups, 1), (DevicePass::Matrices, many)] {
            let job = self.job(&self.large, probes);
            if gpu.has(special) && quickest(gpu, cpu, special, &job)? < quickest(gpu, cpu, DevicePass::Plain, &job)? {
                gpu.choose(special);
            }
        }
        Ok(())
    }

    /// Times both sides.
    pub(crate) fn measure(&self, gpu: &Gpu, cpu: &Cpu) -> Result<Costs, String> {
        let on_cpu: Score<'_> = &|groups| {
            std::hint::black_box(cpu.search(groups));
            Ok(())
        };
        let on_device: Score<'_> = &|groups| {
            gpu.coarse(cpu, groups, DevicePass::Auto, gpu::rescore).map(|hits| drop(std::hint::black_box(hits)))
        };
        let alone = gallery(&mut Generator(3), ROWS_ALONE)?;
        let costs = || {
            Ok(Costs {
                alone: self.cost(cpu, on_cpu, &alone, &self.small)?,
                shared: self.cost(cpu, on_cpu, &self.large, &self.large)?,
                device: self.cost(cpu, on_device, &self.large, &self.large)?,
            })
        };
        costs().map_err(lost(gpu))
    }

    fn cost(&self, cpu: &Cpu, score: Score<'_>, large: &Arc<Gallery>, wide: &Arc<Gallery>) -> Result<Cost, Lost> {
        let time = |gallery: &Arc<Gallery>, probes: usize| {
            let job = self.job(gallery, probes);
            let (_, groups) = group_by_gallery(std::slice::from_ref(&job), cpu);
            // The first call uploads and warms up.
            score(&groups)?;
            let begun = Instant::now();
            score(&groups)?;
            Ok((Work::of(gallery, probes), begun.elapsed().as_nanos() as f64))
        };
        Ok(Cost::of(&Times {
            small: time(&self.small, 1)?,
            large: time(large, 1)?,
            narrow: time(wide, 1)?,
            wide: time(wide, PROBES)?,
        }))
    }

    /// Takes the galleries off the device again.
    pub(crate) fn release(&self, gpu: &Gpu) {
        gpu.release(&self.small);
        gpu.release(&self.large);
    }
}

/// Scores some groups on one side.
type Score<'a> = &'a dyn Fn(&[Group<'_>]) -> Result<(), Lost>;

/// The shortest of some times that a device pass takes, nanoseconds.
fn quickest(gpu: &Gpu, cpu: &Cpu, pass: DevicePass, job: &Job) -> Result<u128, String> {
    let (_, groups) = group_by_gallery(std::slice::from_ref(job), cpu);
    let mut shortest = u128::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        gpu.coarse(cpu, &groups, pass, |_, _, coarse| drop(coarse)).map_err(lost(gpu))?;
        shortest = shortest.min(begun.elapsed().as_nanos());
    }
    Ok(shortest)
}

fn gallery(generator: &mut Generator, rows: usize) -> Result<Arc<Gallery>, String> {
    Gallery::new(DIMS, generator.rows(rows, DIMS)).map(Arc::new).map_err(|error| error.to_string())
}

fn lost(gpu: &Gpu) -> impl Fn(Lost) -> String {
    move |Lost| format!("{} is lost while it is timed", gpu.adapter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_pays_from_the_size_on_that_the_measured_times_say() {
        let work = |bytes: f64, probes: f64| Work { bytes, products: bytes * probes };
        // What a CPU would take that reads 20 GB a second and makes 200 billion products, and a device with ten times
        // as much and 100 us a call.
        let cost = |fixed: f64, rate: f64| {
            let time = |work: Work| fixed + work.bytes / (20.0 * rate) + (work.products - work.bytes) / (200.0 * rate);
            let [small, large, wide] = [work(2e5, 1.0), work(8e6, 1.0), work(8e6, 16.0)].map(|work| (work, time(work)));
            Cost::of(&Times { small, large, narrow: large, wide })
        };
        let cpu = cost(0.0, 1.0);
        let costs = Costs { alone: cpu, shared: cpu, device: cost(1e5, 10.0) };
        let device_pays = |work| costs.device_pays(work);
        assert!(!device_pays(work(2e5, 1.0)), "a flight's gallery is scored before a device has begun");
        assert!(!device_pays(work(2.2e6, 1.0)) && device_pays(work(2.3e6, 1.0)), "100 us are 0.9 of 2.2 MB's time");
        assert!(device_pays(work(2e5, 300.0)), "many probes of one gallery");

        let costs = Costs { shared: cost(0.0, 8.0), ..costs };
        assert!(costs.device_pays(work(4e6, 1.0)), "one thread scores this alone, however many there are");
        assert!(!costs.device_pays(work(18e6, 1.0)), "eight threads share this");
    }

    #[test]
    fn a_machine_without_noise_is_not_assumed() {
        let at = |bytes: f64| Work { bytes, products: bytes };
        let (small, large) = ((at(2e5), 900.0), (at(8e6), 700.0));
        let cost = Cost::of(&Times { small, large, narrow: large, wide: (at(8e6), 600.0) });
        assert_eq!(cost, Cost { fixed: 900.0, byte: 0.0, product: 0.0 });
    }
}
