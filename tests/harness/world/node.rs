//! A node of the world: its disk and clock, which outlive it, and its process, which does not.
//!
//! The process is the product's cores with a shell around them that does what the shells of `node/src` and
//! `coordinator/src` do, in the same order of steps: planner loop, reports, announcement and reconciling here; shards,
//! searches and proposals in the files beside this one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use cluster_config::canary::Canaries;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ClusterId, FolderId, Incarnation, NodeId, UnixMs, Zone};
use cluster_config::limits::{PEER_FRAME_BYTES_MAX, RAFT_HEARTBEAT_MS, REPORT_INTERVAL_MS};
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use cluster_config::wire::peer;
use cluster_config::wire::peer::RaftCall;
use cluster_config::wire::{Channel, codec, gate};
use coordinator_core::placement::Planning;
use coordinator_core::{Entry, Outcome, State, membership};
use futures::channel::oneshot;
use node_core::freshness::Freshness;
use node_core::hedge::Hedge;
use node_core::keeper::{self, Keeper};
use node_core::reconcile::RECONCILE_INTERVAL;
use node_core::reporting::Reporting;
use node_core::turns::{Ticket, Turns};

use super::batcher::{Batcher, Lane};
use super::content::BEGINS;
use super::disk::Disk;
use super::executor::{Due, Owner};
use super::network::{Address, Packet, body, channel};
use super::raft::{Message, Output, Payload, Raft};
use super::running::Running;
use super::{World, micros};
use crate::dice::Dice;

/// How often a process looks at its clock, microseconds.
const TICK_US: u64 = RAFT_HEARTBEAT_MS * 1_000;

/// The world has one cluster.
const CLUSTER: ClusterId = ClusterId(1);

/// What a sync of a healthy disk takes, microseconds.
const SYNC_US: (u64, u64) = (300, 3_000);

/// Entries after which a snapshot replaces the log: few, so that every run meets some.
const SNAPSHOT_ENTRIES: usize = 120;

/// Packets that wait for a paused process at most: what a socket buffer holds.
const INBOX_MAX: usize = 4_096;

/// What a node's process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Up,
    /// It stands still; its sockets are open.
    Paused,
    Down,
    /// Its store is refused: this node will not come back.
    Lost,
}

/// A node's wall clock against the world's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// How far it is ahead, milliseconds.
    pub ahead_ms: i64,
    /// How much faster it runs, parts in a million.
    pub fast_ppm: i64,
}

pub struct Node {
    pub id: NodeId,
    /// Its failure domain.
    pub zone: Zone,
    /// What its process is doing.
    pub status: Cell<Status>,
    /// Counts the starts of its process.
    pub run: Cell<u64>,
    /// Its wall clock.
    pub clock: Cell<Clock>,
    pub disk: RefCell<Disk>,
    /// What its process has in memory.
    pub process: RefCell<Option<Process>>,
    inbox: RefCell<VecDeque<Packet>>,
}

/// What a process has in memory.
pub struct Process {
    /// This start.
    pub incarnation: Incarnation,
    /// Its part in the replicated log.
    pub raft: Raft,
    /// The state as applied.
    pub state: State,
    /// The last entry in it.
    pub applied: u64,
    /// The shards that run here.
    pub running: BTreeMap<ShardId, Running>,
    /// What makes them fit the state.
    pub keeper: Keeper,
    /// Whose turn it is to get content from another node, and who is to be told.
    pub turns: Turns,
    /// See there.
    pub turns_told: BTreeMap<Ticket, oneshot::Sender<()>>,
    /// When to ask a second replica.
    pub hedge: Hedge,
    /// What it asks the leader.
    pub freshness: Freshness,
    /// When it was asked whether the node lacks anything, the last time that it did not.
    pub confirmed_us: Option<u64>,
    /// Proposals that wait for their entry.
    pub waiting: BTreeMap<u64, (u64, oneshot::Sender<Outcome>)>,
    /// Records on their way into the log, where it leads.
    pub to_log: Batcher,
    /// Records on their way to the leader.
    pub to_leader: Batcher,
    /// When it plans, where it leads.
    pub planning: Planning,
    /// What it has told the leader of itself.
    pub reporting: Reporting,
    /// When it reconciled last.
    pub reconciled_us: u64,
    /// When it last looked what is due, where it leads.
    pub upkept_us: u64,
    ticks: u64,
    gated: VecDeque<(u64, NodeId, Message)>,
    /// Writes so far, those that the sync under way covers, and those that are durable.
    written: u64,
    syncing: u64,
    durable: u64,
}

