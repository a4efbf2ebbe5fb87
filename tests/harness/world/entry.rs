//! What a node answers to gates and to other nodes: the product's own machine of an encounter, on virtual time.

use std::collections::VecDeque;
use std::rc::Rc;

use cluster_config::canary::Canaries;
use cluster_config::ids::{DeviceId, Epoch, NodeId};
use cluster_config::limits::{SEARCHES_IN_FLIGHT_MAX, UNCONFIRMED_MS_MAX};
use cluster_config::wire::gate::{self, Answer, Capture};
use cluster_config::wire::peer::{self, ShardFound, ShardSearch};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::Record;
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use node::door::entry::request_digest;
use node_core::authority;
use node_core::encounter::machine::Machine;
use node_core::encounter::step::{Effect, Event, Here, Moment, Seen};
use node_core::encounter::{self, Presented, Purpose};
use node_core::reach::Reach;
use node_core::search::{may_answer, not_here};
use node_population::model;

use super::content;
use super::lists::port;
use super::network::Address;
use super::node::Node;
use super::{World, micros};

/// Of a thousand searches of a node's own replica, so many are not done at once: as if the gallery were a large one.
const NOT_AT_ONCE: u64 = 250;

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
}

/// What became of an effect.
enum Performed {
    /// It is done, and this came of it.
    Now(Event),
    /// Something has to be waited for.
    Later(Work),
    Noted,
}

fn gone(node: &Node) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("node {}", node.id), "the process ends", "ask another node")
}

impl World {
    pub async fn answer_gate(self: &Rc<Self>, id: NodeId, from: Address, request: gate::Request) -> gate::Response {
        let node = self.node(id);
        let (capture, purpose) = match request {
            gate::Request::Hello => {
                let members = node.state(|s| s.members().iter().map(|m| m.member.address.clone()).collect());
                return gate::Response::Welcome(gate::Welcome { node: id, members: members.unwrap_or_default() });
            }
            gate::Request::Identify(capture) => (capture, Purpose::Identify),
            gate::Request::Board(capture) => {
                let device = device(from);
                let request = request_digest(&capture, device);
                (capture, Purpose::Board(Presented { device, request }))
            }
        };
        let begun_us = self.now_us();
        let wait_us = match encounter::check(&capture, model()) {
            Ok(wait) => micros(wait),
            Err(refusal) => {
                self.judge.borrow_mut().refused(&refusal);
                return gate::Response::Refused(refusal);
            }
        };
        let was_closed = node.state(|state| state.status(capture.journey).is_some_and(|status| !status.is_open()));
        let answered = self.encounter(node, capture, purpose, begun_us + wait_us).await;
        if let (Some(true), Ok(answer)) = (was_closed, &answered) {
            self.judge.borrow_mut().answered_after_close(node, answer);
        }
        self.judge.borrow_mut().entry_took(node, self.now_us() - begun_us, wait_us);
        match answered {
            Ok(answer) => gate::Response::Answer(answer),
            Err(refusal) => {
                self.judge.borrow_mut().refused(&refusal);
                gate::Response::Refused(refusal)
            }
        }
    }

    async fn encounter(
        self: &Rc<Self>,
        node: &Node,
        capture: Capture,
        purpose: Purpose,
        deadline_us: u64,
    ) -> Result<Answer, Refusal> {
        let encounter = capture.encounter;
        let asked = (purpose, Reach::Port(port()));
        let mut machine = Machine::new(node.id, capture, asked, deadline_us, Canaries::of_process());
        let (mut effects, mut works) = (VecDeque::new(), FuturesUnordered::new());
        let mut event = Event::Began;
        let mut answerable_since_us = None;
        loop {
            machine.step(self.moment(node), event, &mut effects);
            while let Some(effect) = effects.pop_front() {
                match effect {
                    Effect::Answer(answer) => {
                        self.judge.borrow_mut().entry_answered(node, answerable_since_us, &answer);
                        return answer;
                    }
                    Effect::Forget => works.clear(),
                    effect => match self.perform(node, &machine, effect).ok_or_else(|| gone(node))? {
                        Performed::Now(event) => {
                            if let Event::Looked(Seen::Question(Ok(question))) = &event {
                                self.judge.borrow_mut().demanded(encounter, &question.shards);
                            }
                            machine.step(self.moment(node), event, &mut effects);
                        }
                        Performed::Later(work) => works.push(self.wait_for(node, work, deadline_us)),
                        Performed::Noted => {}
                    },
                }
            }
            let since_us = answerable_since_us.unwrap_or_else(|| self.now_us());
            answerable_since_us = self.is_answerable(node, &machine).then_some(since_us);
            let patience = std::pin::pin!(self.sleep(machine.wake_us().saturating_sub(self.now_us())));
            event = match select(works.next(), patience).await {
                Either::Left((Some(event), _)) => event,
                Either::Left((None, patience)) => {
                    patience.await;
                    Event::TimeCame
                }
                Either::Right(_) => Event::TimeCame,
            };
        }
    }

