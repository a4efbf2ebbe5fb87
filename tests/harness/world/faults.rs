//! What is done to a world: a plan of faults drawn from the seed, each of which can be left out without changing the
//! others, and the blows themselves.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use cluster_config::ids::NodeId;
use coordinator_core::{State, membership};

use super::World;
use super::network::{Address, DELAY_US_CALM};
use super::node::Status;
use crate::dice::Dice;

/// Whom a fault strikes; leaders and owners are looked up when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Node(NodeId),
    Leader,
    /// Whoever owns the first shard of this flight.
    Owner(usize),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The power of a node goes: its process, and what its disk had not synced.
    PowerLoss(Victim),
    /// Its process is killed.
    Kill(Victim),
    /// Its process stands still.
    Pause(Victim),
    /// Nobody reaches it, and it reaches nobody.
    Isolate(Victim),
    /// Nothing reaches it; what it says is heard.
    Deaf(Victim),
    /// What it says reaches nobody; it hears.
    Mute(Victim),
    /// The nodes fall into two halves; the bits say who is in which.
    Split(u64),
    /// Two halves that only one node reaches both of.
    Bridge(NodeId),
    /// Each node's links go one after the other, and come back in another order.
    Swizzle(u64),
    /// Its links are slow, by microseconds.
    SlowLinks(Victim, u64),
    /// Packets of a thousand that are lost.
    Loss(u64),
    /// Packets of a thousand that arrive twice.
    Doubling(u64),
    /// Packets overtake each other within so many microseconds.
    Reordering(u64),
    /// Its wall clock is set forward or back, by milliseconds.
    ClockJump(Victim, i64),
    /// Its wall clock runs fast or slow, by parts in a million.
    ClockDrift(Victim, i64),
    /// Its disk takes longer to sync, by microseconds.
    SlowDisk(Victim, u64),
    /// Its disk is full: its process ends until there is room.
    FullDisk(Victim),
    /// Its power goes, and a bit of its log flips meanwhile.
    FlippedBit(NodeId),
    /// Its disk says that it syncs and does not; then its power goes.
    LostWrites(NodeId),
    /// It is emptied before a planned stop, and taken back.
    Drain(Victim),
}

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// When it begins, microseconds.
    pub at_us: u64,
    /// How long it lasts, microseconds.
    pub for_us: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at_ms, for_ms) = (self.at_us / 1_000, self.for_us / 1_000);
        write!(f, "at {at_ms} ms for {for_ms} ms: {:?}", self.kind)
    }
}

impl Kind {
    /// Its name in counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerLoss(_) => "power loss",
            Self::Kill(_) => "kill",
            Self::Pause(_) => "pause",
            Self::Isolate(_) => "partition: one node",
            Self::Deaf(_) => "partition: one way in",
            Self::Mute(_) => "partition: one way out",
            Self::Split(_) => "partition: halves",
            Self::Bridge(_) => "partition: bridge",
            Self::Swizzle(_) => "partition: swizzle",
            Self::SlowLinks(..) => "slow links",
            Self::Loss(_) => "packet loss",
            Self::Doubling(_) => "packet doubling",
            Self::Reordering(_) => "packet reordering",
            Self::ClockJump(..) => "clock jump",
            Self::ClockDrift(..) => "clock drift",
            Self::SlowDisk(..) => "slow disk",
            Self::FullDisk(_) => "full disk",
            Self::FlippedBit(_) => "flipped bit",
            Self::LostWrites(_) => "lost writes",
            Self::Drain(_) => "drain",
        }
    }
}

/// Every kind that a plan can hold, by its name.
pub const NAMES: [&str; 20] = [
    "power loss",
    "kill",
    "pause",
    "partition: one node",
    "partition: one way in",
    "partition: one way out",
    "partition: halves",
    "partition: bridge",
    "partition: swizzle",
    "slow links",
    "packet loss",
    "packet doubling",
    "packet reordering",
    "clock jump",
    "clock drift",
    "slow disk",
    "full disk",
    "flipped bit",
    "lost writes",
    "drain",
];

