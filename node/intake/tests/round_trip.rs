//! What is composed is read back the same, for thousands of seeded manifests.

use node_intake::{
    Address, BagTag, Baggage, Contact, Control, Date, Document, GroupHeader, InterchangeHeader, Leg, LocalDateTime,
    LocalTime, Manifest, MessageKind, OtherPlace, PortCall, Reference, ReportingParty, Role, SeriesMark, SeriesPart,
    Sex, Source, Transport, TransportMode, Traveller, Weight, compose, parse,
};

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    /// A value that the reader could have given: neither empty nor with white space around it.
    fn text(&mut self) -> String {
        let marks: Vec<char> = "ABCXYZ0189 '+:?.-*/ÄßŁ李".chars().collect();
        let length = 1 + self.below(12);
        let text: String = (0..length).map(|_| self.pick(&marks)).collect();
        let text = text.trim();
        if text.is_empty() { "Q".to_owned() } else { text.to_owned() }
    }

    fn maybe(&mut self) -> Option<String> {
        (!self.one_in(3)).then(|| self.text())
    }

    fn date(&mut self, from: u16, to: u16) -> Date {
        let year = from + self.below(u64::from(to - from)) as u16;
        Date::new(year, 1 + self.below(12) as u8, 1 + self.below(28) as u8).unwrap()
    }

    fn time(&mut self) -> LocalDateTime {
        let (hour, minute) = (self.below(24) as u8, self.below(60) as u8);
        LocalDateTime {
            date: self.date(1975, 2085),
            time: (!self.one_in(5)).then(|| LocalTime::new(hour, minute).unwrap()),
        }
    }

    fn contacts(&mut self) -> Vec<Contact> {
        (0..self.below(12)).map(|_| Contact { address: self.text(), channel: Some(self.text()) }).collect()
    }

    fn traveller(&mut self, ordinal: u32) -> Traveller {
        let address = Address {
            street: Some(self.text()),
            city: self.maybe(),
            region: self.maybe(),
            postal_code: self.maybe(),
            country: self.maybe(),
        };
        Traveller {
            ordinal,
            role: self.pick(&[Role::Passenger, Role::Passenger, Role::Crew, Role::TransitPassenger, Role::TransitCrew]),
            family_name: self.text(),
            given_names: (0..self.below(4)).map(|_| self.text()).collect(),
            sex: self.pick(&[None, Some(Sex::Female), Some(Sex::Male), Some(Sex::Unspecified), Some(Sex::Unknown)]),
            date_of_birth: (!self.one_in(4)).then(|| self.date(1900, 2090)),
            nationality: self.maybe(),
            residence: self.maybe(),
            birth_country: self.maybe(),
            birth_place: self.maybe(),
            embarkation_port: self.maybe(),
            debarkation_port: self.maybe(),
            clearance_port: self.maybe(),
            other_places: (0..self.below(3))
                .map(|_| OtherPlace { function: "Z1".to_owned(), code: self.text() })
                .collect(),
            record_locator: self.maybe(),
            passenger_reference: self.maybe(),
            seat: self.maybe(),
            other_references: (0..self.below(3))
                .map(|_| Reference { qualifier: "YZY".to_owned(), number: self.text() })
                .collect(),
            documents: (0..self.below(4))
                .map(|_| Document {
                    type_code: self.maybe(),
                    number: self.maybe(),
                    issuing_state: self.maybe(),
                    expiry: (!self.one_in(3)).then(|| self.date(1950, 2150)),
                    issued: self.one_in(3).then(|| self.date(1950, 2150)),
                })
                .collect(),
            address: self.one_in(4).then_some(address),
            contacts: self.contacts(),
            baggage: Baggage {
                count: self.one_in(2).then(|| self.below(9) as u32),
                weight: self.one_in(3).then(|| Weight { unit: Some("KGM".to_owned()), value: self.below(99) as u32 }),
                tags: (0..self.below(3))
                    .map(|_| BagTag { tag: self.text(), count: self.one_in(2).then(|| self.below(9) as u32) })
                    .collect(),
            },
            verified: self.pick(&[None, Some(true), Some(false)]),
            crew_function: self.maybe(),
        }
    }

    fn transport(&mut self) -> Transport {
        let (carrier, number) = (self.pick(&["EX", "Z9", "4U"]).to_owned(), self.below(9999).to_string());
        let call = |function: &str, port: &str, departure, arrival| PortCall {
            function: function.to_owned(),
            port: Some(port.to_owned()),
            departure,
            arrival,
        };
        Transport {
            stage: Some("20".to_owned()),
            conveyance: Some(format!("{carrier}{number}")),
            stated_carrier: self.one_in(2).then(|| carrier.clone()),
            carrier: Some(carrier),
            flight_number: Some(number),
            date: self.one_in(3).then(|| self.time()),
            calls: vec![
                call("125", "VIE", Some(self.time()), None),
                call("92", "NZAKL", Some(self.time()), Some(self.time())),
                call("87", "JFK", None, Some(self.time())),
            ],
        }
    }

    fn manifest(&mut self) -> Manifest {
        let (kind, function) = self.pick(&[
            (MessageKind::PassengerList, None),
            (MessageKind::PassengerChange, Some("CP")),
            (MessageKind::ReservationCancellation, Some("XR")),
            (MessageKind::ClosedOnBoard, Some("CLOB")),
            (MessageKind::CrewList, Some("C")),
            (MessageKind::GatePass, None),
        ]);
        Manifest {
            source: Source::Paxlst,
            kind,
            control: Control {
                interchange: Some(InterchangeHeader {
                    syntax: "UNOW:4".to_owned(),
                    sender: self.maybe(),
                    recipient: self.maybe(),
                    prepared: Some("300615:0830".to_owned()),
                    control_reference: Some(self.text()),
                    application: self.maybe(),
                    test: self.one_in(2),
                }),
                group: self.one_in(2).then(|| GroupHeader {
                    group_type: Some("PAXLST".to_owned()),
                    sender: self.maybe(),
                    recipient: self.maybe(),
                    control_reference: Some(self.text()),
                }),
                message_reference: Some(self.text()),
                release: self.pick(&["02B", "03B", "05B", "12B", "15B"]).to_owned(),
                association: Some("IATA".to_owned()),
                access_reference: self.maybe(),
                transaction_reference: self.maybe(),
                function: function.map(str::to_owned),
            },
            series: self.one_in(2).then(|| SeriesPart {
                number: 1 + self.below(20) as u16,
                mark: self.pick(&[None, Some(SeriesMark::First), Some(SeriesMark::Last)]),
            }),
            reporting_party: self.one_in(2).then(|| ReportingParty {
                name: Some(self.text()),
                identifier: self.maybe(),
                contacts: self.contacts(),
            }),
            mode: self.pick(&[
                TransportMode::Air,
                TransportMode::Air,
                TransportMode::Sea,
                TransportMode::Road,
                TransportMode::Unknown,
            ]),
            transports: (0..1 + self.below(2)).map(|_| self.transport()).collect(),
            travellers: (1..=self.below(6) as u32).map(|ordinal| self.traveller(ordinal)).collect(),
        }
    }
}

