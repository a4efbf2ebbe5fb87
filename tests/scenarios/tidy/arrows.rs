//! Arrows between crates point one way, as in the design, section 6; the cores use next to nothing.

use std::collections::BTreeMap;

use super::{metadata, own_packages};

/// Who may use whom.
const ARROWS: &[(&str, &[&str])] = &[
    ("cluster-config", &[]),
    ("coordinator-core", &["cluster-config"]),
    ("node-core", &["cluster-config", "coordinator-core"]),
    ("node-intake", &["cluster-config"]),
    ("node-population", &["cluster-config"]),
    ("node-link", &["cluster-config"]),
    ("coordinator", &["cluster-config", "coordinator-core"]),
    ("shaders", &[]),
    ("node-stage", &["cluster-config", "node-link", "node-intake", "node-population"]),
    (
        "node",
        &[
            "cluster-config",
            "coordinator-core",
            "coordinator",
            "node-core",
            "node-intake",
            "node-population",
            "node-link",
            "node-stage",
            "shaders",
        ],
    ),
    (
        "tests",
        &[
            "cluster-config",
            "coordinator-core",
            "coordinator",
            "node-core",
            "node-intake",
            "node-population",
            "node-link",
            "node-stage",
            "node",
            "shaders",
        ],
    ),
    ("chaos", &["cluster-config", "node-link", "node-population", "node-stage", "tests"]),
];

/// All that a core may be built with: data, errors, and how data is written. Nothing of these has a clock, dice, a
/// thread or a socket.
const CORES_ARE_BUILT_WITH: &[&str] = &["cluster-config", "coordinator-core", "serde", "thiserror"];

#[test]
fn arrows_between_crates_point_as_in_the_design() {
    let metadata = metadata();
    let own: Vec<&str> = own_packages(&metadata).filter_map(|package| package["name"].as_str()).collect();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in own_packages(&metadata) {
        let name = package["name"].as_str().expect("a name");
        let allowed = arrows.get(name).unwrap_or_else(|| panic!("{name} is a crate that the design does not know"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            assert!(!own.contains(&to) || allowed.contains(&to), "{name} may not use {to}");
        }
    }
    assert!(own.len() >= 10, "{own:?}");
}

#[test]
fn a_core_is_built_with_data_and_errors_alone() {
    let metadata = metadata();
    let mut cores = 0;
    for package in own_packages(&metadata) {
        let manifest = package["manifest_path"].as_str().expect("a path");
        if !manifest.ends_with("/core/Cargo.toml") {
            continue;
        }
        cores += 1;
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let name = dependency["name"].as_str().expect("a name");
            let for_tests = dependency["kind"] == "dev";
            assert!(for_tests || CORES_ARE_BUILT_WITH.contains(&name), "{manifest}: a core may not use {name}");
        }
    }
    assert_eq!(cores, 2, "coordinator/core and node/core");
}
