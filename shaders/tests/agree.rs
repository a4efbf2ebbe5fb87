//! Every engine, one suite: the same ids, the same order and the same score bits as a naive `f64` reference.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use shaders::{Choice, Engine, Error, Gallery, Job, Kernel, VectorProblem, check_probe};

use support::{Random, agree, changed, engines, gallery, gpu, reference, unit};

#[test]
fn random_galleries_of_every_width() {
    for dims in [128, 132, 256, 512, 1024] {
        let mut random = Random(dims as u64);
        for (rows, probes, k) in [(400, 1, 5), (400, 13, 1), (1_100, 30, 10), (257, 7, 64), (32, 2, 32), (33, 5, 3)] {
            let gallery = gallery(dims, random.units(rows, dims));
            agree(
                &format!("{dims} dimensions, {rows} x {probes}, k {k}"),
                &[Job::new(gallery, random.units(probes, dims), k)],
            );
        }
    }
}

/// Small enough for Miri: one probe, a few and many, on galleries with and without shared blocks, one of two parts.
#[test]
fn a_small_batch() {
    let mut random = Random(31);
    let dims = 132;
    let base = gallery(dims, random.units(9, dims));
    let changed = changed(&base, &[3], &random.units(5, dims));
    let mut job = |gallery: &Arc<Gallery>, probes| Job::new(gallery.clone(), random.units(probes, dims), 2);
    agree("a small batch", &[job(&base, 1), job(&changed, 29), job(&base, 2)]);
}

#[test]
fn every_number_of_probes_around_the_tile_sizes() {
    let mut random = Random(2);
    let gallery = gallery(128, random.units(300, 128));
    let jobs: Vec<Job> = (0..=26).map(|probes| Job::new(gallery.clone(), random.units(probes, 128), 4)).collect();
    for job in &jobs {
        agree(&format!("{} probes", job.probes.len() / 128), std::slice::from_ref(job));
    }
    agree("all of them in one batch, on one gallery", &jobs);
}

/// So many candidates that the device needs three rounds; each is read back while the next is scored.
#[test]
fn a_call_of_several_rounds() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random(9);
    let jobs = [Job::new(gallery(128, random.units(2_048, 128)), random.units(8_200, 128), 5)];
    let cpu = Engine::start_with(Kernel::available()[0], 1).expect("an available kernel starts");
    assert!(gpu.score(&jobs) == cpu.score(&jobs), "its answers are not the CPU's");
    assert_eq!((gpu.description().engine, gpu.probes_unproved()), ("gpu", 0));
}

/// A gallery of two parts with removed rows, large enough to be sieved, with full sets of probes and a rest, on every
/// engine.
#[test]
fn a_large_gallery_that_has_changed() {
    let mut random = Random(24);
    let dims = 128;
    let large = gallery(dims, random.units(17_000, dims));
    let added = changed(&large, &[], &random.units(300, dims));
    let changed = changed(&added, &[16_999, 17_001], &[]);
    let mut probes = Vec::new();
    for row in [16_999, 17_001, 17_299] {
        probes.extend_from_slice(changed.row(row));
        probes.extend(random.units(26, dims));
    }
    agree("a large gallery", &[Job::new(changed.clone(), probes, 5), Job::new(large, random.unit(dims), 64)]);
}

#[test]
fn duplicates_and_all_equal_go_to_the_lower_row() {
    let mut random = Random(3);
    let dims = 512;
    let distinct: Vec<Vec<f32>> = (0..7).map(|_| random.unit(dims)).collect();
    let rows: Vec<f32> = (0..900).flat_map(|_| distinct[random.below(7)].clone()).collect();
    let duplicated = gallery(dims, rows);
    let equal = gallery(dims, distinct[0].repeat(1_000));
    let mut probes = random.units(5, dims);
    probes.extend_from_slice(&distinct[0]);
    for k in [1, 5, 64] {
        agree("duplicates", &[Job::new(duplicated.clone(), probes.clone(), k)]);
        agree("all equal", &[Job::new(equal.clone(), probes.clone(), k)]);
    }
}

