//! The rules of an encounter at its entry node: where it is searched, what is recorded of it, and what the gate is
//! told. The [`machine`] goes through them step by step.

pub mod machine;
mod part;
pub mod step;

use std::time::Duration;

use cluster_config::canary::{Canaries, Canary};
use cluster_config::decision::{Confirmed, Directive, Recording};
use cluster_config::gallery::{Fence, GalleryId, ShardId};
use cluster_config::ids::{DeviceId, GalleryVersion, JourneyId, ModelVersion, NodeId, PortCode, RequestDigest, UnixMs};
use cluster_config::journey::{JourneyPlan, JourneyStatus};
use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::wire::gate::{Answer, Capture, Sample};
use cluster_config::wire::{Fix, Refusal, RefusalCode};
use coordinator_core::ledger::Place;
use coordinator_core::placement::Placement;
use coordinator_core::{Record, RecordOutcome, State};

use crate::decide::{self, Verdict};
use crate::reach::Reach;
use crate::search::Merged;

/// A shard of a journey's gallery, its committed version, and where it is, at one moment.
pub type Route = (ShardId, GalleryVersion, Placement);

/// Why a journey cannot be searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is closed or boards elsewhere, and that stays so.
    Never(Refusal),
    /// It is unknown or not built as far as this node's state goes, which may be behind.
    NotYet(Refusal),
}

impl Missing {
    /// What the gate is told. A node whose state is known to be `up_to_date` refuses for good what it does not know.
    /// Any other node sends the gate to the next one.
    pub fn into_refusal(self, up_to_date: bool) -> Refusal {
        match self {
            Self::NotYet(refusal) if !up_to_date => {
                let problem = format!("{}, by a state that may be an old one", refusal.problem);
                Refusal::new(RefusalCode::Unavailable, refusal.place, problem, "ask another node")
            }
            Self::Never(refusal) | Self::NotYet(refusal) => refusal,
        }
    }
}

/// Checks what a gate sent, but for the template's values, and says how long the gate waits for its answer. `model` is
/// the cluster's.
///
/// # Errors
/// `bad-value`, with the field.
pub fn check(capture: &Capture, model: ModelVersion) -> Result<Duration, Refusal> {
    let refuse = |place: &str, problem: String, fix: Fix| Err(Refusal::new(RefusalCode::BadValue, place, problem, fix));
    let Sample::Template { model: sent, .. } = &capture.sample;
    if *sent != model {
        let fix = Fix::with(format!("send templates of model {model}"));
        return refuse("capture.sample.model", format!("templates of {sent} cannot be searched here"), fix);
    }
    if capture.attempt == 0 {
        return refuse("capture.attempt", "0 is no attempt".to_owned(), "count attempts from 1".into());
    }
    if let Some(quality) = capture.detail.quality.filter(|quality| *quality > 100) {
        let problem = format!("{quality} is no quality of ISO/IEC 29794-1");
        return refuse("capture.detail.quality", problem, "give 0 to 100".into());
    }
    if capture.deadline_ms == 0 {
        let fix = Fix::with(format!("give 1 to {GATE_DEADLINE_MS} milliseconds"));
        return refuse("capture.deadline_ms", "0 leaves no time to search".to_owned(), fix);
    }
    Ok(Duration::from_millis(u64::from(capture.deadline_ms).min(GATE_DEADLINE_MS)))
}

/// What is asked of a journey's shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub shards: Vec<Route>,
    /// The lowest score that changes the decision, by the policy and the galleries' sizes at this moment.
    pub floor: f32,
}

impl Question {
    /// How far the gallery is that is asked for.
    pub fn fence(&self) -> Fence {
        self.shards.iter().fold(Fence::default(), |fence, (_, version, placement)| fence.and(*version, placement.epoch))
    }
}

