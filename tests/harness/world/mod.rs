//! A whole cluster in one thread on virtual time, decided by one seed.
//!
//! Real are the pure cores of node and coordinator, the wire codec on every hop, segments and the engine that searches
//! them. Simulated are the network, the disks, the clocks and the replicated log (`raft`). The shells around the cores,
//! which in the product are actors and async functions over QUIC, sled and openraft, are written here once more, in the
//! same order of steps (`node`, `shards`, `proposer`, `gates`): what lies in a shell alone is judged by the live
//! harness, not here. Of a capture's way only the loop is written again (`entry`, `freshness`): its steps are the
//! product's.
//!
//! A run has a safety phase, in which the [`faults`] of the seed's plan strike while flights are submitted, boarded and
//! closed; then everything is healed, and what was begun must come to its end: every traveller answered, every journey
//! purged, every node with the same state.

mod batcher;
mod builds;
mod content;
mod disk;
mod entry;
mod executor;
pub mod faults;
mod freshness;
mod gates;
mod judge;
mod life;
mod lists;
mod log_entry;
mod network;
mod node;
mod people;
mod planning;
mod proposer;
mod raft;
mod rosters;
mod running;
mod shards;
mod trace;
mod turns;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{JourneyId, NodeId};
use cluster_config::journey::JourneyStatus;
use cluster_config::policy::{CalibrationPoint, Matching, Policy};
use cluster_config::wire::{Channel, peer};
use coordinator_core::State;
use coordinator_core::galleries::Gallery;
use futures::channel::oneshot;
use futures::future::{Either, select};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dice::Dice;
use content::Content;
use executor::{Due, Executor, Sleep};
use faults::Plan;
use judge::Judge;
use network::{Address, Network, Packet};
use node::{Node, Status};
use trace::Trace;

/// How long everything may take to come to its end once the world is healed, microseconds: an operator's longest
/// timeout, several times over.
const LIVENESS_US: u64 = 240_000_000;

/// When a lost packet of a call is sent again first, microseconds: QUIC's probe timeout on a calm network (RFC 9002,
/// 6.2).
const RETRANSMIT_US: u64 = 30_000;

/// What a run is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Decides everything.
    pub seed: u64,
    /// Length of the safety phase, seconds of virtual time.
    pub seconds: u64,
    /// Faults of the plan that are left out.
    pub without: BTreeSet<usize>,
    /// Whether the lines of the trace are kept.
    pub lines: bool,
}

impl Setup {
    /// The run of a seed.
    pub fn new(seed: u64, seconds: u64) -> Self {
        Self { seed, seconds, without: BTreeSet::new(), lines: false }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The invariant that is broken, and how.
    pub failure: Option<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Events that happened.
    pub events: u64,
    /// Virtual time that passed, microseconds.
    pub simulated_us: u64,
    /// The faults of the plan, in words, by their places in it.
    pub plan: Vec<String>,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// How often each invariant looked.
    pub looked: BTreeMap<String, u64>,
    /// Other counts.
    pub counts: BTreeMap<String, u64>,
    /// What happened, where lines are kept.
    pub lines: Vec<String>,
}

pub struct World {
    seed: u64,
    executor: Rc<Executor>,
    network: RefCell<Network>,
    nodes: BTreeMap<NodeId, Node>,
    calls: RefCell<BTreeMap<u64, oneshot::Sender<Vec<u8>>>>,
    call_number: Cell<u64>,
    dice: RefCell<Dice>,
    content: Content,
    plan: Plan,
    struck: RefCell<BTreeMap<usize, NodeId>>,
    healed_us: Cell<Option<u64>>,
    judge: RefCell<Judge>,
    trace: RefCell<Trace>,
    counts: RefCell<BTreeMap<String, u64>>,
    fault_counts: RefCell<BTreeMap<String, u64>>,
    /// Flights whose last manifest was taken.
    loaded: RefCell<BTreeSet<usize>>,
    /// Flights that somebody has begun to close.
    closing: RefCell<BTreeSet<usize>>,
    /// Journeys of which somebody wants all destroyed at once.
    purging: RefCell<BTreeSet<JourneyId>>,
    /// Flights that are closed.
    flown: Cell<usize>,
}

/// Removes a call that nobody waits for any more.
struct Calling<'a>(&'a World, u64);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.calls.borrow_mut().remove(&self.1);
    }
}

/// The policy of all worlds: the default one, for templates of [`content::DIMS`] numbers, whose scores spread twice as
/// wide as those it describes.
fn policy() -> Policy {
    let default = Policy::default();
    let wider = |point: &CalibrationPoint| CalibrationPoint { score: (2.0 * point.score).min(0.99), ..*point };
    let calibration = default.matching.calibration.iter().map(wider).collect();
    Policy { version: default.version + 1, matching: Matching { calibration, ..default.matching }, ..default }
}

