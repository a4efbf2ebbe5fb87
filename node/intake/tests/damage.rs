//! Cut and damaged input: never a panic, never a silently shorter list, always bounded.

use std::time::{Duration, Instant};

use node_intake::{ErrorKind, Interchange, parse};

const LISTS: [&[u8]; 3] = [
    include_bytes!("fixtures/passenger-list.edi"),
    include_bytes!("fixtures/telex-wrapped.edi"),
    include_bytes!("fixtures/manifest.json"),
];

fn people(found: &Interchange) -> usize {
    found.messages.iter().map(|message| message.manifest.travellers.len() + message.quarantined.len()).sum()
}

#[test]
fn every_prefix_is_refused_with_a_place_or_holds_everybody() {
    for list in LISTS {
        let full = people(&parse(list).unwrap());
        let mut refused = 0;
        for end in 0..list.len() {
            match parse(&list[..end]) {
                Ok(found) => assert_eq!(people(&found), full, "cut at byte {end}"),
                Err(error) => {
                    refused += 1;
                    assert!(
                        error.place.line > 0 && error.place.byte_offset as usize <= end,
                        "cut at byte {end}: {error}"
                    );
                    assert!(error.to_string().starts_with("line "), "{error}");
                }
            }
        }
        // Only what follows the last segment (a terminator, a line end, a footer) may be missing.
        let text = String::from_utf8_lossy(list);
        let end = text.rfind("UNZ").unwrap_or(list.len() - 3);
        assert!(refused > end, "{refused} of {} prefixes refused, the last segment begins at {end}", list.len());
    }
}

#[test]
fn a_second_interchange_that_was_cut_is_not_taken_for_a_footer() {
    let (first, second) = (LISTS[0], LISTS[0]);
    let last = second.windows(4).position(|four| four == b"UNZ+").unwrap();
    for end in 1..last {
        let both = [first, &second[..end]].concat();
        assert!(parse(&both).is_err(), "the second one cut at byte {end}");
    }
    assert_eq!(parse(&[first, second].concat()).unwrap().messages.len(), 2);
}

#[test]
fn a_cut_is_named_with_what_is_missing() {
    let list = LISTS[0];
    let text = std::str::from_utf8(list).unwrap();
    let missing = |until: &str| match parse(&list[..text.find(until).unwrap()]).unwrap_err().kind {
        ErrorKind::Truncated { missing } => missing,
        other => panic!("{other:?}"),
    };
    assert_eq!((missing("CNT+"), missing("UNT+"), missing("UNE+"), missing("UNZ+")), ("UNT", "UNT", "UNZ", "UNZ"));
    let inside = parse(&list[..text.find("MARIA").unwrap()]).unwrap_err();
    assert_eq!((inside.kind, inside.place.tag.as_str(), inside.place.line), (ErrorKind::TruncatedSegment, "NAD", 14));
    let resent = [&list[..text.find("CNT+").unwrap()], list].concat();
    assert!(matches!(parse(&resent).unwrap_err().kind, ErrorKind::MessageNotClosed { .. }));
}

/// SplitMix64, as in `round_trip.rs`.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[test]
fn twenty_thousand_damaged_lists_never_panic_and_stay_in_bounds() {
    let spice: [&[u8]; 16] = [
        b"'",
        b"+",
        b":",
        b"?",
        b"*",
        b"\r\n",
        b"\0",
        b"\xFF",
        b"UNB+UNOA:4+",
        b"UNT+1+1'",
        b"UNZ+1+1'",
        b"NAD+FL'",
        b"UNA:+.? \n",
        b"DTM+329:99999999:102'",
        b"\"",
        b"{",
    ];
    let begin = Instant::now();
    for seed in 0..20_000_u64 {
        let mut state = seed;
        let mut list = LISTS[(seed % 3) as usize].to_vec();
        for _ in 0..1 + next(&mut state) % 6 {
            let at = (next(&mut state) % list.len().max(1) as u64) as usize;
            let length = (next(&mut state) % 40) as usize;
            let end = (at + length).min(list.len());
            match next(&mut state) % 5 {
                0 => list[at] = next(&mut state) as u8,
                1 => drop(list.drain(at..end)),
                2 => {
                    let copy = list[at..end].to_vec();
                    let to = (next(&mut state) % list.len() as u64) as usize;
                    list.splice(to..to, copy);
                }
                3 => list[at] ^= 1 << (next(&mut state) % 8),
                _ => {
                    let insert = spice[(next(&mut state) % 16) as usize];
                    list.splice(at..at, insert.iter().copied());
                }
            }
            if list.is_empty() {
                break;
            }
        }
        // What is read is never more than what could be written in so many bytes.
        match parse(&list) {
            Ok(found) => assert!(people(&found) * 4 <= list.len() && found.warnings.len() <= 501, "seed {seed}"),
            Err(error) => assert!(error.place.byte_offset as usize <= list.len(), "seed {seed}: {error}"),
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "took {:?}", begin.elapsed());
}

#[test]
fn hostile_input_of_the_largest_size_is_answered_in_seconds() {
    let size = node_intake::limits::INPUT_BYTES_MAX;
    let fill = |head: &[u8], unit: &[u8]| {
        let mut input = head.to_vec();
        while input.len() + unit.len() <= size {
            input.extend_from_slice(unit);
        }
        input
    };
    let head = b"UNB+UNOA:4+A+B+300615:0830+R'UNH+1+PAXLST:D:02B:UN:IATA'BGM+745'TDT+20+EX1'";
    let floods: [(&[u8], &[u8]); 10] = [
        (head, b"'"),
        (head, b"+"),
        (head, b"X"),
        (head, b"A+B'"),
        (head, b"NAD+FL+++A:B'"),
        (b"", b"UNA:+.? \nUNB+UNOA:4+"),
        (b"", b"UNA:+.? 'UNB+"),
        (b"", b"UNB+UNOA:4+A+B'UNZ+0'"),
        (b"", b"\r\n"),
        (b"{\"travellers\":", b"["),
    ];
    for (head, unit) in floods {
        let begin = Instant::now();
        let answer = parse(&fill(head, unit));
        assert!(answer.is_err(), "{:?}", String::from_utf8_lossy(unit));
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?} took {:?}",
            String::from_utf8_lossy(unit),
            begin.elapsed()
        );
    }
}