/// What a capture of this journey, made where journeys within `reach` board, asks of its shards.
///
/// # Errors
/// Where the journey is unknown, closed, or not built yet, or boards elsewhere.
pub fn question(state: &State, id: JourneyId, reach: Reach, canaries: Canaries) -> Result<Question, Missing> {
    let Some(gallery) = state.passengers(id) else {
        if state.journeys().ended(id).is_some() {
            return Err(Missing::Never(not_open(id)));
        }
        let (place, problem) = ("capture.journey", format!("{id} is not known"));
        return Err(Missing::NotYet(Refusal::new(RefusalCode::NotFound, place, problem, "submit its manifest first")));
    };
    if let Some(port) = state.journeys().get(id).and_then(|plan| boards_elsewhere(plan, reach)) {
        return Err(Missing::Never(elsewhere(id, port)));
    }
    match gallery.status() {
        JourneyStatus::Announced | JourneyStatus::Building => return Err(Missing::NotYet(not_built(id))),
        JourneyStatus::Ready => {}
        JourneyStatus::Closed | JourneyStatus::Purging | JourneyStatus::Purged => {
            return Err(Missing::Never(not_open(id)));
        }
    }
    let mut shards = Vec::with_capacity(gallery.parts().len());
    // A gallery that has grown is searched as far as it is built: nobody of a new part has been promised anything yet.
    let built = state.galleries().shards(GalleryId::passengers(id)).filter(|(_, part)| part.version.0 > 0);
    for (shard, part) in built {
        let placement = state.placement(shard).ok_or_else(|| Missing::NotYet(not_built(id)))?;
        shards.push((shard, part.version, placement.clone()));
    }
    let templates = u64::from(gallery.counts().rows);
    Ok(Question { shards, floor: decide::floor(&state.policy().matching, templates, canaries) })
}

/// The port at which a journey boards, where that is beyond the reach of a gate.
fn boards_elsewhere(plan: &JourneyPlan, reach: Reach) -> Option<PortCode> {
    match reach {
        Reach::Port(port) if port != plan.departure_port => Some(plan.departure_port),
        Reach::Carrier(_) => Some(plan.departure_port),
        Reach::Port(_) | Reach::All => None,
    }
}

/// Decides a capture whose gallery was searched down to `floor`; absent where the policy or the gallery has changed
/// meanwhile so that lower scores count: then it has to be searched again, for all scores.
pub fn verdict(state: &State, capture: &Capture, merged: &Merged, floor: f32, canaries: Canaries) -> Option<Verdict> {
    let (matching, templates) = (&state.policy().matching, merged.templates);
    let enough = floor <= decide::floor(matching, templates, canaries);
    enough.then(|| decide::decide(matching, templates, &merged.candidates, capture.attempt, canaries))
}

/// What a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Identify,
    /// A record of the encounter.
    Board(Presented),
}

/// A capture that is presented for a boarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The device at which it is.
    pub device: DeviceId,
    /// The digest of [`Capture::content`] at that device: a retry has the same.
    pub request: RequestDigest,
}

/// What follows a search.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The gate is told this.
    Answer(Answer),
    /// This goes into the ledger before anything is answered (promise P1).
    Record(Record),
}

/// What follows the search of a capture that was decided at `at` by node `me`; `fence` tells how far the gallery was
/// that was searched.
pub fn after_search(
    me: NodeId,
    capture: &Capture,
    purpose: Purpose,
    at: UnixMs,
    (merged, fence): (&Merged, Fence),
    verdict: Verdict,
    canaries: Canaries,
) -> Next {
    let Purpose::Board(Presented { device, request }) = purpose else {
        return Next::Answer(answer(capture, merged, verdict, Recording::NotRequired));
    };
    if canaries.has(Canary::AnswerBeforeCommit) {
        return Next::Answer(answer(capture, merged, verdict, Recording::Committed));
    }
    let known = verdict.who.filter(|who| who.in_scope);
    Next::Record(Record {
        encounter: capture.encounter,
        request,
        gallery: GalleryId::passengers(capture.journey),
        device,
        entry: me,
        at,
        directive: verdict.directive,
        reason: verdict.reason,
        subject: known.map(|who| who.subject),
        mark: verdict.who.map(|who| who.mark),
        manifest_ordinal: known.map(|who| who.manifest_ordinal),
        epoch: merged.epoch,
        gallery_version: merged.version,
        fence,
        #[cfg(feature = "next")]
        attempt: capture.attempt,
    })
}

