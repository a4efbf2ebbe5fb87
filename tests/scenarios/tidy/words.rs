//! What sources say: nothing impure in a core, no line too long, no file too long, nothing left open.

use super::{code, sources};

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