    /// Whether every part that is searched has a replica, where this node takes it to be, that could answer; and the
    /// node may search at all.
    fn is_answerable(&self, node: &Node, machine: &Machine) -> bool {
        let mut searches = (0..).map_while(|part| machine.search(part)).peekable();
        let answers = |replica: NodeId, search: &ShardSearch| {
            self.reaches(node.id, replica) && serving(self.node(replica), search).is_some()
        };
        self.unconfirmed_us(node) <= UNCONFIRMED_MS_MAX * 1_000
            && searches.peek().is_some()
            && searches.all(|search| {
                let placement = node.state(|state| state.placement(search.shard).cloned()).flatten();
                placement.is_some_and(|placement| placement.replicas().any(|replica| answers(replica, search)))
            })
    }

    fn moment(&self, node: &Node) -> Moment {
        Moment { us: self.now_us(), wall: self.wall(node), unconfirmed_us: self.unconfirmed_us(node) }
    }

    /// Absent where the process has ended.
    fn perform(&self, node: &Node, machine: &Machine, effect: Effect) -> Option<Performed> {
        Some(match effect {
            Effect::Look(look) => Performed::Now(Event::Looked(node.state(|state| machine.look(look, state))?)),
            Effect::SearchHere { part } => match machine.search(part) {
                Some(search) => Performed::Now(Event::SearchedHere { part, here: self.search_at_once(node, search)? }),
                None => Performed::Noted,
            },
            Effect::Ask { part, replica, wait_ms } => match machine.search(part) {
                Some(search) => {
                    let search = ShardSearch { wait_ms, ..search.clone() };
                    Performed::Later(Work::Ask { part, replica, search })
                }
                None => Performed::Noted,
            },
            Effect::CatchUp { until_us } => Performed::Later(Work::CatchUp { until_us }),
            Effect::Record(record) => Performed::Later(Work::Record(record)),
            Effect::Read(position) => {
                // Nothing is sealed in the world: a run makes fewer records than a chunk has.
                let found = node.state(|state| state.ledger().get(position).cloned())?;
                Performed::Now(Event::Read(found.ok_or_else(|| gone(node))))
            }
            Effect::Hedged => {
                self.count("search hedged");
                Performed::Noted
            }
            Effect::Silent(replica) => {
                node.with(|process| process.hedge.was_silent(replica, self.now_us()))?;
                Performed::Noted
            }
            Effect::Heard { replica, latency_us } => {
                node.with(|process| process.hedge.answered(replica, latency_us))?;
                Performed::Noted
            }
            // These end what is under way: the loop's part.
            Effect::Forget | Effect::Answer(_) => Performed::Noted,
        })
    }

    fn search_at_once(&self, node: &Node, search: &ShardSearch) -> Option<Here> {
        let found = self.search_here(node, search);
        let waits = found.is_err() || self.dice.borrow_mut().chance(NOT_AT_ONCE);
        let hedge = node.with(|process| process.hedge.clone())?;
        Some(if waits { Here::Not { ready: found.is_ok(), hedge } } else { Here::AtOnce(found) })
    }

    async fn wait_for(self: &Rc<Self>, node: &Node, work: Work, deadline_us: u64) -> Event {
        match work {
            Work::Ask { part, replica, search } => {
                Event::Answered { part, replica, result: self.search_at(node, search, replica, deadline_us).await }
            }
            Work::CatchUp { until_us } => Event::CaughtUp(self.catch_up(node, until_us).await),
            Work::Record(record) => Event::Recorded(self.record(node, record, deadline_us).await),
        }
    }