/// A time of the cores in the world's unit.
fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// Runs a world to its end. Nothing outside of the setup has a part in what happens.
pub fn run(setup: &Setup) -> Report {
    let world = Rc::new(World::new(setup));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(setup)));
    let failure = outcome.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or("a panic".to_owned())
    });
    let named = |counts: &BTreeMap<&'static str, u64>| counts.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
    let report = match (world.judge.try_borrow(), world.trace.try_borrow_mut()) {
        (Ok(judge), Ok(mut trace)) => {
            let mut counts: BTreeMap<String, u64> = named(&judge.counts());
            counts.extend(world.counts.borrow().clone());
            Report {
                failure,
                hash: trace.hash(),
                events: trace.events(),
                simulated_us: world.now_us(),
                plan: world.plan.faults.iter().map(ToString::to_string).collect(),
                faults: world.fault_counts.borrow().clone(),
                looked: named(&judge.looked),
                counts,
                lines: trace.lines(),
            }
        }
        // The panic came out of a judgement, which a poisoned borrow now hides.
        _ => Report { failure, simulated_us: world.now_us(), ..Report::default() },
    };
    world.take_apart();
    report
}

impl World {
    fn new(setup: &Setup) -> Self {
        let mut dice = Dice::new(setup.seed, "world");
        let count = if dice.chance(500) { 3 } else { 5 };
        let content = Content::new(setup.seed);
        let plan = Plan::new(setup.seed, count, content.flights.len(), setup.seconds * 1_000_000);
        Self {
            seed: setup.seed,
            executor: Rc::default(),
            network: RefCell::new(Network::new(setup.seed)),
            nodes: (1..=count).map(|id| (NodeId(id), Node::new(NodeId(id)))).collect(),
            calls: RefCell::default(),
            call_number: Cell::new(0),
            judge: RefCell::new(Judge::new(policy(), plan.gentle, &content)),
            dice: RefCell::new(dice),
            content,
            plan,
            struck: RefCell::default(),
            healed_us: Cell::new(None),
            trace: RefCell::new(Trace::new(setup.lines)),
            counts: RefCell::default(),
            fault_counts: RefCell::default(),
            loaded: RefCell::default(),
            closing: RefCell::default(),
            purging: RefCell::default(),
            flown: Cell::new(0),
        }
    }

    fn run(self: &Rc<Self>, setup: &Setup) {
        self.note(format_args!("{} nodes, {} flights", self.nodes.len(), self.content.flights.len()));
        self.founders().into_iter().for_each(|id| self.start(id));
        for (number, fault) in self.plan.faults.iter().enumerate() {
            if !setup.without.contains(&number) {
                self.executor.after(fault.at_us, Due::Fault(number, false));
            }
        }
        let world = self.clone();
        self.executor.spawn(None, async move {
            world.operate(0, |_| coordinator_core::policy::Command::Set(policy()).into()).await;
            for flight in 0..world.content.flights.len() {
                world.executor.spawn(None, world.clone().fly(flight));
            }
        });
        self.run_until(setup.seconds * 1_000_000, |_| false);
        self.heal();
        let until_us = self.now_us() + LIVENESS_US;
        self.run_until(until_us, World::is_settled);
        let left = self.unsettled();
        self.judge.borrow_mut().settled(left);
        self.judge.borrow_mut().finish(self);
    }

    fn run_until(self: &Rc<Self>, until_us: u64, ends: impl Fn(&Self) -> bool) {
        let mut looked_us = 0;
        loop {
            self.executor.run_ready(|id| self.node(id).status.get() == Status::Paused);
            if self.now_us() >= looked_us + 1_000_000 {
                looked_us = self.now_us();
                if ends(self) {
                    return;
                }
            }
            let Some(due) = self.executor.next(until_us) else { return };
            self.judge.borrow_mut().time(self.now_us());
            match due {
                Due::Wake(waker) => waker.wake(),
                Due::Deliver(packet) => self.deliver(packet),
                Due::Transmit(packet, again_us) => {
                    // QUIC sends again for as long as somebody waits.
                    if self.calls.borrow().contains_key(&packet.call) {
                        self.transmit_again(&packet, again_us);
                    }
                }
                Due::Tick(owner) => self.tick(owner),
                Due::Synced(owner) => self.synced(owner),
                Due::Fault(number, ends) => self.strike(number, ends),
            }
        }
    }

    /// Whether all that was begun has come to its end.
    fn is_settled(&self) -> bool {
        self.unsettled().is_none()
    }

