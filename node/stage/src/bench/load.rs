//! A closed loop of requests, and what is counted of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::Error;

/// Latencies up to a minute, nanoseconds, three digits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What came of the requests of one level.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Answers a second.
    pub rate_per_second: f64,
    /// Median of the time to the answer, microseconds.
    pub p50_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
    /// The slowest, microseconds.
    pub max_us: f64,
    /// Processor time of the serving processes for each request, microseconds; 0 where none was watched.
    pub server_cpu_us: f64,
    /// Processor time of this process for each request, microseconds.
    pub client_cpu_us: f64,
}

/// Sums up the spells of one level.
#[derive(Debug)]
pub struct Tally {
    latencies: Histogram<u64>,
    failed: u64,
    time: Duration,
    server_cpu: Duration,
    client_cpu: Duration,
}

impl Tally {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// Where the histogram refuses its bounds: a fault of ours.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            latencies: histogram()?,
            failed: 0,
            time: Duration::ZERO,
            server_cpu: Duration::ZERO,
            client_cpu: Duration::ZERO,
        })
    }

    /// Runs `in_flight` loops that each ask again as soon as they are answered, for `time` or until `ask` has nothing
    /// left to ask (absent). `servers` are the processes whose time is counted.
    ///
    /// # Errors
    /// Where a loop breaks off.
    pub async fn run<A, F>(&mut self, in_flight: usize, time: Duration, servers: &[u32], ask: A) -> Result<(), Error>
    where
        A: Fn(usize) -> F + Clone + Send + 'static,
        F: Future<Output = Option<Result<(), String>>> + Send + 'static,
    {
        let servers_before = cpu_time(servers);
        let own_before = cpu_time(&[std::process::id()]);
        let failed = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let mut loops = JoinSet::new();
        for number in 0..in_flight {
            let (ask, failed, mut latencies) = (ask.clone(), failed.clone(), histogram()?);
            loops.spawn(async move {
                let mut first_failure = None;
                let mut asked = Instant::now();
                while asked.duration_since(begun) < time {
                    match ask(number).await {
                        Some(Ok(())) => {}
                        Some(Err(failure)) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            first_failure.get_or_insert(failure);
                        }
                        None => break,
                    }
                    let answered = Instant::now();
                    latencies.saturating_record(answered.duration_since(asked).as_nanos() as u64);
                    asked = answered;
                }
                (latencies, first_failure)
            });
        }
        let mut first_failure = None;
        while let Some(done) = loops.join_next().await {
            let (latencies, failure) = done.map_err(Error::failed)?;
            self.latencies.add(latencies).map_err(Error::failed)?;
            first_failure = first_failure.or(failure);
        }
        self.time += begun.elapsed();
        self.failed += failed.load(Ordering::Relaxed);
        self.server_cpu += cpu_time(servers).saturating_sub(servers_before);
        self.client_cpu += cpu_time(&[std::process::id()]).saturating_sub(own_before);
        if let Some(failure) = first_failure {
            eprintln!("a request failed: {failure}");
        }
        Ok(())
    }

    /// Counts one answer that was timed outside.
    pub fn record(&mut self, took: Duration) {
        self.latencies.saturating_record(took.as_nanos() as u64);
        self.time += took;
    }

    /// What it comes to.
    pub fn row(&self) -> Row {
        let requests = self.latencies.len().saturating_sub(self.failed);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        let quantile = |q| self.latencies.value_at_quantile(q) as f64 / 1_000.0;
        Row {
            requests,
            failed: self.failed,
            rate_per_second: requests as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: self.latencies.max() as f64 / 1_000.0,
            server_cpu_us: each(self.server_cpu),
            client_cpu_us: each(self.client_cpu),
        }
    }
}

impl Row {
    /// Its cells, for a table: rate, the three latencies, processor times.
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{:.0}", self.rate_per_second),
            format!("{:.0}", self.p50_us),
            format!("{:.0}", self.p99_us),
            format!("{:.0}", self.max_us),
            format!("{:.1}", self.server_cpu_us),
            format!("{:.1}", self.client_cpu_us),
            self.failed.to_string(),
        ]
    }
}

/// The rows of a table, the head first: for each number in flight, what was measured side by side.
pub fn table<'a, const N: usize>(levels: impl Iterator<Item = (usize, [(&'a str, &'a Row); N])>) -> Vec<Vec<String>> {
    let mut rows = vec![["in flight", "what"].iter().chain(&HEADS).map(ToString::to_string).collect::<Vec<_>>()];
    for (in_flight, sides) in levels {
        rows.extend(sides.map(|(what, row)| [vec![in_flight.to_string(), what.to_owned()], row.cells()].concat()));
    }
    rows
}

/// The heads of [`Row::cells`].
const HEADS: [&str; 7] = ["requests/s", "p50 us", "p99 us", "max us", "server CPU us", "client CPU us", "failed"];

fn histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).map_err(Error::failed)
}

/// Processor time that processes have used, user and system, in all threads, those that have ended too. It comes in the
/// system's clock ticks. Where the system does not say (it is Linux's `/proc`), it counts as none.
fn cpu_time(processes: &[u32]) -> Duration {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let of = |process: &u32| -> Option<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th fields behind it
        // (proc_pid_stat(5)).
        let fields = text.rsplit_once(')')?.1.split_whitespace();
        let ticks = fields.skip(11).take(2).map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
    };
    processes.iter().filter_map(of).sum()
}
