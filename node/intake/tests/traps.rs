//! What manifests are like when they arrive: every trap that the real inputs taught, with texts of our own.

use node_intake::{
    Disposition, ErrorKind, Interchange, MessageKind, QuarantineReason, Refusal, Role, SeriesMark, Sex, Source,
    TransportMode, WarningCode, parse,
};

const PASSENGER_LIST: &[u8] = include_bytes!("fixtures/passenger-list.edi");
const TELEX: &[u8] = include_bytes!("fixtures/telex-wrapped.edi");

fn read(text: impl AsRef<[u8]>) -> Interchange {
    parse(text.as_ref()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: impl AsRef<[u8]>) -> node_intake::Error {
    parse(text.as_ref()).expect_err("this must be refused")
}

/// A message of these segments in a minimal interchange; `{flight}` stands for an ordinary flight.
fn wrap(body: &str) -> String {
    let flight = "TDT+20+EX123+++EX'LOC+125+VIE'DTM+189:3006151045:201'LOC+87+JFK'DTM+232:3006151410:201'";
    let body = body.replace("{flight}", flight);
    format!("UNA:+.? 'UNB+UNOA:4+EX+BORDER+300615:0830+REF1++APIS'UNH+1+PAXLST:D:02B:UN:IATA'{body}UNT+9+1'UNZ+1+REF1'")
}

fn codes(found: &Interchange) -> Vec<WarningCode> {
    found.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_plain_list_is_read_without_a_warning() {
    let found = read(PASSENGER_LIST);
    assert_eq!(found.warnings, []);
    let [message] = &found.messages[..] else { panic!("one message") };
    assert_eq!((message.disposition, message.manifest.mode), (Disposition::Board, TransportMode::Air));
    assert_eq!(message.manifest.series.as_ref().unwrap().mark, Some(SeriesMark::Last));
    let [anna, liam] = &message.manifest.travellers[..] else { panic!("two travellers") };
    assert_eq!((anna.ordinal, anna.family_name.as_str()), (1, "OAKLEY"));
    assert_eq!(anna.given_names, ["ANNA", "MARIA"]);
    assert_eq!(anna.date_of_birth.unwrap().to_string(), "1980-02-29");
    assert_eq!(anna.documents.len(), 2);
    assert_eq!(liam.family_name, "O'BRIEN");
    assert_eq!(liam.date_of_birth.unwrap().to_string(), "2015-07-04");
    let [journey] = &message.journeys[..] else { panic!("one journey") };
    assert_eq!((journey.carrier.as_str(), journey.flight_number.as_str()), ("EX", "123"));
    assert_eq!(journey.departure.to_string(), "2030-06-15T10:45");
    assert_eq!(journey.travellers, [0, 1]);
}

#[test]
fn a_telex_with_wraps_footer_and_odd_separators_loses_nobody_but_the_bad_entry() {
    let found = read(TELEX);
    let [message] = &found.messages[..] else { panic!("one message") };
    let names: Vec<&str> = message.manifest.travellers.iter().map(|traveller| traveller.family_name.as_str()).collect();
    assert_eq!(names, ["MARCHETTI", "NOVAK"]);
    assert_eq!(message.manifest.travellers[1].ordinal, 3);
    let [bad] = &message.quarantined[..] else { panic!("one in quarantine") };
    assert_eq!((bad.ordinal, bad.reason, bad.place.tag.as_str()), (2, QuarantineReason::DateOfBirth, "DTM"));
    let line = TELEX.split(|byte| *byte == b'\n').nth(bad.place.line as usize - 1).unwrap();
    assert!(line[bad.place.column as usize - 1..].starts_with(b"DTM") || line.len() - (bad.place.column as usize) < 3);
    use WarningCode as W;
    assert_eq!(codes(&found), [W::LeadingText, W::ControlCount, W::UntCount, W::TrailingText]);
    assert_eq!(message.journeys[0].travellers, [0, 1]);
}

#[test]
fn separators_may_be_anything_that_is_no_letter() {
    let plain = String::from_utf8(PASSENGER_LIST.to_vec()).unwrap().replace("\r\n", "");
    let expected = read(&plain).messages[0].manifest.clone();
    for separators in ["|^.\\ ~", "*,.! $", ":-.? (", "\u{1f}\u{1d}.? \u{1c}", ":+.? \n", "#*.?~\r"] {
        let [component, element, _, release, _, terminator] = separators.chars().collect::<Vec<_>>()[..] else {
            panic!()
        };
        // Values of the fixture that are separators now are released, and those that no longer are lose the release.
        let mut text = format!("UNA{separators}");
        let mut characters = plain.trim_start_matches("UNA:+.? '").chars();
        while let Some(character) = characters.next() {
            match character {
                ':' => text.push(component),
                '+' => text.push(element),
                '\'' => text.push(terminator),
                '?' => text.extend([release, characters.next().unwrap()]),
                data if [component, element, release, terminator].contains(&data) => text.extend([release, data]),
                data => text.push(data),
            }
        }
        assert_eq!(read(&text).messages[0].manifest, expected, "{separators:?}");
    }
}

#[test]
fn without_una_the_separators_are_told_from_the_segments() {
    let text = "UNB*UNOA!4*EX*BORDER*300615!0830*REF1**APIS$UNH*1*PAXLST!D!02B!UN!IATA$BGM*745$TDT*20*EX123$\
                NAD*FL***OAKLEY!ANNA$CNT*42!1$UNT*6*1$UNZ*1*REF1$";
    assert_eq!(read(text).messages[0].manifest.travellers[0].given_names, ["ANNA"]);
    let sirena = "UNB+SIRE:1+1H+CZ+300615:0830+REF1\"UNH+1+PAXLST:D:05B:UN:IATA\"BGM+745\"TDT+20+EX123\"\
                  NAD+FL+++O'HARA:ANNA\"CNT+42:1\"UNT+6+1\"UNZ+1+REF1\"";
    assert_eq!(read(sirena).messages[0].manifest.travellers[0].family_name, "O'HARA");
    let short = format!(
        "UNA:+.\\*'\n{}",
        wrap("BGM+745'{flight}NAD+FL+++OAKLEY:ANNA'CNT+42:1'").trim_start_matches("UNA:+.? '")
    );
    let found = read(short.replace('\n', "\n\n"));
    assert_eq!(found.messages[0].manifest.travellers.len(), 1);
}

#[test]
fn envelopes_may_be_absent_but_that_is_said() {
    let bare = "UNH+1+PAXLST:D:15B:UN:IATA'BGM+745'TDT+20+EX123'NAD+FL+++OAKLEY:ANNA'CNT+42:1'UNT+6+1'\r\n\
                Regards, It's me\r\n";
    let found = read(bare);
    assert_eq!(found.messages[0].manifest.control.release, "15B");
    assert!(codes(&found).contains(&WarningCode::NoInterchangeEnvelope));
    assert!(codes(&found).contains(&WarningCode::TrailingText));
    let group = "UNG+PAXLST+EX+BORDER+300615:0830+7+UN+D:12B'UNH+1+PAXLST:D:12B:UN:IATA'BGM+745'UNT+3+1'UNE+1+7'";
    assert_eq!(read(group).messages[0].manifest.control.group.as_ref().unwrap().sender.as_deref(), Some("EX"));
    assert!(matches!(refused(group.trim_end_matches("UNE+1+7'")).kind, ErrorKind::Truncated { missing: "UNE" }));
}

#[test]
fn several_messages_and_interchanges_come_in_their_order() {
    let part = |number: &str, name: &str| {
        format!(
            "UNH+{number}+PAXLST:D:05B:UN:IATA+KEY+{number}:F'BGM+745'TDT+20+EX123'NAD+FL+++{name}:A'CNT+42:3'\
             UNT+6+{number}'"
        )
    };
    let text = format!("UNB+UNOA:4+EX+B+300615:0830+R1'{}{}UNZ+2+R1'", part("03", "THIRD"), part("01", "FIRST"));
    let found = read(format!("{text}\r\n{}", text.replace("R1", "R2")));
    let numbers: Vec<u16> =
        found.messages.iter().map(|message| message.manifest.series.as_ref().unwrap().number).collect();
    assert_eq!(numbers, [3, 1, 3, 1]);
    assert_eq!(found.messages[3].place.message, 4);
    assert_eq!(codes(&found), [WarningCode::ControlCount; 4]);
}

#[test]
fn a_crew_list_never_makes_a_journey() {
    let found = read(wrap("BGM+250+C'{flight}NAD+FM+++PILOT:PAULA'CNT+41:1'"));
    let message = &found.messages[0];
    assert_eq!((message.disposition, message.journeys.len()), (Disposition::Crew, 0));
    assert_eq!(message.refusal, Some(Refusal::NotBoarding { disposition: Disposition::Crew }));
    let only_crew = read(wrap("BGM+745'{flight}NAD+FM+++PILOT:PAULA'CNT+42:1'"));
    assert_eq!(only_crew.messages[0].refusal, Some(Refusal::OnlyCrew));
    let mixed = read(wrap("BGM+745'{flight}NAD+FM+++PILOT:PAULA'NAD+DDU+++OAKLEY:ANNA'CNT+42:2'"));
    assert_eq!(mixed.messages[0].manifest.travellers[1].role, Role::TransitPassenger);
    assert_eq!(mixed.messages[0].journeys[0].travellers, [1]);
}

#[test]
fn other_modes_are_held_and_no_flight_is_made_of_them() {
    for body in [
        "BGM+745'TDT+20+VOY7+1'LOC+125+GRPIR'DTM+189:3006151045:201'LOC+87+TRIZM'NAD+FL+++OAKLEY:ANNA'",
        "BGM+745'TDT+20+EX123+3'LOC+125+VIE'DTM+189:3006151045:201'LOC+87+BTS'NAD+FL+++OAKLEY:ANNA'",
        "BGM+745'TDT+11++++HAUL:172'DTM+132:20301230:102'NAD+VW+0000041153:109++DRIVER:DORA'ATT+2++F*F*F'",
    ] {
        let found = read(wrap(body));
        let message = &found.messages[0];
        assert_eq!(
            (message.disposition, message.refusal.clone()),
            (Disposition::NotAir, Some(Refusal::NotAir)),
            "{body}"
        );
    }
    let road = read(wrap("BGM+745'TDT+11++++HAUL:172'NAD+VW+41153:109++DRIVER:DORA'ATT+2++F*F*F'"));
    let driver = &road.messages[0].manifest.travellers[0];
    assert_eq!((driver.family_name.as_str(), driver.sex.clone()), ("DRIVER", Some(Sex::Female)));
}

#[test]
fn changes_cancellations_and_close_outs_are_told_apart() {
    let cases = [
        ("745+CP", MessageKind::PassengerChange, Disposition::Amend),
        ("745+XR", MessageKind::ReservationCancellation, Disposition::Remove),
        ("745+RP", MessageKind::PartyReduction, Disposition::Remove),
        ("266+CLOB", MessageKind::ClosedOnBoard, Disposition::CloseOut),
        ("745+CLNB", MessageKind::ClosedNotOnBoard, Disposition::CloseOut),
        ("266+CL", MessageKind::FlightClosed, Disposition::CloseOut),
        ("266+XF", MessageKind::FlightCancelled, Disposition::FlightStatus),
        ("655", MessageKind::GatePass, Disposition::GatePass),
        ("336+G", MessageKind::MasterCrewList, Disposition::Crew),
    ];
    for (bgm, kind, disposition) in cases {
        let found = read(wrap(&format!("BGM+{bgm}'{{flight}}NAD+FL+++OAKLEY:ANNA'CNT+42:1'")));
        let message = &found.messages[0];
        assert_eq!((&message.manifest.kind, message.disposition), (&kind, disposition), "{bgm}");
        assert_eq!(message.journeys.is_empty(), disposition != Disposition::Amend, "{bgm}");
    }
    let by_reference = read(wrap("BGM+266+CLNB'{flight}NAD+FL'RFF+ABO:EX0001'NAD+FL'RFF+ABO:EX0002'CNT+42:2'"));
    let message = &by_reference.messages[0];
    assert_eq!(message.quarantined, []);
    assert_eq!(message.manifest.travellers[1].passenger_reference.as_deref(), Some("EX0002"));
    assert_eq!(message.manifest.affected_journeys().unwrap()[0].travellers, [0, 1]);
    let roleless = read(wrap("BGM+266+CLOB'{flight}NAD+ZZZ'RFF+ABO:EX0001'CNT+42:1'"));
    assert_eq!(roleless.messages[0].manifest.affected_journeys().unwrap()[0].travellers, [0]);
    let numbered = read(wrap("BGM+745+DOC123+9'{flight}NAD+FL+++OAKLEY:ANNA'CNT+42:1'"));
    assert_eq!(numbered.messages[0].disposition, Disposition::Board);
    assert!(codes(&numbered).contains(&WarningCode::MessageFunction));
}

#[test]
fn one_bad_passenger_is_quarantined_and_the_others_are_kept() {
    let bad = [
        ("NAD+FL'ATT+2++M'", QuarantineReason::NoName, "NAD"),
        ("NAD+FL+++TWO:T'DTM+329:990231'", QuarantineReason::DateOfBirth, "DTM"),
        ("NAD+FL+++O'NEILL:TOM'DTM+329:800101'", QuarantineReason::Damaged, "NEI"),
        ("NAD+FL+++O'LEE'DTM+329:800101'", QuarantineReason::Damaged, "LEE"),
        ("NAD+FL+++TWO:T'??GARBAGE'", QuarantineReason::Damaged, "GAR"),
    ];
    for (entry, reason, tag) in bad {
        let found = read(wrap(&format!("BGM+745'{{flight}}NAD+FL+++ONE:O'{entry}NAD+FL+++THREE:T'CNT+42:3'")));
        let message = &found.messages[0];
        let ordinals: Vec<u32> = message.manifest.travellers.iter().map(|traveller| traveller.ordinal).collect();
        assert_eq!(ordinals, [1, 3], "{entry}");
        let [quarantine] = &message.quarantined[..] else { panic!("{entry}") };
        assert_eq!((quarantine.ordinal, quarantine.reason, quarantine.place.tag.as_str()), (2, reason, tag), "{entry}");
        assert!(quarantine.place.byte_offset > 0 && quarantine.place.segment > 0);
    }
}

#[test]
fn odd_documents_and_dates_cost_nobody_the_place() {
    let found = read(wrap(
        "BGM+745'{flight}NAD+FL+++OAKLEY'DTM+329'DOC++433419360'DTM+36:330920'DTM+36:340101'LOC+91+'DOC++'DTM+36:SOON'\
         DOC+P+1'DTM+36:20330131:102'LOC+91+VA:163'LOC+91+US:162'LOC+999+XYZ'RFF+ZZ9:K'\
         NAD+FL+++SMITH/JOHN MR'DTM+329:000000'NAD+FL+++OLD:A'DTM+329:19241231:102'CNT+42:3'",
    ));
    let [oakley, smith, old] = &found.messages[0].manifest.travellers[..] else { panic!("three travellers") };
    assert_eq!((oakley.date_of_birth, oakley.documents.len()), (None, 3));
    assert_eq!(oakley.documents[0].type_code, None);
    assert_eq!(oakley.documents[0].expiry.unwrap().to_string(), "2034-01-01");
    assert_eq!(oakley.documents[2].issuing_state.as_deref(), Some("US"));
    assert_eq!(oakley.other_places[0].function, "999");
    assert_eq!(oakley.other_references[0].qualifier, "ZZ9");
    assert_eq!((smith.family_name.as_str(), smith.given_names.len()), ("SMITH/JOHN MR", 0));
    assert_eq!(old.date_of_birth.unwrap().to_string(), "1924-12-31");
    use WarningCode as W;
    assert_eq!(
        codes(&found),
        [W::ExpiryRepeated, W::DateUnreadable, W::NamePosition, W::DatePartlyUnknown, W::UntCount]
    );
}

#[test]
fn bytes_outside_of_the_character_set_survive() {
    let mut text = wrap("BGM+745'{flight}NAD+FL+++M#LLER:ZO#'CNT+42:1'").replace("UNT+9", "UNT+10").into_bytes();
    let marks: Vec<usize> =
        text.iter().enumerate().filter(|(_, byte)| **byte == b'#').map(|(index, _)| index).collect();
    text[marks[0]] = 0xDC;
    text[marks[1]] = 0xCB;
    let found = read(&text);
    let traveller = &found.messages[0].manifest.travellers[0];
    assert_eq!((traveller.family_name.as_str(), traveller.given_names[0].as_str()), ("MÜLLER", "ZOË"));
    assert!(codes(&found).contains(&WarningCode::CharacterSet));
}

#[test]
fn legs_split_a_progressive_flight_by_who_is_on_board() {
    let found = read(wrap(
        "BGM+745'TDT+20+EX9+++EX'LOC+92+AAA'DTM+189:3006150100:201'LOC+92+BBB'DTM+232:3006150200:201'\
         LOC+125+BBB'DTM+189:3006150300:201'LOC+87+CCC'DTM+232:3006150400:201'\
         NAD+FL+++ONE:O'LOC+178+AAA'LOC+179+BBB'NAD+FL+++TWO:T'LOC+178+BBB'LOC+179+CCC'\
         NAD+FL+++ALL:A'LOC+178+ZZZ'LOC+179+YYY'CNT+42:3'",
    ));
    let journeys = &found.messages[0].journeys;
    let spans: Vec<(&str, &str, &[usize])> = journeys
        .iter()
        .map(|journey| (&*journey.departure_port, &*journey.arrival_port, &*journey.travellers))
        .collect();
    assert_eq!(spans, [("AAA", "BBB", &[0, 2][..]), ("BBB", "CCC", &[1, 2][..])]);
}

#[test]
fn a_leg_whose_departure_is_not_told_is_no_journey_but_is_shown() {
    let found = read(wrap(
        "BGM+745'TDT+20+EX9+++EX'LOC+125+AAA'DTM+189:3006150100:201'LOC+87+BBB'DTM+232:3006150200:201'\
         LOC+92+CCC'DTM+232:3006150400:201'NAD+FL+++ONE:O'LOC+178+AAA'LOC+179+CCC'CNT+42:1'",
    ));
    let message = &found.messages[0];
    assert_eq!((message.journeys.len(), &message.journeys[0].travellers[..]), (1, &[0][..]));
    assert_eq!(message.unplaced_legs[0].departure_port, "BBB");
}

#[test]
fn a_list_that_names_no_departure_is_refused_with_the_reason() {
    let refusal = |transport: &str| {
        read(wrap(&format!("BGM+745'{transport}NAD+FL+++OAKLEY:A'CNT+42:1'"))).messages[0].refusal.clone()
    };
    assert_eq!(refusal("TDT+20'LOC+125+VIE'DTM+189:3006151045:201'LOC+87+JFK'"), Some(Refusal::NoFlight));
    assert_eq!(refusal("TDT+20+EX1'LOC+125+VIE'LOC+87+JFK'"), Some(Refusal::NoDeparture { port: "VIE".to_owned() }));
    assert_eq!(refusal("TDT+20+EX1'LOC+125+VIE'"), Some(Refusal::NoLeg));
    assert_eq!(refusal("TDT+34+EX1'LOC+125+VIE'DTM+189:3006151045:201'LOC+87+JFK'"), Some(Refusal::Overflight));
    assert_eq!(refusal("TDT+20+EX1'LOC+87+JFK'LOC+125+VIE'DTM+189:3006151045:201'"), None);
}

#[test]
fn us_edifact_is_read_with_its_people() {
    let found = read(
        "UNA:+.? 'UNB+UNOA:1+EX:NZ+B:US+300615:2359+R1'UNH+1+PAXLST:001:000:NZ+EX812/300615/2300+01:C'\
         CTA+IC+:FRED? SAMPLE+1-555-0100:TE'TDT++EX812+40+EX'LOC+005+NZAKL:50'DTM+136+300615+2200+M10'\
         LOC+008+USLAX:50'UNS+D'\
         PDT+P/E1:350909:US+O?'KANE:SIMON:P:590429:M+PAX+NZAKL:USLAX'\
         PDT+P/E2:350909:US+BAD:DATE::502010+PAX+NZAKL:USLAX'\
         PDT+P/E3+CREW:CARL::600101:M+CRW+NZAKL:USLAX'UNT+11+1'UNZ+1+R1'",
    );
    let message = &found.messages[0];
    assert_eq!((message.manifest.source, &message.manifest.kind), (Source::UsEdifact, &MessageKind::PassengerList));
    let kane = &message.manifest.travellers[0];
    assert_eq!((kane.family_name.as_str(), kane.given_names.join(" ").as_str()), ("O'KANE", "SIMON P"));
    assert_eq!(kane.documents[0].expiry.unwrap().to_string(), "2035-09-09");
    assert_eq!(message.quarantined[0].ordinal, 2);
    let [journey] = &message.journeys[..] else { panic!("one journey") };
    assert_eq!(
        (journey.carrier.as_str(), journey.flight_number.as_str(), &journey.travellers[..]),
        ("EX", "812", &[0][..])
    );
    assert_eq!(journey.departure.to_string(), "2030-06-15T22:00");
}

#[test]
fn other_messages_are_named() {
    let error = refused("UNB+UNOA:4+A+B+300615:0830+R'UNH+7+CUSRES:D:05B:UN:IATA'BGM+962'UNT+3+7'UNZ+1+R'");
    let text = error.to_string();
    assert_eq!((error.place.tag.as_str(), error.place.segment), ("UNH", 2));
    assert!(text.contains("CUSRES") && text.contains("answer") && text.contains("line 1 column 30"), "{text}");
    let shown = serde_json::to_value(&error).unwrap();
    assert_eq!((shown["code"].as_str(), shown["place"]["line"].as_u64()), (Some("not_a_passenger_list"), Some(1)));
    assert_eq!(refused("").kind, ErrorKind::Empty);
    assert_eq!(refused(" \r\n ").kind, ErrorKind::Empty);
    assert_eq!(refused("hello, world").kind, ErrorKind::NotRecognised);
    assert_eq!(refused("UNB+UNOA:4+A+B+300615:0830+R'UNZ+0+R'").kind, ErrorKind::NoMessage);
}

#[test]
fn going_over_a_limit_is_an_error_with_its_place() {
    let error = refused(wrap(&format!("BGM+745'NAD{}'", "+".repeat(65))));
    assert!(matches!(error.kind, ErrorKind::TooMany { limit: 64, .. }), "{error}");
    assert_eq!(error.place.tag, "");
    let error = refused(wrap(&format!("BGM+745'FTX+{}'", "X".repeat(17_000))));
    assert_eq!((error.kind.code(), error.place.segment), ("segment_too_long", 4));
    let error = refused(wrap(&format!("BGM+745'TDT+20+EX1'{}", "NAD+FL'".repeat(10_001))));
    assert_eq!((error.kind.code(), error.place.tag.as_str()), ("too_many", "NAD"));
    assert_eq!(refused(vec![b' '; 9 * 1024 * 1024]).kind.code(), "input_too_large");
    let many = read(wrap(&format!("BGM+745'{{flight}}{}", "NAD+FL+++A:B'DTM+36:330101'".repeat(2_000))));
    assert_eq!((many.warnings.len(), many.warnings.last().unwrap().code), (501, WarningCode::More));
}
