//! The result of the day: in words, as a picture, and as a line of results.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cluster_config::ids::NodeId;

use super::books::Books;
use super::course::{Clock, Completion, Failures, Sample, Speed};
use super::svg::{Bar, Curve, Panel, Picture};
use crate::results::Run;

/// Points in time of the picture.
const POINTS: usize = 240;

/// How long after a blow promise P3 counts a request as met by it, milliseconds.
const FAILOVER_MS: u32 = 1_500;

/// Promise P3 for a committed boarding during a failover, milliseconds: p99 and longest.
const BOARD_MS_MAX: (f64, f64) = (600.0, 1_200.0);

/// People of a national day, as in the schedule that this was made for.
const NATIONAL_DAY: f64 = 290_048.0;

/// A look at the cluster.
pub struct Look {
    pub at_min: f64,
    /// Flights that boarded.
    pub boarding: u64,
    /// Shards that each node held, as owner or standby.
    pub shards: BTreeMap<NodeId, u32>,
}

/// A node that was killed.
pub struct Kill {
    pub node: NodeId,
    /// When it was killed, on the day's clock.
    pub began_min: f64,
    /// When it was started again, on the day's clock.
    pub ended_min: f64,
    /// When it was killed, in real milliseconds since the beginning.
    pub began_ms: u32,
    /// When it was started again, in real milliseconds since the beginning.
    pub ended_ms: u32,
    /// When every shard had its replicas again.
    pub well_ms: u32,
}

/// The whole day.
pub struct Story {
    pub flights: Vec<Completion>,
    pub samples: Vec<Sample>,
    pub failures: Failures,
    /// The books, closed.
    pub books: Books,
    /// Travellers let through as somebody else, or unknown.
    pub false_matches: u64,
    pub looks: Vec<Look>,
    pub kills: Vec<Kill>,
    pub clock: Clock,
    /// Real seconds that it took.
    pub wall_s: f64,
    pub ledger: u64,
    /// What scored.
    pub engine: String,
    pub nodes: u64,
}

/// p50, p99 and the longest of some requests, milliseconds.
struct Latency {
    requests: usize,
    p50: f64,
    p99: f64,
    longest: f64,
}

impl Latency {
    fn of(samples: impl Iterator<Item = Sample>) -> Option<Self> {
        let mut taken: Vec<u32> = samples.map(|(_, us)| us).collect();
        taken.sort_unstable();
        let longest = *taken.last()?;
        let of_hundred = |percent: usize| f64::from(taken[(taken.len() * percent).div_ceil(100) - 1]) / 1_000.0;
        let (p50, p99) = (of_hundred(50), of_hundred(99));
        Some(Self { requests: taken.len(), p50, p99, longest: f64::from(longest) / 1_000.0 })
    }
}

impl Story {
    fn met(&self, kill: &Kill) -> impl Iterator<Item = Sample> {
        let (from, to) = (kill.began_ms, kill.began_ms + FAILOVER_MS);
        self.samples.iter().copied().filter(move |(at, us)| at + us / 1_000 >= from && *at <= to)
    }

    fn sum(&self, of: impl Fn(&Completion) -> u32) -> u64 {
        self.flights.iter().map(|flight| u64::from(of(flight))).sum()
    }