/// A plan: either one blow at a time, each to one node, as promise P3 has it, or a storm that keeps no measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whether never more than one node suffers.
    pub gentle: bool,
    /// The faults, by time.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The plan of a seed for `nodes` nodes, `flights` flights and a safety phase of so many microseconds.
    pub fn new(seed: u64, nodes: u64, flights: usize, length_us: u64) -> Self {
        let mut dice = Dice::new(seed, "faults");
        let gentle = dice.chance(300);
        let mut faults = Vec::new();
        let mut at_us = 1_000_000;
        // A store that is refused is gone for good, so that only a minority may meet that.
        let mut losses = (nodes - 1) / 2;
        while at_us < length_us {
            let kind = loop {
                let kind = draw(&mut dice, nodes, flights);
                match kind {
                    Kind::FlippedBit(_) | Kind::LostWrites(_) if gentle || losses == 0 => {}
                    Kind::FlippedBit(_) | Kind::LostWrites(_) => {
                        losses -= 1;
                        break kind;
                    }
                    // These hurt more than one node.
                    Kind::Split(_) | Kind::Bridge(_) | Kind::Swizzle(_) | Kind::Loss(_) | Kind::FullDisk(_)
                        if gentle => {}
                    kind => break kind,
                }
            };
            let for_us = dice.between(100_000, 8_000_000);
            faults.push(Fault { kind, at_us, for_us });
            let pause_us = dice.between(100_000, 6_000_000);
            // What was struck gets time to come back before the next blow of a gentle plan.
            at_us += if gentle { for_us + 5_000_000 + pause_us } else { pause_us };
        }
        Self { gentle, faults }
    }
}

fn draw(dice: &mut Dice, nodes: u64, flights: usize) -> Kind {
    let node = NodeId(dice.between(1, nodes + 1));
    let victim = match dice.between(0, 4) {
        0 => Victim::Leader,
        1 => Victim::Owner(dice.between(0, flights as u64) as usize),
        _ => Victim::Node(node),
    };
    let sign = if dice.chance(500) { 1 } else { -1 };
    match dice.between(0, 24) {
        0 | 1 => Kind::PowerLoss(victim),
        2 | 3 => Kind::Kill(victim),
        4 | 5 => Kind::Pause(victim),
        6 => Kind::Isolate(victim),
        7 => Kind::Deaf(victim),
        8 => Kind::Mute(victim),
        9 => Kind::Split(dice.number()),
        10 => Kind::Bridge(node),
        11 => Kind::Swizzle(dice.number()),
        12 => Kind::SlowLinks(victim, dice.between(5_000, 250_000)),
        13 => Kind::Loss(dice.between(10, 300)),
        14 => Kind::Doubling(dice.between(50, 500)),
        15 => Kind::Reordering(dice.between(5_000, 100_000)),
        16 | 17 => Kind::ClockJump(victim, sign * dice.between(100, 3_600_000) as i64),
        18 => Kind::ClockDrift(victim, sign * dice.between(10, 50_000) as i64),
        19 => Kind::SlowDisk(victim, dice.between(5_000, 700_000)),
        20 => Kind::FullDisk(victim),
        21 => Kind::FlippedBit(node),
        22 => Kind::LostWrites(node),
        _ => Kind::Drain(victim),
    }
}

impl World {
    fn victim(&self, victim: Victim) -> NodeId {
        let first = || self.nodes.keys().next().copied().unwrap_or(NodeId(1));
        match victim {
            Victim::Node(id) => id,
            Victim::Leader => {
                let leads = |node: &&super::node::Node| node.with(|process| process.raft.leads()) == Some(true);
                self.nodes.values().find(leads).map_or_else(first, |node| node.id)
            }
            Victim::Owner(flight) => {
                let journey = self.content.flights[flight].journey;
                let owner = |node: &super::node::Node| {
                    let owner = |state: &State| {
                        let mut placed = state.blueprint().iter();
                        let found = placed.find(|(shard, _)| shard.journey() == Some(journey));
                        found.map(|(_, placement)| placement.owner)
                    };
                    node.state(owner)?
                };
                self.nodes.values().find_map(owner).unwrap_or_else(first)
            }
        }
    }

    /// Begins or ends a fault of the plan.
    pub fn strike(self: &Rc<Self>, number: usize, ends: bool) {
        if self.faults_over() {
            return;
        }
        let fault = self.plan.faults[number];
        self.nodes.keys().for_each(|id| self.judge.borrow_mut().not_calm(*id));
        if ends {
            self.end_fault(number, fault.kind);
            return;
        }
        self.note(format_args!("fault {number} {fault}"));
        if self.begin_fault(number, fault) {
            self.count_fault(fault.kind.name());
        }
        self.executor.after(fault.for_us, super::executor::Due::Fault(number, true));
    }

