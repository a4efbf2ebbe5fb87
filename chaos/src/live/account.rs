//! The blows of a round, and what they cost the people who boarded.

use std::time::{Duration, Instant};

use harness::invariants::p3_no_failed_request::{self, Took};
use node_stage::oracle::{Entry, History, Kind};

use super::AFTERMATH;
use super::blows::{self, Blow};
use crate::results::Run;

/// The blows of a round, each with the time until the cluster was well again.
#[derive(Debug, Default)]
pub struct Account {
    blows: Vec<(Blow, Duration)>,
    /// The kinds that are still to come in this turn.
    turn: Vec<blows::Kind>,
}

impl Account {
    /// The next kind. Each kind comes once in a turn.
    pub fn next(&mut self, kinds: &[blows::Kind], choice: u32) -> blows::Kind {
        if self.turn.is_empty() {
            self.turn = kinds.to_vec();
        }
        self.turn.swap_remove(choice as usize % self.turn.len())
    }

    /// Notes a blow.
    pub fn struck(&mut self, blow: Blow, recovered: Duration) {
        self.blows.push((blow, recovered));
    }

    /// The times in which requests may have failed because more than one node was struck. Each ends when the cluster is
    /// well again and the requests are over that began before.
    pub fn excused(&self) -> Vec<(Instant, Instant)> {
        let struck = self.blows.iter().filter(|(blow, _)| !blow.one_node);
        struck.map(|(blow, recovered)| (blow.began, blow.ended + *recovered + AFTERMATH)).collect()
    }

    /// Writes down how often each kind struck, and the longest wait that each caused.
    pub fn measure(&self, history: &History, run: &mut Run, strict: bool) {
        let next = self.blows.iter().skip(1).map(|(blow, _)| Some(blow.began)).chain([None]);
        for ((blow, recovered), next) in self.blows.iter().zip(next) {
            if !blow.struck {
                *run.counts.entry("blows_that_met_nothing".to_owned()).or_default() += 1;
                continue;
            }
            let name = blow.kind.name();
            *run.faults.entry(name.clone()).or_default() += 1;
            worst(run, format!("{name}_recovery_ms"), *recovered);
            if !blow.one_node {
                continue;
            }
            // From the next blow on two nodes may be struck, and P3 does not hold.
            let until = next.map_or(blow.ended + AFTERMATH, |next| next.min(blow.ended + AFTERMATH));
            let met = history.between(blow.began, until);
            let (identified, boarded) = p3_no_failed_request::measure(&met, blow.kind.is_planned());
            for (what, took) in [("identify", identified), ("board", boarded)] {
                *run.counts.entry(format!("{what}s_under_fault")).or_default() += took.requests as u64;
                worst(run, format!("{name}_{what}_p99_ms"), took.p99);
                worst(run, format!("{name}_{what}_max_ms"), took.longest);
                if !took.kept {
                    *run.counts.entry("latency_misses".to_owned()).or_default() += 1;
                    let line = line(blow, what, &took);
                    println!("  P3 latency missed: {line}");
                    println!("    the slowest: {}", slowest(&met, blow.began, what));
                    if strict {
                        run.failures.push(format!("P3 latency: {line}"));
                    }
                }
            }
            *run.counts.entry("latency_windows".to_owned()).or_default() += 2;
        }
    }
}

fn line(blow: &Blow, what: &str, took: &Took) -> String {
    let Took { requests, p50, p99, longest, .. } = took;
    format!("{}: {requests} {what}: p50 {p50:.1?} p99 {p99:.1?} max {longest:.1?}", blow.text)
}

/// The three slowest requests of a kind: when after the blow they began, how long they took, and which node searched.
fn slowest(met: &History, began: Instant, what: &str) -> String {
    let kind = if what == "board" { Kind::Board } else { Kind::Identify };
    let mut met: Vec<&Entry> = met.entries().iter().filter(|entry| entry.kind == kind).collect();
    met.sort_by_key(|entry| std::cmp::Reverse(entry.took));
    let describe = |entry: &&Entry| {
        let after_ms = entry.begun.saturating_duration_since(began).as_millis();
        let by = entry.outcome.answer().map_or("nobody".to_owned(), |answer| format!("node {}", answer.searched_by));
        format!("{} at {after_ms} ms, {:.0?}, searched by {by}", entry.journey, entry.took)
    };
    met.iter().take(3).map(describe).collect::<Vec<_>>().join("; ")
}

fn worst(run: &mut Run, name: String, took: Duration) {
    let figure = run.figures.entry(name).or_default();
    *figure = figure.max(took.as_secs_f64() * 1_000.0);
}