/// Rows one unit in the last place of a few elements apart: their `f32` scores cannot tell them apart, `f64` can.
#[test]
fn near_ties_are_told_apart() {
    let mut random = Random(4);
    for dims in [132, 512] {
        let base = random.unit(dims);
        let mut rows = Vec::new();
        for _ in 0..700 {
            let mut row = base.clone();
            for _ in 0..random.below(3) {
                let element = random.below(dims);
                row[element] = if random.below(2) == 0 { row[element].next_up() } else { row[element].next_down() };
            }
            rows.extend(row);
        }
        rows.extend(random.units(300, dims));
        let gallery = gallery(dims, rows);
        let mut probes = base.clone();
        probes.extend(random.units(4, dims));
        for k in [1, 5, 64] {
            agree("near ties", &[Job::new(gallery.clone(), probes.clone(), k)]);
        }
    }
}

/// A few large elements beside many tiny ones. Eight bits leave out most of such a row, so that the bound excludes
/// little and the search falls back to an exact scan.
#[test]
fn rows_of_a_large_dynamic_range() {
    let mut random = Random(21);
    for dims in [128, 508, 1024] {
        let mut row = |spikes: usize| -> Vec<f32> {
            let mut values: Vec<f64> = random.unit(dims).iter().map(|value| f64::from(*value) * 0.05).collect();
            for _ in 0..spikes {
                values[random.below(dims)] = if random.below(2) == 0 { 0.9 } else { -0.9 };
            }
            unit(values)
        };
        let rows: Vec<f32> = (0..900).flat_map(|index| row(index % 4)).collect();
        let probes: Vec<f32> = (0..14).flat_map(|index| row(index % 3)).collect();
        let gallery = gallery(dims, rows);
        for k in [1, 5, 64] {
            agree("a large range", &[Job::new(gallery.clone(), probes.clone(), k)]);
        }
    }
}

/// The worst data for an error bound: the coarse scores of the best rows are off by nearly as much as the norms allow.
/// Of every second such row the part that eight bits leave out points in the direction of the probe; of the others they
/// leave out nothing. And the part that narrow codes leave out of the probe points in the direction of all of them.
#[test]
fn scores_that_are_off_by_as_much_as_they_can_be() {
    let mut random = Random(23);
    let dims = 512;
    let sign = |k: usize| if k.is_multiple_of(3) { -1.0 } else { 1.0 };
    // The sixteen values that narrow codes sum up in one lane are larger, so that each of the others has 15.3 steps.
    let probe = unit((0..dims).map(|k| sign(k) * if k < 32 && k % 4 < 2 { 1.025 } else { 1.0 }).collect());
    let mut row = |index: usize| {
        if !index.is_multiple_of(32) {
            return random.unit(dims);
        }
        // Values in steps. The first is the largest: the length of a step comes from it.
        let mut step = |k| match (k, index / 32 % 2) {
            (0, _) => 127.0,
            (_, 0) => random.below(7) as f64 + 3.45,
            _ => random.below(7) as f64 + if random.below(100) < 45 { 4.0 } else { 3.0 },
        };
        unit((0..dims).map(|k| sign(k) * step(k)).collect())
    };
    for _ in 0..3 {
        let gallery = gallery(dims, (0..1_600).flat_map(&mut row).collect());
        for (probes, k) in [(1, 64), (4, 1), (12, 3), (30, 64)] {
            agree("scores off by their bound", &[Job::new(gallery.clone(), probe.repeat(probes), k)]);
        }
    }
}

/// The worst order for a threshold that only rises: each row is better than all rows before it.
#[test]
fn rows_that_come_better_and_better() {
    let mut random = Random(22);
    let dims = 256;
    let (base, other) = (random.unit(dims), random.unit(dims));
    let rows: Vec<f32> = (0..2_000)
        .flat_map(|index| {
            let share = f64::from(index) / 2_000.0;
            let mixed: Vec<f64> =
                base.iter().zip(&other).map(|(a, b)| share * f64::from(*a) + (1.0 - share) * f64::from(*b)).collect();
            unit(mixed)
        })
        .collect();
    let gallery = gallery(dims, rows);
    let mut probes = base.clone();
    probes.extend_from_slice(&other);
    probes.extend(base.iter().map(|value| -value));
    for k in [1, 5, 64] {
        agree("better and better", &[Job::new(gallery.clone(), probes.clone(), k)]);
    }
}

