//! P1: the ledger is linearizable (Herlihy and Wing, "Linearizability", 1990). A record takes effect at one moment
//! between the first asking for it and its first answer, and the ledger has all records in the order of these moments:
//! one that was answered before another was asked for stands before it, whichever nodes the two were asked at. A ledger
//! that anybody can append to at some node alone, or a leader that was deposed and does not know, breaks that.

use std::collections::BTreeMap;
use std::time::Instant;

use cluster_config::decision::Recording;
use cluster_config::ids::EncounterId;
use cluster_config::wire::operator::LedgerRecord;

use node_stage::oracle::History;

/// What clients saw of one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Append {
    pub(crate) encounter: EncounterId,
    /// Where it stands in the ledger.
    pub(crate) position: u64,
    /// When it was asked for first.
    pub(crate) asked: Instant,
    /// When it was answered first.
    pub(crate) answered: Option<Instant>,
}

/// The pairs of records that stand the wrong way round.
pub fn violations(history: &History, ledger: &[LedgerRecord]) -> Vec<String> {
    let positions: BTreeMap<EncounterId, u64> =
        ledger.iter().map(|record| (record.encounter, record.position)).collect();
    let mut appends: BTreeMap<EncounterId, Append> = BTreeMap::new();
    for entry in history.boardings() {
        let Some(position) = positions.get(&entry.encounter).copied() else { continue };
        let encounter = entry.encounter;
        let new = Append { encounter, position, asked: entry.begun, answered: None };
        let append = appends.entry(encounter).or_insert(new);
        append.asked = append.asked.min(entry.begun);
        if entry.outcome.answer().is_some_and(|answer| answer.recording == Recording::Committed) {
            let answered = entry.begun + entry.took;
            append.answered = Some(append.answered.map_or(answered, |earlier| earlier.min(answered)));
        }
    }
    wrong_way_round(appends.into_values().collect())
}

/// The pairs of records that stand the wrong way round.
pub(crate) fn wrong_way_round(mut asked: Vec<Append>) -> Vec<String> {
    let mut answered: Vec<(Instant, Append)> =
        asked.iter().filter_map(|append| Some((append.answered?, *append))).collect();
    answered.sort_by_key(|(at, _)| *at);
    asked.sort_by_key(|append| append.asked);
    let mut earlier = answered.into_iter().peekable();
    let mut last: Option<Append> = None;
    let mut violations = Vec::new();
    for append in asked {
        while let Some((_, done)) = earlier.next_if(|(at, _)| *at < append.asked) {
            last = last.filter(|last| last.position > done.position).or(Some(done));
        }
        if let Some(last) = last.filter(|last| last.position > append.position) {
            violations.push(format!(
                "encounter {} stands at {}, before {} at {}, which was answered before it was asked for",
                append.encounter, append.position, last.encounter, last.position
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_did_not_overlap_has_an_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let append = |position, asked, answered: Option<u64>| Append {
            encounter: EncounterId(u128::from(position)),
            position,
            asked: at(asked),
            answered: answered.map(at),
        };
        // 3 overlaps both; 5 was never answered, and nothing follows from its place for those asked later.
        let right = vec![append(1, 0, Some(10)), append(2, 11, Some(20)), append(3, 5, Some(30)), append(5, 0, None)];
        assert_eq!(wrong_way_round([right.clone(), vec![append(4, 31, Some(40))]].concat()), [""; 0]);
        let wrong = wrong_way_round([right, vec![append(0, 25, Some(40))]].concat());
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("stands at 0, before") && wrong[0].ends_with("asked for"), "{wrong:?}");
    }
}
