//! Commits a second and their latency: single node and three nodes in one process, next to a bare append and
//! `fdatasync` on the same disk in the same run. `cargo bench -p coordinator --bench commit`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coordinator::Coordinator;
use coordinator_core::Command;
use futures::future::join_all;
use hdrhistogram::Histogram;
use support::{Group, actor, commit, journey, leader, record};

/// How long each row is measured.
const ROW: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    println!("{:<28} {:>9} {:>11} {:>9} {:>9}", "what", "in flight", "commits/s", "p50 ms", "p99 ms");
    bare_fdatasync();
    for nodes in [1, 3] {
        runtime.block_on(group(nodes));
    }
}

/// Microseconds up to a minute.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds")
}

fn row(what: &str, in_flight: usize, took: Duration, histogram: &Histogram<u64>) {
    println!(
        "{what:<28} {in_flight:>9} {:>11.0} {:>9.2} {:>9.2}",
        histogram.len() as f64 / took.as_secs_f64(),
        histogram.value_at_quantile(0.5) as f64 / 1_000.0,
        histogram.value_at_quantile(0.99) as f64 / 1_000.0,
    );
}

fn bare_fdatasync() {
    let folder = tempfile::tempdir().expect("folder");
    let mut file = File::create(folder.path().join("bare")).expect("create");
    let mut histogram = histogram();
    let start = Instant::now();
    while start.elapsed() < ROW {
        let began = Instant::now();
        file.write_all(&[7; 256]).expect("write");
        file.sync_data().expect("sync");
        histogram.saturating_record(began.elapsed().as_micros() as u64);
    }
    row("bare append + fdatasync", 1, start.elapsed(), &histogram);
}

async fn group(count: u64) {
    let group = Group::new();
    let nodes = group.found(count).await;
    commit(&nodes, journey()).await;
    let lead = leader(&nodes).await;
    let next = Arc::new(AtomicU64::new(0));
    for in_flight in [1, 32, 256] {
        measure(&lead, &format!("{count} node(s), own entry"), in_flight, &next, false).await;
    }
    for in_flight in [1, 32, 256] {
        measure(&lead, &format!("{count} node(s), batched"), in_flight, &next, true).await;
    }
    for node in &nodes {
        group.kill(node).await;
    }
}

async fn measure(lead: &Coordinator, what: &str, in_flight: usize, next: &Arc<AtomicU64>, batched: bool) {
    let start = Instant::now();
    let clients = (0..in_flight).map(|_| {
        let lead = lead.clone();
        let next = next.clone();
        tokio::spawn(async move {
            let mut histogram = histogram();
            while start.elapsed() < ROW {
                let record = record(next.fetch_add(1, Ordering::Relaxed));
                let began = Instant::now();
                if batched {
                    lead.record(record).await.expect("recorded");
                } else {
                    let command = Command::record(vec![record]);
                    lead.propose(actor(), command).await.expect("committed");
                }
                histogram.saturating_record(began.elapsed().as_micros() as u64);
            }
            histogram
        })
    });
    let mut all = histogram();
    for histogram in join_all(clients).await {
        all.add(histogram.expect("client")).expect("same bounds");
    }
    row(what, in_flight, start.elapsed(), &all);
}