    /// What has not come to its end yet.
    fn unsettled(&self) -> Option<String> {
        if self.flown.get() < self.content.flights.len() {
            return Some(format!("{} of {} flights are closed", self.flown.get(), self.content.flights.len()));
        }
        let lost: BTreeSet<NodeId> = self.lost();
        let mut applied = BTreeSet::new();
        for node in self.nodes.values().filter(|node| !lost.contains(&node.id)) {
            applied.insert(node.with(|process| process.applied));
            let open = node.state(|state| {
                let waits = |(_, gallery): &(GalleryId, &Gallery)| {
                    let holders = gallery.parts().iter().flat_map(|part| part.holders.iter().chain(&part.keepers));
                    gallery.status() != JourneyStatus::Purged && !holders.copied().all(|id| lost.contains(&id))
                };
                state.galleries().iter().find(waits).map(|(id, _)| id)
            });
            match open {
                None => return Some(format!("node {} does not run", node.id)),
                Some(Some(gallery)) => {
                    let left = node.state(|state| {
                        let shards = state.galleries().shards(gallery);
                        let held = shards.flat_map(|(_, part)| part.holders.iter().chain(&part.keepers));
                        held.copied().collect::<BTreeSet<NodeId>>()
                    });
                    return Some(format!("{gallery} is not purged at node {}: {left:?} hold it", node.id));
                }
                Some(None) => {}
            }
            let purged = |state: &State| {
                let mut all = state.journeys().iter().map(|plan| plan.id);
                all.find(|journey| state.status(*journey) == Some(JourneyStatus::Purged))
            };
            if let Some(Some(journey)) = node.state(purged) {
                return Some(format!("node {} remembers more than a line of {journey}", node.id));
            }
            let kept = node.disk.borrow().shards();
            if !kept.is_empty() {
                return Some(format!("node {} holds {kept:?}", node.id));
            }
        }
        let committed = BTreeSet::from([Some(self.judge.borrow().committed_entries())]);
        (applied != committed).then(|| format!("nodes have applied up to {applied:?}, and {committed:?} is committed"))
    }

    /// Nodes that will not come back.
    pub fn lost(&self) -> BTreeSet<NodeId> {
        self.nodes.values().filter(|node| node.status.get() == Status::Lost).map(|node| node.id).collect()
    }

    fn take_apart(&self) {
        // Tasks hold the world; without this it would hold itself for ever.
        self.executor.clear();
    }

    /// Time since the world began: the steady clock of every machine.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.now_us())
    }

    /// Microseconds since the world began.
    pub fn now_us(&self) -> u64 {
        self.executor.now_us()
    }

    fn faults_over(&self) -> bool {
        self.healed_us.get().is_some()
    }

    /// Whether any fault is under way: links that are not as they should be, or a node that does not run.
    fn is_struck(&self) -> bool {
        let network = self.network.borrow();
        let links = !network.cuts.is_empty() || !network.slow.is_empty() || network.loss > 0;
        links || self.nodes.values().any(|node| node.status.get() != Status::Up || node.clock.get().ahead_ms != 0)
    }

    /// Whether two nodes run and nothing is wrong with the links between them.
    fn reaches(&self, one: NodeId, other: NodeId) -> bool {
        let up = [one, other].iter().all(|id| self.node(*id).status.get() == Status::Up);
        up && (one == other || self.network.borrow().is_well(one, other))
    }

    fn sleep(&self, delay_us: u64) -> Sleep {
        Sleep::until(self.executor.clone(), self.now_us() + delay_us)
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    fn nth(&self, turn: u64) -> &Node {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.node(ids[turn as usize % ids.len()])
    }

    fn founders(&self) -> BTreeSet<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn note(&self, line: std::fmt::Arguments<'_>) {
        self.trace.borrow_mut().note(self.now_us(), line);
    }

    fn seen(&self, packet: &Packet) {
        self.trace.borrow_mut().see(self.now_us(), &packet.frame);
    }

    fn count(&self, what: &str) {
        *self.counts.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    fn count_fault(&self, what: &str) {
        *self.fault_counts.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    fn transmit(&self, packet: &Packet) {
        self.transmit_again(packet, RETRANSMIT_US);
    }

    /// Sends a packet; where it is lost and belongs to a call, it is sent again after `again_us`, and then after twice
    /// that.
    fn transmit_again(&self, packet: &Packet, again_us: u64) {
        let arrivals = self.network.borrow_mut().arrivals(packet.from, packet.to);
        if arrivals.is_empty() && packet.call != 0 {
            self.executor.after(again_us, Due::Transmit(packet.clone(), 2 * again_us));
        }
        for delay_us in arrivals {
            self.executor.after(delay_us, Due::Deliver(packet.clone()));
        }
    }

    /// Sends a message to a node and waits for nothing.
    fn send(&self, from: Address, to: NodeId, request: &peer::Request) {
        let frame = network::frame(Channel::Peer, request);
        self.transmit(&Packet { from, to: Address::Node(to), call: 0, answer: false, frame });
    }

    /// Asks a node; absent where no answer came in time.
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        from: Address,
        to: NodeId,
        channel: Channel,
        request: &Q,
        timeout_us: u64,
    ) -> Option<A> {
        let call = self.call_number.get() + 1;
        self.call_number.set(call);
        let (reply, answer) = oneshot::channel();
        self.calls.borrow_mut().insert(call, reply);
        let _calling = Calling(self, call);
        let frame = network::frame(channel, request);
        self.transmit(&Packet { from, to: Address::Node(to), call, answer: false, frame });
        match select(answer, std::pin::pin!(self.sleep(timeout_us))).await {
            Either::Left((answer, _)) => answer.ok().map(|frame| network::body(&frame)),
            Either::Right(_) => None,
        }
    }

    /// Answers a call.
    fn answer<T: Serialize>(&self, asked: &Packet, channel: Channel, response: &T) {
        let frame = network::frame(channel, response);
        self.transmit(&Packet { from: asked.to, to: asked.from, call: asked.call, answer: true, frame });
    }
}
