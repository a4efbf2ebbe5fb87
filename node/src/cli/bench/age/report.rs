//! What an aged cluster costs, and which goals it misses.

use serde::Serialize;

use super::gates::Row;

/// The goals. Memory: a fixed part, and one for each record of an open journey.
const MEMORY_BYTES_MAX: u64 = 300_000_000;
/// See [`MEMORY_BYTES_MAX`].
const MEMORY_BYTES_PER_OPEN_RECORD_MAX: u64 = 200;
const SNAPSHOT_BYTES_MAX: u64 = 64_000_000;
const RESTART_S_MAX: f64 = 5.0;
const JOIN_S_MAX: f64 = 30.0;
const P50_RATIO_MAX: f64 = 1.1;

/// Seconds, to the millisecond.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub f64);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0 * 1_000.0).round() / 1_000.0)
    }
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Records in the ledger in the end.
    pub encounters: u64,
    /// Of these the filled ones of open journeys, of standing galleries, and of journeys that have ended.
    pub open: u64,
    pub standing: u64,
    pub ended: u64,
    /// Encounters that the state remembers.
    pub remembered: u64,
    /// The state, as the largest snapshot has it.
    pub state_bytes: u64,
    pub snapshot_s: Seconds,
    /// The largest node's, at any time; and an empty cluster's largest.
    pub memory_bytes: u64,
    pub empty_memory_bytes: u64,
    /// From the start of the process until it answers a gate.
    pub restart_s: Seconds,
    pub join_s: Seconds,
    /// Since the ledger is filled; and before, while it was filled as fast as this machine can.
    pub elections: u64,
    pub elections_filling: u64,
    pub fill_s: Seconds,
    pub took_s: Seconds,
    /// Boardings in the empty cluster, in the aged one in turn with these, and while nodes come.
    pub empty: Row,
    pub aged: Row,
    pub restarting: Row,
    pub joining: Row,
    pub missed: Vec<String>,
}

impl Report {
    fn memory_above(&self) -> u64 {
        self.memory_bytes.saturating_sub(self.empty_memory_bytes)
    }

    fn memory_max(&self) -> u64 {
        MEMORY_BYTES_MAX + MEMORY_BYTES_PER_OPEN_RECORD_MAX * self.open
    }

    fn p50_ratio(&self) -> f64 {
        f64::from(self.aged.p50_us) / f64::from(self.empty.p50_us.max(1))
    }

    fn failed(&self) -> u64 {
        [&self.empty, &self.aged, &self.restarting, &self.joining].iter().map(|row| row.failed).sum()
    }

    /// Each goal: what it is about, what was measured, what it may be, and whether it holds.
    fn goals(&self) -> [(&'static str, String, String, bool); 7] {
        let (above, ratio) = (self.memory_above(), self.p50_ratio());
        let seconds = |found: Seconds, max: f64| (format!("{:.2} s", found.0), format!("{max:.0} s"), found.0 <= max);
        let bytes = |found: u64, max: u64| (megabytes(found), megabytes(max), found <= max);
        let none = |found: u64| (found.to_string(), "0".to_owned(), found == 0);
        let named = |name, (found, max, holds): (String, String, bool)| (name, found, max, holds);
        let ratio = (format!("{ratio:.2} x"), format!("{P50_RATIO_MAX:.1} x"), ratio <= P50_RATIO_MAX);
        [
            named("memory above an empty node", bytes(above, self.memory_max())),
            named("snapshot", bytes(self.state_bytes, SNAPSHOT_BYTES_MAX)),
            named("restart until it serves", seconds(self.restart_s, RESTART_S_MAX)),
            named("join until it serves", seconds(self.join_s, JOIN_S_MAX)),
            named("elections", none(self.elections)),
            named("failed boardings", none(self.failed())),
            named("boarding p50 over that of the empty cluster", ratio),
        ]
    }

    /// Notes which goals are missed.
    pub fn judge(&mut self) {
        let missed = self.goals().into_iter().filter(|(.., holds)| !holds);
        let missed = missed.map(|(goal, found, max, _)| format!("{goal}: {found}, and {max} at most is the goal"));
        self.missed = missed.collect();
    }

    pub fn missed(&self) -> &[String] {
        &self.missed
    }

    /// What was measured, as a person reads it; `table` sets rows of cells, the head first.
    pub fn describe(&self, table: impl Fn(&[Vec<String>]) -> String) -> String {
        let mut goals = vec![["what", "found", "at most", ""].map(str::to_owned).to_vec()];
        for (goal, found, max, holds) in self.goals() {
            goals.push(vec![goal.to_owned(), found, max, if holds { "holds" } else { "MISSED" }.to_owned()]);
        }
        let mut boardings =
            vec![["boardings", "count", "failed", "p50 us", "p99 us", "max us"].map(str::to_owned).to_vec()];
        let rows = [
            ("empty cluster", &self.empty),
            ("aged cluster, in turn", &self.aged),
            ("while a node restarts", &self.restarting),
            ("while a node joins", &self.joining),
        ];
        for (what, row) in rows {
            let cells = [row.boardings as u64, row.failed, row.p50_us.into(), row.p99_us.into(), row.max_us.into()];
            boardings.push([what.to_owned()].into_iter().chain(cells.map(|cell| cell.to_string())).collect());
        }
        format!(
            "3 nodes, {} encounters: {} of open journeys, {} of standing galleries, {} of journeys that have ended, \
             proposed to the leader in batches as an entry node hands them on, in {:.0} s with {} elections; what has \
             ended is settled at once\nstate: {} with {} encounters remembered, its snapshot made in {:.2} s; memory \
             {}, of an empty node {}\n{}\n{}\nall of it took {:.0} s",
            self.encounters,
            self.open,
            self.standing,
            self.ended,
            self.fill_s.0,
            self.elections_filling,
            megabytes(self.state_bytes),
            self.remembered,
            self.snapshot_s.0,
            megabytes(self.memory_bytes),
            megabytes(self.empty_memory_bytes),
            table(&goals),
            table(&boardings),
            self.took_s.0,
        )
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goal_that_is_missed_is_named() {
        let row = |p50_us, failed| Row { boardings: 10, failed, p50_us, p99_us: 9_000, max_us: 9_999 };
        let mut report = Report {
            encounters: 1_000,
            open: 100,
            standing: 333,
            ended: 567,
            remembered: 100,
            state_bytes: SNAPSHOT_BYTES_MAX,
            snapshot_s: Seconds(0.1),
            memory_bytes: MEMORY_BYTES_MAX + 100 * MEMORY_BYTES_PER_OPEN_RECORD_MAX + 5,
            empty_memory_bytes: 5,
            restart_s: Seconds(5.0),
            join_s: Seconds(30.0),
            elections: 0,
            elections_filling: 3,
            fill_s: Seconds(1.0),
            took_s: Seconds(2.0),
            empty: row(1_000, 0),
            aged: row(1_100, 0),
            restarting: row(9_000, 0),
            joining: row(9_000, 0),
            missed: Vec::new(),
        };
        report.judge();
        assert_eq!(report.missed(), [""; 0]);
        report.memory_bytes += 1;
        report.state_bytes += 1;
        (report.restart_s, report.join_s) = (Seconds(5.1), Seconds(30.1));
        (report.elections, report.joining.failed, report.aged.p50_us) = (1, 1, 1_200);
        report.judge();
        assert_eq!(report.missed().len(), 7);
        assert!(report.missed()[4].starts_with("elections: 1"), "{:?}", report.missed());
        assert!(report.describe(|rows| format!("{rows:?}")).contains("MISSED"));
    }
}