/// What becomes of a boarding that is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrecorded {
    /// The gate is told this.
    Refused(Refusal),
    /// The gallery has changed since it was searched: it is searched again.
    Behind,
    /// It was asked for before, or another request under its id: the record at this position of the ledger tells. It is
    /// in a file.
    InFile(u64),
}

/// The answer to a boarding once its record's fate is known: what the ledger says, whatever this search came to.
///
/// # Errors
/// What becomes of it where there is no record of it.
pub fn after_record(
    capture: &Capture,
    merged: &Merged,
    verdict: Verdict,
    outcome: RecordOutcome,
) -> Result<Answer, Unrecorded> {
    let stored = match outcome {
        RecordOutcome::Stored(stored) => stored,
        RecordOutcome::NotOpen => return Err(Unrecorded::Refused(not_open(capture.journey))),
        RecordOutcome::OtherRequest => return Err(Unrecorded::Refused(other_request(capture))),
        RecordOutcome::Behind => return Err(Unrecorded::Behind),
        RecordOutcome::Sealed(position) => return Err(Unrecorded::InFile(position)),
    };
    let mut answer = answer(capture, merged, verdict, Recording::Committed);
    answer.directive = stored.directive;
    answer.reason = stored.reason;
    answer.epoch = stored.epoch;
    answer.gallery_version = stored.gallery_version;
    answer.confirmed = confirmed(&stored, answer.confirmed);
    Ok(answer)
}

/// What node `me` can say of an encounter without a search. A retry that comes after its journey was closed is answered
/// from the ledger: there is no gallery any more.
///
/// # Errors
/// Where the ledger has another request under the encounter's id.
pub fn known_before(
    state: &State,
    capture: &Capture,
    request: RequestDigest,
    me: NodeId,
    canaries: Canaries,
) -> Option<Result<Answer, Refusal>> {
    let stored = state.ledger().find(capture.encounter)?;
    let answered = as_before(stored, capture, request, me, canaries);
    Some(answered).filter(|answered| answered.is_err() || !state.is_open(capture.journey))
}

/// The position in the ledger of the encounter's record, where a file has it and the journey is closed. While it is
/// open, the ledger says so once the capture is to be recorded.
pub fn in_file_before(state: &State, capture: &Capture) -> Option<u64> {
    let position = state.ledger().position(capture.encounter).filter(|_| !state.is_open(capture.journey))?;
    matches!(state.ledger().place(position), Some(Place::Sealed(..))).then_some(position)
}

/// The answer that was given when the record was made.
///
/// # Errors
/// Where it is another request's.
pub fn as_before(
    stored: &Record,
    capture: &Capture,
    request: RequestDigest,
    me: NodeId,
    canaries: Canaries,
) -> Result<Answer, Refusal> {
    if stored.encounter != capture.encounter || !stored.answers(request, canaries) {
        return Err(other_request(capture));
    }
    Ok(Answer {
        encounter: stored.encounter,
        directive: stored.directive,
        reason: stored.reason,
        confirmed: confirmed(stored, None),
        recording: Recording::Committed,
        epoch: stored.epoch,
        gallery_version: stored.gallery_version,
        searched_by: me,
    })
}

/// The refusal of a request whose encounter's id was given to another one. It tells nothing of that one.
fn other_request(capture: &Capture) -> Refusal {
    let problem = format!("{} is the id of another request", capture.encounter);
    let fix = "give each capture a new random id; a retry has to repeat its request as it was";
    Refusal::new(RefusalCode::Conflict, "capture.encounter", problem, fix)
}

