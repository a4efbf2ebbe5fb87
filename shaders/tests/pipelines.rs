//! Compiled pipelines are kept on disk, and damage there harms nobody.

mod support;

use shaders::{Choice, Engine, Job};

use support::{Random, gallery, gpu};

#[test]
fn compiled_pipelines_are_kept_and_a_damaged_file_is_left_out() {
    let Some(plain) = gpu() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("pipelines");
    let mut random = Random(21);
    let job = Job::new(gallery(512, random.units(300, 512)), random.units(3, 512), 5);
    let expected = plain.score(std::slice::from_ref(&job));
    let start = || {
        let engine = Engine::start_in(Choice::Gpu, 1, Some(cache.clone())).expect("it started without the folder");
        assert_eq!(engine.score(std::slice::from_ref(&job)), expected);
        assert_eq!(engine.description().engine, "gpu");
    };
    let kept = || -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        files.map(|file| std::fs::read(file.path()).expect("a file")).collect()
    };
    start();
    if plain.description().backend.as_deref() != Some("vulkan") {
        println!("skipped: only Vulkan gives its compiled pipelines away");
        return;
    }
    let first = kept();
    assert_eq!(first.len(), 1, "one file for the one adapter");
    start();
    for entry in std::fs::read_dir(&cache).expect("the folder").flatten() {
        let mut damaged = std::fs::read(entry.path()).expect("a file");
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        std::fs::write(entry.path(), &damaged).expect("writable");
    }
    start();
    assert_eq!(kept()[0].len(), first[0].len(), "it was compiled and written anew");
}