#[test]
fn reading_what_was_composed_gives_the_same_manifest() {
    for seed in 0..3_000 {
        let manifest = Chance(seed).manifest();
        let bytes = compose(&manifest);
        let found =
            parse(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", String::from_utf8_lossy(&bytes)));
        let [message] = &found.messages[..] else { panic!("seed {seed}: one message") };
        assert_eq!(message.manifest, manifest, "seed {seed}:\n{}", String::from_utf8_lossy(&bytes));
        assert_eq!(message.quarantined, [], "seed {seed}");
        let odd: Vec<_> =
            found.warnings.iter().filter(|warning| warning.code != node_intake::WarningCode::NamePosition).collect();
        assert!(odd.is_empty(), "seed {seed}: {odd:?}");
    }
}

#[test]
fn a_made_list_of_one_departure_reads_as_one_journey() {
    let at = |hour| LocalDateTime { date: Date::new(2031, 2, 3).unwrap(), time: LocalTime::new(hour, 5) };
    let leg = Leg {
        carrier: Some("EX".to_owned()),
        flight_number: Some("77".to_owned()),
        departure_port: "VIE".to_owned(),
        arrival_port: "BOS".to_owned(),
        departure: Some(at(9)),
        arrival: Some(at(13)),
    };
    let people = (1..=3)
        .map(|ordinal| Traveller { ordinal, family_name: format!("GRÜN{ordinal}"), ..Traveller::default() })
        .collect();
    let bytes = compose(&Manifest::air_passenger_list(leg, people));
    let text = String::from_utf8(bytes.clone()).unwrap();
    for segment in [
        "UNG+PAXLST",
        "PAXLST:D:02B:UN:IATA",
        "BGM+745'",
        "TDT+20+EX77+++EX'",
        "DTM+189:3102030905:201'",
        "CNT+42:3'",
        "UNE+1+1'",
    ] {
        assert!(text.contains(segment), "{segment} is missing in\n{text}");
    }
    let found = parse(&bytes).unwrap();
    assert_eq!(found.warnings, []);
    let [journey] = &found.messages[0].journeys[..] else { panic!("one journey") };
    assert_eq!((journey.departure, &journey.travellers[..]), (at(9), &[0, 1, 2][..]));
}
