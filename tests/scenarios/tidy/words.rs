//! What sources say: nothing impure in a core, no line too long, no file too long, nothing left open.

use std::path::Path;

use harness::binary::workspace;

use super::{code, files, sources, text_of};

/// Lines that a source file has at most.
const LINES_MAX: usize = 600;

/// Letters of a line at most, in code and in comments, as in `rustfmt.toml`: rustfmt leaves comments as they are.
const COLUMNS_MAX: usize = 120;

/// Words that a core does not have: clocks, dice, async, I/O, order by chance, and what outlives a call.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "tokio::",
    "futures::",
    "async fn",
    "async move",
    "async {",
    ".await",
    "rand::",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::sync::atomic",
    "Mutex",
    "RwLock",
    "OnceLock",
    "LazyLock",
    "OnceCell",
    "LazyCell",
    "thread_local!",
    "static mut ",
    // Canaries are an argument of a core; this asks the process for one.
    "planted(",
];

/// Whether a line of code declares a static; `'static` is a lifetime.
fn declares_static(code: &str) -> bool {
    let rest = code.trim_start();
    let rest = rest.strip_prefix("pub ").or_else(|| rest.split_once(") ").map(|(_, rest)| rest)).unwrap_or(rest);
    rest.starts_with("static ") || code.trim_start().starts_with("static ")
}

fn impurity(code: &str) -> Option<&'static str> {
    let word = IMPURE.iter().find(|word| code.contains(**word)).copied();
    word.or_else(|| declares_static(code).then_some("a static"))
}

#[test]
fn folders_named_core_are_pure() {
    let mut seen = 0;
    for (file, text) in sources().filter(|(file, _)| file.contains("/core/src/")) {
        seen += 1;
        for (line, code) in code(&file, &text) {
            let found = impurity(&code);
            assert!(found.is_none(), "{file}:{line}: {} in a pure core", found.unwrap_or_default());
        }
    }
    assert!(seen > 10, "{seen} files");
    for impure in ["static A: u8 = 0;", "pub(crate) static A: u8 = 0;", "use std::collections::HashMap;"] {
        assert!(impurity(impure).is_some(), "{impure}");
    }
    assert_eq!(impurity("pub fn name(&self) -> &'static str {"), None);
}

#[test]
fn no_file_is_too_long_and_nothing_is_left_open() {
    let open = ["TODO", "FIXME", "XXX:", "dbg!(", "todo!(", "unimplemented!("];
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines; split it by meaning");
        if !file.starts_with("tests/scenarios/tidy") {
            let found = open.iter().find(|word| text.contains(**word));
            assert!(found.is_none(), "{file}: {}", found.unwrap_or(&""));
        }
    }
}

#[test]
fn no_line_is_too_long() {
    let mut long = Vec::new();
    for (file, text) in sources().filter(|(file, _)| file.ends_with(".rs")) {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS_MAX) {
            long.push(format!("{file}:{}: {} columns", number + 1, line.chars().count()));
        }
    }
    assert!(long.is_empty(), "past {COLUMNS_MAX} columns:\n  {}", long.join("\n  "));
}

/// The files that a text names between backquotes: what has a folder and a known ending.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |word: &&str| {
        let known = [".rs", ".md", ".wgsl", ".toml", ".json", ".txt"].iter().any(|ending| word.ends_with(ending));
        known && word.contains('/') && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
    };
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_path)
}

/// Whether a file that is named in `file` is there: from the top, or from a folder that `file` lies in or its sources.
fn is_there(file: &str, named: &str) -> bool {
    let above = Path::new(file).ancestors().skip(1);
    above.flat_map(|folder| [folder.join(named), folder.join("src").join(named)]).any(|p| workspace().join(p).is_file())
}

#[test]
fn files_that_are_named_are_there() {
    let mut gone = Vec::new();
    let mut seen = 0;
    let told = files().into_iter().filter(|file| [".rs", ".md", ".wgsl"].iter().any(|ending| file.ends_with(ending)));
    for file in told.filter(|file| file != "CHANGELOG.md") {
        let text = text_of(&file).unwrap_or_default();
        for name in named(&text) {
            seen += 1;
            if !is_there(&file, name) {
                gone.push(format!("{file} names {name}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} files are named");
    assert!(gone.is_empty(), "not there:\n  {}", gone.join("\n  "));
    assert!(!is_there("node/src/lib.rs", "node/src/context.rs") && is_there("node/src/lib.rs", "node/src/lib.rs"));
}
