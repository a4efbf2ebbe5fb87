//! A modelled replicated log: leaders and terms, votes, a majority for every commit, snapshots for who is far behind,
//! and one change of the voters at a time (Ongaro, "Consensus: Bridging Theory and Practice", 2014, chapters 3 to 5).
//!
//! The product uses openraft, whose own simulation and Jepsen suites judge it; this model stands in its place so that
//! every order of events that a replicated log allows, and no other, meets the product's cores. What it keeps of
//! openraft as configured (`coordinator/src/group/raft.rs`): its timeouts, the lease of a leader that is heard, a
//! question before each election whether it could be won (pre-vote, section 9.6), a longer wait where another log is
//! longer, a leader that falls silent now and then while no majority answers, acknowledgement after the sync alone.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cluster_config::ids::NodeId;
use cluster_config::limits::{RAFT_ELECTION_MS_MAX, RAFT_ELECTION_MS_MIN, RAFT_HEARTBEAT_MS};
use serde::{Deserialize, Serialize};

pub use super::log_entry::{Entry, Payload};
use super::log_entry::{Found, Snapshot, Write};
use crate::dice::Dice;

/// Between two heartbeats, microseconds.
const HEARTBEAT_US: u64 = RAFT_HEARTBEAT_MS * 1_000;

/// Bounds of the election timeout, microseconds. It begins when the leader's lease has run out.
const ELECTION_US: (u64, u64) = (RAFT_ELECTION_MS_MIN * 1_000, RAFT_ELECTION_MS_MAX * 1_000);

/// For how long a leader that was heard keeps others from being elected, microseconds (openraft's `leader_lease`).
const LEASE_US: u64 = ELECTION_US.1;

/// How much longer a member waits that knows of a longer log, microseconds (openraft's `smaller_log_timeout`).
const BEHIND_US: u64 = 2 * ELECTION_US.1;

/// How long a leader without a majority is silent and then heard in turn, microseconds (`quorum_loss_probe_interval`).
const PROBE_US: u64 = 2 * ELECTION_US.1;

/// Entries in one message at most.
const ENTRIES_MAX: u64 = 64;

/// What the members say to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Entries that follow one that the receiver should have; a heartbeat where there are none.
    Append {
        term: u64,
        previous: (u64, u64),
        entries: Vec<Entry>,
        commit: u64,
        round: u64,
    },
    /// To the above, of that round: how far the receiver's log is the sender's, or from where on it may be.
    Appended {
        term: u64,
        same: bool,
        index: u64,
        round: u64,
    },
    /// Would you have me in this term?
    PreVote {
        term: u64,
        last: (u64, u64),
    },
    /// To the above, with the answerer's own term and the end of its log.
    PreVoted {
        asked: u64,
        term: u64,
        last: (u64, u64),
        granted: bool,
    },
    /// Will you have me?
    Vote {
        term: u64,
        last: (u64, u64),
    },
    Voted {
        term: u64,
        last: (u64, u64),
        granted: bool,
    },
    /// In place of entries that are gone.
    Install {
        term: u64,
        snapshot: Rc<Snapshot>,
    },
}

/// What a member wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Write this to the log.
    Write(Write),
    /// Send this once all that was written before is durable; to the member itself too.
    SendDurable(NodeId, Message),
    Send(NodeId, Message),
    /// Replace the state by this one.
    Restore(Rc<Snapshot>),
}

/// What a member takes itself for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    /// It wants to lead.
    Candidate,
    Leader,
}

/// One member.
#[derive(Debug)]
pub struct Raft {
    me: NodeId,
    term: u64,
    voted: Option<NodeId>,
    log: BTreeMap<u64, Entry>,
    snapshot: Option<Rc<Snapshot>>,
    founders: BTreeSet<NodeId>,
    commit: u64,
    role: Role,
    leader: Option<NodeId>,
    votes: BTreeSet<NodeId>,
    /// Who would vote for it in the next term, while it asks.
    pre_votes: Option<BTreeSet<NodeId>>,
    /// Whether it knows of a longer log, and waits longer.
    behind: bool,
    next: BTreeMap<NodeId, u64>,
    matched: BTreeMap<NodeId, u64>,
    heard_us: BTreeMap<NodeId, u64>,
    /// Counts the questions whether it still leads; each message of a leader carries the latest.
    round: u64,
    /// The latest round that each other member has answered.
    acknowledged: BTreeMap<NodeId, u64>,
    /// Its first entry as leader.
    led_from: u64,
    led_us: u64,
    beat_us: u64,
    election_us: u64,
    dice: Dice,
}