impl Process {
    /// The records on a lane.
    pub fn batcher(&mut self, lane: Lane) -> &mut Batcher {
        match lane {
            Lane::Log => &mut self.to_log,
            Lane::Leader => &mut self.to_leader,
        }
    }
}

impl Node {
    /// A node whose disk is empty and which does not run.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            zone: ["a", "b", "c"][(id.0 % 3) as usize].parse().expect("a zone"),
            status: Cell::new(Status::Down),
            run: Cell::new(0),
            clock: Cell::default(),
            disk: RefCell::default(),
            process: RefCell::default(),
            inbox: RefCell::default(),
        }
    }

    /// As the cluster knows it.
    pub fn member(&self) -> Member {
        Member { id: self.id, address: format!("10.0.0.{}:7100", self.id), zone: self.zone }
    }

    /// Its present process.
    pub fn owner(&self) -> Owner {
        Owner { node: self.id, run: self.run.get() }
    }

    /// Does something with the process's memory; absent where there is no process.
    pub fn with<T>(&self, work: impl FnOnce(&mut Process) -> T) -> Option<T> {
        self.process.borrow_mut().as_mut().map(work)
    }

    /// Reads the replicated state as this node has it.
    pub fn state<T>(&self, read: impl FnOnce(&State) -> T) -> Option<T> {
        self.process.borrow().as_ref().map(|process| read(&process.state))
    }

    /// The leader, as this node knows it.
    pub fn leader(&self) -> Option<NodeId> {
        self.process.borrow().as_ref()?.raft.leader()
    }
}

impl World {
    /// A node's wall clock.
    pub fn wall(&self, node: &Node) -> UnixMs {
        let clock = node.clock.get();
        let elapsed_ms = (self.now_us() / 1_000) as i64;
        let shown = BEGINS.0 as i64 + elapsed_ms + elapsed_ms * clock.fast_ppm / 1_000_000 + clock.ahead_ms;
        UnixMs(shown.max(0) as u64)
    }

