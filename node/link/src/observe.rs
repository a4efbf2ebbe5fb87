//! The server's metrics. Each server looks them up once, because a look-up costs more than counting.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::wire::{Channel, RefusalCode};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

const CHANNELS: [(Channel, &str); 3] =
    [(Channel::Gate, "gate"), (Channel::Peer, "peer"), (Channel::Operator, "operator")];

/// Counters of one channel.
#[derive(Clone)]
pub(crate) struct ChannelMetrics {
    pub(crate) frames_in: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

/// All metrics of one server.
#[derive(Clone)]
pub(crate) struct Metrics {
    channels: [ChannelMetrics; 3],
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) accepted: Counter,
    untold: Tally,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe_gauge!("tvs_link_connections", "connections that are open now");
        describe_counter!("tvs_link_connections_total", "connections accepted since the start");
        describe_counter!("tvs_link_connections_refused_total", "connections turned away by a limit, by reason");
        describe_counter!("tvs_link_handshake_failures_total", "handshakes that failed, by reason");
        describe_counter!("tvs_link_protocol_errors_total", "connections closed because they speak another protocol");
        describe_counter!("tvs_link_refusals_total", "requests refused before or by the handler, by code");
        describe_counter!("tvs_link_over_budget_total", "requests refused because a budget is used up, by budget");
        describe_counter!("tvs_link_frames_total", "frames, by channel and direction");
        describe_counter!("tvs_link_bytes_total", "bytes of frames, by channel and direction");
        describe_gauge!("tvs_link_requests_in_flight", "requests being handled now");
        let channels = CHANNELS.map(|(_, name)| ChannelMetrics {
            frames_in: counter!("tvs_link_frames_total", "channel" => name, "direction" => "in"),
            frames_out: counter!("tvs_link_frames_total", "channel" => name, "direction" => "out"),
            bytes_in: counter!("tvs_link_bytes_total", "channel" => name, "direction" => "in"),
            bytes_out: counter!("tvs_link_bytes_total", "channel" => name, "direction" => "out"),
        });
        Self {
            channels,
            in_flight: gauge!("tvs_link_requests_in_flight"),
            connections: gauge!("tvs_link_connections"),
            accepted: counter!("tvs_link_connections_total"),
            untold: Tally::default(),
        }
    }

    pub(crate) fn channel(&self, channel: Channel) -> &ChannelMetrics {
        match channel {
            Channel::Gate => &self.channels[0],
            Channel::Peer => &self.channels[1],
            Channel::Operator => &self.channels[2],
        }
    }

    /// Counts a refusal. Refusals are rare, so their counter is looked up each time.
    pub(crate) fn refused(&self, code: RefusalCode) {
        counter!("tvs_link_refusals_total", "code" => code.as_str()).increment(1);
    }

    /// Counts a request for which a budget had no place.
    pub(crate) fn over_budget(&self, budget: &'static str, from: &Actor) {
        counter!("tvs_link_over_budget_total", "budget" => budget).increment(1);
        self.untold.note("requests over a budget", budget, || from.to_string());
    }

    /// Counts a connection that a limit turned away.
    pub(crate) fn connection_refused(&self, reason: &'static str, address: SocketAddr) {
        counter!("tvs_link_connections_refused_total", "reason" => reason).increment(1);
        self.untold.note("connections refused", reason, || address.to_string());
    }

    /// Counts a handshake that failed.
    pub(crate) fn handshake_failed(&self, reason: &'static str, address: SocketAddr, words: &str) {
        counter!("tvs_link_handshake_failures_total", "reason" => reason).increment(1);
        self.untold.note("handshakes failed", reason, || format!("{address}: {words}"));
    }

    /// Counts a connection closed because nothing on it could be understood.
    pub(crate) fn protocol_error(&self, from: &Actor, words: &str) {
        counter!("tvs_link_protocol_errors_total").increment(1);
        self.untold.note("connections closed", "protocol", || format!("{from}: {words}"));
    }

    /// Tells the log what is new at the first call after it, and then what was counted once a minute: a line for each
    /// kind and reason.
    pub(crate) fn tell(&self) {
        let now = Instant::now();
        self.untold.lock().retain(|(what, reason), untold| {
            if now < untold.quiet_until {
                return true;
            }
            let Untold { count, example, .. } = untold;
            if *count == 0 {
                return false;
            }
            tracing::info!(count, reason, example, "{what}");
            *untold = Untold { count: 0, example: String::new(), quiet_until: now + TOLD_INTERVAL };
            true
        });
    }
}

/// How often the log is told what goes on.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// What was counted and is not in the log yet, with an example. Who sends much makes no more lines than who sends
/// little.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<Counts>>);

type Counts = BTreeMap<(&'static str, &'static str), Untold>;

struct Untold {
    count: u64,
    example: String,
    quiet_until: Instant,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // No change under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one. The first since the last line is the example.
    fn note(&self, what: &'static str, reason: &'static str, example: impl FnOnce() -> String) {
        let mut counts = self.lock();
        let new = || Untold { count: 0, example: String::new(), quiet_until: Instant::now() };
        let untold = counts.entry((what, reason)).or_insert_with(new);
        if untold.count == 0 {
            untold.example = example();
        }
        untold.count += 1;
    }
}

/// Keeps a gauge one higher for as long as this lives, whichever way a task ends.
pub(crate) struct Up(Gauge);

impl Up {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
