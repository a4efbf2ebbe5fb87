//! R12 to R21, R23, R96; P10, P11: the role of a certificate is checked on each request. A foreign one opens nothing.

use std::time::{Duration, SystemTime};

use cluster_config::actor::{Actor, Holder, Role};
use cluster_config::gallery::{GalleryId, Modality, ShardId};
use cluster_config::rights::Right;
use cluster_config::wire::{Channel, RefusalCode, operator};
use harness::invariants::{p10_clear_refusals, p11_authority};
use harness::live::{Live, Metrics};
use harness::raw::{Raw, frame};
use harness::target::Target;
use harness::workload::Bank;
use node_link::Identity;
use node_link::certificates::{Authority, Issued, Validity};

fn load(authority: &Authority, issued: &Issued) -> Identity {
    Identity::load(&authority.certificate(), &issued.certificate, &issued.key).expect("an identity")
}

/// P11: the matrix. Every role asks for everything, on a live cluster, and is answered as the table of rights has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_is_answered_to_every_request_as_the_table_says() {
    let live = Live::start("roles", 1).await;
    let node = live.running()[0];
    let authority = live.cluster.authority();
    let bank = Bank::new(harness::seed(), 1, 10);
    let gallery = GalleryId::passengers(bank.flights[0].journey);
    let shard = ShardId { gallery, modality: Modality::Face, model: node_population::model(), part: 0 };
    let requests = p11_authority::of_each_kind(&bank.capture(0, 0, 1, 1), shard, live.address(node));
    let (mut refused, mut asked) = (0.0, 0);
    for role in Role::ALL.iter().copied() {
        let name = if role == Role::Node { "node-9".to_owned() } else { format!("{role}-elsewhere") };
        let (actor, code) = (Actor { role, name: name.parse().expect("a name") }, "JFK".parse().ok());
        let holder = Holder { actor, port: code, carrier: "ZT".parse().ok() };
        let issued = authority.issue_to(&holder, Validity::Days(1)).expect("issued");
        let raw = Raw::new(live.address(node), &load(authority, &issued));
        for (ask, request) in &requests {
            let case = format!("{role}: {}", ask.what());
            let told = raw.refused(ask.channel(), request).await.expect("an answer, not a closed connection");
            let is_refused = told.as_ref().is_some_and(|refusal| {
                refusal.code == RefusalCode::WrongRole && refusal.place.starts_with("certificate")
            });
            let may = !matches!(ask.right_of(role), Right::No | Right::TwoPeople);
            assert_eq!(is_refused, !may, "{case}: {told:?}");
            if let Some(refusal) = told.filter(|_| is_refused) {
                p10_clear_refusals::check(&case, &refusal, RefusalCode::WrongRole, &role.to_string());
                refused += 1.0;
            }
            asked += 1;
        }
    }
    println!("{asked} requests of {} roles, {refused} refused by the table", Role::ALL.len());
    assert!(live.metrics(node).await.value("tvs_link_refusals_total{code=\"wrong_role\"}") >= refused);
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