impl Raft {
    /// A member that goes on from what was found on its disk.
    pub fn open(me: NodeId, found: Found, founders: BTreeSet<NodeId>, now_us: u64, dice: Dice) -> Self {
        let base = found.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let mut raft = Self {
            me,
            term: found.vote.0,
            voted: found.vote.1,
            log: found.entries,
            snapshot: found.snapshot,
            founders,
            commit: base,
            role: Role::Follower,
            leader: None,
            votes: BTreeSet::new(),
            pre_votes: None,
            behind: false,
            next: BTreeMap::new(),
            matched: BTreeMap::new(),
            heard_us: BTreeMap::new(),
            round: 0,
            acknowledged: BTreeMap::new(),
            led_from: 0,
            led_us: 0,
            beat_us: 0,
            election_us: 0,
            dice,
        };
        raft.put_off_election(now_us, 0);
        raft
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether it takes itself for the leader.
    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// The leader that it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// How far it knows the log to be committed.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// Entries since the last snapshot.
    pub fn length(&self) -> usize {
        self.log.len()
    }

    /// An entry that is still there.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.log.get(&index)
    }

    /// The last entry that the snapshot has; 0 where there is none.
    pub fn snapshot_index(&self) -> u64 {
        self.base().0
    }

    fn base(&self) -> (u64, u64) {
        self.snapshot.as_ref().map_or((0, 0), |snapshot| (snapshot.index, snapshot.term))
    }

    fn last(&self) -> (u64, u64) {
        self.log.last_key_value().map_or(self.base(), |(index, entry)| (*index, entry.term))
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        let base = self.base();
        if index == base.0 { Some(base.1) } else { self.log.get(&index).map(|entry| entry.term) }
    }

