//! P3: whatever happens to one node, no gate request fails and each has its answer within the deadline. These are the
//! only assertions of the harness that measure time.

use std::time::{Duration, Instant};

use node_stage::oracle::{Entry, History, Kind, Outcome};

/// Every answer comes by then.
const DEADLINE: Duration = Duration::from_millis(2_000);

/// How long after a blow requests count as met by the failover.
pub const FAILOVER: Duration = Duration::from_millis(1_500);

/// p99 and longest answer of a kind of request.
type Bounds = (Duration, Duration);

/// Identifications during a failover.
const IDENTIFY: Bounds = (Duration::from_millis(150), Duration::from_millis(500));

/// Committed boardings during a failover.
const BOARD: Bounds = (Duration::from_millis(600), Duration::from_millis(1_200));

/// What anybody waits at most during a planned drain.
const PLANNED: Duration = Duration::from_millis(100);

/// No request was refused, none was left unanswered, none was late.
///
/// # Panics
/// With those that were.
pub fn check(history: &History) {
    let failed: Vec<String> = history
        .entries()
        .iter()
        .filter_map(|entry| match &entry.outcome {
            Outcome::Answered(_) if entry.took <= DEADLINE => None,
            Outcome::Answered(_) => Some(format!("{:?} of {}: {:?}", entry.kind, entry.encounter, entry.took)),
            Outcome::Refused(refusal) => Some(format!("{:?} of {}: {refusal}", entry.kind, entry.encounter)),
            Outcome::Unknown(reason) => Some(format!("{:?} of {}: {reason}", entry.kind, entry.encounter)),
        })
        .collect();
    let (asked, first) = (history.entries().len(), &failed[..failed.len().min(10)]);
    assert!(failed.is_empty(), "P3 is broken: {} of {asked} requests failed, the first: {first:#?}", failed.len());
}

/// Requests that were under way during the failover after a blow at `struck` took no longer than promised. Gives a
/// line that says how long they took.
///
/// # Panics
/// Where they took longer, or where the blow met no request.
pub fn check_failover(history: &History, struck: Instant) -> String {
    let met = |kind| history.around(struck, FAILOVER).filter(move |entry| entry.kind == kind);
    let identified = within("identifications", met(Kind::Identify), IDENTIFY);
    format!("{identified}; {}", within("boardings", met(Kind::Board), BOARD))
}

/// As [`check_failover`], of a history of nothing but identifications that were all made during a failover.
///
/// # Panics
/// As [`check_failover`].
pub fn check_identifications(history: &History) -> String {
    within("identifications", history.entries().iter(), IDENTIFY)
}

fn within<'a>(what: &str, met: impl Iterator<Item = &'a Entry>, (p99_max, longest_max): Bounds) -> String {
    let taken = sorted(met);
    assert!(taken.len() >= 20, "the blow met {} {what} only", taken.len());
    let (p50, p99, longest) = (percentile(&taken, 50), percentile(&taken, 99), taken[taken.len() - 1]);
    let line = format!("{} {what} met, p50 {p50:?} p99 {p99:?} max {longest:?}", taken.len());
    assert!(p99 <= p99_max && longest <= longest_max, "P3 is broken: {line}");
    line
}

/// How long requests of one kind took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    pub requests: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of a hundred took no longer.
    pub p99: Duration,
    pub longest: Duration,
    /// Whether that is within what is promised. Few requests have no meaningful p99: of fewer than a
    /// hundred only the longest is judged.
    pub kept: bool,
}

impl Took {
    fn of<'a>(met: impl Iterator<Item = &'a Entry>, (p99_max, longest_max): Bounds) -> Self {
        let taken = sorted(met);
        let Some(longest) = taken.last().copied() else { return Self { kept: true, ..Self::default() } };
        let (p50, p99) = (percentile(&taken, 50), percentile(&taken, 99));
        let kept = longest <= longest_max && (p99 <= p99_max || taken.len() < 100);
        Self { requests: taken.len(), p50, p99, longest, kept }
    }
}

/// How long identifications and boardings took, and whether that is within what is promised for a failover or, where a
/// change is `planned`, for that: for runs that write down what they measure on whatever machine they run, instead of
/// ending at the first figure that is too large.
pub fn measure(history: &History, planned: bool) -> (Took, Took) {
    let met = |kind| history.entries().iter().filter(move |entry| entry.kind == kind);
    let [identify, board] = if planned { [(PLANNED, PLANNED); 2] } else { [IDENTIFY, BOARD] };
    (Took::of(met(Kind::Identify), identify), Took::of(met(Kind::Board), board))
}

/// A planned change costs nobody more than 100 ms on top of what a request takes without it.
///
/// # Panics
/// Where it does.
pub fn check_planned(history: &History, from: Instant, length: Duration) -> String {
    let calm = sorted(history.entries().iter().filter(|entry| entry.begun + entry.took < from));
    let met = sorted(history.around(from, length));
    assert!(calm.len() >= 20 && met.len() >= 20, "{} requests before, {} during the change", calm.len(), met.len());
    let (usual, longest) = (percentile(&calm, 99), met[met.len() - 1]);
    let line = format!("p99 before {usual:?}, longest of {} during {longest:?}", met.len());
    assert!(longest <= usual + PLANNED, "P3 is broken: {line}");
    line
}

fn sorted<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Duration> {
    let mut taken: Vec<Duration> = entries.map(|entry| entry.took).collect();
    taken.sort_unstable();
    taken
}

/// The smallest value that at least so many hundredths are not above.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}
