//! What a node answers to gates and to other nodes, step for step as in `node/src/{entry,service}.rs`.

use std::rc::Rc;

use cluster_config::ids::{DeviceId, NodeId};
use cluster_config::limits::{GATE_DEADLINE_MS, SEARCHES_IN_FLIGHT_MAX};
use cluster_config::wire::gate::{self, Answer, Capture, Sample};
use cluster_config::wire::peer::{self, Priority, ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::blueprint::Placement;
use futures::future::{Either, select, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use node_core::encounter::{self, Missing, Next, Purpose, Question, Route};
use node_core::search::{may_answer, merge, route};

use super::World;
use super::content;
use super::network::Address;
use super::node::Node;

/// Pause before replicas that all failed are asked again, microseconds.
const ROUND_PAUSE_US: u64 = 10_000;

/// How long a node waits for news of a journey that it does not know, microseconds: in place of the product's question
/// to the leader how far it has to be. Whether it got there is looked up where no node can, in what is committed.
const BEHIND_WAIT_US: u64 = 500_000;

impl World {
    /// Answers a gate.
    pub async fn answer_gate(self: &Rc<Self>, id: NodeId, from: Address, request: gate::Request) -> gate::Response {
        let node = self.node(id);
        let (capture, purpose) = match request {
            gate::Request::Hello => {
                let members = node.state(|s| s.members.values().map(|m| m.member.address.clone()).collect());
                return gate::Response::Welcome(gate::Welcome { node: id, members: members.unwrap_or_default() });
            }
            gate::Request::Identify(capture) => (capture, Purpose::Identify),
            gate::Request::Board(capture) => (capture, Purpose::Board(device(from))),
        };
        let begun_us = self.now_us();
        let wait_us = u64::from(capture.deadline_ms).min(GATE_DEADLINE_MS) * 1_000;
        let mut answered = self.encounter(node, &capture, purpose, begun_us + wait_us).await;
        if matches!(&answered, Err(refusal) if refusal.code == RefusalCode::NotOpen) {
            let before = self.answered_before(node, &capture, purpose);
            answered = before.map_or(answered, Ok);
        }
        self.judge.borrow_mut().entry_took(node, self.now_us() - begun_us, wait_us);
        match answered {
            Ok(answer) => gate::Response::Answer(answer),
            Err(refusal) => gate::Response::Refused(refusal),
        }
    }

    fn answered_before(&self, node: &Node, capture: &Capture, purpose: Purpose) -> Option<Answer> {
        let boards = matches!(purpose, Purpose::Board(_));
        node.state(|state| encounter::answered_before_closing(state, capture, node.id)).flatten().filter(|_| boards)
    }

    async fn encounter(
        self: &Rc<Self>,
        node: &Node,
        capture: &Capture,
        purpose: Purpose,
        deadline_us: u64,
    ) -> Result<Answer, Refusal> {
        if let Some(answered) = self.answered_before(node, capture, purpose) {
            return Ok(answered);
        }
        let gone = || Refusal::new(RefusalCode::Unavailable, format!("node {}", node.id), "the process ends");
        let mut floor_max = f32::INFINITY;
        let (merged, verdict) = loop {
            let Question { shards, floor } = self.question(node, capture, deadline_us).await?;
            let floor = floor.min(floor_max);
            self.judge.borrow_mut().demanded(capture.encounter, &shards);
            let parts = shards.into_iter().map(|shard| self.search_shard(node, capture, floor, shard, deadline_us));
            let merged = merge(try_join_all(parts).await?).ok_or_else(|| encounter::not_built(capture.journey))?;
            let verdict = node.state(|state| encounter::verdict(state, capture, &merged, floor)).ok_or_else(gone)?;
            if let Some(verdict) = verdict {
                break (merged, verdict);
            }
            floor_max = f32::NEG_INFINITY;
        };
        match encounter::after_search(capture, purpose, self.wall(node), &merged, verdict) {
            Next::Answer(answer) => Ok(answer),
            Next::Record(record) => {
                let outcome = self.record(node, record, deadline_us).await?;
                encounter::after_record(capture, &merged, verdict, outcome)
            }
        }
    }

    async fn question(self: &Rc<Self>, node: &Node, capture: &Capture, deadline_us: u64) -> Result<Question, Refusal> {
        let until_us = deadline_us.min(self.now_us() + BEHIND_WAIT_US);
        loop {
            match node.state(|state| encounter::question(state, capture.journey)) {
                Some(Err(Missing::NotYet(_))) if self.now_us() + ROUND_PAUSE_US < until_us => {
                    self.sleep(ROUND_PAUSE_US).await;
                }
                Some(found) => {
                    let committed = self.judge.borrow().committed_entries();
                    let up_to_date = node.with(|process| process.applied >= committed) == Some(true);
                    return found.map_err(|missing| missing.into_refusal(up_to_date));
                }
                None => return Err(Refusal::new(RefusalCode::Unavailable, "node", "the process ends")),
            }
        }
    }

    async fn search_shard(
        self: &Rc<Self>,
        node: &Node,
        capture: &Capture,
        floor: f32,
        (shard, version, mut placement): Route,
        deadline_us: u64,
    ) -> Result<ShardFound, Refusal> {
        let Sample::Template { model, values } = &capture.sample;
        let wait_ms = (deadline_us.saturating_sub(self.now_us()) / 1_000) as u32;
        let (version_min, model, probe, priority) = (version, *model, values.clone(), Priority::Board);
        let search = ShardSearch { shard, version_min, model, probe, floor, priority, wait_ms };
        loop {
            let last = match self.search_round(node, &search, &placement, deadline_us).await {
                Ok(found) => return Ok(found),
                Err(refusal) => refusal,
            };
            if !last.code.retryable() || self.now_us() + ROUND_PAUSE_US >= deadline_us {
                return Err(last);
            }
            self.sleep(ROUND_PAUSE_US).await;
            let now = node.state(|state| state.blueprint.placements.get(&shard).cloned()).flatten();
            placement = now.ok_or_else(|| encounter::not_open(capture.journey))?;
        }
    }

    async fn search_round(
        self: &Rc<Self>,
        node: &Node,
        search: &ShardSearch,
        placement: &Placement,
        deadline_us: u64,
    ) -> Result<ShardFound, Refusal> {
        let shard = search.shard;
        let version = node.with(|process| process.running.get(&shard).map(|running| running.version())).flatten();
        let local_ready = may_answer(version.unwrap_or_default(), search.version_min);
        let hedge = node.with(|process| process.hedge.clone()).unwrap_or_default();
        let (delay_us, began_us) = (hedge.delay_us(), self.now_us());
        let mut last = Refusal::new(RefusalCode::Unavailable, format!("gallery {shard}: no replica"), "try again");
        let mut asked = FuturesUnordered::new();
        let mut next = route(placement, node.id, local_ready, |node| hedge.is_silent(node, began_us)).into_iter();
        let mut asked_last = None;
        loop {
            if let Some(replica) = next.next() {
                asked_last = Some(replica);
                if !asked.is_empty() {
                    self.count("search hedged");
                }
                asked.push(self.search_at(node, search, replica, deadline_us));
            }
            let until_us = if next.len() > 0 { self.now_us() + delay_us } else { deadline_us };
            let patience = std::pin::pin!(self.sleep(until_us.saturating_sub(self.now_us())));
            match select(asked.next(), patience).await {
                Either::Left((Some(Ok(found)), _)) => return Ok(found),
                Either::Left((Some(Err(refusal)), _)) => last = refusal,
                Either::Left((None, _)) => return Err(last),
                Either::Right(_) if self.now_us() >= deadline_us => return Err(last),
                Either::Right(_) => {
                    if let Some(replica) = asked_last {
                        node.with(|process| process.hedge.was_silent(replica, self.now_us()));
                    }
                }
            }
        }
    }

    async fn search_at(
        self: &Rc<Self>,
        node: &Node,
        search: &ShardSearch,
        replica: NodeId,
        deadline_us: u64,
    ) -> Result<ShardFound, Refusal> {
        if replica == node.id {
            return self.search_here(node, search);
        }
        let begun_us = self.now_us();
        let request = peer::Request::Search(search.clone());
        let found = self.ask(node, replica, &request, deadline_us.saturating_sub(begun_us)).await?;
        node.with(|process| process.hedge.answered(replica, self.now_us() - begun_us));
        match found {
            peer::Response::Found(found) => Ok(found),
            _ => Err(Refusal::new(RefusalCode::Internal, format!("node {replica}"), "answered out of turn")),
        }
    }

    fn search_here(&self, node: &Node, search: &ShardSearch) -> Result<ShardFound, Refusal> {
        let serving = node.with(|process| process.running.get(&search.shard).and_then(|running| running.serving()));
        match serving.flatten() {
            Some((loaded, epoch)) if may_answer(loaded.head.version, search.version_min) => {
                Ok(content::search(node.id, epoch, &loaded, search))
            }
            _ => {
                let place = format!("node {}: gallery {} is not here at the version asked", node.id, search.shard);
                Err(Refusal::new(RefusalCode::Unavailable, place, "ask another replica"))
            }
        }
    }

    /// Answers another node.
    pub async fn answer_peer(self: &Rc<Self>, id: NodeId, request: peer::Request) -> peer::Response {
        let node = self.node(id);
        let in_flight = self.executor.tasks_of(id);
        if in_flight > SEARCHES_IN_FLIGHT_MAX {
            return peer::Response::Refused(Refusal::new(RefusalCode::Busy, format!("node {id}"), "try again"));
        }
        let answered = match request {
            peer::Request::Propose(bytes) => Ok(self.serve_proposal(node, &bytes).await),
            peer::Request::Search(search) => self.search_here(node, &search).map(peer::Response::Found),
            peer::Request::Build(order) => self.build_here(node, order).await.map(peer::Response::Built),
            peer::Request::StoreSegment(segment) => self.store(node, segment).await.map(|()| peer::Response::Done),
            peer::Request::FetchSegment { shard, version_min } => {
                self.give(node, shard, version_min).await.map(peer::Response::Segment)
            }
            peer::Request::FetchRoster { shard, version_min } => {
                self.roster_here(node, shard, version_min).await.map(peer::Response::Segment)
            }
            peer::Request::Hello(_)
            | peer::Request::Raft { .. }
            | peer::Request::Report(_)
            | peer::Request::ForLeader(_) => {
                Err(Refusal::new(RefusalCode::BadValue, "request", "the world's nodes do not send this here"))
            }
        };
        answered.unwrap_or_else(peer::Response::Refused)
    }
}

/// The device that a client's certificate names.
fn device(from: Address) -> DeviceId {
    let number = match from {
        Address::Client(number) => number,
        Address::Node(node) => node.0,
    };
    format!("GATE-{number}").parse().expect("an id")
}