    /// The voters: as the newest entry about them says, committed or not.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        let changed = self.log.values().rev().find_map(|entry| match &*entry.payload {
            Payload::Voters(voters) => Some(voters.clone()),
            _ => None,
        });
        let kept = || self.snapshot.as_ref().map(|snapshot| snapshot.voters.clone());
        changed.or_else(kept).unwrap_or_else(|| self.founders.clone())
    }

    fn others(&self) -> Vec<NodeId> {
        self.voters().into_iter().filter(|node| *node != self.me).collect()
    }

    fn is_majority(&self, count: usize) -> bool {
        2 * count > self.voters().len()
    }

    fn put_off_election(&mut self, now_us: u64, lease_us: u64) {
        self.election_us = now_us + lease_us + self.dice.between(ELECTION_US.0, ELECTION_US.1);
    }

    /// A leader was heard.
    fn heard_leader(&mut self, now_us: u64, leader: NodeId) {
        self.heard_us.insert(leader, now_us);
        self.put_off_election(now_us, LEASE_US);
    }

    /// Whether a leader's lease keeps others from being elected.
    fn leader_lives(&self, now_us: u64) -> bool {
        let heard_us = match self.leader {
            Some(leader) if leader == self.me => Some(self.quorum_heard_us(now_us)),
            Some(leader) => self.heard_us.get(&leader).copied(),
            None => None,
        };
        heard_us.is_some_and(|heard_us| heard_us + LEASE_US > now_us)
    }

    /// When a majority had answered it last, where it leads.
    pub fn quorum_heard_as_leader_us(&self, now_us: u64) -> Option<u64> {
        (self.role == Role::Leader).then(|| self.quorum_heard_us(now_us))
    }

    /// When a majority had answered this leader last.
    fn quorum_heard_us(&self, now_us: u64) -> u64 {
        let others = |node: &NodeId| self.heard_us.get(node).copied().unwrap_or(self.led_us);
        let heard = |node: &NodeId| if *node == self.me { now_us } else { others(node) };
        let mut all: Vec<u64> = self.voters().iter().map(heard).collect();
        all.sort_unstable();
        all.get((all.len() - 1) / 2).copied().unwrap_or(now_us)
    }

    /// Whether this leader's heartbeats go out: without a majority it is silent for every other while, so that those
    /// who still see each other can elect.
    fn may_beat(&self, now_us: u64) -> bool {
        let age_us = now_us - self.quorum_heard_us(now_us);
        age_us < LEASE_US || (age_us - LEASE_US) / PROBE_US % 2 == 1
    }

    fn is_as_long(&self, last: (u64, u64)) -> bool {
        let (index, term) = self.last();
        (last.1, last.0) >= (term, index)
    }

    /// Somebody who does not vote for this member has a log that ends there.
    fn refused_by(&mut self, last: (u64, u64)) {
        let (index, term) = self.last();
        if !self.behind && (last.1, last.0) > (term, index) {
            self.behind = true;
            self.election_us += BEHIND_US;
        }
    }

    fn follow(&mut self, term: u64, leader: Option<NodeId>, out: &mut Vec<Output>) {
        if term > self.term {
            (self.term, self.voted) = (term, None);
            out.push(Output::Write(Write::Vote(term, None)));
        }
        self.role = Role::Follower;
        self.leader = leader;
        self.votes.clear();
        self.pre_votes = None;
    }

    /// Looks at the clock.
    pub fn tick(&mut self, now_us: u64, out: &mut Vec<Output>) {
        if self.role == Role::Leader {
            if now_us >= self.beat_us + HEARTBEAT_US && self.may_beat(now_us) {
                self.beat_us = now_us;
                for node in self.others() {
                    // What was sent and not answered by now is sent again.
                    if let Some(matched) = self.matched.get(&node) {
                        self.next.insert(node, matched + 1);
                    }
                    self.send_entries(node, out);
                }
            }
        } else if now_us >= self.election_us && self.voters().contains(&self.me) {
            self.behind = false;
            self.put_off_election(now_us, 0);
            self.pre_votes = Some(BTreeSet::from([self.me]));
            let message = Message::PreVote { term: self.term + 1, last: self.last() };
            out.extend(self.others().into_iter().map(|node| Output::Send(node, message.clone())));
            self.elect_if_possible(now_us, out);
        }
    }

    /// Stands for election once a majority says that it would vote for this member.
    fn elect_if_possible(&mut self, now_us: u64, out: &mut Vec<Output>) {
        if !self.pre_votes.as_ref().is_some_and(|votes| self.is_majority(votes.len())) {
            return;
        }
        self.put_off_election(now_us, 0);
        self.pre_votes = None;
        self.role = Role::Candidate;
        self.leader = None;
        self.term += 1;
        self.voted = Some(self.me);
        self.votes = BTreeSet::from([self.me]);
        out.push(Output::Write(Write::Vote(self.term, self.voted)));
        let message = Message::Vote { term: self.term, last: self.last() };
        out.extend(self.others().into_iter().map(|node| Output::SendDurable(node, message.clone())));
        self.lead_if_elected(now_us, out);
    }

    fn lead_if_elected(&mut self, now_us: u64, out: &mut Vec<Output>) {
        if self.role != Role::Candidate || !self.is_majority(self.votes.len()) {
            return;
        }
        self.role = Role::Leader;
        self.leader = Some(self.me);
        (self.led_us, self.beat_us) = (now_us, now_us);
        self.heard_us.clear();
        self.matched.clear();
        self.acknowledged.clear();
        let next = self.last().0 + 1;
        self.next = self.others().into_iter().map(|node| (node, next)).collect();
        self.led_from = next;
        self.propose(Payload::Blank, out);
    }

    /// Adds an entry as leader, and gives its index.
    pub fn propose(&mut self, payload: Payload, out: &mut Vec<Output>) -> Option<u64> {
        if self.role != Role::Leader {
            return None;
        }
        let index = self.last().0 + 1;
        let entry = Entry { term: self.term, payload: Rc::new(payload) };
        self.log.insert(index, entry.clone());
        out.push(Output::Write(Write::Entry(index, entry)));
        out.push(Output::SendDurable(self.me, Message::Appended { term: self.term, same: true, index, round: 0 }));
        self.others().into_iter().for_each(|node| self.send_entries(node, out));
        Some(index)
    }

    /// Begins to make sure that it leads (read index; chapter 6.4): gives the round to wait for, the term, and how far
    /// the log has to be applied besides. Absent where it does not lead.
    pub fn confirm(&mut self, out: &mut Vec<Output>) -> Option<(u64, u64, u64)> {
        if self.role != Role::Leader {
            return None;
        }
        self.round += 1;
        self.others().into_iter().for_each(|node| self.send_entries(node, out));
        Some((self.round, self.term, self.commit.max(self.led_from)))
    }

    /// Whether a majority has answered a message of this round; absent where it does not lead in this term any more.
    pub fn is_confirmed(&self, round: u64, term: u64) -> Option<bool> {
        if self.role != Role::Leader || self.term != term {
            return None;
        }
        let answers = |node: &NodeId| *node == self.me || self.acknowledged.get(node).is_some_and(|own| *own >= round);
        Some(self.is_majority(self.voters().iter().filter(|node| answers(node)).count()))
    }

    /// Changes the voters by one, where no change is under way.
    pub fn change_voters(&mut self, voters: BTreeSet<NodeId>, out: &mut Vec<Output>) -> bool {
        let pending = self.log.range(self.commit + 1..).any(|(_, entry)| matches!(*entry.payload, Payload::Voters(_)));
        let leads = self.role == Role::Leader && self.term_at(self.commit) == Some(self.term);
        leads && !pending && self.propose(Payload::Voters(voters), out).is_some()
    }

    fn send_entries(&mut self, node: NodeId, out: &mut Vec<Output>) {
        let next = *self.next.entry(node).or_insert(self.log.last_key_value().map_or(1, |(index, _)| index + 1));
        let (term, commit, round) = (self.term, self.commit, self.round);
        let Some(previous_term) = self.term_at(next - 1) else {
            if let Some(snapshot) = self.snapshot.clone() {
                out.push(Output::Send(node, Message::Install { term, snapshot }));
            }
            return;
        };
        let entries: Vec<Entry> = self.log.range(next..next + ENTRIES_MAX).map(|(_, entry)| entry.clone()).collect();
        // What is under way is taken for received; an answer that says otherwise sets this back.
        self.next.insert(node, next + entries.len() as u64);
        let message = Message::Append { term, previous: (next - 1, previous_term), entries, commit, round };
        out.push(Output::Send(node, message));
    }

    /// Takes a message.
    pub fn step(&mut self, now_us: u64, from: NodeId, message: Message, out: &mut Vec<Output>) {
        match message {
            Message::PreVote { term, last } => {
                let free = term > self.term || (term == self.term && self.voted.is_none_or(|voted| voted == from));
                let granted = free && !self.leader_lives(now_us) && self.is_as_long(last);
                let answer = Message::PreVoted { asked: term, term: self.term, last: self.last(), granted };
                out.push(Output::Send(from, answer));
            }
            Message::PreVoted { asked, term, last, granted } => {
                self.pre_voted(now_us, from, (asked, granted), term, last, out);
            }
            Message::Vote { term, last } => self.vote(now_us, from, term, last, out),
            Message::Voted { term, last, granted } => {
                if term == self.term && granted && self.role == Role::Candidate {
                    self.votes.insert(from);
                    self.lead_if_elected(now_us, out);
                } else if !granted && self.role == Role::Candidate {
                    self.refused_by(last);
                    self.adopt(now_us, term, out);
                }
            }
            Message::Append { term, previous, entries, commit, round } => {
                if term < self.term {
                    let answer = Message::Appended { term: self.term, same: false, index: 0, round };
                    out.push(Output::SendDurable(from, answer));
                    return;
                }
                self.follow(term, Some(from), out);
                self.heard_leader(now_us, from);
                let (same, index) = self.append(previous, entries, out);
                if same {
                    self.commit = self.commit.max(commit.min(index));
                }
                out.push(Output::SendDurable(from, Message::Appended { term, same, index, round }));
            }
            Message::Appended { term, same, index, round } => {
                if term > self.term {
                    self.follow(term, None, out);
                } else if term == self.term && self.role == Role::Leader {
                    self.heard_us.insert(from, now_us);
                    let acknowledged = self.acknowledged.entry(from).or_default();
                    *acknowledged = round.max(*acknowledged);
                    self.progress(from, same, index, out);
                }
            }
            Message::Install { term, snapshot } => {
                if term < self.term {
                    let answer = Message::Appended { term: self.term, same: false, index: 0, round: 0 };
                    out.push(Output::SendDurable(from, answer));
                    return;
                }
                self.follow(term, Some(from), out);
                self.heard_leader(now_us, from);
                let index = snapshot.index;
                if index > self.commit {
                    self.log.clear();
                    self.commit = index;
                    self.snapshot = Some(snapshot.clone());
                    out.push(Output::Write(Write::Snapshot(snapshot.clone(), true)));
                    out.push(Output::Restore(snapshot));
                }
                out.push(Output::SendDurable(from, Message::Appended { term, same: true, index, round: 0 }));
            }
        }
    }

    fn pre_voted(
        &mut self,
        now_us: u64,
        from: NodeId,
        (asked, granted): (u64, bool),
        term: u64,
        last: (u64, u64),
        out: &mut Vec<Output>,
    ) {
        let Some(votes) = self.pre_votes.as_mut().filter(|_| asked == self.term + 1) else { return };
        if granted {
            votes.insert(from);
            self.elect_if_possible(now_us, out);
        } else {
            self.refused_by(last);
            self.adopt(now_us, term, out);
        }
    }

    /// Goes on to a later term that another member knows of, whoever leads in it.
    fn adopt(&mut self, now_us: u64, term: u64, out: &mut Vec<Output>) {
        if term > self.term {
            self.follow(term, None, out);
            self.put_off_election(now_us, if self.behind { BEHIND_US } else { 0 });
        }
    }

    fn vote(&mut self, now_us: u64, from: NodeId, term: u64, last: (u64, u64), out: &mut Vec<Output>) {
        let mut granted = false;
        if !self.leader_lives(now_us) && self.is_as_long(last) {
            if term > self.term {
                self.follow(term, None, out);
            }
            let free = self.voted.is_none() || self.voted == Some(from);
            granted = term == self.term && free && self.role == Role::Follower;
        }
        if granted {
            self.voted = Some(from);
            out.push(Output::Write(Write::Vote(term, self.voted)));
            self.put_off_election(now_us, 0);
        }
        out.push(Output::SendDurable(from, Message::Voted { term: self.term, last: self.last(), granted }));
    }

    /// Takes entries. Gives whether the log is the leader's up to an index, else from where on it may be.
    fn append(&mut self, previous: (u64, u64), entries: Vec<Entry>, out: &mut Vec<Output>) -> (bool, u64) {
        let base = self.base().0;
        if previous.0 >= base && self.term_at(previous.0) != Some(previous.1) {
            return (false, previous.0.min(self.last().0 + 1).max(1) - 1);
        }
        let mut index = previous.0;
        for entry in entries {
            index += 1;
            if index <= base {
                continue;
            }
            match self.log.get(&index) {
                Some(own) if own.term == entry.term => {}
                own => {
                    if own.is_some() {
                        assert!(index > self.commit, "the modelled log takes back what is committed");
                        self.log.split_off(&index);
                        out.push(Output::Write(Write::Truncate(index)));
                    }
                    self.log.insert(index, entry.clone());
                    out.push(Output::Write(Write::Entry(index, entry)));
                }
            }
        }
        (true, index.max(base))
    }

    fn progress(&mut self, from: NodeId, same: bool, index: u64, out: &mut Vec<Output>) {
        if !same {
            self.next.insert(from, index.max(1));
            self.send_entries(from, out);
            return;
        }
        let matched = self.matched.entry(from).or_default();
        *matched = (*matched).max(index);
        self.advance_commit();
        if from == self.me {
            return;
        }
        let next = self.next.entry(from).or_insert(index + 1);
        *next = (*next).max(index + 1);
        if *next <= self.last().0 {
            self.send_entries(from, out);
        }
    }

    fn advance_commit(&mut self) {
        let matched = |node: &NodeId| self.matched.get(node).copied().unwrap_or(0);
        let mut all: Vec<u64> = self.voters().iter().map(matched).collect();
        all.sort_unstable();
        let Some(by_majority) = all.get((all.len() - 1) / 2).copied() else { return };
        if by_majority > self.commit && self.term_at(by_majority) == Some(self.term) {
            self.commit = by_majority;
        }
    }

    /// A snapshot of the state at `index` replaces the log up to there.
    pub fn compact(&mut self, index: u64, data: Vec<u8>, out: &mut Vec<Output>) {
        let Some(term) = self.term_at(index) else { return };
        let before = self.log.range(..=index).rev().find_map(|(_, entry)| match &*entry.payload {
            Payload::Voters(voters) => Some(voters.clone()),
            _ => None,
        });
        let kept = || self.snapshot.as_ref().map(|snapshot| snapshot.voters.clone());
        let voters = before.or_else(kept).unwrap_or_else(|| self.founders.clone());
        let snapshot = Rc::new(Snapshot { index, term, voters, data });
        self.log = self.log.split_off(&(index + 1));
        self.snapshot = Some(snapshot.clone());
        out.push(Output::Write(Write::Snapshot(snapshot, false)));
    }
}