    /// What did not hold.
    fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> =
            self.books.violations.iter().map(|violation| format!("P1: {violation}")).collect();
        broken.extend(self.failures.first.iter().take(20).map(|failure| format!("P3: {failure}")));
        let boarded = self.sum(|flight| flight.boarded);
        if self.false_matches > 3.max(boarded / 100) {
            broken.push(format!("{} let through as somebody else", self.false_matches));
        }
        broken
    }

    /// National days that this pace carries in a day.
    fn days_a_day(&self) -> f64 {
        let people_a_second = self.sum(|flight| flight.present) as f64 / self.wall_s.max(1e-9);
        people_a_second * 86_400.0 / NATIONAL_DAY
    }

    /// The day's report.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let (booked, present) = (self.sum(|flight| flight.booked), self.sum(|flight| flight.present));
        let (boarded, to_person) = (self.sum(|flight| flight.boarded), self.sum(|flight| flight.to_person));
        let late = self.flights.iter().filter(|flight| flight.late).count();
        let changed = self.flights.iter().filter(|flight| flight.gate_changed).count();
        let captures = self.sum(|flight| flight.captures);
        let _ = writeln!(text, "{} nodes, engine {}, {:.0} s in all", self.nodes, self.engine, self.wall_s);
        let _ = writeln!(
            text,
            "{} flights ({late} late manifests, {changed} gate changes), {booked} booked, {} no-shows",
            self.flights.len(),
            booked - present
        );
        let _ = writeln!(
            text,
            "{present} travellers, {captures} captures: {boarded} through by camera ({:.2} %), \
             {to_person} to a person, {} wrongly through",
            100.0 * boarded as f64 / present.max(1) as f64,
            self.false_matches
        );
        if let Some(Latency { requests, p50, p99, longest }) = Latency::of(self.samples.iter().copied()) {
            let _ =
                writeln!(text, "{requests} boardings asked: p50 {p50:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms");
        }
        for kill in &self.kills {
            let down = f64::from(kill.ended_ms - kill.began_ms) / 1_000.0;
            let well = f64::from(kill.well_ms - kill.ended_ms) / 1_000.0;
            let _ = write!(text, "the leader, node {}, was killed for {down:.1} s; well {well:.1} s later", kill.node);
            if let Some(Latency { requests, p50, p99, longest }) = Latency::of(self.met(kill)) {
                let (p99_max, longest_max) = BOARD_MS_MAX;
                let kept = if p99 <= p99_max && longest <= longest_max { "within P3" } else { "P3 MISSED" };
                let _ = write!(
                    text,
                    "; it met {requests} boardings: p50 {p50:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms ({kept})"
                );
            }
            text.push('\n');
        }
        let Books { promised, crossings, unknown, .. } = &self.books;
        let _ = writeln!(
            text,
            "ledger: {} records, {promised} promised and found, {crossings} crossings, {unknown} of unknown fate; {} \
             requests tried again",
            self.ledger, self.failures.count
        );
        if matches!(self.clock.speed, Speed::Max(_)) {
            let _ = writeln!(
                text,
                "{:.0} travellers a second: {:.1} national days of {NATIONAL_DAY:.0} people in a day",
                present as f64 / self.wall_s.max(1e-9),
                self.days_a_day()
            );
        }
        match self.broken() {
            broken if broken.is_empty() => text.push_str("every promise held"),
            broken => {
                let _ = write!(text, "BROKEN:\n  {}", broken.join("\n  "));
            }
        }
        text
    }

    /// The day as a line of results.
    pub fn result(&self, seed: u64, command: String) -> Run {
        let mut run = Run { kind: "day".to_owned(), seed, rounds: 1, command, wall_s: self.wall_s, ..Run::default() };
        run.faults.insert("kill".to_owned(), self.kills.len() as u64);
        run.invariants.insert("P1 exactly once".to_owned(), self.ledger);
        run.invariants.insert("P3 no failed request".to_owned(), self.samples.len() as u64);
        for (name, count) in [
            ("flights", self.flights.len() as u64),
            ("travellers", self.sum(|flight| flight.present)),
            ("captures", self.sum(|flight| flight.captures)),
            ("through", self.sum(|flight| flight.boarded)),
            ("requests", self.samples.len() as u64),
            ("promised", self.books.promised),
            ("crossings", self.books.crossings),
            ("unknown", self.books.unknown),
            ("failed_requests", self.failures.count),
            ("false_matches", self.false_matches),
        ] {
            run.counts.insert(name.to_owned(), count);
        }
        let mut figure = |name: &str, value: f64| run.figures.insert(name.to_owned(), value);
        if let Some(latency) = Latency::of(self.samples.iter().copied()) {
            figure("board_p50_ms", latency.p50);
            figure("board_p99_ms", latency.p99);
            figure("board_max_ms", latency.longest);
        }
        for latency in self.kills.iter().filter_map(|kill| Latency::of(self.met(kill))) {
            figure("kill_board_p99_ms", latency.p99);
            figure("kill_board_max_ms", latency.longest);
        }
        match self.clock.speed {
            Speed::Times(times) => figure("speed_times", times),
            Speed::Max(_) => figure("national_days_a_day", self.days_a_day()),
        };
        run.failures = self.broken();
        run
    }

    /// The day as a picture.
    pub fn picture(&self) -> Picture {
        let real = matches!(self.clock.speed, Speed::Max(_));
        // The day's clock in hours; where the machine sets the pace, real minutes.
        let scale = |minutes: f64| if real { minutes } else { minutes / 60.0 };
        let at = |at_ms: u32| {
            let minutes = f64::from(at_ms) / 60_000.0;
            match self.clock.speed {
                Speed::Times(times) => scale(self.clock.from_min + minutes * times),
                Speed::Max(_) => minutes,
            }
        };
        let end_ms = (self.wall_s * 1_000.0) as u32;
        let width_ms = (end_ms / POINTS as u32).max(1);
        let mut bins: Vec<Vec<Sample>> = vec![Vec::new(); POINTS + 1];
        for sample in &self.samples {
            bins[((sample.0 / width_ms) as usize).min(POINTS)].push(*sample);
        }
        let time = |bin: usize| at(bin as u32 * width_ms + width_ms / 2);
        let rate = |bin: &[Sample]| Some(bin.len() as f64 * 1_000.0 / f64::from(width_ms));
        let rates = bins.iter().enumerate().map(|(bin, samples)| (time(bin), rate(samples))).collect();
        let latencies: Vec<Option<Latency>> = bins.iter().map(|bin| Latency::of(bin.iter().copied())).collect();
        let curve = |name: &str, of: fn(&Latency) -> f64| Curve {
            name: name.to_owned(),
            points: latencies.iter().enumerate().map(|(bin, latency)| (time(bin), latency.as_ref().map(of))).collect(),
        };
        let boarding = self.looks.iter().map(|look| (scale(look.at_min), Some(look.boarding as f64))).collect();
        let nodes: Vec<NodeId> = self.looks.iter().flat_map(|look| look.shards.keys().copied()).collect();
        let nodes: std::collections::BTreeSet<NodeId> = nodes.into_iter().collect();
        let shards = nodes.iter().map(|node| Curve {
            name: format!("node {node}"),
            points: self
                .looks
                .iter()
                .map(|look| (scale(look.at_min), look.shards.get(node).map(|count| f64::from(*count))))
                .collect(),
        });
        let panel = |title: &str, logarithmic, curves| Panel { title: title.to_owned(), logarithmic, curves };
        let alone = |points| vec![Curve { name: String::new(), points }];
        let mut flights: Vec<&Completion> = self.flights.iter().collect();
        flights.sort_by(|a, b| a.times[2].total_cmp(&b.times[2]));
        let bars = flights.iter().map(|flight| Bar {
            times: flight.times.map(scale),
            boarded: f64::from(flight.boarded) / f64::from(flight.present.max(1)),
        });
        let marks = self
            .kills
            .iter()
            .map(|kill| (scale(kill.began_min), scale(kill.ended_min), format!("leader, node {}, killed", kill.node)));
        let pace = match self.clock.speed {
            Speed::Times(times) => format!("{times} times as fast as a real day"),
            Speed::Max(_) => "as fast as this machine goes".to_owned(),
        };
        Picture {
            title: format!(
                "{} flights, {} travellers on {} nodes, {pace}",
                self.flights.len(),
                self.sum(|flight| flight.present),
                self.nodes
            ),
            span: (at(0), at(end_ms)),
            unit: if real { " min" } else { " h" }.to_owned(),
            marks: marks.collect(),
            panels: vec![
                panel("captures a second (real seconds)", false, alone(rates)),
                panel("flights boarding", false, alone(boarding)),
                panel(
                    "time to a committed answer, ms",
                    true,
                    vec![curve("p50", |l| l.p50), curve("p99", |l| l.p99), curve("longest", |l| l.longest)],
                ),
                panel("shards per node, owned and standing by", false, shards.collect()),
            ],
            bars: bars.collect(),
        }
    }
}