/// The refusal of a capture for a journey that boards at another port than the gate's.
fn elsewhere(journey: JourneyId, port: PortCode) -> Refusal {
    let problem = format!("{journey} boards at {port}, and this gate is not there");
    Refusal::new(
        RefusalCode::WrongRole,
        "capture.journey",
        problem,
        "give a journey that boards at the gate's own port",
    )
}

/// The refusal of an identification by node `me`, whose state no leader has confirmed for so long.
fn cut_off(me: NodeId, unconfirmed_us: u64) -> Refusal {
    let problem = format!("no leader has confirmed for {} ms that what it knows is up to date", unconfirmed_us / 1_000);
    Refusal::new(RefusalCode::Unavailable, format!("node {me}"), problem, "ask another node")
}

/// The refusal of a capture for a journey that is closed.
pub fn not_open(journey: JourneyId) -> Refusal {
    Refusal::new(
        RefusalCode::NotOpen,
        "capture.journey",
        format!("{journey} is closed"),
        "send the traveller to an officer",
    )
}

/// The refusal of a capture for a journey whose gallery is not complete.
pub fn not_built(journey: JourneyId) -> Refusal {
    let problem = format!("the gallery of {journey} is not built yet");
    Refusal::new(RefusalCode::NotOpen, "capture.journey", problem, "wait until `tvs gallery show` says ready")
}

/// Whom a recorded boarding confirms. People out of scope leave no trace in the ledger, so theirs is what this search
/// found.
fn confirmed(stored: &Record, found: Option<Confirmed>) -> Option<Confirmed> {
    if stored.directive != Directive::Proceed {
        return None;
    }
    match (stored.subject, stored.manifest_ordinal) {
        (Some(subject), Some(manifest_ordinal)) => Some(Confirmed { subject, manifest_ordinal }),
        _ => found,
    }
}

fn answer(capture: &Capture, merged: &Merged, verdict: Verdict, recording: Recording) -> Answer {
    Answer {
        encounter: capture.encounter,
        directive: verdict.directive,
        reason: verdict.reason,
        confirmed: verdict.who.map(|who| Confirmed { subject: who.subject, manifest_ordinal: who.manifest_ordinal }),
        recording,
        epoch: merged.epoch,
        gallery_version: merged.version,
        searched_by: merged.searched_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// P10: what a gate sends is refused with the field that is wrong; no gate is made to wait longer than a gate may.
    #[test]
    fn a_capture_is_refused_by_the_field_that_is_wrong() {
        let checked = |change: &dyn Fn(&mut Capture)| {
            let mut capture = fixture::capture();
            change(&mut capture);
            check(&capture, fixture::model()).map_err(|refusal| {
                assert_eq!(refusal.code, RefusalCode::BadValue);
                refusal.place
            })
        };
        let other: ModelVersion = "other-512-v1".parse().expect("a model");
        let wrong = |field: &str| Err(field.to_owned());
        assert_eq!(
            checked(&|c| c.sample = Sample::Template { model: other, values: vec![1.0] }),
            wrong("capture.sample.model")
        );
        assert_eq!(checked(&|c| c.attempt = 0), wrong("capture.attempt"));
        assert_eq!(checked(&|c| c.detail.quality = Some(101)), wrong("capture.detail.quality"));
        assert_eq!(checked(&|c| c.deadline_ms = 0), wrong("capture.deadline_ms"));
        assert_eq!(checked(&|c| c.detail.quality = Some(100)), Ok(Duration::from_millis(2_000)));
        assert_eq!(checked(&|c| c.deadline_ms = 1), Ok(Duration::from_millis(1)));
        assert_eq!(checked(&|c| c.deadline_ms = u32::MAX), Ok(Duration::from_millis(GATE_DEADLINE_MS)));
    }
}
