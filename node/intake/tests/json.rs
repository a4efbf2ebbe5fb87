//! The JSON manifest: the same type, the same answers.

use node_intake::{Disposition, ErrorKind, QuarantineReason, Source, TransportMode, parse};

const MANIFEST: &str = include_str!("fixtures/manifest.json");

#[test]
fn the_example_makes_a_journey_for_each_leg() {
    let found = parse(MANIFEST.as_bytes()).unwrap();
    let [message] = &found.messages[..] else { panic!("one message") };
    assert_eq!((message.manifest.source, message.disposition), (Source::Json, Disposition::Board));
    assert_eq!(message.manifest.travellers[0].family_name, "GRÜNWALD");
    let spans: Vec<(&str, &str, &[usize])> = message
        .journeys
        .iter()
        .map(|journey| (&*journey.departure_port, &*journey.arrival_port, &*journey.travellers))
        .collect();
    assert_eq!(spans, [("VIE", "LIS", &[0, 1][..]), ("LIS", "BOS", &[1][..])]);
    let shown = serde_json::to_value(&found).unwrap();
    assert_eq!(shown["messages"][0]["journeys"][0]["departure"], "2030-06-15T07:30");
}

#[test]
fn errors_name_line_and_column() {
    let at = |from: &str, to: &str| {
        let error = parse(MANIFEST.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Json { .. }), "{error}");
        (error.place.line, error.to_string())
    };
    let (line, text) = at("\"carrier\"", "\"carier\"");
    assert!(line == 7 && text.contains("unknown field `carier`"), "{text}");
    let (line, text) = at("2030-06-15T07:30", "2030-06-31T07:30");
    assert!(line == 10 && text.contains("not a date"), "{text}");
    let (_, text) = at("tvs-manifest/1", "tvs-manifest/9");
    assert!(text.contains("tvs-manifest/1"), "{text}");
    let (line, _) = at("\"VIE\", \"departure\"", "\"VIE\" \"departure\"");
    assert_eq!(line, 10);
    assert!(matches!(parse(b"{\"schema\": \"\xFF\"}").unwrap_err().place.column, 13));
}

#[test]
fn one_bad_traveller_is_quarantined_at_its_line() {
    for (from, to, reason, line) in [
        ("\"date_of_birth\": \"1990-01-31\"", "\"date_of_birth\": \"1990-02-31\"", QuarantineReason::Schema, 20),
        ("\"seat\": \"11D\"", "\"seet\": \"11D\"", QuarantineReason::Schema, 21),
        ("\"SOUSA\", \"given_names\": [\"MIGUEL\", \"ANGELO\"]", "\" \"", QuarantineReason::NoName, 19),
    ] {
        assert!(MANIFEST.contains(from), "{from}");
        let found = parse(MANIFEST.replacen(from, to, 1).as_bytes()).unwrap();
        let message = &found.messages[0];
        assert_eq!(message.manifest.travellers.len(), 1);
        let [bad] = &message.quarantined[..] else { panic!("{from}") };
        assert_eq!((bad.ordinal, bad.reason, bad.place.line), (2, reason, line), "{}", bad.detail);
    }
}

#[test]
fn other_modes_are_journeys_when_json_says_them() {
    let found = parse(MANIFEST.replacen("\"mode\": \"air\"", "\"mode\": \"rail\"", 1).as_bytes()).unwrap();
    assert_eq!(found.messages[0].journeys[0].mode, TransportMode::Rail);
    let crew = parse(MANIFEST.replacen("\"passenger_list\"", "\"crew_list\"", 1).as_bytes()).unwrap();
    assert_eq!((crew.messages[0].disposition, crew.messages[0].journeys.len()), (Disposition::Crew, 0));
}