    /// Gives whether it really struck.
    fn begin_fault(self: &Rc<Self>, number: usize, fault: Fault) -> bool {
        let everybody: Vec<NodeId> = self.nodes.keys().copied().collect();
        let clients: Vec<Address> = (0..self.content.flights.len() as u64).map(|n| Address::Client(100 + n)).collect();
        let others = |id: NodeId| {
            let nodes = everybody.iter().filter(move |other| **other != id).map(|other| Address::Node(*other));
            nodes.chain(clients.iter().copied()).collect::<Vec<Address>>()
        };
        let cut = |pairs: BTreeSet<(Address, Address)>| {
            self.network.borrow_mut().cuts.insert(number, pairs);
            true
        };
        match fault.kind {
            Kind::PowerLoss(victim) => self.strike_down(number, self.victim(victim), false),
            Kind::Kill(victim) => self.strike_down(number, self.victim(victim), true),
            Kind::Pause(victim) => {
                let id = self.remember(number, self.victim(victim));
                let ran = self.node(id).status.get() == Status::Up;
                self.pause(id, true);
                ran
            }
            Kind::Isolate(victim) => {
                let (id, mut pairs) = (self.victim(victim), BTreeSet::new());
                for other in others(id) {
                    pairs.extend([(Address::Node(id), other), (other, Address::Node(id))]);
                }
                cut(pairs)
            }
            Kind::Deaf(victim) => {
                let id = self.victim(victim);
                cut(others(id).into_iter().map(|other| (other, Address::Node(id))).collect())
            }
            Kind::Mute(victim) => {
                let id = self.victim(victim);
                cut(others(id).into_iter().map(|other| (Address::Node(id), other)).collect())
            }
            Kind::Split(bits) => cut(halves(&everybody, |id| bits >> (id.0 % 64) & 1 == 1, None)),
            Kind::Bridge(bridge) => cut(halves(&everybody, |id| id.0 % 2 == 1, Some(bridge))),
            Kind::Swizzle(order) => {
                self.swizzle(number, order, fault.for_us);
                true
            }
            Kind::SlowLinks(victim, by_us) => {
                let id = self.victim(victim);
                self.network.borrow_mut().slow.insert(number, (id, by_us));
                true
            }
            Kind::Loss(per_mille) => {
                self.network.borrow_mut().loss = per_mille;
                true
            }
            Kind::Doubling(per_mille) => {
                self.network.borrow_mut().doubled = per_mille;
                true
            }
            Kind::Reordering(within_us) => {
                self.network.borrow_mut().delay_us_max = within_us;
                true
            }
            Kind::ClockJump(victim, by_ms) => {
                let node = self.node(self.remember(number, self.victim(victim)));
                let clock = node.clock.get();
                node.clock.set(super::node::Clock { ahead_ms: clock.ahead_ms + by_ms, ..clock });
                true
            }
            Kind::ClockDrift(victim, by_ppm) => {
                let node = self.node(self.remember(number, self.victim(victim)));
                node.clock.set(super::node::Clock { fast_ppm: by_ppm, ..node.clock.get() });
                true
            }
            Kind::SlowDisk(victim, by_us) => {
                let node = self.node(self.remember(number, self.victim(victim)));
                node.disk.borrow_mut().slow_us = by_us;
                true
            }
            Kind::FullDisk(victim) => {
                let id = self.remember(number, self.victim(victim));
                self.node(id).disk.borrow_mut().full = true;
                self.node(id).status.get() == Status::Up
            }
            Kind::FlippedBit(id) => {
                let ran = self.strike_down(number, id, false);
                let flipped = self.node(id).disk.borrow_mut().flip(&mut self.dice.borrow_mut());
                ran && flipped
            }
            Kind::LostWrites(id) => {
                self.remember(number, id);
                self.node(id).disk.borrow_mut().lies = true;
                self.node(id).status.get() == Status::Up
            }
            Kind::Drain(victim) => {
                let id = self.remember(number, self.victim(victim));
                self.drain(id, true);
                true
            }
        }
    }

    fn end_fault(self: &Rc<Self>, number: usize, kind: Kind) {
        let struck = self.struck.borrow().get(&number).copied();
        match (kind, struck) {
            (Kind::PowerLoss(_) | Kind::Kill(_) | Kind::FlippedBit(_), Some(id)) => self.start(id),
            (Kind::Pause(_), Some(id)) => self.pause(id, false),
            (Kind::SlowLinks(..), _) => {
                self.network.borrow_mut().slow.remove(&number);
            }
            (Kind::Loss(_), _) => self.network.borrow_mut().loss = 0,
            (Kind::Doubling(_), _) => self.network.borrow_mut().doubled = 0,
            (Kind::Reordering(_), _) => self.network.borrow_mut().delay_us_max = DELAY_US_CALM,
            // A clock that was set stays so; the time service mends it when the world is healed.
            (Kind::ClockJump(..), _) => {}
            (Kind::ClockDrift(..), Some(id)) => {
                let node = self.node(id);
                node.clock.set(super::node::Clock { fast_ppm: 0, ..node.clock.get() });
            }
            (Kind::SlowDisk(..), Some(id)) => self.node(id).disk.borrow_mut().slow_us = 0,
            (Kind::FullDisk(_), Some(id)) => {
                self.node(id).disk.borrow_mut().full = false;
                self.start(id);
            }
            (Kind::LostWrites(_), Some(id)) => {
                self.end(id, false);
                self.start(id);
            }
            (Kind::Drain(_), Some(id)) => self.drain(id, false),
            _ => {
                self.network.borrow_mut().cuts.remove(&number);
            }
        }
    }

