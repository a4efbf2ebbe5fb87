//! Writes the report: what ran, made of the results alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use harness::binary::workspace;

use crate::results::{self, Run};

/// The end of the name of a figure: the longest 99th percentile of boardings during a kind of blow.
const BOARD_P99: &str = "_board_p99_ms";

/// Which results, and where the report goes.
#[derive(Args)]
pub struct Arguments {
    /// Results to read [default: target/chaos/results.jsonl]
    results: Vec<PathBuf>,
    /// The report
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Something that is to be done often: its name, how often, and how to count it in the runs.
struct Goal {
    what: &'static str,
    wanted: u64,
    done: fn(&Sums) -> u64,
}

const GOALS: [Goal; 7] = [
    Goal { what: "seeds of the simulated world", wanted: 10_000, done: |sums| sums.rounds("sim") },
    Goal { what: "crash images of the real store", wanted: 1_000, done: |sums| sums.count("crash", "images") },
    Goal {
        what: "kills of real processes",
        wanted: 1_000,
        done: |sums| sums.faults("live", &["kill", "stop", "bit", "broken-disk", "full-disk"]),
    },
    Goal {
        what: "partitions of real processes",
        wanted: 300,
        done: |sums| {
            let kinds = [
                "alone",
                "cable",
                "card",
                "without-peers",
                "without-gates",
                "mute",
                "deaf",
                "bridge",
                "halves",
                "swizzle",
            ];
            sums.faults("live", &kinds)
        },
    },
    Goal { what: "pauses of real processes", wanted: 300, done: |sums| sums.faults("live", &["pause"]) },
    Goal {
        what: "corruptions, on real disks and simulated",
        wanted: 1_000,
        done: |sums| sums.faults("live", &["bit"]) + sums.faults("sim", &["flipped bit", "lost writes"]),
    },
    Goal {
        what: "shard moves under faults, real processes",
        wanted: 500,
        done: |sums| sums.count("live", "shard_moves"),
    },
];

/// The runs of each kind, summed.
#[derive(Default)]
struct Sums(BTreeMap<String, Run>);

impl Sums {
    fn of(runs: &[Run]) -> Self {
        let mut sums = Self::default();
        for run in runs {
            let sum = sums.0.entry(run.kind.clone()).or_default();
            sum.rounds += run.rounds;
            sum.wall_s += run.wall_s;
            sum.simulated_s += run.simulated_s;
            let pour = |into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>| {
                from.iter().for_each(|(name, count)| *into.entry(name.clone()).or_default() += count);
            };
            pour(&mut sum.faults, &run.faults);
            pour(&mut sum.invariants, &run.invariants);
            pour(&mut sum.counts, &run.counts);
            for (name, figure) in &run.figures {
                let longest = sum.figures.entry(name.clone()).or_default();
                *longest = longest.max(*figure);
            }
            sum.failures.extend(run.failures.iter().map(|failure| format!("{failure} (`{}`)", run.command)));
        }
        sums
    }

    fn rounds(&self, kind: &str) -> u64 {
        self.0.get(kind).map_or(0, |run| run.rounds)
    }

    fn count(&self, kind: &str, name: &str) -> u64 {
        self.0.get(kind).and_then(|run| run.counts.get(name)).copied().unwrap_or(0)
    }

    fn faults(&self, kind: &str, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.0.get(kind)?.faults.get(*name)).sum()
    }
}

/// Writes the report. Says that all held: a report of failures is a report, too.
///
/// # Errors
/// Where a file cannot be read or written, or there are no results.
pub fn main(arguments: &Arguments) -> std::io::Result<bool> {
    let paths = if arguments.results.is_empty() { vec![results::path()] } else { arguments.results.clone() };
    let mut runs = Vec::new();
    for path in &paths {
        runs.extend(results::read(path)?);
    }
    if runs.is_empty() {
        return Err(std::io::Error::other(format!("{paths:?} have no results: run `chaos sim` first")));
    }
    let out = arguments.out.clone().unwrap_or_else(|| workspace().join("chaos/REPORT.md"));
    std::fs::write(&out, write(&runs))?;
    println!("{} runs, reported in {}", runs.len(), out.display());
    Ok(true)
}