    /// Starts a node's process on what lies on its disk.
    pub fn start(self: &Rc<Self>, id: NodeId) {
        let node = self.node(id);
        if node.status.get() != Status::Down || node.disk.borrow().full {
            return;
        }
        let found = match node.disk.borrow().open() {
            Ok(found) => found,
            Err(reason) => {
                self.note(format_args!("node {id} refuses its store: {reason}"));
                self.count("store refused");
                node.status.set(Status::Lost);
                return;
            }
        };
        node.run.set(node.run.get() + 1);
        node.status.set(Status::Up);
        let before = node.disk.borrow().incarnation;
        let incarnation = node_core::incarnation::next(before, self.wall(node));
        let past = Past { folder: FolderId(id.0.into()), started: before, last_entry: 0 };
        node.disk.borrow_mut().incarnation = incarnation;
        let state = found.snapshot.as_ref().map(|snapshot| thaw(&snapshot.data)).unwrap_or_default();
        let applied = found.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let dice = Dice::new(self.seed ^ (id.0 << 48) ^ node.run.get(), "raft");
        *node.process.borrow_mut() = Some(Process {
            incarnation,
            raft: Raft::open(id, found, self.founders(), self.now_us(), dice),
            state,
            applied,
            running: BTreeMap::new(),
            keeper: Keeper::new(id, node.disk.borrow().shards(), Canaries::of_process()),
            turns: Turns::default(),
            turns_told: BTreeMap::new(),
            hedge: Hedge::default(),
            freshness: Freshness::default(),
            confirmed_us: None,
            waiting: BTreeMap::new(),
            to_log: Batcher::default(),
            to_leader: Batcher::default(),
            planning: Planning::default(),
            // Each tick of the world is one at which a report is due.
            reporting: Reporting::new(1),
            reconciled_us: 0,
            upkept_us: 0,
            ticks: 0,
            gated: VecDeque::new(),
            written: 0,
            syncing: 0,
            durable: 0,
        });
        self.judge.borrow_mut().started(id, applied);
        // Processes do not look at their clocks in step.
        let first_us = self.dice.borrow_mut().between(1, TICK_US);
        self.executor.after(first_us, Due::Tick(node.owner()));
        let (world, owner) = (self.clone(), node.owner());
        self.executor.spawn(Some(owner), async move { world.announce(id, incarnation, past).await });
        let world = self.clone();
        self.executor.spawn(Some(owner), async move { world.confirm(id).await });
    }
    /// Ends a node's process. Without power what was not synced is at the disk's mercy; else the kernel writes it.
    pub fn end(self: &Rc<Self>, id: NodeId, power: bool) {
        let node = self.node(id);
        if matches!(node.status.get(), Status::Down | Status::Lost) {
            return;
        }
        node.status.set(Status::Down);
        node.inbox.borrow_mut().clear();
        let process = node.process.borrow_mut().take();
        drop(process);
        self.executor.kill(id);
        if power {
            node.disk.borrow_mut().close();
        } else {
            node.disk.borrow_mut().crash(&mut self.dice.borrow_mut());
        }
    }
    /// Stops a node's process, or lets it go on.
    pub fn pause(self: &Rc<Self>, id: NodeId, pause: bool) {
        let node = self.node(id);
        match (node.status.get(), pause) {
            (Status::Up, true) => node.status.set(Status::Paused),
            (Status::Paused, false) => {
                node.status.set(Status::Up);
                let waiting: Vec<Packet> = node.inbox.borrow_mut().drain(..).collect();
                waiting.into_iter().for_each(|packet| self.deliver(packet));
                self.executor.resume(id);
                self.executor.after(0, Due::Tick(node.owner()));
            }
            _ => {}
        }
    }
    /// The process looks at its clock.
    pub fn tick(self: &Rc<Self>, owner: Owner) {
        let node = self.node(owner.node);
        if node.owner() != owner || node.status.get() != Status::Up {
            // A paused one is ticked again when it goes on.
            return;
        }
        self.executor.after(TICK_US, Due::Tick(owner));
        self.drive(node, |process, now_us, out| process.raft.tick(now_us, out));
        let Some(ticks) = node.with(|process| {
            process.ticks += 1;
            process.ticks
        }) else {
            return;
        };
        if ticks.is_multiple_of(REPORT_INTERVAL_MS * 1_000 / TICK_US) {
            self.report(node);
        }
        self.plan(node);
        self.upkeep(node);
        let due = node.with(|process| process.reconciled_us + micros(RECONCILE_INTERVAL) <= self.now_us());
        if due == Some(true) {
            self.reconcile(node);
        }
        self.judge.borrow_mut().queues(node, self.executor.tasks_of(node.id));
    }
    /// Has the log's member do something, and does what it wants done.
    pub fn drive(self: &Rc<Self>, node: &Node, work: impl FnOnce(&mut Process, u64, &mut Vec<Output>)) {
        let mut outputs = Vec::new();
        if node.with(|process| work(process, self.now_us(), &mut outputs)).is_none() {
            return;
        }
        for output in outputs {
            match output {
                Output::Write(write) => {
                    if node.disk.borrow().full {
                        // The product ends its process when the log cannot be written.
                        self.note(format_args!("node {} ends: its disk is full", node.id));
                        self.end(node.id, true);
                        return;
                    }
                    node.disk.borrow_mut().write(write);
                    node.with(|process| process.written += 1);
                }
                Output::SendDurable(to, message) => {
                    node.with(|process| process.gated.push_back((process.written, to, message)));
                }
                Output::Send(to, message) => self.send_raft(node.id, to, &message),
                Output::Restore(snapshot) => {
                    self.judge.borrow_mut().started(node.id, snapshot.index);
                    node.with(|process| {
                        process.state = thaw(&snapshot.data);
                        process.applied = snapshot.index;
                        process.waiting.clear();
                        process.planning.changed();
                    });
                }
            }
        }
        self.sync(node);
        self.send_gated(node);
        self.apply(node);
    }
    fn sync(&self, node: &Node) {
        if node.disk.borrow_mut().begin_sync() {
            let takes_us = self.dice.borrow_mut().between(SYNC_US.0, SYNC_US.1) + node.disk.borrow().slow_us;
            node.with(|process| process.syncing = process.written);
            self.executor.after(takes_us, Due::Synced(node.owner()));
        }
    }
    /// What was written before the sync began is durable.
    pub fn synced(self: &Rc<Self>, owner: Owner) {
        let node = self.node(owner.node);
        if node.owner() != owner || matches!(node.status.get(), Status::Down | Status::Lost) {
            return;
        }
        node.disk.borrow_mut().synced();
        node.with(|process| process.durable = process.syncing);
        self.send_gated(node);
        self.sync(node);
        self.apply(node);
    }
    /// Sends what waits for nothing any more.
    fn send_gated(self: &Rc<Self>, node: &Node) {
        loop {
            let next = node.with(|process| {
                let due = process.gated.front().is_some_and(|(needs, ..)| *needs <= process.durable);
                due.then(|| process.gated.pop_front()).flatten()
            });
            let Some(Some((_, to, message))) = next else { return };
            if to == node.id {
                self.drive(node, |process, now_us, out| process.raft.step(now_us, to, message, out));
            } else {
                self.send_raft(node.id, to, &message);
            }
        }
    }
    fn send_raft(&self, from: NodeId, to: NodeId, message: &Message) {
        let call = match message {
            Message::Append { .. } | Message::Appended { .. } => RaftCall::Append,
            Message::PreVote { .. } | Message::PreVoted { .. } => RaftCall::PreVote,
            Message::Vote { .. } | Message::Voted { .. } => RaftCall::Vote,
            Message::Install { .. } => RaftCall::Snapshot,
        };
        let body = codec::encode(message, PEER_FRAME_BYTES_MAX).expect("a message encodes");
        self.send(Address::Node(from), to, &peer::Request::Raft { cluster: CLUSTER, call, body });
    }
    fn apply(self: &Rc<Self>, node: &Node) {
        let mut changed = false;
        loop {
            let next = node.with(|process| {
                let index = process.applied + 1;
                if index > process.raft.commit() {
                    return None;
                }
                let entry = process.raft.entry(index).cloned()?;
                process.applied = index;
                Some((index, entry))
            });
            let Some(Some((index, entry))) = next else { break };
            let applied = match &*entry.payload {
                Payload::Command(bytes) => {
                    let stamped: Entry = codec::decode(bytes, PEER_FRAME_BYTES_MAX).expect("an entry decodes");
                    changed |= !stamped.command.leaves_galleries();
                    let outcome = node.with(|process| process.state.apply(&stamped, Canaries::of_process()));
                    outcome.map(|outcome| (stamped.command, outcome))
                }
                Payload::Voters(_) => {
                    changed = true;
                    None
                }
                Payload::Blank => None,
            };
            node.with(|process| {
                self.judge.borrow_mut().applied(self, node, index, &entry, applied.as_ref(), &process.state);
                if let (Some((term, reply)), Some((_, outcome))) = (process.waiting.remove(&index), applied)
                    && term == entry.term
                {
                    // Whoever waited may have run into its deadline.
                    let _ = reply.send(outcome);
                }
            });
        }
        if changed {
            node.with(|process| process.planning.changed());
            self.plan(node);
            self.reconcile(node);
        }
        // A leader whom nobody hears has a long log of which nothing more is applied.
        let due = node.with(|process| {
            process.raft.length() > SNAPSHOT_ENTRIES && process.applied > process.raft.snapshot_index()
        });
        if due == Some(true) {
            self.take_snapshot(node);
        }
    }
    fn take_snapshot(self: &Rc<Self>, node: &Node) {
        self.count("snapshot taken");
        let frozen = node.with(|process| {
            let data = codec::encode(&process.state.freeze(), PEER_FRAME_BYTES_MAX).expect("the state encodes");
            (process.applied, data)
        });
        if let Some((index, data)) = frozen {
            self.drive(node, |process, _, out| process.raft.compact(index, data, out));
        }
    }
    /// Announces this start until the node's own state has it (`node/src/group/announce.rs`).
    async fn announce(self: &Rc<Self>, id: NodeId, incarnation: Incarnation, past: Past) {
        let (node, version) = (self.node(id), Version::CURRENT);
        loop {
            let known = node.state(|state| state.members().get(id).map(|member| member.incarnation));
            let command = match known.flatten() {
                Some(known) if known < incarnation => {
                    membership::Command::AnnounceStart { node: id, incarnation, version, past }
                }
                Some(_) => break,
                None => membership::Command::Register(node.member()),
            };
            // A refusal or a missing leader: it is said again.
            let _ = self.propose(node, command, self.now_us() + 10_000_000).await;
            self.sleep(200_000).await;
        }
        self.keeper(node, keeper::Event::Look(true));
    }
    /// Takes a packet off the network.
    pub fn deliver(self: &Rc<Self>, packet: Packet) {
        self.seen(&packet);
        if packet.answer {
            let waiting = self.calls.borrow_mut().remove(&packet.call);
            if let Some(waiting) = waiting {
                // The caller may have stopped waiting.
                let _ = waiting.send(packet.frame);
            }
            return;
        }
        let Address::Node(id) = packet.to else { return };
        let node = self.node(id);
        match node.status.get() {
            Status::Down | Status::Lost => {}
            Status::Paused => {
                let mut inbox = node.inbox.borrow_mut();
                if inbox.len() < INBOX_MAX {
                    inbox.push_back(packet);
                }
            }
            Status::Up => self.receive(node, packet),
        }
    }
    fn receive(self: &Rc<Self>, node: &Node, packet: Packet) {
        let (world, id, owner) = (self.clone(), node.id, Some(node.owner()));
        match channel(&packet.frame) {
            Channel::Gate => {
                let request: gate::Request = body(&packet.frame);
                self.executor.spawn(owner, async move {
                    let response = world.answer_gate(id, packet.from, request).await;
                    world.answer(&packet, Channel::Gate, &response);
                });
            }
            Channel::Peer => match body(&packet.frame) {
                peer::Request::Raft { body, .. } => {
                    let message: Message = codec::decode(&body, PEER_FRAME_BYTES_MAX).expect("a raft message decodes");
                    if let Address::Node(from) = packet.from {
                        self.drive(node, |process, now_us, out| process.raft.step(now_us, from, message, out));
                    }
                }
                peer::Request::Report(report) => {
                    let request = peer::Request::Report(report.clone());
                    if self.judge_peer(node, packet.from, &request).is_ok() {
                        self.take_report(node, report);
                    }
                }
                request => self.executor.spawn(owner, async move {
                    let response = world.answer_peer(id, packet.from, request).await;
                    world.answer(&packet, Channel::Peer, &response);
                }),
            },
            Channel::Operator => {}
        }
    }
}

/// The state that a snapshot holds.
fn thaw(data: &[u8]) -> State {
    codec::decode(data, PEER_FRAME_BYTES_MAX).expect("a snapshot that was written here")
}
