//! A small world of data folders (P14): they are copied, put back to an earlier state and wiped while nodes start and
//! stop. What decides who takes part are the product's cores; folders, acknowledgements and the oracle are the world's.
//!
//! The replicated state is one here, and every node that runs has all of it: what a lagging node may say wrongly is
//! tried in the cores' own tests.

use std::collections::{BTreeMap, BTreeSet};

use cluster_config::actor::Actor;
use cluster_config::canary::Canaries;
use cluster_config::cluster::Agreed;
use cluster_config::ids::{ClusterId, FolderId, Incarnation, NodeId, UnixMs};
use cluster_config::member::{Member, Past};
use cluster_config::versions::Version;
use cluster_config::wire::peer::Hello;
use coordinator_core::membership::{Command, Evidence, Started};
use coordinator_core::placement::{Group, Inventory, Round};
use coordinator_core::{Entry, Outcome, State};
use node_core::joining::{self, Answer, Home, Own, Step};

use crate::dice::Dice;

const CLUSTER: ClusterId = ClusterId(1);

/// Events of one run.
const EVENTS: usize = 300;

/// Rounds in which a starting node asks before it is left alone.
const ROUNDS: u32 = 5;

/// What lies in a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Folder {
    id: FolderId,
    started: Incarnation,
    last_entry: u64,
}

/// A process that takes part.
#[derive(Debug, Clone)]
struct Process {
    incarnation: Incarnation,
    member: Member,
    folder: Folder,
}

struct World {
    dice: Dice,
    nodes: Vec<NodeId>,
    state: State,
    /// The last committed entry.
    committed: u64,
    now: u64,
    /// The folder in each node's place, as its process or its end has left it.
    folders: BTreeMap<NodeId, Folder>,
    /// What each node has acknowledged in truth.
    acknowledged: BTreeMap<NodeId, u64>,
    running: BTreeMap<NodeId, Process>,
    backups: BTreeMap<NodeId, Vec<Folder>>,
    leader: Option<NodeId>,
    counts: BTreeMap<&'static str, u64>,
}

