//! P10: hostile bytes on a node's QUIC endpoint. Each gets one clear error, is counted, and disturbs nobody else.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::limits::GATE_FRAME_BYTES_MAX;
use cluster_config::versions::Version;
use cluster_config::wire::gate::{Capture, Request, Sample};
use cluster_config::wire::{Channel, FrameHeader, RefusalCode};
use harness::invariants::{p1_exactly_once, p3_no_failed_request, p10_clear_refusals};
use harness::live::Live;
use harness::raw::{Raw, frame};
use harness::target::Target;
use harness::workload::{self, Bank};

/// A capture whose template is changed.
fn with(capture: &Capture, change: impl FnOnce(&mut Vec<f32>)) -> Capture {
    let mut capture = capture.clone();
    let Sample::Template { values, .. } = &mut capture.sample;
    change(values);
    capture
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hostile_frame_gets_one_clear_error_while_others_board() {
    let live = Live::start("hostile", 1).await;
    let node = live.running()[0];
    let bank = Arc::new(Bank::new(harness::seed(), 2, 60));
    workload::submit(&live, &bank).await;
    let raw = Raw::new(live.address(node), &live.gate_identity().await);
    let good = bank.capture(0, 0, 7, 1);
    let whole = frame(Channel::Gate, &Request::Identify(good.clone()));
    let changed = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        bytes
    };
    let announced = |bytes: usize| {
        let (version, channel) = (Version::CURRENT, Channel::Gate);
        FrameHeader { version, channel, body_bytes: bytes as u32 }.encode().to_vec()
    };
    let asking = |capture| frame(Channel::Gate, &Request::Board(capture));
    let mut other_model = good.clone();
    let Sample::Template { model, .. } = &mut other_model.sample;
    *model = "another-model".parse().expect("a name");
    let mut not_known = good.clone();
    not_known.journey = "XX1-20300101-JFK".parse().expect("a journey");
    use RefusalCode::{BadValue, MalformedFrame, NotFound, TooLarge, UnknownVersion};
    let cases = [
        ("bad magic", changed(0, b'X'), MalformedFrame, "frame header byte 0"),
        ("unknown version", changed(2, 9), UnknownVersion, "frame header byte 2"),
        ("oversized", announced(GATE_FRAME_BYTES_MAX + 1), TooLarge, "frame header byte 4"),
        ("cut short", whole[..whole.len() - 5].to_vec(), MalformedFrame, "frame body byte"),
        ("a body of noise", [announced(64), vec![0xa5; 64]].concat(), MalformedFrame, "frame body"),
        ("a NaN", asking(with(&good, |v| v[17] = f32::NAN)), BadValue, "capture.sample.values"),
        ("an infinity", asking(with(&good, |v| v[3] = f32::INFINITY)), BadValue, "capture.sample.values"),
        ("all zero", asking(with(&good, |v| v.fill(0.0))), BadValue, "capture.sample.values"),
        ("too short", asking(with(&good, |v| v.truncate(511))), BadValue, "capture.sample.values"),
        ("too long", asking(with(&good, |v| v.push(0.0))), BadValue, "capture.sample.values"),
        ("empty", asking(with(&good, Vec::clear)), BadValue, "capture.sample.values"),
        ("unknown model", asking(other_model), BadValue, "capture.sample.model"),
        ("unknown journey", asking(not_known), NotFound, "capture.journey"),
    ];

    let gates = workload::gates(&live, &bank).await;
    let boarding = workload::board(&bank, gates, Duration::from_millis(10));
    let mut expected = std::collections::BTreeMap::<&str, f64>::new();
    for _ in 0..3 {
        for (case, bytes, code, place) in &cases {
            let refusal = raw.refusal(Channel::Gate, bytes).await;
            let refusal = refusal.unwrap_or_else(|closed| panic!("{case}: the connection was closed: {closed}"));
            p10_clear_refusals::check(case, &refusal, *code, place);
            *expected.entry(code.as_str()).or_default() += 1.0;
        }
    }
    let history = boarding.finish().await;
    p3_no_failed_request::check(&history);
    p1_exactly_once::check(&history, &live.same_ledger().await);
    let metrics = live.metrics(node).await;
    for (code, count) in expected {
        assert_eq!(metrics.value(&format!("tvs_link_refusals_total{{code=\"{code}\"}}")), count, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_closes_its_own_connection_with_a_reason_and_no_other() {
    let live = Live::start("hostile", 1).await;
    let node = live.running()[0];
    let bank = Bank::new(harness::seed(), 1, 10);
    workload::submit(&live, &bank).await;
    let gate = live.gate(0).await;
    let raw = Raw::new(live.address(node), &live.gate_identity().await);
    let mut state = harness::seed() | 1;
    let mut byte = || {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    for round in 0..20 {
        let mut noise: Vec<u8> = (0..16 + 300 * round).map(|_| byte()).collect();
        // No channel has this number, so that the node cannot even tell in which type to refuse.
        noise[3] = 200;
        let closed = raw.send(&noise).await.expect_err("closed");
        p10_clear_refusals::check_text("noise", &closed, "frame header byte");
        gate.identify(bank.capture(0, 0, 1, 1)).await.expect("another gate is answered");
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..1_000 {
        let datagram: Vec<u8> = (0..1_200).map(|_| byte()).collect();
        // A full buffer drops it, which is as good.
        let _ = socket.send_to(&datagram, live.address(node));
    }
    gate.identify(bank.capture(0, 1, 1, 1)).await.expect("another gate is answered");
    let errors = live.metrics(node).await.value("tvs_link_protocol_errors_total");
    assert_eq!(errors, 20.0);
}
