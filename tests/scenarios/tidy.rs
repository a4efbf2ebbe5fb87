//! The rules of the house, as tests: arrows, circles, words, sizes, doors, licences, and that each promise is tested.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cluster_config::file::Configuration;
use harness::binary::{visit, workspace};
use serde_json::Value;

/// What may stand at the top level besides files whose name begins with a dot.
const TOP_LEVEL: [&str; 18] = [
    "node",
    "coordinator",
    "shaders",
    "cluster-config",
    "chaos",
    "tests",
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "clippy.toml",
    "rustfmt.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "typos.toml",
    "SECURITY.md",
];

/// One-file doors: a word of the code, and the paths below which alone it may stand.
const DOORS: [(&str, &[&str]); 8] = [
    ("bincode::", &["cluster-config/src/wire/codec.rs"]),
    (
        "openraft::",
        &[
            "coordinator/src/group/",
            "coordinator/src/log/",
            "coordinator/src/machine/",
            "coordinator/src/proposing/",
            "coordinator/tests/",
            "coordinator/benches/",
            "tests/harness/crash/",
            "tests/harness/group/",
        ],
    ),
    ("sled::", &["coordinator/src/log/", "coordinator/tests/", "node/src/gallery/store.rs"]),
    ("wgpu::", &["shaders/src/gpu"]),
    ("quinn::", &["node/link/", "node/stage/src/bench/"]),
    ("actix::", &["node/src/gallery/", "node/src/process/"]),
    (
        "SystemTime::now",
        &[
            "node/src/clock.rs",
            "node/stage/src/clock.rs",
            "node/link/src/certificates.rs",
            "node/link/src/identity.rs",
            "node/link/tests/",
        ],
    ),
    (".do_send(", &[]),
];

/// Licences that anything here may be used under.
const LICENCES: [&str; 11] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "MIT-0",
];

/// Libraries that are not to come in by any way: TLS is rustls with aws-lc-rs alone.
const BANNED: [&str; 4] = ["openssl", "openssl-sys", "native-tls", "schannel"];

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(workspace()).args(arguments).output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Every file that is in the repository or would be: tracked, or new and not ignored.
fn files() -> Vec<String> {
    let listed = git(&["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = listed.lines().map(str::to_owned);
    listed.filter(|file| workspace().join(file).is_file()).collect()
}

fn text_of(file: &str) -> Option<String> {
    String::from_utf8(std::fs::read(workspace().join(file)).expect("a file")).ok()
}

fn sources() -> impl Iterator<Item = (String, String)> {
    let is_source = |file: &String| file.ends_with(".rs") || file.ends_with(".wgsl");
    files().into_iter().filter(is_source).filter_map(|file| text_of(&file).map(|text| (file, text)))
}

/// The lines of a source that are code: not a comment's, and not a list of these tests.
fn code(file: &str, text: &str) -> Vec<(usize, String)> {
    if file.starts_with("tests/scenarios/tidy") {
        return Vec::new();
    }
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned()));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(workspace().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().expect("packages").iter()
}

/// The packages of this workspace.
fn own_packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    packages(metadata).filter(|package| package["source"].is_null())
}

#[test]
fn the_top_level_holds_the_agreed_folders_and_tool_files_alone() {
    for file in files() {
        let first = file.split('/').next().expect("a name");
        assert!(first.starts_with('.') || TOP_LEVEL.contains(&first), "{first} does not belong at the top level");
    }
    for needed in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "tests/run", ".ci/run", "deny.toml"] {
        assert!(workspace().join(needed).is_file(), "{needed} is missing");
    }
}

#[test]
fn every_library_stays_behind_its_door() {
    for (file, text) in sources() {
        for (line, code) in code(&file, &text) {
            for (word, places) in DOORS {
                let word_begins = code
                    .match_indices(word)
                    .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
                let inside = places.iter().any(|place| file.starts_with(place));
                assert!(inside || !word_begins, "{file}:{line}: {word} belongs into {places:?}");
            }
        }
    }
}

#[test]
fn dependencies_are_free_known_and_from_the_registry() {
    let metadata = metadata();
    for package in packages(&metadata) {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or("");
        assert!(licence_is_fine(licence), "{name} is under {licence:?}");
        let source = package["source"].as_str().unwrap_or("");
        let known = source.is_empty() || source == "registry+https://github.com/rust-lang/crates.io-index";
        assert!(known, "{name} comes from {source}");
        assert!(!BANNED.contains(&name), "{name} is banned");
    }
    assert!(!licence_is_fine("GPL-3.0") && !licence_is_fine("MIT AND GPL-3.0") && !licence_is_fine(""));
    assert!(licence_is_fine("MIT OR GPL-3.0") && licence_is_fine("(MIT OR GPL-3.0) AND Zlib"));
}

