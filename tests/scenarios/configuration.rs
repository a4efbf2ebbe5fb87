//! R92; P10: a node that cannot start says why in one line, with exit code 2, and leaves the running ones alone.

use cluster_config::actor::Role;
use cluster_config::file::Configuration;
use cluster_config::ids::NodeId;
use harness::invariants::p10_clear_refusals;
use harness::live::{Live, ends, free_address, tvs};
use harness::target::Target;
use node_link::certificates::Validity;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_start_says_why_in_one_line() {
    let live = Live::start("configuration", 1).await;
    let node = live.cluster.node(NodeId(1)).expect("a node");
    let text = std::fs::read_to_string(&node.config).expect("a configuration");
    let configuration: Configuration = toml::from_str(&text).expect("a configuration");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("node.toml");
    let gate = live.cluster.authority().issue(Role::Gate, "node-1-gate", Validity::Days(1)).expect("issued");
    let other = live.cluster.authority().issue(Role::Node, "node-9", Validity::Days(1)).expect("issued");
    let data = folder.path().join("data").display().to_string();
    let free = free_address();
    let elsewhere = |change: &dyn Fn(&mut Configuration)| {
        let mut configuration = configuration.clone();
        configuration.node.data_dir = data.clone().into();
        configuration.node.listen = free.clone();
        change(&mut configuration);
        toml::to_string(&configuration).expect("encoded")
    };
    let cases = [
        ("an unknown key", text.replace("[node]", "[node]\ncolour = 7"), "colour"),
        ("a value out of range", text.replace("template_dims = 512", "template_dims = 510"), "cluster.template_dims"),
        ("a missing key", text.replace("data_dir", "# data_dir"), "data_dir"),
        ("not TOML", "cluster = [".to_owned(), "node.toml"),
        ("a folder in use", text.clone(), "in use by another process"),
        ("a taken port", elsewhere(&|c| c.node.listen.clone_from(&configuration.node.listen)), "is taken"),
        (
            "a gate's certificate",
            elsewhere(&|c| {
                (c.node.certificate, c.node.private_key) = (gate.certificate.clone(), gate.key.clone());
            }),
            "tvs certs issue",
        ),
        (
            "another node's certificate",
            elsewhere(&|c| {
                (c.node.certificate, c.node.private_key) = (other.certificate.clone(), other.key.clone());
            }),
            "node-1",
        ),
        ("a key of another certificate", elsewhere(&|c| c.node.private_key.clone_from(&gate.key)), "node-1-gate.key"),
        ("no certificate", elsewhere(&|c| c.node.certificate = "/nowhere/x.pem".into()), "/nowhere/x.pem"),
    ];
    for (case, text, place) in cases {
        std::fs::write(&config, text).expect("a file");
        p10_clear_refusals::check_command(case, &ends(&config).await, place);
        live.status(NodeId(1)).await.unwrap_or_else(|failure| panic!("{case} disturbs the running node: {failure}"));
    }
    let missing = tvs(&["node", "run", "--config", "/nowhere/node.toml"]);
    p10_clear_refusals::check_command("no file", &missing, "/nowhere/node.toml");
}
