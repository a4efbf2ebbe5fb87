//! A day's flights, out of a table of departures.

use std::collections::BTreeMap;
use std::path::Path;

/// Minutes of a day.
pub const DAY_MIN: u32 = 24 * 60;

/// The columns that are needed; others are ignored.
const COLUMNS: [&str; 6] = ["carrier", "flight", "origin", "dest", "pax", "utc_min"];

/// The largest flight that can be used: the harness numbers the people of a flight with three digits.
const TRAVELLERS_MAX: u32 = 999;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    pub carrier: String,
    pub number: u32,
    /// Port of departure.
    pub from: String,
    /// Port of arrival.
    pub to: String,
    pub travellers: u32,
    /// Minutes after midnight, UTC.
    pub at_min: u32,
}

/// Reads a table: comma-separated, with a first line that names its columns.
///
/// # Errors
/// The line and the column that cannot be used.
pub fn read(path: &Path) -> Result<Vec<Departure>, String> {
    let place = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    parse(&text).map_err(|problem| format!("{place}: {problem}"))
}

fn parse(text: &str) -> Result<Vec<Departure>, String> {
    let mut lines = text.lines().enumerate();
    let names: Vec<&str> = lines.next().map(|(_, line)| line.split(',').map(str::trim).collect()).unwrap_or_default();
    let mut at = [0; COLUMNS.len()];
    for (place, name) in at.iter_mut().zip(COLUMNS) {
        let found = names.iter().position(|other| *other == name);
        *place = found.ok_or(format!("line 1: there is no column {name:?}; it needs {COLUMNS:?}"))?;
    }
    let mut departures: BTreeMap<(String, u32, String), Departure> = BTreeMap::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let cell = |column: usize| {
            let found = cells.get(at[column]).copied().filter(|cell| !cell.is_empty());
            found.ok_or(format!("line {}: column {:?} is missing", index + 1, COLUMNS[column]))
        };
        let number = |column: usize| {
            let text = cell(column)?;
            let wrong = |_| format!("line {}: column {:?}: {text:?} is no whole number", index + 1, COLUMNS[column]);
            text.parse::<u32>().map_err(wrong)
        };
        let departure = Departure {
            carrier: cell(0)?.to_owned(),
            number: number(1)?,
            from: cell(2)?.to_owned(),
            to: cell(3)?.to_owned(),
            travellers: number(4)?.clamp(1, TRAVELLERS_MAX),
            at_min: number(5)? % DAY_MIN,
        };
        let key = (departure.carrier.clone(), departure.number, departure.from.clone());
        if departures.insert(key, departure).is_some() {
            return Err(format!("line {}: this flight leaves from this port twice", index + 1));
        }
    }
    let mut departures: Vec<Departure> = departures.into_values().collect();
    departures.sort_by_key(|departure| departure.at_min);
    Ok(departures)
}

/// The flights that leave between two hours, or as many of them as wanted, evenly taken.
pub fn part(departures: Vec<Departure>, hours: (u32, u32), flights: Option<usize>) -> Vec<Departure> {
    let within = |departure: &Departure| (hours.0 * 60..hours.1 * 60).contains(&departure.at_min);
    let kept: Vec<Departure> = departures.into_iter().filter(within).collect();
    let wanted = flights.unwrap_or(kept.len()).min(kept.len());
    let count = kept.len();
    let taken = kept.into_iter().enumerate().filter(|(index, _)| (index + 1) * wanted / count > index * wanted / count);
    taken.map(|(_, departure)| departure).collect()
}

/// The first minute of the hour in which most people leave.
pub fn busiest_hour(departures: &[Departure]) -> u32 {
    let leaving = |from: u32| -> u32 {
        let within = departures.iter().filter(|departure| (from..from + 60).contains(&departure.at_min));
        within.map(|departure| departure.travellers).sum()
    };
    (0..DAY_MIN).step_by(10).max_by_key(|from| (leaving(*from), DAY_MIN - from)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "carrier,flight,origin,dest,dest_country,pax,utc_min\n\
                         4Y,1051,MCO,FRA,DE,222,10\nAA,7,JFK,MEX,MX,128,70\nBA,9,BOS,LHR,GB,111,75\n\
                         LH,1,JFK,FRA,DE,9,600\n";

    #[test]
    fn a_table_is_read_and_a_part_of_it_taken() {
        let all = parse(TABLE).expect("a table");
        assert_eq!((all.len(), all[0].number, all[3].travellers), (4, 1051, 9));
        assert_eq!(busiest_hour(&all), 20, "the first of the hours that hold the two of 70 and 75");
        let some = part(all.clone(), (1, 24), Some(2));
        assert_eq!(some.iter().map(|departure| departure.number).collect::<Vec<_>>(), [9, 1]);
        assert_eq!(part(all, (0, 1), None).len(), 1);
    }

    #[test]
    fn a_wrong_table_is_refused_with_its_line() {
        assert!(parse("carrier,flight\n").expect_err("refused").contains("origin"));
        let wrong = parse(&TABLE.replace("128", "many")).expect_err("refused");
        assert!(wrong.contains("line 3") && wrong.contains("pax"), "{wrong}");
        let twice = parse(&format!("{TABLE}AA,7,JFK,LHR,GB,1,5\n")).expect_err("refused");
        assert!(twice.contains("twice"), "{twice}");
    }
}