#[test]
fn tiny_galleries_and_no_probes() {
    let mut random = Random(5);
    let mut jobs = Vec::new();
    for rows in [1, 2, 31, 63] {
        for probes in [0, 1, 3] {
            let gallery = gallery(256, random.units(rows, 256));
            jobs.push(Job::new(gallery, random.units(probes, 256), 64));
        }
    }
    agree("fewer rows than k", &jobs);
    agree("no jobs", &[]);
}

#[test]
fn ragged_batches_of_many_galleries_and_widths() {
    let mut random = Random(6);
    let galleries: Vec<Arc<Gallery>> = (0..60)
        .map(|_| {
            let dims = [128, 132, 256, 512, 1024][random.below(5)];
            let rows = random.below(600);
            gallery(dims, random.units(rows, dims))
        })
        .collect();
    let jobs: Vec<Job> = (0..150)
        .map(|_| {
            let gallery = galleries[random.below(galleries.len())].clone();
            let probes = random.units(random.0 as usize % 4, gallery.dims());
            Job::new(gallery, probes, 1 + random.below(64))
        })
        .collect();
    agree("ragged", &jobs);
}

#[test]
fn bad_input_is_refused_by_index_and_disturbs_nothing() {
    let mut random = Random(7);
    let dims = 128;
    let gallery = gallery(dims, random.units(100, dims));
    let good = |random: &mut Random| Job::new(gallery.clone(), random.units(2, dims), 5);
    let spoiled = |random: &mut Random, element: usize, value: f32| {
        let mut job = good(random);
        job.probes[dims + element] = value;
        job
    };
    let mut jobs = vec![good(&mut random), spoiled(&mut random, 9, f32::NAN), good(&mut random)];
    jobs.push(spoiled(&mut random, 0, f32::NEG_INFINITY));
    jobs.push(Job { probes: vec![0.0; dims], ..good(&mut random) });
    let mut long = good(&mut random);
    long.probes.push(0.5);
    jobs.push(long);
    jobs.push(Job { k: 0, ..good(&mut random) });
    jobs.push(Job { k: 65, ..good(&mut random) });
    jobs.push(good(&mut random));
    let empty = Arc::new(Gallery::new(dims, Vec::new()).expect("an empty gallery can be held"));
    jobs.push(Job { gallery: empty, ..good(&mut random) });
    jobs.push(Job { floor: f32::NAN, ..good(&mut random) });

    for (name, engine) in engines() {
        let results = engine.score(&jobs);
        for index in [0, 2, 8] {
            let answers = results[index].as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
            for (values, hits) in jobs[index].probes.chunks(dims).zip(answers) {
                assert_eq!(hits, &reference(&gallery, values, 5, f32::NEG_INFINITY), "{name}: job {index}");
            }
        }
        let error = |index: usize| results[index].clone().expect_err("a bad job");
        let problem = |index: usize| match error(index) {
            Error::JobProbe { job, probe, problem } => (job, probe, problem),
            other => panic!("{name}: job {index}: {other}"),
        };
        assert!(matches!(problem(1), (1, 1, VectorProblem::NotFinite { element: 9, .. })), "{name}");
        assert!(matches!(problem(3), (3, 1, VectorProblem::NotFinite { element: 0, .. })), "{name}");
        assert_eq!(problem(4), (4, 0, VectorProblem::Norm { norm: 0.0 }), "{name}");
        assert_eq!(problem(5), (5, 2, VectorProblem::Length { found: 1, dims }), "{name}");
        assert_eq!(error(6), Error::JobK { job: 6, k: 0 }, "{name}");
        assert_eq!(error(7), Error::JobK { job: 7, k: 65 }, "{name}");
        assert_eq!(error(9), Error::JobGalleryEmpty { job: 9 }, "{name}");
        assert_eq!(error(10), Error::JobFloor { job: 10 }, "{name}");
        assert_eq!(error(7).to_string(), "job 7: k is 65");
        assert_eq!(error(7).fix(), "ask for 1 to 64 hits");
    }
}