/// What came of a run: how often what happened, and what did not hold.
pub fn run(seed: u64) -> (BTreeMap<&'static str, u64>, Option<String>) {
    let mut world = World::new(seed);
    for _ in 0..EVENTS {
        if let Err(failure) = world.happens() {
            return (world.counts, Some(format!("P14: {failure}")));
        }
    }
    (world.counts, None)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "doubles");
        let count = if dice.chance(500) { 3 } else { 5 };
        let nodes: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let mut world = Self {
            dice,
            state: State::default(),
            committed: 1,
            now: 1,
            folders: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            running: BTreeMap::new(),
            backups: BTreeMap::new(),
            leader: None,
            counts: BTreeMap::new(),
            nodes,
        };
        for node in world.nodes.clone() {
            world.apply(Command::Register(member(node)));
            let id = FolderId(world.dice.number().into());
            world.folders.insert(node, Folder { id, started: Incarnation::default(), last_entry: 1 });
            world.acknowledged.insert(node, 1);
        }
        world
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let entry = Entry::new(Actor::node(NodeId(1)), UnixMs(0), command.into());
        self.state.apply(&entry, Canaries::of_process())
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn has_quorum(&self) -> bool {
        2 * self.running.len() > self.nodes.len()
    }

    fn happens(&mut self) -> Result<(), String> {
        self.now += 10;
        let Some(node) = self.dice.pick(&self.nodes) else { return Ok(()) };
        match (self.dice.between(0, 12), self.running.contains_key(&node)) {
            (0..=4, _) => self.commits(),
            (5, true) => self.ends(node),
            (6, true) => {
                let folder = self.running[&node].folder;
                self.backups.entry(node).or_default().push(folder);
            }
            // A copy is started beside the original: in its place, or as one that does not hide where it is.
            (7, true) => {
                let (folder, hides) = (self.running[&node].folder, self.dice.chance(500));
                let member = if hides { member(node) } else { Member { address: "10.9.9.9:1".into(), ..member(node) } };
                if self.starts(folder, member)?.is_some() {
                    return Err(format!("a copy of node {node} takes part beside it"));
                }
                self.count("twin refused");
            }
            (5..=9, false) => self.starts_in_place(node, self.folders[&node])?,
            (10, false) => {
                let backups = self.backups.get(&node).cloned().unwrap_or_default();
                if let Some(folder) = self.dice.pick(&backups) {
                    self.count("folder put back");
                    self.starts_in_place(node, folder)?;
                }
            }
            (11, false) => {
                let folder = Folder { id: FolderId(self.now.into()), started: Incarnation::default(), last_entry: 0 };
                self.count("folder wiped");
                self.starts_in_place(node, folder)?;
            }
            _ => {}
        }
        self.elects();
        Ok(())
    }

    /// A few entries are acknowledged by all who run, or by a majority of them.
    fn commits(&mut self) {
        let Some(leader) = self.leader.filter(|_| self.has_quorum()) else { return };
        self.committed += self.dice.between(1, 50);
        let mut lagging: Vec<NodeId> = self.running.keys().copied().filter(|node| *node != leader).collect();
        self.dice.shuffle(&mut lagging);
        let spare = self.running.len() - (self.nodes.len() / 2 + 1);
        lagging.truncate(self.dice.between(0, spare as u64 + 1) as usize);
        for (node, process) in self.running.iter_mut().filter(|(node, _)| !lagging.contains(node)) {
            process.folder.last_entry = self.committed;
            self.acknowledged.insert(*node, self.committed);
        }
        // The leader's planner keeps account of it.
        let members = self.nodes.iter().map(|node| (*node, Some(member(*node)))).collect();
        let acknowledged = self.running.iter().map(|(node, process)| (*node, process.folder.last_entry)).collect();
        let group = Group { founding: None, members, acknowledged };
        let mut round = Round::new(&self.state, Inventory::default(), &group, UnixMs(0), Canaries::default());
        while let Ok(Some(command)) = round.next(&self.state) {
            self.state.apply(&Entry::new(Actor::node(leader), UnixMs(0), command), Canaries::default());
        }
        self.count("commits");
    }

    fn ends(&mut self, node: NodeId) {
        if let Some(process) = self.running.remove(&node) {
            self.folders.insert(node, process.folder);
        }
    }

    fn elects(&mut self) {
        if self.leader.is_none_or(|leader| !self.running.contains_key(&leader)) {
            // Whoever lacks something is not elected by those who have it.
            let best = self.running.iter().max_by_key(|(_, process)| process.folder.last_entry);
            self.leader = best.map(|(node, _)| *node).filter(|_| self.has_quorum());
        }
    }

    /// Starts a node's process where no other one of it runs.
    fn starts_in_place(&mut self, node: NodeId, folder: Folder) -> Result<(), String> {
        let own = folder == self.folders[&node];
        let leads = self.leader.is_some();
        match self.starts(folder, member(node))? {
            Some(process) => {
                let (has, wanted) = (process.folder.last_entry, self.acknowledged[&node]);
                if !own && leads && has < wanted {
                    return Err(format!("node {node} takes part with entry {has} of {wanted} that it acknowledged"));
                }
                self.count(if own { "own folder taken" } else { "earlier folder taken" });
                self.folders.insert(node, process.folder);
                self.acknowledged.insert(node, has);
                self.running.insert(node, process);
            }
            None if own && leads => return Err(format!("node {node} is refused with its own folder")),
            None => self.count("refused"),
        }
        Ok(())
    }

    /// A process starts in a folder, and is given where it takes part.
    fn starts(&mut self, mut folder: Folder, member: Member) -> Result<Option<Process>, String> {
        let incarnation = node_core::incarnation::next(folder.started, UnixMs(self.now));
        let past = Past { folder: folder.id, started: folder.started, last_entry: folder.last_entry };
        folder.started = incarnation;
        let (node, initialised) = (member.id, folder.last_entry > 0);
        if self.folders[&node].id == folder.id && !self.running.contains_key(&node) {
            // The number is on the disk before anybody is asked.
            let own = &mut self.folders.get_mut(&node).expect("every node has a folder");
            if own.last_entry == folder.last_entry && own.started == past.started {
                own.started = incarnation;
            }
        }
        let voters: BTreeSet<NodeId> = self.nodes.iter().copied().collect();
        let members: Vec<Member> = self.nodes.iter().map(|node| crate::doubles::member(*node)).collect();
        let agreed = agreed();
        for tries in 0..ROUNDS {
            let home = match self.running.get(&node) {
                Some(other) if other.member == member => Home::Node(node, other.incarnation),
                _ => Home::Node(node, incarnation),
            };
            let started = Started { member: &member, incarnation, past, initialised };
            let answers = self.running.iter().filter(|(id, _)| **id != node);
            let answers =
                answers.map(|(id, other)| (*id, Answer::Hello(Box::new(self.hello(*id, other, started))))).collect();
            let own = Own {
                node,
                incarnation,
                agreed: &agreed,
                members: &members,
                cluster: initialised.then_some(CLUSTER),
                voters: initialised.then_some(&voters),
                home,
                tries,
            };
            match joining::next(&own, &answers, Canaries::of_process()).0 {
                Step::Belongs => {
                    let version = Version::CURRENT;
                    let announced = self.apply(Command::AnnounceStart { node, incarnation, version, past });
                    let refused = matches!(announced, Outcome::Refused(_));
                    return Ok((!refused).then_some(Process { incarnation, member, folder }));
                }
                Step::Waits => {}
                _ => return Ok(None),
            }
        }
        // Too few run: after a loss of power all who come first take part together.
        let first = self.running.is_empty() && folder == self.folders[&node];
        Ok(first.then_some(Process { incarnation, member, folder }))
    }

    fn hello(&self, id: NodeId, process: &Process, started: Started<'_>) -> Hello {
        let leads = self.leader == Some(id);
        let node = started.member.id;
        let acknowledged = if leads { self.acknowledged[&node] } else { 0 };
        let evidence = Evidence { in_group: true, applied: self.committed, acknowledged };
        Hello {
            member: process.member.clone(),
            incarnation: process.incarnation,
            past: Past {
                folder: process.folder.id,
                started: process.folder.started,
                last_entry: process.folder.last_entry,
            },
            cluster: Some(CLUSTER),
            agreed: agreed(),
            members: Vec::new(),
            initialised: true,
            doubt: self.state.members().doubt(started, evidence, Canaries::of_process()),
            applied: self.committed,
            leader: self.leader,
            version: Version::CURRENT,
        }
    }
}

fn member(node: NodeId) -> Member {
    Member { id: node, address: format!("10.0.0.{node}:7100"), zone: "a".parse().expect("a zone") }
}

fn agreed() -> Agreed {
    Agreed { name: "north".to_owned(), model: "m".parse().expect("a model"), template_dims: 512 }
}
