//! No circle of imports between the files of a crate: what is below can be read without what is above it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use harness::binary::workspace;

use super::imports::{Uses, uses};
use super::{metadata, own_packages};

#[test]
fn no_circle_of_imports_runs_between_the_files_of_a_crate() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    let mut files = BTreeSet::new();
    for package in own_packages(&metadata) {
        let name = package["name"].as_str().expect("a name");
        let mut circles = BTreeMap::new();
        for target in package["targets"].as_array().expect("targets") {
            let uses = uses(Path::new(target["src_path"].as_str().expect("a path")));
            files.extend(uses.keys().flat_map(|(from, to)| [from.clone(), to.clone()]));
            for circle in circles_of(&uses) {
                let told = told(&circle, &uses);
                circles.insert(circle, told);
            }
        }
        if !circles.is_empty() {
            let told: Vec<String> = circles.into_values().collect();
            wrong.push(format!("{name} has {} circles:\n{}", told.len(), told.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files.len() > 150, "only {} files use each other", files.len());
}

/// The circles, each as the files in it. A module and those below it may share what they have, for they are one room:
/// so paths from a module to what is below it are left out, and then paths the other way, but not both at once.
fn circles_of(uses: &Uses) -> Vec<BTreeSet<PathBuf>> {
    let pairs = |keep: &dyn Fn(&Path, &Path) -> bool| -> BTreeSet<(PathBuf, PathBuf)> {
        uses.keys().filter(|(from, to)| keep(from, to)).cloned().collect()
    };
    let mut circles = knots(&pairs(&|from, to| !is_above(to, from)));
    for circle in knots(&pairs(&|from, to| !is_above(from, to))) {
        if !circles.iter().any(|known| circle.is_subset(known)) {
            circles.push(circle);
        }
    }
    circles
}

/// Whether one file is the module that another one's module lies in.
fn is_above(above: &Path, below: &Path) -> bool {
    let is_whole_folder = ["mod.rs", "lib.rs", "main.rs"].iter().any(|name| above.ends_with(name));
    let folder = if is_whole_folder { above.parent().expect("a folder").to_owned() } else { above.with_extension("") };
    below.starts_with(folder)
}

/// The strongly connected parts of a graph that have more than one file.
fn knots(pairs: &BTreeSet<(PathBuf, PathBuf)>) -> Vec<BTreeSet<PathBuf>> {
    let files: BTreeSet<&PathBuf> = pairs.iter().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        files.iter().map(|file| (*file, reached_from(file, pairs))).collect();
    let mut knots: Vec<BTreeSet<PathBuf>> = Vec::new();
    for file in files {
        let known = knots.iter().any(|knot| knot.contains(file));
        if !known && reached[file].contains(file) {
            let knot = reached[file].iter().filter(|other| reached[**other].contains(file));
            knots.push(knot.map(|other| (*other).clone()).collect());
        }
    }
    knots
}

fn reached_from<'a>(file: &PathBuf, pairs: &'a BTreeSet<(PathBuf, PathBuf)>) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(from) = open.pop() {
        for (_, to) in pairs.iter().filter(|(begin, _)| begin == from) {
            if reached.insert(to) {
                open.push(to);
            }
        }
    }
    reached
}

/// The shortest way round from the first file of a circle, with the line that takes each step.
fn told(circle: &BTreeSet<PathBuf>, uses: &Uses) -> String {
    let first = circle.first().expect("a file");
    let mut ways = VecDeque::from([vec![first]]);
    let mut seen = BTreeSet::new();
    let way = loop {
        let Some(way) = ways.pop_front() else { return format!("{circle:?}") };
        let last = *way.last().expect("a file");
        if way.len() > 1 && last == first {
            break way;
        }
        for (_, to) in uses.keys().filter(|(from, to)| from == last && circle.contains(to)) {
            if seen.insert(to) {
                ways.push_back(way.iter().copied().chain([to]).collect());
            }
        }
    };
    let short = |file: &Path| file.strip_prefix(workspace()).unwrap_or(file).display().to_string();
    let mut text = format!("  a circle of {} files, such as", circle.len());
    for step in way.windows(2) {
        let place = &uses[&(step[0].clone(), step[1].clone())];
        let (from, to) = (short(step[0]), short(step[1]));
        text.push_str(&format!("\n    {from}:{} uses {to} ({})", place.line, place.path));
    }
    let files: Vec<String> = circle.iter().map(|file| short(file)).collect();
    text.push_str(&format!("\n    all of them: {}", files.join(" ")));
    text
}

/// Writes a crate of these files and gives the names of the files of each circle in it.
fn circles_in(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let circles = circles_of(&uses(&folder.path().join("lib.rs")));
    let name = |file: &PathBuf| file.strip_prefix(folder.path()).expect("inside").display().to_string();
    circles.iter().map(|circle| circle.iter().map(name).collect()).collect()
}

#[test]
fn a_circle_is_seen_however_it_is_written_and_what_is_none_is_not() {
    let circle = vec![vec!["a.rs".to_owned(), "b.rs".to_owned()]];
    let two = |a: &str, b: &str| circles_in(&[("lib.rs", "mod a;\nmod b;\npub use b::B;"), ("a.rs", a), ("b.rs", b)]);
    assert_eq!(two("use crate::b::B;", "use super::a::A;"), circle);
    assert_eq!(two("use crate::{b::{self, B as C}};", "fn f() { crate::a::f(); }"), circle, "a tree, and in code");
    assert_eq!(two("use crate::B;", "use crate::a;"), circle, "through what the crate passes on");
    assert_eq!(two("fn f() -> super::B {}", "mod c { use super::super::a::A; }"), circle, "in a module in a file");
    assert!(two("use crate::b::B;", "").is_empty());
    assert!(two("use crate::b::B;", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}").is_empty(), "a test");
    assert!(two("use crate::b::B;", "//! [`crate::a::A`]\nconst S: &str = \"crate::a::A\";").is_empty(), "words");
    assert!(two("use a::B;\nuse other::b::B;", "use crate::a::A;").is_empty(), "another crate");

    let room = [("lib.rs", "mod room;"), ("room/mod.rs", "mod a;\npub use a::A;\nstruct R;"), ("room/a.rs", "")];
    assert!(circles_in(&room).is_empty());
    let shared = [room[0], ("room/mod.rs", "mod a;\nuse a::A;\nstruct R;"), ("room/a.rs", "use super::R;")];
    assert!(circles_in(&shared).is_empty(), "a module and those below it are one room");
    let beside = ("room/mod.rs", "mod a;\nmod b;\npub use b::B;");
    let through = [room[0], beside, ("room/a.rs", "use super::B;"), ("room/b.rs", "use super::a::A;")];
    assert_eq!(circles_in(&through), [["room/a.rs", "room/b.rs"]], "through what the module above passes on");
    let above = [("lib.rs", "mod room;\nmod user;"), ("room/mod.rs", "mod a;\nfn f() { a::f(); }")];
    let user = [("room/a.rs", "use crate::user::U;"), ("user.rs", "use crate::room::f;")];
    assert_eq!(circles_in(&[above, user].concat()).len(), 1, "down inside of the room, and round through its user");
}