/// The probes of a large call are checked on several threads.
#[test]
fn bad_probes_of_a_large_call_are_refused_with_the_first_of_each_job() {
    let mut random = Random(24);
    let gallery = gallery(128, random.units(40, 128));
    let good = random.units(300, 128);
    let with = |places: &[usize]| {
        let mut probes = good.clone();
        places.iter().for_each(|probe| probes[probe * 128 + 5] = f32::INFINITY);
        Job::new(gallery.clone(), probes, 3)
    };
    let cut = Job::new(gallery.clone(), good[..256 * 128 + 7].to_vec(), 3);
    let jobs = [with(&[]), with(&[290, 200]), cut, with(&[0]), Job::new(gallery.clone(), good[..128].to_vec(), 0)];
    let score = |threads| {
        let engine = Engine::start_with(Kernel::available()[0], threads).expect("an available kernel starts");
        engine.score(&jobs)
    };
    let (alone, shared) = (score(1), score(3));
    assert!(alone == shared, "{:?}", shared.iter().map(|result| result.as_ref().err()).collect::<Vec<_>>());
    let probe = |job: usize| match &shared[job] {
        Err(Error::JobProbe { job: named, probe, .. }) => Some((*named, *probe)),
        _ => None,
    };
    assert_eq!((probe(1), probe(2), probe(3)), (Some((1, 200)), Some((2, 256)), Some((3, 0))));
    assert!(shared[0].is_ok() && matches!(shared[4], Err(Error::JobK { job: 4, .. })));
}

#[test]
fn bad_galleries_and_probes_are_refused_with_the_place() {
    let mut random = Random(8);
    for dims in [0, 4, 124, 130, 1028] {
        assert_eq!(Gallery::new(dims, Vec::new()).expect_err("a width"), Error::Dims { dims });
    }
    let mut rows = random.units(9, 128);
    assert!(matches!(
        Gallery::new(128, rows[1..].to_vec()).expect_err("a length"),
        Error::GalleryLength { values: 1151, dims: 128 }
    ));
    rows[5 * 128 + 3] = f32::INFINITY;
    let error = Gallery::new(128, rows.clone()).expect_err("an infinity");
    assert!(error.to_string().starts_with("gallery row 5 has the value inf at element 3"), "{error}");
    rows.truncate(5 * 128);
    rows[2 * 128..3 * 128].fill(0.0);
    let error = Gallery::new(128, rows).expect_err("a zero row");
    assert_eq!(error, Error::Row { row: 2, problem: VectorProblem::Norm { norm: 0.0 } });

    let probe = random.unit(512);
    assert_eq!(check_probe(512, &probe), Ok(()));
    assert!(check_probe(256, &probe).is_err());
    assert!(check_probe(512, &probe.iter().map(|value| value * 1.002).collect::<Vec<f32>>()).is_err());
    assert!(check_probe(512, &probe.iter().map(|value| value * 1.0005).collect::<Vec<f32>>()).is_ok());
}

#[test]
fn released_galleries_leave_the_device_and_come_back_when_used() {
    let Some(engine) = gpu() else { return };
    let mut random = Random(9);
    let jobs: Vec<Job> = (0..20)
        .map(|index| Job::new(gallery(512, random.units(50 + index * 20, 512)), random.units(1, 512), 5))
        .collect();
    let expected = engine.score(&jobs);
    let resident = engine.device_bytes_resident();
    assert!(resident > 0);
    for job in jobs.iter().step_by(2) {
        engine.release(&job.gallery);
    }
    assert!(engine.device_bytes_resident() < resident);
    assert_eq!(engine.score(&jobs), expected);
    assert_eq!(engine.device_bytes_resident(), resident);
    drop(jobs);
    engine.release(&gallery(512, random.unit(512)));
    assert_eq!(engine.device_bytes_resident(), 0, "copies of dropped galleries are wiped at the next occasion");
}

