//! R23, R24, R49; P10: the command line of `tvs`: a story told with nothing else, `--json` that parses, and exit codes.

use std::process::Output;

use harness::invariants::p10_clear_refusals;
use harness::live::{Live, tvs};
use harness::target::Target;
use harness::workload::Bank;
use serde_json::Value;

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

#[test]
fn help_shows_every_command_with_an_example() {
    let listed = |words: &[&str]| -> Vec<String> {
        let help = tvs(&[words, &["--help"]].concat());
        assert!(help.status.success());
        let text = String::from_utf8(help.stdout).expect("text");
        let Some((_, commands)) = text.split_once("Commands:\n") else {
            assert!(text.contains("Example"), "{words:?} has no example");
            return Vec::new();
        };
        let commands = commands.lines().take_while(|line| !line.trim().is_empty());
        let first = |line: &str| line.strip_prefix("  ").filter(|l| !l.starts_with(' ')).map(str::to_owned);
        let names = commands.filter_map(first).filter_map(|line| line.split(' ').next().map(str::to_owned));
        names.filter(|name| name != "help").collect()
    };
    let groups = listed(&[]);
    assert!(groups.len() >= 9, "{groups:?}");
    for group in &groups {
        for command in listed(&[group]) {
            listed(&[group, &command]);
        }
    }
}

#[test]
fn arguments_that_cannot_be_understood_end_with_2() {
    for words in [&["fly"][..], &["cluster", "status"], &["gate", "board", "--journey", "A/B"], &["node", "run"]] {
        let output = tvs(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_traveller_boards_by_the_command_line_alone() {
    let live = Live::start("command_line", 1).await;
    let node = live.running()[0];
    let folder = tempfile::tempdir().expect("a folder");
    let certs = live.cluster.certs().display().to_string();
    let issued = tvs(&["certs", "issue", "--dir", &certs, "--role", "gate", "--name", "JFK-B32-1", "--port", "JFK"]);
    assert!(issued.status.success());
    let refused = {
        let connection = live.connection(node, "JFK-B32-1");
        let probe = folder.path().join("none.json").display().to_string();
        std::fs::write(&probe, "[1.0]").expect("a file");
        let words = ["gate", "identify", "--journey", "ZT1-20300101-JFK", "--template", &probe];
        tvs(&words.into_iter().chain(connection.iter().map(String::as_str)).collect::<Vec<_>>())
    };
    p10_clear_refusals::check_command("an unregistered gate", &refused, "tvs device add JFK-B32-1 --port JFK");
    let added = ["device", "add", "JFK-B32-1", "--port", "JFK", "--owner", "AA", "--touchpoint", "boarding"];
    let connection = live.connection(node, "operator");
    let added = tvs(&added.into_iter().chain(connection.iter().map(String::as_str)).collect::<Vec<_>>());
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let bank = Bank::new(harness::seed(), 1, 20);
    let flight = &bank.flights[0];
    let manifest = folder.path().join("flight.edi").display().to_string();
    std::fs::write(&manifest, &flight.manifest).expect("a file");
    let run = |name: &str, words: &[&str]| {
        let connection = live.connection(node, name);
        let connection = connection.iter().map(String::as_str);
        tvs(&words.iter().copied().chain(connection).collect::<Vec<_>>())
    };

    let checked = json(&tvs(&["manifest", "check", &manifest, "--json"]));
    assert!(checked["messages"][0]["journeys"][0]["travellers"].as_array().is_some_and(|all| all.len() == 20));
    let submitted = json(&run("operator", &["manifest", "submit", &manifest, "--json"]));
    assert_eq!(submitted[0]["journeys"][0]["journey"], flight.journey.as_str());
    live.replicated().await;
    let galleries = json(&run("operator", &["gallery", "list", "--json"]));
    assert_eq!(galleries[0]["people"], 20);
    let journey = flight.journey.to_string();
    assert_eq!(json(&run("operator", &["gallery", "show", &journey, "--json"]))["status"], "ready");

    let guest = (0..20).find(|i| flight.guests[*i].known && flight.guests[*i].in_scope).expect("somebody in scope");
    let capture = bank.capture(0, guest, 1, 1);
    let cluster_config::wire::gate::Sample::Template { values, .. } = &capture.sample;
    let probe = folder.path().join("probe.json").display().to_string();
    std::fs::write(&probe, serde_json::to_vec(values).expect("JSON")).expect("a file");
    let shot = |verb| ["gate", verb, "--journey", &journey, "--template", &probe, "--json"].map(str::to_owned);
    let take = |verb| {
        let words = shot(verb);
        json(&run("JFK-B32-1", &words.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    assert_eq!(take("identify")["recording"], "not_required");
    let boarded = take("board");
    assert_eq!((&boarded["directive"], &boarded["recording"]), (&"proceed".into(), &"committed".into()));
    let ordinal = flight.guests[guest].person.manifest_ordinal;
    assert_eq!(boarded["confirmed"]["manifest_ordinal"], ordinal);
    let crossings = json(&run("operator", &["ledger", "export", "--json"]));
    assert_eq!(crossings[0]["encounter"], boarded["encounter"]);
    assert_eq!(crossings.as_array().map(Vec::len), Some(1));
    // The same person with a new encounter has boarded already: one crossing, however often they come.
    take("board");
    assert_eq!(json(&run("operator", &["ledger", "export", "--json"])).as_array().map(Vec::len), Some(1));

    let shown = json(&run("operator", &["device", "show", "JFK-B32-1", "--json"]));
    assert_eq!((&shown["device"]["place"]["port"], &shown["retired"]), (&"JFK".into(), &serde_json::Value::Null));
    for words in [&["cluster", "status", "--json"][..], &["cluster", "metrics", "--json"], &["policy", "show"]] {
        json(&run("operator", words));
    }
    let refused = run("operator", &["gallery", "show", "XX1-20300101-JFK"]);
    p10_clear_refusals::check_command("unknown journey", &refused, "XX1-20300101-JFK");
    p10_clear_refusals::check_command("a gate asks as operator", &run("JFK-B32-1", &["gallery", "list"]), "gate");
    let words = shot("board");
    let refused = run("operator", &words.iter().map(String::as_str).collect::<Vec<_>>());
    p10_clear_refusals::check_command("an operator boards", &refused, "use a certificate of role gate");
    assert!(run("operator", &["device", "retire", "JFK-B32-1"]).status.success());
    let refused = run("JFK-B32-1", &words.iter().map(String::as_str).collect::<Vec<_>>());
    p10_clear_refusals::check_command("a retired gate", &refused, "it is retired");
    let unreachable = tvs(&["cluster", "status", "--node", "127.0.0.1:9", "--certs", &certs]);
    assert_eq!(unreachable.status.code(), Some(1));
    p10_clear_refusals::check_text(
        "nobody there",
        String::from_utf8_lossy(&unreachable.stderr).trim_end(),
        "127.0.0.1:9",
    );
    let closed = run("operator", &["gallery", "close", &journey]);
    assert!(closed.status.success());
}
