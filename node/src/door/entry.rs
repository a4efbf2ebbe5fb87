//! The entry node's part of a capture: it is admitted and checked, then gone through step by step. What the steps are,
//! is decided in [`node_core::encounter::machine`]; here their effects are performed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use cluster_config::actor::Holder;
use cluster_config::canary::Canaries;
use cluster_config::ids::{DeviceId, ModelVersion, NodeId, RequestDigest};
use cluster_config::limits::{IDENTIFICATIONS_IN_FLIGHT_MAX, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::rights::Ask;
use cluster_config::wire::gate::{Answer, Capture, Sample, Welcome};
use cluster_config::wire::peer::{self, ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use coordinator_core::Record;
use coordinator_core::devices::{self, Unfit};
use futures::stream::{FuturesUnordered, StreamExt};
use node_core::encounter::machine::{CATCH_UP_US, Machine};
use node_core::encounter::step::{Effect, Event, Here, Moment};
use node_core::encounter::{self, Presented, Purpose};
use node_core::hedge::Hedge;
use node_core::reach::Reach;
use node_link::Lane;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock;
use crate::gallery::search::Searches;
use crate::group::chunks::ChunkFiles;
use crate::group::freshness::Freshness;
use crate::group::proposer::Proposer;
use crate::peers::links::{Links, out_of_turn};

/// The entry node's part.
pub struct Entry {
    coordinator: Coordinator,
    links: Links,
    searches: Searches,
    proposer: Proposer,
    freshness: Arc<Freshness>,
    chunks: Arc<ChunkFiles>,
    /// The cluster's model, and the numbers in its templates.
    model: (ModelVersion, usize),
    hedge: Mutex<Hedge>,
    /// From where the machines count their time.
    began: Instant,
    slots: Semaphore,
    /// What identifications need besides.
    identify_slots: Semaphore,
    identify_seconds: metrics::Histogram,
    board_seconds: metrics::Histogram,
}

/// What a capture waits for.
enum Work {
    Ask {
        part: usize,
        replica: NodeId,
        search: ShardSearch,
    },
    /// That the node has caught up.
    CatchUp {
        until_us: u64,
    },
    /// That the record is in the ledger.
    Record(Record),
    /// A record that is in a file of the ledger.
    Read(u64),
}

/// What became of an effect.
enum Performed {
    /// It is done, and this came of it.
    Now(Event),
    /// Something has to be waited for.
    Later(Work),
    Noted,
}

/// The digest by which a retry of a boarding is known as one (P12).
pub fn request_digest(capture: &Capture, device: DeviceId) -> RequestDigest {
    let hash = digest::digest(&digest::SHA256, &capture.content(device));
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_ref()[..16]);
    RequestDigest(first)
}

impl Entry {
    /// An entry for templates of this model and with so many numbers, which searches here and at the other nodes.
    pub fn new(
        coordinator: Coordinator,
        links: Links,
        searches: Searches,
        proposer: Proposer,
        freshness: Arc<Freshness>,
        chunks: Arc<ChunkFiles>,
        model: (ModelVersion, usize),
    ) -> Self {
        Self {
            coordinator,
            links,
            searches,
            proposer,
            freshness,
            chunks,
            model,
            hedge: Mutex::default(),
            began: Instant::now(),
            slots: Semaphore::new(SEARCHES_IN_FLIGHT_MAX),
            identify_slots: Semaphore::new(IDENTIFICATIONS_IN_FLIGHT_MAX),
            // Looking a metric up costs more than counting it.
            identify_seconds: metrics::histogram!("tvs_identify_seconds"),
            board_seconds: metrics::histogram!("tvs_board_seconds"),
        }
    }

    /// Who answers, and where the other members are.
    pub fn welcome(&self) -> Welcome {
        let members = self.coordinator.with_state(|s| s.members().iter().map(|m| m.member.address.clone()).collect());
        Welcome { node: self.me(), members }
    }

    /// Searches the gallery; nothing is recorded.
    ///
    /// # Errors
    /// A refusal with the place and the fix.
    pub async fn identify(&self, capture: Capture, reach: Reach) -> Result<Answer, Refusal> {
        let started = Instant::now();
        let _slots = (self.admit(&self.identify_slots)?, self.admit(&self.slots)?);
        let answer = self.present(capture, (Purpose::Identify, reach), started).await?;
        self.identify_seconds.record(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Searches the gallery and records the encounter before it is answered (promise P1).
    ///
    /// # Errors
    /// As [`Entry::identify`].
    pub async fn board(&self, capture: Capture, reach: Reach, device: DeviceId) -> Result<Answer, Refusal> {
        let started = Instant::now();
        let _slot = self.admit(&self.slots)?;
        let request = request_digest(&capture, device);
        let purpose = Purpose::Board(Presented { device, request });
        let answer = self.present(capture, (purpose, reach), started).await?;
        self.board_seconds.record(started.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Judges a request of a device by what is registered of it. One that this node does not know may have been
    /// registered at another a moment ago.
    ///
    /// # Errors
    /// A refusal with the place and the fix.
    pub async fn judge(&self, device: &Holder, ask: Ask) -> Result<(), Refusal> {
        let judge = || self.coordinator.with_state(|state| devices::judge(state.devices(), device, ask));
        let Err(unfit) = judge() else { return Ok(()) };
        if let Unfit::Refused(refusal) = unfit {
            return Err(refusal);
        }
        let caught_up = self.freshness.catch_up(Instant::now() + Duration::from_micros(CATCH_UP_US)).await;
        judge().map_err(|unfit| unfit.into_refusal(caught_up.is_ok()))
    }

    fn me(&self) -> NodeId {
        self.coordinator.node_id()
    }

    fn admit<'a>(&self, slots: &'a Semaphore) -> Result<SemaphorePermit<'a>, Refusal> {
        slots.try_acquire().map_err(|_| {
            metrics::counter!("tvs_requests_shed_total").increment(1);
            let (place, problem) = (format!("node {}", self.me()), "as many searches are in flight as it takes");
            Refusal::new(RefusalCode::Busy, place, problem, "try again in a moment, or ask another node")
        })
    }

    /// Checks what the gate sent, and says how long it waits for its answer.
    fn check(&self, capture: &Capture) -> Result<Duration, Refusal> {
        let (model, dims) = self.model;
        let wait = encounter::check(capture, model)?;
        let Sample::Template { values, .. } = &capture.sample;
        match shaders::check_probe(dims, values) {
            Ok(()) => Ok(wait),
            Err(error) => {
                let (place, problem) = ("capture.sample.values", error.to_string());
                Err(Refusal::new(RefusalCode::BadValue, place, problem, error.fix()))
            }
        }
    }

    async fn present(&self, capture: Capture, asked: (Purpose, Reach), started: Instant) -> Result<Answer, Refusal> {
        let wait = self.check(&capture)?;
        let deadline_us = ((started - self.began) + wait).as_micros() as u64;
        let mut machine = Machine::new(self.me(), capture, asked, deadline_us, Canaries::of_process());
        let mut effects = VecDeque::new();
        let mut works = FuturesUnordered::new();
        let mut event = Event::Began;
        loop {
            machine.step(self.now(), event, &mut effects);
            while let Some(effect) = effects.pop_front() {
                match effect {
                    Effect::Answer(answer) => return answer,
                    Effect::Forget => works.clear(),
                    effect => match self.perform(&machine, effect) {
                        Performed::Now(event) => machine.step(self.now(), event, &mut effects),
                        Performed::Later(work) => works.push(self.wait_for(work, deadline_us)),
                        Performed::Noted => {}
                    },
                }
            }
            event = tokio::select! {
                // What is answered at once needs no timer.
                biased;
                Some(event) = works.next() => event,
                () = tokio::time::sleep_until(self.instant(machine.wake_us()).into()) => Event::TimeCame,
            };
        }
    }

    fn perform(&self, machine: &Machine, effect: Effect) -> Performed {
        match effect {
            Effect::Look(look) => {
                Performed::Now(Event::Looked(self.coordinator.with_state(|state| machine.look(look, state))))
            }
            Effect::SearchHere { part } => {
                let here = machine.search(part).map(|search| self.search_at_once(search));
                here.map_or(Performed::Noted, |here| Performed::Now(Event::SearchedHere { part, here }))
            }
            Effect::Ask { part, replica, wait_ms } => {
                let search = machine.search(part).map(|search| ShardSearch { wait_ms, ..search.clone() });
                search.map_or(Performed::Noted, |search| Performed::Later(Work::Ask { part, replica, search }))
            }
            Effect::CatchUp { until_us } => Performed::Later(Work::CatchUp { until_us }),
            Effect::Record(record) => Performed::Later(Work::Record(record)),
            Effect::Read(position) => Performed::Later(Work::Read(position)),
            Effect::Hedged => {
                metrics::counter!("tvs_search_hedges_total").increment(1);
                Performed::Noted
            }
            Effect::Silent(replica) => {
                self.hedge().was_silent(replica, self.now_us());
                Performed::Noted
            }
            Effect::Heard { replica, latency_us } => {
                self.hedge().answered(replica, latency_us);
                Performed::Noted
            }
            // These end what is under way: the loop's part.
            Effect::Forget | Effect::Answer(_) => Performed::Noted,
        }
    }

    async fn wait_for(&self, work: Work, deadline_us: u64) -> Event {
        match work {
            Work::Ask { part, replica, search } => {
                Event::Answered { part, replica, result: self.ask(replica, search, deadline_us).await }
            }
            Work::CatchUp { until_us } => {
                Event::CaughtUp(self.freshness.catch_up(self.instant(until_us)).await.is_ok())
            }
            Work::Record(record) => Event::Recorded(self.proposer.record(record, self.instant(deadline_us)).await),
            Work::Read(position) => Event::Read(self.chunks.record(position).await),
        }
    }

    /// Searches a replica that runs here where that is quicker done than handed on.
    fn search_at_once(&self, search: &ShardSearch) -> Here {
        match self.searches.search_at_once(search) {
            Ok(found) => Here::AtOnce(found),
            Err(ready) => Here::Not { ready, hedge: self.hedge().clone() },
        }
    }

    async fn ask(&self, replica: NodeId, search: ShardSearch, deadline_us: u64) -> Result<ShardFound, Refusal> {
        if replica == self.me() {
            return self.searches.search(search).await;
        }
        let timeout = self.instant(deadline_us).saturating_duration_since(Instant::now());
        match self.links.ask(replica, Lane::Search, &peer::Request::Search(search), timeout).await? {
            peer::Response::Found(found) => Ok(found),
            _ => Err(out_of_turn(replica)),
        }
    }

    fn hedge(&self) -> MutexGuard<'_, Hedge> {
        // Nothing that holds the lock can panic half-way through a change.
        self.hedge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        let unconfirmed_us = self.freshness.unconfirmed().as_micros() as u64;
        Moment { us: self.now_us(), wall: clock::now(), unconfirmed_us }
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn instant(&self, us: u64) -> Instant {
        self.began + Duration::from_micros(us)
    }
}