    fn remember(&self, number: usize, id: NodeId) -> NodeId {
        self.struck.borrow_mut().insert(number, id);
        id
    }

    fn strike_down(self: &Rc<Self>, number: usize, id: NodeId, power: bool) -> bool {
        self.remember(number, id);
        let ran = matches!(self.node(id).status.get(), Status::Up | Status::Paused);
        self.end(id, power);
        ran
    }

    fn drain(self: &Rc<Self>, id: NodeId, draining: bool) {
        let world = self.clone();
        self.executor.spawn(None, async move {
            let command = |_: &World| membership::Command::SetDraining { node: id, draining }.into();
            world.operate(id.0 as usize, command).await;
        });
    }

    fn swizzle(self: &Rc<Self>, number: usize, order: u64, for_us: u64) {
        let mut dice = Dice::new(order, "swizzle");
        let mut nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        dice.shuffle(&mut nodes);
        let step_us = for_us / (2 * nodes.len() as u64 + 1);
        let mut back = nodes.clone();
        dice.shuffle(&mut back);
        let world = self.clone();
        self.executor.spawn(None, async move {
            let mut gone: BTreeSet<NodeId> = BTreeSet::new();
            for (id, goes) in nodes.into_iter().map(|id| (id, true)).chain(back.into_iter().map(|id| (id, false))) {
                if world.faults_over() {
                    return;
                }
                if goes {
                    gone.insert(id)
                } else {
                    gone.remove(&id)
                };
                let mut pairs = BTreeSet::new();
                for one in world.nodes.keys() {
                    for other in gone.iter().filter(|other| *other != one) {
                        let (one, other) = (Address::Node(*one), Address::Node(*other));
                        pairs.extend([(one, other), (other, one)]);
                    }
                }
                world.network.borrow_mut().cuts.insert(number, pairs);
                world.nodes.keys().for_each(|id| world.judge.borrow_mut().not_calm(*id));
                world.sleep(step_us).await;
            }
        });
    }

    /// Takes a node out of the group for good; the planner's loop then takes it out of the members.
    async fn dismiss(self: &Rc<Self>, id: NodeId) {
        let leads = |node: &&super::node::Node| node.with(|process| process.raft.leads()) == Some(true);
        let votes = |node: &super::node::Node| node.with(|process| process.raft.voters().contains(&id)) == Some(true);
        // What one node has in its log may be taken back; what all have is committed.
        while self.nodes.values().any(votes) {
            if let Some(leader) = self.nodes.values().find(leads) {
                self.drive(leader, |process, _, out| {
                    let mut voters = process.raft.voters();
                    if voters.remove(&id) {
                        process.raft.change_voters(voters, out);
                    }
                });
            }
            self.sleep(200_000).await;
        }
    }

    /// Ends all faults at once: links, clocks and disks are as they should be, every node that can run does, and one
    /// that cannot is taken out of the cluster.
    pub fn heal(self: &Rc<Self>) {
        self.note(format_args!("healed"));
        self.healed_us.set(Some(self.now_us()));
        self.network.borrow_mut().heal();
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in nodes {
            self.judge.borrow_mut().not_calm(id);
            let node = self.node(id);
            if node.disk.borrow().lies {
                // What it holds back would be lost with its power; it is replaced while it runs.
                self.end(id, false);
            }
            node.clock.set(super::node::Clock::default());
            node.disk.borrow_mut().slow_us = 0;
            node.disk.borrow_mut().full = false;
            self.pause(id, false);
            self.start(id);
            if node.status.get() == Status::Lost {
                let world = self.clone();
                self.executor.spawn(None, async move {
                    world.dismiss(id).await;
                });
            } else {
                self.drain(id, false);
            }
        }
    }
}

/// Every pair of nodes on different sides, but for those with the bridge.
fn halves(nodes: &[NodeId], left: impl Fn(NodeId) -> bool, bridge: Option<NodeId>) -> BTreeSet<(Address, Address)> {
    let mut pairs = BTreeSet::new();
    for one in nodes {
        for other in nodes {
            let bridged = bridge.is_some_and(|bridge| [*one, *other].contains(&bridge));
            if left(*one) != left(*other) && !bridged {
                pairs.insert((Address::Node(*one), Address::Node(*other)));
            }
        }
    }
    pairs
}