/// Without this test the suite would pass on a device that proves nothing and leaves every probe to the CPU.
#[test]
fn the_device_proves_ordinary_answers_itself_and_admits_what_it_cannot() {
    let Some(engine) = gpu() else { return };
    let mut random = Random(12);
    for (rows, probes) in [(400, 1), (3_000, 9), (17_000, 21)] {
        let gallery = gallery(512, random.units(rows, 512));
        let jobs = [Job::new(gallery, random.units(probes, 512), 64)];
        assert!(engine.score(&jobs)[0].is_ok());
    }
    assert_eq!(engine.probes_unproved(), 0);
    for rows in [400, 9_000] {
        let probe = random.unit(512);
        let gallery = gallery(512, random.units(rows, 512));
        let best: Vec<u32> = reference(&gallery, &probe, 8, f32::NEG_INFINITY).iter().map(|hit| hit.row).collect();
        let gallery = changed(&gallery, &best, &[]);
        assert_eq!((gallery.rows(), gallery.rows_live()), (rows, rows - 8));
        let expected = reference(&gallery, &probe, 5, f32::NEG_INFINITY);
        assert_eq!(engine.score(&[Job::new(gallery, probe, 5)])[0], Ok(vec![expected]));
        assert_eq!(engine.probes_unproved(), 0, "{rows} rows: removed rows must not count on the device either");
    }
    for (rows, unproved) in [(300, 1), (17_000, 2)] {
        let equal = gallery(512, random.unit(512).repeat(rows));
        assert!(engine.score(&[Job::new(equal, random.unit(512), 5)])[0].is_ok());
        assert_eq!(engine.probes_unproved(), unproved);
    }
    assert_eq!(engine.description().engine, "gpu");
}

/// Of this gallery's tiles the device samples the first of every three, and the rows that matter are all in others:
/// more rows reach the floor than there is room for.
#[test]
fn a_sample_that_misleads_costs_a_second_look_and_not_the_proof() {
    let Some(engine) = gpu() else { return };
    let mut random = Random(23);
    let probe = random.unit(512);
    let mut near = 0;
    let mut row = |row: usize, random: &mut Random| {
        let other = random.unit(512);
        if row / 256 % 3 != 1 || row % 256 >= 100 {
            return other;
        }
        near += 1;
        let score = 0.3 + 0.65 * (f64::from(near) / 2_600.0).powi(2);
        let along: f64 = other.iter().zip(&probe).map(|(a, b)| f64::from(a * b)).sum();
        let across: Vec<f64> = other.iter().zip(&probe).map(|(a, b)| f64::from(*a) - along * f64::from(*b)).collect();
        let length = (1.0 - score * score).sqrt() / across.iter().map(|value| value * value).sum::<f64>().sqrt();
        unit(across.iter().zip(&probe).map(|(a, b)| length * a + score * f64::from(*b)).collect())
    };
    let rows = (0..20_000).flat_map(|index| row(index, &mut random)).collect();
    let gallery = gallery(512, rows);
    let expected = reference(&gallery, &probe, 5, f32::NEG_INFINITY);
    assert_eq!(engine.score(&[Job::new(gallery, probe, 5)])[0], Ok(vec![expected]));
    assert_eq!((engine.description().engine, engine.probes_unproved()), ("gpu", 0));
}

/// A software adapter binds 128 MiB at most, so this gallery lies in two slabs there.
#[test]
fn a_gallery_larger_than_a_slab_is_searched_whole() {
    let Some(engine) = gpu() else { return };
    let mut random = Random(13);
    let (dims, rows) = (1024, 33_100);
    let base = random.units(40, dims);
    // Rotations of a few drawn rows are as good as drawn ones, and quickly made.
    let values: Vec<f32> = (0..rows)
        .flat_map(|row| {
            let mut values = base[row % 40 * dims..(row % 40 + 1) * dims].to_vec();
            values.rotate_left(row / 40 % dims);
            values
        })
        .collect();
    let gallery = gallery(dims, values);
    let mut probes = random.units(2, dims);
    probes.extend_from_slice(gallery.row(rows - 1));
    let job = Job::new(gallery.clone(), probes, 5);
    let answers = engine.score(std::slice::from_ref(&job)).swap_remove(0).expect("a good job");
    for (values, hits) in job.probes.chunks(dims).zip(&answers) {
        assert_eq!(hits, &reference(&gallery, values, 5, f32::NEG_INFINITY));
    }
    assert_eq!(answers[2][0].row as usize, rows - 1);
    assert_eq!((engine.probes_unproved(), engine.description().engine), (0, "gpu"));
}

