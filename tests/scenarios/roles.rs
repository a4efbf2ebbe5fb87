//! R23, R96; P10: the role of a certificate is checked on each request. A foreign or expired certificate opens nothing.

use std::time::{Duration, SystemTime};

use cluster_config::actor::Actor;
use cluster_config::actor::Role;
use cluster_config::ids::NodeId;
use cluster_config::wire::{Channel, RefusalCode, gate, operator, peer};
use harness::invariants::p10_clear_refusals;
use harness::live::{Live, Metrics};
use harness::raw::{Raw, frame};
use harness::target::Target;
use node_link::Identity;
use node_link::certificates::{Authority, Issued, Validity};

fn load(authority: &Authority, issued: &Issued) -> Identity {
    Identity::load(&authority.certificate(), &issued.certificate, &issued.key).expect("an identity")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_is_refused_on_the_channels_of_the_others() {
    let live = Live::start("roles", 1).await;
    let node = live.running()[0];
    let authority = live.cluster.authority();
    let requests = [
        (Role::Gate, Channel::Gate, frame(Channel::Gate, &gate::Request::Hello)),
        (
            Role::Node,
            Channel::Peer,
            frame(Channel::Peer, &peer::Request::Propose { actor: Actor::node(NodeId(1)), command: Vec::new() }),
        ),
        (Role::Operator, Channel::Operator, frame(Channel::Operator, &operator::Request::ClusterStatus)),
    ];
    let mut refused = 0.0;
    for role in [Role::Gate, Role::Node, Role::Operator] {
        let issued = authority.issue(role, &format!("{role}-elsewhere"), Validity::Days(1)).expect("issued");
        let raw = Raw::new(live.address(node), &load(authority, &issued));
        for (belongs, channel, request) in &requests {
            if *belongs == role {
                continue;
            }
            let case = format!("{role} on {channel:?}");
            let refusal = raw.refusal(*channel, request).await.expect("a refusal, not a closed connection");
            p10_clear_refusals::check(&case, &refusal, RefusalCode::WrongRole, &role.to_string());
            refused += 1.0;
        }
    }
    let metrics = live.metrics(node).await;
    assert_eq!(metrics.value("tvs_link_refusals_total{code=\"wrong_role\"}"), refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_or_expired_certificate_opens_nothing() {
    let live = Live::start("roles", 1).await;
    let node = live.running()[0];
    let elsewhere = tempfile::tempdir().expect("a folder");
    let foreign = Authority::create(elsewhere.path()).expect("another authority");
    let issued = foreign.issue(Role::Operator, "operator", Validity::Days(1)).expect("issued");
    // It trusts this cluster's authority, so that the node is the one who refuses.
    let ours = live.cluster.authority();
    let foreign = Identity::load(&ours.certificate(), &issued.certificate, &issued.key).expect("an identity");
    let day = Duration::from_secs(86_400);
    let long_ago = SystemTime::UNIX_EPOCH + 365 * day;
    let validity = Validity::Between { from: long_ago, until: long_ago + day };
    let expired = load(ours, &ours.issue(Role::Gate, "expired", validity).expect("issued"));
    let request = frame(Channel::Operator, &operator::Request::ClusterStatus);
    let failures = async || -> f64 {
        let Metrics(text) = live.metrics(node).await;
        let series = text.lines().filter_map(|line| line.strip_prefix("tvs_link_handshake_failures_total{"));
        series.filter_map(|line| line.split(' ').next_back()?.parse::<f64>().ok()).sum()
    };
    for (case, identity) in [("foreign", foreign), ("expired", expired)] {
        let before = failures().await;
        let closed = Raw::new(live.address(node), &identity).send(&request).await.expect_err("no answer");
        live.journal.write(format!("{case}: {closed}"));
        assert_eq!(failures().await, before + 1.0, "{case} is counted: {closed}");
    }
    // On the command line it is one line that names the address and what to do.
    let address = live.address(node).to_string();
    let certs = elsewhere.path().display().to_string();
    let output = live.tvs(&["cluster", "status", "--node", &address, "--certs", &certs]);
    assert_eq!(output.status.code(), Some(1));
    p10_clear_refusals::check_text("foreign", String::from_utf8_lossy(&output.stderr).trim_end(), "tvs certs issue");
    live.status(node).await.expect("a proper operator is answered");
}