fn write(runs: &[Run]) -> String {
    let sums = Sums::of(runs);
    let mut text = String::from(
        "# What was injected, and what was seen\n\n\
         Written by `cargo run -p chaos -- report` out of the results of runs; \
         every number is of something that ran.\n\n\
         ## Against the goals\n\n| what | goal | ran |\n|---|---|---|\n",
    );
    // Writing to a string does not fail.
    for Goal { what, wanted, done } in GOALS {
        let _ = writeln!(text, "| {what} | {wanted} | {} |", done(&sums));
    }
    text.push_str(
        "\n## The runs\n\n| kind | runs | rounds or seeds | failed | wall time | simulated time |\n\
         |---|---|---|---|---|---|\n",
    );
    for (kind, sum) in &sums.0 {
        let times = runs.iter().filter(|run| run.kind == *kind).count();
        let simulated =
            if sum.simulated_s > 0.0 { format!("{:.0} h", sum.simulated_s / 3_600.0) } else { "-".to_owned() };
        let (rounds, failed) = (sum.rounds, sum.failures.len());
        let _ = writeln!(text, "| {kind} | {times} | {rounds} | {failed} | {:.0} s | {simulated} |", sum.wall_s);
    }
    for (title, of) in [
        ("Faults that struck", (|run| &run.faults) as fn(&Run) -> &BTreeMap<String, u64>),
        ("Invariants that looked", |run| &run.invariants),
        ("Other counts", |run| &run.counts),
    ] {
        table(&mut text, title, &sums, of);
    }
    latencies(&mut text, &sums);
    text.push_str("\n## What failed\n\n");
    let failures: Vec<&String> = sums.0.values().flat_map(|sum| &sum.failures).collect();
    if failures.is_empty() {
        text.push_str("Nothing.\n");
    }
    for failure in failures {
        let _ = writeln!(text, "- {}{}", failure.replace('\n', " "), explained(failure, EXPLAINED));
    }
    text
}

/// What is known of runs that failed.
const EXPLAINED: &str = include_str!("../seeds/explained.txt");

/// What the failure was and which commit mended it, as `known` has it.
fn explained(failure: &str, known: &str) -> String {
    let lines = known.lines().filter(|line| !line.starts_with('#'));
    let mut parts = lines.filter_map(|line| {
        let (told_by, rest) = line.split_once(" | ")?;
        let (what, commit) = rest.rsplit_once(" | ")?;
        failure.contains(told_by).then_some((what, commit))
    });
    match parts.next() {
        Some((what, commit)) => format!(". **It was:** {what}. Mended by {commit}."),
        None => ". **Not explained yet.**".to_owned(),
    }
}

fn table(text: &mut String, title: &str, sums: &Sums, of: fn(&Run) -> &BTreeMap<String, u64>) {
    let _ = write!(text, "\n## {title}\n\n| kind | what | count |\n|---|---|---|\n");
    for (kind, sum) in &sums.0 {
        for (name, count) in of(sum) {
            let _ = writeln!(text, "| {kind} | {name} | {count} |");
        }
    }
}

/// The worst window of each kind of blow that strikes one node alone, next to promise P3's bounds.
fn latencies(text: &mut String, sums: &Sums) {
    let Some(live) = sums.0.get("live") else { return };
    text.push_str(
        "\n## The longest waits while real processes were struck, milliseconds\n\n\
         The worst window of each kind; P3 allows identifications 150 at p99 and 500 at most, boardings 600 and 1,200, \
         and where a change is planned (drain, handover) 100 to everybody. Both cores were shared with the gates.\n\n\
         | blow | identify p99 | max | board p99 | max | well again after |\n|---|---|---|---|---|---|\n",
    );
    let figure = |name: String| live.figures.get(&name).map_or("-".to_owned(), |figure| format!("{figure:.0}"));
    for kind in live.figures.keys().filter_map(|name| name.strip_suffix(BOARD_P99)) {
        let columns = ["identify_p99_ms", "identify_max_ms", "board_p99_ms", "board_max_ms", "recovery_ms"];
        let columns = columns.map(|column| figure(format!("{kind}_{column}")));
        let _ = writeln!(text, "| {kind} | {} |", columns.join(" | "));
    }
    let count = |name: &str| sums.count("live", name);
    let _ = writeln!(
        text,
        "\n{} of {} windows missed a bound of P3; the failures below say more where a run was strict.",
        count("latency_misses"),
        count("latency_windows")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_it_was_or_that_nobody_knows() {
        let known = "# seed 1: | no | 1\nseed 7: | a lock | abc1234\n";
        assert_eq!(explained("seed 7: after 30s", known), ". **It was:** a lock. Mended by abc1234.");
        assert_eq!(explained("seed 77: P1", known), ". **Not explained yet.**");
        for line in EXPLAINED.lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(line.split(" | ").count(), 3, "{line}");
        }
    }
}
