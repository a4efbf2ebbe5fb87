//! Sealed files answer as the gallery that they hold, take additions and removals, and say where they are damaged.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use shaders::{Error, Gallery, Job, SealedError, SealedWriter};

use support::{Random, agree};

/// A file of its own for one test, gone when the test is.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("tvs-sealed-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_file(format!("{}.unfinished", self.0.display()));
    }
}

/// Writes `rows` in uneven pieces.
fn write(scratch: &Scratch, dims: usize, rows: &[f32]) {
    let count = (rows.len() / dims) as u32;
    let mut writer = SealedWriter::create(&scratch.0, dims, count).expect("a new file");
    for piece in rows.chunks(dims * 45) {
        writer.push(piece).expect("good templates");
    }
    assert!(!scratch.0.exists(), "it has its name before it is whole");
    writer.finish().expect("a whole file");
}

#[test]
fn a_sealed_gallery_answers_like_one_in_memory_and_takes_changes() {
    let mut random = Random(41);
    for (dims, rows) in [(128, 1), (132, 3_000), (512, 700)] {
        let scratch = Scratch::new(&format!("answers-{dims}"));
        let values = random.units(rows, dims);
        write(&scratch, dims, &values);
        let sealed = Gallery::open_sealed(&scratch.0).expect("a good file");
        assert_eq!((sealed.rows(), sealed.dims(), sealed.bytes_resident()), (rows, dims, 0));
        assert!((0..rows).all(|row| sealed.row(row) == &values[row * dims..(row + 1) * dims]));
        let mut probes = random.units(3, dims);
        probes.extend_from_slice(&values[..dims]);
        agree("sealed", &[Job::new(Arc::new(sealed), probes.clone(), 5)]);

        let sealed = Gallery::open_sealed(&scratch.0).expect("a good file");
        std::fs::remove_file(&scratch.0).expect("a mapped file can be deleted");
        let added = sealed.with_added(&probes[..2 * dims]).expect("good templates");
        let changed = Arc::new(added.with_removed(0).expect("the first row"));
        assert!(changed.bytes_resident() > 0);
        agree("sealed and changed", &[Job::new(changed, probes, 5)]);
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let mut random = Random(42);
    let dims = 256;
    let scratch = Scratch::new("damage");
    write(&scratch, dims, &random.units(2_500, dims));
    let good = std::fs::read(&scratch.0).expect("the file");
    let problem_of = |bytes: &[u8]| {
        std::fs::write(&scratch.0, bytes).expect("a file");
        match Gallery::open_sealed(&scratch.0) {
            Err(SealedError::Damaged { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    for place in (0..good.len()).step_by(good.len() / 61).chain([0, 5, 9, 13, good.len() - 1, good.len() - 5]) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        let problem = problem_of(&bytes);
        if (4096..good.len() - 64).contains(&place) {
            assert_eq!(problem, format!("mebibyte {} was changed", place >> 20));
        }
    }
    for length in [0, 23, 4096, good.len() - 1] {
        problem_of(&good[..length]);
    }
    let mut longer = good.clone();
    longer.push(0);
    problem_of(&longer);
    std::fs::write(&scratch.0, &good).expect("a file");
    assert!(Gallery::open_sealed(&scratch.0).is_ok());
}

#[test]
fn a_writer_refuses_what_is_no_template_and_counts_rows() {
    let mut random = Random(43);
    let scratch = Scratch::new("refuses");
    let mut writer = SealedWriter::create(&scratch.0, 128, 50).expect("a new file");
    writer.push(&random.units(40, 128)).expect("good templates");
    let mut bad = random.units(3, 128);
    bad[128] = f32::INFINITY;
    match writer.push(&bad) {
        Err(SealedError::Templates { source: Error::Row { row: 41, .. }, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(writer.push(&random.units(11, 128)).is_err(), "more rows than announced");
    assert!(writer.finish().is_err(), "fewer rows than announced");
    assert!(!scratch.0.exists());
    assert!(SealedWriter::create(&scratch.0, 130, 1).is_err());
    assert!(matches!(Gallery::open_sealed(&scratch.0), Err(SealedError::File { .. })));
}
