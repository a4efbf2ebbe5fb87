//! Where the binary under test is. It belongs to another package, so cargo does not build it for the tests by itself.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How the binary is made.
const BUILD: &str = "cargo build -p node --bin tvs";

/// How the binary of the version after this release's is made. All packages are named, so that what does not depend on
/// the version is built once for both binaries.
const BUILD_NEXT: &str = "cargo build --workspace --features node/next --bin tvs-next";

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The binary `tvs` of the profile that the tests were built in; `TVS_BINARY` names another one.
///
/// # Panics
/// Where there is none, or where a source is newer than it, with the command that builds it.
pub fn tvs() -> PathBuf {
    match std::env::var_os("TVS_BINARY") {
        Some(chosen) => chosen.into(),
        None => beside_the_test("tvs", BUILD),
    }
}

/// The binary `tvs-next`: the version after this release's.
///
/// # Panics
/// As [`tvs`].
pub fn tvs_next() -> PathBuf {
    beside_the_test("tvs-next", BUILD_NEXT)
}

fn beside_the_test(name: &str, build: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    // target/PROFILE/deps/TEST, or target/PROFILE/chaos
    let beside = test.parent().expect("the test lies in a folder");
    let folder = if beside.ends_with("deps") { beside.parent().expect("deps lies in a folder") } else { beside };
    let binary = folder.join(name);
    let release = if folder.ends_with("release") { " --release" } else { "" };
    let Ok(built) = binary.metadata().and_then(|metadata| metadata.modified()) else {
        panic!("{} is missing: run `{build}{release}` first", binary.display());
    };
    let (newest, source) = newest_source();
    assert!(newest <= built, "{name} is older than {}: run `{build}{release}` first", source.display());
    binary
}

fn newest_source() -> (SystemTime, PathBuf) {
    let mut newest = (SystemTime::UNIX_EPOCH, PathBuf::new());
    for folder in ["node", "coordinator", "shaders", "cluster-config"] {
        visit(&workspace().join(folder), &mut |path| {
            let product = !["tests", "benches", "examples"].iter().any(|part| path.iter().any(|p| p == *part));
            let source = path.extension().is_some_and(|e| e == "rs" || e == "wgsl");
            if product && source {
                let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("a source file");
                newest = newest.clone().max((modified, path.to_owned()));
            }
        });
    }
    newest
}

/// Calls `see` with every file below `folder`.
///
/// # Panics
/// Where a folder cannot be read.
pub fn visit(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() {
            visit(&path, see);
        } else {
            see(&path);
        }
    }
}