#[test]
fn descriptions_say_what_scores() {
    let cpu = Engine::start(Choice::Cpu, 1).expect("there is always a CPU");
    assert_eq!(cpu.description().kernel, Kernel::available()[0].name());
    assert_eq!((cpu.description().engine, &cpu.description().adapter), ("cpu", &None));

    let auto = Engine::start(Choice::Auto, 1).expect("there is always the CPU");
    let description = auto.description();
    assert!(!description.software, "a software adapter is never chosen on its own: {description:?}");
    assert_eq!(description.engine == "gpu", description.adapter.is_some(), "{description:?}");

    let missing = [Kernel::Avx512, Kernel::Avx2, Kernel::Neon, Kernel::Portable];
    for kernel in missing.into_iter().filter(|kernel| !Kernel::available().contains(kernel)) {
        let error = Engine::start_with(kernel, 1).expect_err("a kernel that cannot run here");
        assert!(error.to_string().contains(Kernel::available()[0].name()), "{error}");
    }
}

#[test]
fn a_lost_device_is_answered_for_by_the_cpu_in_the_same_call_and_comes_back() {
    let Some(engine) = gpu() else { return };
    let mut random = Random(10);
    let job = Job::new(gallery(512, random.units(500, 512)), random.units(6, 512), 5);
    let before = engine.score(std::slice::from_ref(&job));
    assert_eq!(engine.description().engine, "gpu");
    engine.lose_device();
    assert_eq!(engine.score(std::slice::from_ref(&job)), before);
    assert_eq!(engine.description().engine, "cpu");
    assert!(engine.description().note.contains("device was lost"), "{}", engine.description().note);
    assert_eq!(engine.score(std::slice::from_ref(&job)), before);
    engine.release(&job.gallery);

    let begun = Instant::now();
    while engine.description().engine == "cpu" {
        assert!(begun.elapsed() < Duration::from_secs(60), "the device is there and is not opened again");
        assert_eq!(engine.score(std::slice::from_ref(&job)), before, "the CPU answers until then");
    }
    assert_eq!(engine.score(std::slice::from_ref(&job)), before, "and then the device, which has nothing yet");
    assert!(engine.device_bytes_resident() > 0);
}

/// While some threads search, another releases their galleries again and again. A gallery that a call uses stays on the
/// device until the call ends.
#[test]
fn calls_from_several_threads_do_not_disturb_each_other() {
    let mut random = Random(11);
    let jobs: Vec<Job> =
        (0..8).map(|_| Job::new(gallery(256, random.units(300, 256)), random.units(3, 256), 5)).collect();
    for (name, engine) in engines() {
        let expected = engine.score(&jobs);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(engine.score(&jobs), expected, "{name}");
                    }
                });
            }
            scope.spawn(|| {
                for job in jobs.iter().cycle().take(400) {
                    engine.release(&job.gallery);
                }
            });
        });
    }
}

/// Calls large enough to be shared: large galleries, one of which has only equal rows, so that nothing is excluded, and
/// many small galleries in one call.
#[test]
fn several_threads_find_what_one_finds() {
    let mut random = Random(23);
    let dims = 128;
    let large = gallery(dims, random.units(20_000, dims));
    let equal = gallery(dims, random.unit(dims).repeat(20_000));
    let changed = changed(&large, &[7], &random.units(100, dims));
    // A hundred probes are shared out among the threads; with nine probes the rows are.
    let galleries = [(large, 9), (equal, 9), (changed.clone(), 9), (changed, 100)];
    let job = |(gallery, probes)| Job::new(gallery, random.units(probes, dims), 5);
    let mut jobs: Vec<Job> = galleries.into_iter().map(job).collect();
    let mut ragged = |count| -> Vec<Job> {
        (0..count).map(|_| Job::new(gallery(dims, random.units(300, dims)), random.unit(dims), 7)).collect()
    };
    jobs.extend(ragged(40));
    // So few that calls are shared only where they follow each other closely.
    let few = ragged(150);
    for kernel in Kernel::available() {
        let one = Engine::start_with(kernel, 1).expect("an available kernel starts");
        let three = Engine::start_with(kernel, 3).expect("an available kernel starts");
        let expected = one.score(&few);
        for _ in 0..3 {
            assert_eq!(three.score(&few), expected, "{}", kernel.name());
        }
        let expected = one.score(&jobs);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert_eq!(three.score(&jobs), expected, "{}", kernel.name()));
            }
        });
        for (job, result) in jobs.iter().zip(&expected) {
            let answers = result.as_ref().expect("a good job");
            assert_eq!(answers[0], reference(&job.gallery, &job.probes[..dims], job.k, job.floor), "{}", kernel.name());
        }
    }
}
