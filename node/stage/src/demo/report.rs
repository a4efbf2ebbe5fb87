//! What the demonstration prints at its end, and whether every promise held.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::oracle::ledger::Crossings;
use crate::oracle::{Decisions, Entry, Kind};

/// Promise P3's bounds on latencies, milliseconds: p99 and maximum.
const IDENTIFY_MS_MAX: (f64, f64) = (150.0, 500.0);

/// See [`IDENTIFY_MS_MAX`].
const BOARD_MS_MAX: (f64, f64) = (600.0, 1_200.0);

/// Latencies of one kind of request in one phase, milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// What was going on.
    pub phase: String,
    /// `identify` or `board`.
    pub kind: &'static str,
    pub requests: u64,
    /// Requests without an answer.
    pub failed: u64,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// One journey.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flight {
    pub journey: String,
    /// People on the manifest.
    pub travellers: u64,
    /// Boardings asked for, captures of one traveller counted each.
    pub encounters: u64,
    /// Decisions against the truth.
    pub decisions: Decisions,
    /// Requests without an answer.
    pub failed: u64,
}

/// A node that was killed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kill {
    /// What it was: `owner` or `leader`.
    pub role: &'static str,
    pub node: u64,
    /// Milliseconds from the kill to the restart of its process.
    pub down_ms: u64,
    /// Milliseconds from the kill until every shard had all of its replicas again.
    pub replicas_back_ms: u64,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Nodes of the cluster.
    pub nodes: u64,
    /// Seed of everything.
    pub seed: u64,
    /// What scored.
    pub engine: String,
    /// Milliseconds from the first manifest to the last gallery with all replicas.
    pub galleries_built_ms: u64,
    pub flights: Vec<Flight>,
    /// Latencies by phase.
    pub latencies: Vec<Latency>,
    pub kills: Vec<Kill>,
    pub crossings: Crossings,
    /// Milliseconds from closing the flights until every node had confirmed that its galleries are destroyed.
    pub destroyed_ms: u64,
    /// Seconds that all of it took.
    pub seconds: f64,
    /// Promises that did not hold; empty where all did.
    pub broken: Vec<String>,
}

/// Latencies of the requests of a phase.
pub fn latencies<'a>(phase: &str, entries: impl Iterator<Item = &'a Entry> + Clone) -> Vec<Latency> {
    let of = |kind: Kind, name: &'static str| {
        // Three significant digits up to a minute: plenty for milliseconds. These bounds are constants that fit.
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).ok()?;
        let mut failed = 0;
        for entry in entries.clone().filter(|entry| entry.kind == kind) {
            failed += u64::from(entry.outcome.answer().is_none());
            histogram.saturating_record(micros(entry.took).max(1));
        }
        let ms = |micros: u64| micros as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Latency {
            phase: phase.to_owned(),
            kind: name,
            requests: histogram.len(),
            failed,
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        })
    };
    [of(Kind::Identify, "identify"), of(Kind::Board, "board")].into_iter().flatten().collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Report {
    /// Fills in which promises did not hold.
    pub fn judge(&mut self) {
        let mut broken = Vec::new();
        let failed: u64 = self.latencies.iter().map(|latency| latency.failed).sum();
        if failed > 0 {
            broken.push(format!("P3: {failed} requests were not answered"));
        }
        for latency in &self.latencies {
            let (p99_max, max) = if latency.kind == "identify" { IDENTIFY_MS_MAX } else { BOARD_MS_MAX };
            if latency.p99_ms > p99_max || latency.max_ms > max {
                let Latency { phase, kind, p99_ms, max_ms, .. } = latency;
                broken.push(format!("P3: {phase}: {kind} took p99 {p99_ms:.0} ms, max {max_ms:.0} ms"));
            }
        }
        let Crossings { missing, duplicated, unasked, .. } = self.crossings;
        if missing + duplicated + unasked > 0 {
            broken.push(format!("P1: {missing} crossings missing, {duplicated} duplicated, {unasked} unasked"));
        }
        self.broken = broken;
    }

    /// The report as a person reads it; `table` sets rows of cells, the head first.
    pub fn describe(&self, table: impl Fn(&[Vec<String>]) -> String) -> String {
        let mut text = String::new();
        let mut rows =
            vec![row(&["journey", "travellers", "encounters", "true match", "false match", "true non-match"])];
        rows[0].extend(row(&["false non-match", "recapture", "failed"]));
        let mut sum = [0u64; 8];
        for flight in &self.flights {
            let Decisions { true_matches, false_matches, true_non_matches, false_non_matches, recaptures } =
                flight.decisions;
            let numbers = [flight.travellers, flight.encounters, true_matches, false_matches, true_non_matches];
            let numbers: Vec<u64> = numbers.into_iter().chain([false_non_matches, recaptures, flight.failed]).collect();
            sum.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
            rows.push(std::iter::once(flight.journey.clone()).chain(numbers.iter().map(u64::to_string)).collect());
        }
        rows.push(std::iter::once("all".to_owned()).chain(sum.iter().map(u64::to_string)).collect());
        text.push_str(&table(&rows));

        let mut rows = vec![row(&["phase", "request", "count", "failed", "p50 ms", "p99 ms", "max ms"])];
        for latency in &self.latencies {
            rows.push(vec![
                latency.phase.clone(),
                latency.kind.to_owned(),
                latency.requests.to_string(),
                latency.failed.to_string(),
                format!("{:.1}", latency.p50_ms),
                format!("{:.1}", latency.p99_ms),
                format!("{:.1}", latency.max_ms),
            ]);
        }
        text.push_str(&format!("\n\n{}\n\n", table(&rows)));
        for kill in &self.kills {
            text.push_str(&format!(
                "killed the {} (node {}): back after {} ms, every shard had its replicas again after {} ms\n",
                kill.role, kill.node, kill.down_ms, kill.replicas_back_ms
            ));
        }
        let Crossings { promised, committed, missing, duplicated, unasked, unknown_committed } = self.crossings;
        text.push_str(&format!(
            "crossings promised to gates: {promised}; in the ledger: {committed}; missing: {missing}; duplicated: \
             {duplicated}; unasked: {unasked}; unanswered but recorded: {unknown_committed}\n\
             galleries built in {} ms and destroyed, with every node's receipt, in {} ms\n\
             {} nodes, engine {}, seed {}, {:.1} s in all\n",
            self.galleries_built_ms, self.destroyed_ms, self.nodes, self.engine, self.seed, self.seconds
        ));
        if self.broken.is_empty() {
            text.push_str("every promise held");
        } else {
            text.push_str(&format!("BROKEN:\n  {}", self.broken.join("\n  ")));
        }
        text
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}