    async fn search_at(
        self: &Rc<Self>,
        node: &Node,
        search: ShardSearch,
        replica: NodeId,
        deadline_us: u64,
    ) -> Result<ShardFound, Refusal> {
        if replica == node.id {
            return self.search_here(node, &search);
        }
        let request = peer::Request::Search(search);
        match self.ask(node, replica, &request, deadline_us.saturating_sub(self.now_us())).await? {
            peer::Response::Found(found) => Ok(found),
            _ => {
                let (place, problem) = (format!("node {replica}"), "it answered out of turn");
                Err(Refusal::new(RefusalCode::Internal, place, problem, "run one version on all nodes"))
            }
        }
    }

    fn search_here(&self, node: &Node, search: &ShardSearch) -> Result<ShardFound, Refusal> {
        let Some((loaded, epoch)) = serving(node, search) else {
            return Err(not_here(node.id, search.shard));
        };
        Ok(content::search(node.id, epoch, &loaded, search))
    }

    /// Judges a request of another node by the product's own rules; all nodes of a world are members from the start.
    ///
    /// # Errors
    /// The refusal.
    pub fn judge_peer(&self, node: &Node, from: Address, request: &peer::Request) -> Result<(), Refusal> {
        let Address::Node(caller) = from else { return Err(authority::no_member(NodeId::default())) };
        let is_member = self.nodes.contains_key(&caller);
        let judged = node.state(|state| authority::judge(state, caller, is_member, request, Canaries::of_process()));
        judged.unwrap_or(Ok(()))
    }

    /// Answers another node.
    pub async fn answer_peer(self: &Rc<Self>, id: NodeId, from: Address, request: peer::Request) -> peer::Response {
        let node = self.node(id);
        if let Err(refusal) = self.judge_peer(node, from, &request) {
            self.judge.borrow_mut().refused(&refusal);
            return peer::Response::Refused(refusal);
        }
        let in_flight = self.executor.tasks_of(id);
        if in_flight > SEARCHES_IN_FLIGHT_MAX {
            let (place, problem) = (format!("node {id}"), "as many requests are in flight as it takes");
            return peer::Response::Refused(Refusal::new(RefusalCode::Busy, place, problem, "try again"));
        }
        let answered = match request {
            peer::Request::Propose { actor, command } => Ok(self.serve_proposal(node, from, actor, &command).await),
            peer::Request::Search(search) => self.search_here(node, &search).map(peer::Response::Found),
            peer::Request::Build(order) => self.build_here(node, order).await.map(peer::Response::Built),
            peer::Request::StoreSegment(segment) => self.store(node, segment).await.map(|()| peer::Response::Done),
            peer::Request::FetchSegment { shard, version_min } => {
                self.give(node, shard, version_min).await.map(peer::Response::Segment)
            }
            peer::Request::FetchRoster { shard, version_min } => {
                self.roster_here(node, shard, version_min).await.map(peer::Response::Segment)
            }
            peer::Request::Keeps { shard, version_min } => {
                self.roster_here(node, shard, version_min).await.map(|_| peer::Response::Done)
            }
            peer::Request::ReadIndex => self.read_index(node).await.map(peer::Response::ReadIndex),
            peer::Request::Hello(_)
            | peer::Request::Raft { .. }
            | peer::Request::Report(_)
            | peer::Request::Vouch(_)
            | peer::Request::FetchChunk(_)
            | peer::Request::ForLeader { .. } => {
                let problem = "the world's nodes do not send this here";
                Err(Refusal::new(RefusalCode::BadValue, "request", problem, "send it in a cluster of processes"))
            }
        };
        answered.unwrap_or_else(|refusal| {
            self.judge.borrow_mut().refused(&refusal);
            peer::Response::Refused(refusal)
        })
    }
}

/// What a node has that can answer a search.
fn serving(node: &Node, search: &ShardSearch) -> Option<(content::Ready, Epoch)> {
    let serving = node.with(|process| process.running.get(&search.shard).and_then(|running| running.serving()));
    let new_enough = |(loaded, _): &(content::Ready, Epoch)| {
        may_answer(loaded.head.version, search.version_min, Canaries::of_process())
    };
    serving.flatten().filter(new_enough)
}

/// The device that a client's certificate names.
pub fn device(from: Address) -> DeviceId {
    let number = match from {
        Address::Client(number) => number,
        Address::Node(node) => node.0,
    };
    format!("GATE-{number}").parse().expect("an id")
}
