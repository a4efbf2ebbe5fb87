//! The entry node's part of a capture: check it, search the gallery wherever its shards are, decide, record, answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_config::ids::{DeviceId, NodeId};
use cluster_config::limits::{GATE_DEADLINE_MS, IDENTIFICATIONS_IN_FLIGHT_MAX, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::wire::gate::{Answer, Capture, Sample};
use cluster_config::wire::peer::{self, Priority, ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::blueprint::Placement;
use futures::stream::{FuturesUnordered, StreamExt};
use node_core::decide::Verdict;
use node_core::encounter::{
    Missing, Next, Purpose, Question, Route, after_record, after_search, answered_before_closing, not_built, not_open,
    question, verdict,
};
use node_core::hedge::Hedge;
use node_core::search::{Merged, merge, route};
use node_link::Lane;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::context::{Context, out_of_turn};
use crate::freshness;
use crate::proposer::Proposer;

/// Pause before replicas that all failed are asked again; by then the blueprint may name others.
const ROUND_PAUSE: Duration = Duration::from_millis(10);

/// How long a node tries to catch up before it sends a gate to another: a few round trips within a country, and a
/// fraction of what a gate waits.
const CATCH_UP: Duration = Duration::from_millis(250);

/// The entry node's part.
pub struct Entry {
    context: Arc<Context>,
    proposer: Proposer,
    hedge: Mutex<Hedge>,
    /// From where `hedge` counts.
    began: Instant,
    slots: Semaphore,
    /// What identifications need besides.
    identify_slots: Semaphore,
    identify_seconds: metrics::Histogram,
    board_seconds: metrics::Histogram,
}

impl Entry {
    /// An entry that works with these.
    pub fn new(context: Arc<Context>, proposer: Proposer) -> Self {
        Self {
            context,
            proposer,
            hedge: Mutex::default(),
            began: Instant::now(),
            slots: Semaphore::new(SEARCHES_IN_FLIGHT_MAX),
            identify_slots: Semaphore::new(IDENTIFICATIONS_IN_FLIGHT_MAX),
            // Looking a metric up costs more than counting it.
            identify_seconds: metrics::histogram!("tvs_identify_seconds"),
            board_seconds: metrics::histogram!("tvs_board_seconds"),
        }
    }

    /// Searches the gallery; nothing is recorded.
    ///
    /// # Errors
    /// A refusal with the place and the fix.
    pub async fn identify(&self, capture: Capture) -> Result<Answer, Refusal> {
        let started = Instant::now();
        let _slots = (self.admit(&self.identify_slots)?, self.admit(&self.slots)?);
        let deadline = self.check(&capture, started)?;
        let (merged, verdict) = self.search(&capture, Priority::Identify, deadline).await?;
        let next = after_search(&capture, Purpose::Identify, clock::now(), &merged, verdict);
        let answer = self.finish(&capture, &merged, verdict, next, deadline).await?;
        self.identify_seconds.record(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Searches the gallery and records the encounter before it is answered (promise P1).
    ///
    /// # Errors
    /// As [`Entry::identify`].
    pub async fn board(&self, capture: Capture, device: DeviceId) -> Result<Answer, Refusal> {
        let started = Instant::now();
        let _slot = self.admit(&self.slots)?;
        let deadline = self.check(&capture, started)?;
        let before = || self.context.coordinator.with_state(|s| answered_before_closing(s, &capture, self.context.me));
        if let Some(answered) = before() {
            return Ok(answered);
        }
        let answered = match self.board_now(&capture, device, deadline).await {
            // The journey was closed meanwhile, perhaps after another node had recorded this very encounter.
            Err(refusal) if refusal.code == RefusalCode::NotOpen => before().ok_or(refusal),
            answered => answered,
        };
        if answered.is_ok() {
            self.board_seconds.record(started.elapsed().as_secs_f64());
        }
        answered
    }

    async fn board_now(&self, capture: &Capture, device: DeviceId, deadline: Instant) -> Result<Answer, Refusal> {
        let (merged, verdict) = self.search(capture, Priority::Board, deadline).await?;
        let next = after_search(capture, Purpose::Board(device), clock::now(), &merged, verdict);
        self.finish(capture, &merged, verdict, next, deadline).await
    }

    async fn finish(
        &self,
        capture: &Capture,
        merged: &Merged,
        verdict: Verdict,
        next: Next,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        match next {
            Next::Answer(answer) => Ok(answer),
            Next::Record(record) => {
                let outcome = self.proposer.record(record, deadline).await?;
                after_record(capture, merged, verdict, outcome)
            }
        }
    }

    fn admit<'a>(&self, slots: &'a Semaphore) -> Result<SemaphorePermit<'a>, Refusal> {
        slots.try_acquire().map_err(|_| {
            metrics::counter!("tvs_requests_shed_total").increment(1);
            let place = format!("node {}: as many searches in flight as it takes", self.context.me);
            Refusal::new(RefusalCode::Busy, place, "try again in a moment, or ask another node")
        })
    }

    /// Checks what the gate sent, and says until when it wants its answer.
    fn check(&self, capture: &Capture, started: Instant) -> Result<Instant, Refusal> {
        let refuse = |place: &str, fix: String| Err(Refusal::new(RefusalCode::BadValue, place, fix));
        let Sample::Template { model, values } = &capture.sample;
        if *model != self.context.settings.model {
            let fix = format!("send templates of model {}, not {model}", self.context.settings.model);
            return refuse("capture.sample.model", fix);
        }
        if let Err(error) = shaders::check_probe(self.context.settings.template_dims, values) {
            return refuse("capture.sample.values", error.to_string());
        }
        if capture.attempt == 0 {
            return refuse("capture.attempt", "count attempts from 1".to_owned());
        }
        if capture.detail.quality.is_some_and(|quality| quality > 100) {
            return refuse("capture.detail.quality", "give 0 to 100 (ISO/IEC 29794-1)".to_owned());
        }
        let wait_ms = u64::from(capture.deadline_ms).min(GATE_DEADLINE_MS);
        if wait_ms == 0 {
            return refuse("capture.deadline_ms", format!("give 1 to {GATE_DEADLINE_MS} milliseconds"));
        }
        Ok(started + Duration::from_millis(wait_ms))
    }

    async fn search(
        &self,
        capture: &Capture,
        priority: Priority,
        deadline: Instant,
    ) -> Result<(Merged, Verdict), Refusal> {
        let mut floor_max = f32::INFINITY;
        loop {
            let Question { shards, floor } = self.question(capture, deadline).await?;
            let floor = floor.min(floor_max);
            let urgency = (priority, deadline);
            let parts = shards.into_iter().map(|shard| self.search_shard(capture, floor, shard, urgency));
            let parts = futures::future::try_join_all(parts).await?;
            let merged = merge(parts).ok_or_else(|| not_built(capture.journey))?;
            if let Some(verdict) = self.context.coordinator.with_state(|s| verdict(s, capture, &merged, floor)) {
                return Ok((merged, verdict));
            }
            floor_max = f32::NEG_INFINITY;
        }
    }

    /// What to ask of which shards. A node that lags behind does not know the newest journeys and galleries: before it says so to a
    /// gate, which would ask nobody else, it makes up what it lacks and looks again (P5).
    async fn question(&self, capture: &Capture, deadline: Instant) -> Result<Question, Refusal> {
        let look = || self.context.coordinator.with_state(|state| question(state, capture.journey));
        let caught_up = match look() {
            Err(Missing::NotYet(_)) => {
                freshness::catch_up(&self.context, deadline.min(Instant::now() + CATCH_UP)).await
            }
            found => return found.map_err(|missing| missing.into_refusal(true)),
        };
        look().map_err(|missing| missing.into_refusal(caught_up.is_ok()))
    }

    /// Asks the shard's replicas, the next one when the one before fails or is not there by the hedge delay, round
    /// after round until the deadline.
    async fn search_shard(
        &self,
        capture: &Capture,
        floor: f32,
        (shard, version, mut placement): Route,
        (priority, deadline): (Priority, Instant),
    ) -> Result<ShardFound, Refusal> {
        let Sample::Template { model, values } = &capture.sample;
        let wait_ms = remaining_ms(deadline);
        let (version_min, model, probe) = (version, *model, values.clone());
        let search = ShardSearch { shard, version_min, model, probe, floor, priority, wait_ms };
        loop {
            let last = match self.search_round(&search, &placement, deadline).await {
                Ok(found) => return Ok(found),
                Err(refusal) => refusal,
            };
            if !last.code.retryable() || Instant::now() + ROUND_PAUSE >= deadline {
                return Err(last);
            }
            tokio::time::sleep(ROUND_PAUSE).await;
            let now = self.context.coordinator.with_state(|state| state.blueprint.placements.get(&shard).cloned());
            placement = now.ok_or_else(|| not_open(capture.journey))?;
        }
    }

    async fn search_round(
        &self,
        search: &ShardSearch,
        placement: &Placement,
        deadline: Instant,
    ) -> Result<ShardFound, Refusal> {
        let shard = search.shard;
        let serving = self.context.directory.serving(shard).filter(|serving| serving.may_answer(search));
        let local_ready = serving.is_some();
        if let Some(found) = serving.and_then(|serving| self.context.engine.search_at_once(&serving, search)) {
            return found;
        }
        let (replicas, delay) = {
            let (hedge, now_us) = (self.hedge(), self.now_us());
            let replicas = route(placement, self.context.me, local_ready, |node| hedge.is_silent(node, now_us));
            (replicas, Duration::from_micros(hedge.delay_us()))
        };
        let mut last = Refusal::new(RefusalCode::Unavailable, format!("gallery {shard}: no replica"), "try again");
        let mut asked = FuturesUnordered::new();
        let mut next = replicas.into_iter();
        let mut asked_last = None;
        loop {
            if let Some(node) = next.next() {
                if !asked.is_empty() {
                    metrics::counter!("tvs_search_hedges_total").increment(1);
                }
                asked_last = Some(node);
                asked.push(self.ask(search, node, deadline));
            }
            let patience = if next.len() > 0 { Instant::now() + delay } else { deadline };
            tokio::select! {
                // What is answered at once needs no timer.
                biased;
                answered = asked.next() => match answered {
                    Some(Ok(found)) => return Ok(found),
                    Some(Err(refusal)) => last = refusal,
                    None => return Err(last),
                },
                () = tokio::time::sleep_until(patience.into()) => {
                    if Instant::now() >= deadline {
                        return Err(last);
                    }
                    if let Some(node) = asked_last {
                        self.hedge().was_silent(node, self.now_us());
                    }
                }
            }
        }
    }

    fn hedge(&self) -> MutexGuard<'_, Hedge> {
        // Nothing that holds the lock can panic half-way through a change.
        self.hedge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    async fn ask(&self, search: &ShardSearch, node: NodeId, deadline: Instant) -> Result<ShardFound, Refusal> {
        let search = ShardSearch { wait_ms: remaining_ms(deadline), ..search.clone() };
        if node == self.context.me {
            return search_here(&self.context, search).await;
        }
        let started = Instant::now();
        let timeout = deadline.saturating_duration_since(started);
        let found = self.context.ask(node, Lane::Search, &peer::Request::Search(search), timeout).await?;
        self.hedge().answered(node, started.elapsed().as_micros() as u64);
        match found {
            peer::Response::Found(found) => Ok(found),
            _ => Err(out_of_turn(node)),
        }
    }
}

/// Milliseconds that are left until then.
fn remaining_ms(deadline: Instant) -> u32 {
    u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
}

/// Searches a shard that runs on this node.
///
/// # Errors
/// `unavailable` where it does not run here or is behind, and the engine's.
pub async fn search_here(context: &Context, search: ShardSearch) -> Result<ShardFound, Refusal> {
    match context.directory.serving(search.shard) {
        Some(serving) if serving.may_answer(&search) => context.engine.search(serving, search).await,
        _ => {
            let place = format!("node {}: gallery {} is not here at the version asked", context.me, search.shard);
            Err(Refusal::new(RefusalCode::Unavailable, place, "ask another replica"))
        }
    }
}