/// Whether an SPDX expression can be met with the licences on the list. Parentheses here only ever hold choices.
fn licence_is_fine(expression: &str) -> bool {
    let mut choices = Vec::new();
    let mut expression = expression.replace('/', " OR ");
    while let Some((before, rest)) = expression.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else { return false };
        choices.push(inside.to_owned());
        expression = format!("{before}CHOICE{after}");
    }
    let any = |choice: &str| choice.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()));
    let mut choices = choices.iter();
    let mut part = |text: &str| match text.trim() {
        "CHOICE" => choices.next().is_some_and(|choice| any(choice)),
        licence => LICENCES.contains(&licence),
    };
    // Every part is judged, also behind one that fails: the choices are taken in their order.
    let mut met = |all: &str| !all.split(" AND ").map(&mut part).collect::<Vec<bool>>().contains(&false);
    let either: Vec<bool> = expression.split(" OR ").map(&mut met).collect();
    either.contains(&true)
}

/// `cargo run --release -- demo` has to mean `tvs`, though there are other binaries.
#[test]
fn the_workspace_runs_tvs() {
    let metadata = metadata();
    let node = own_packages(&metadata).find(|package| package["name"] == "node").expect("the package node");
    assert_eq!(node["default_run"], "tvs");
    let meant = metadata["workspace_default_members"].as_array().expect("members");
    assert_eq!(meant, &[node["id"].clone()]);
}

#[test]
fn the_examples_load() {
    let mut loaded = 0;
    visit(&workspace().join("cluster-config/examples"), &mut |path: &Path| {
        if path.extension().is_some_and(|extension| extension == "toml") {
            Configuration::load(path).unwrap_or_else(|error| panic!("{error}"));
            loaded += 1;
        }
    });
    assert!(loaded >= 4, "{loaded} examples");
}

#[test]
fn the_readme_s_map_names_every_folder() {
    let readme = text_of("README.md").expect("text");
    let tracked = files();
    let first = |file: &String| file.split_once('/').map(|(folder, _)| folder.to_owned());
    let mut folders: BTreeSet<String> = tracked.iter().filter_map(first).collect();
    let crates = tracked.iter().filter_map(|file| file.strip_suffix("/Cargo.toml").map(str::to_owned));
    folders.extend(crates);
    for folder in folders.iter().filter(|folder| !folder.starts_with('.')) {
        // A crate inside of a folder stands on that folder's line.
        let parts: Vec<String> = folder.split('/').map(|part| format!("{part}/")).collect();
        let named = readme.lines().any(|line| line.starts_with("| `") && parts.iter().all(|part| line.contains(part)));
        assert!(named, "the README's map does not name {folder}/");
    }
}

#[test]
fn the_document_for_operators_prints_the_table_of_rights() {
    let document = text_of("node/README.md").expect("a document");
    for [request, who] in cluster_config::rights::table() {
        let row = format!("| {request} | {who} |");
        assert!(document.contains(&row), "node/README.md lacks the row {row}");
    }
}

#[test]
fn no_file_names_a_path_of_some_machine() {
    let home = [["/", "work/"].concat(), ["/", "root/"].concat(), ["/tmp/", "bash_jobs"].concat()];
    for file in files() {
        let Some(text) = text_of(&file) else { continue };
        let found = home.iter().find(|path| text.contains(path.as_str()));
        assert!(found.is_none(), "{file} names {}", found.map(String::as_str).unwrap_or_default());
    }
}

#[test]
fn every_promise_that_holds_today_is_named_where_it_is_tested() {
    let mut named = BTreeSet::new();
    for folder in ["tests/scenarios", "tests/harness/invariants"] {
        visit(&workspace().join(folder), &mut |path: &Path| {
            let text = std::fs::read_to_string(path).expect("text");
            let first = text.lines().next().expect("a line").to_owned();
            assert!(first.starts_with("//! "), "{}: its first line says what it holds", path.display());
            if !path.starts_with(workspace().join("tests/scenarios/tidy")) && !path.ends_with("tidy.rs") {
                let words = first.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned);
                named.extend(words.filter(|word| word.starts_with('P')));
            }
        });
    }
    for promise in ["P1", "P3", "P4", "P5", "P10"] {
        assert!(named.contains(promise), "{promise} is named in no scenario and no invariant");
    }
}
