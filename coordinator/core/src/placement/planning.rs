//! When the leader plans, and what it proposes then: the planner's loop without the waiting.
//!
//! [`Planning`] takes what happens and says when to plan; a [`Round`] gives the commands one after the other, each for
//! the state as it is by then.

use std::collections::{BTreeMap, VecDeque};

use cluster_config::canary::Canaries;
use cluster_config::cluster::Founding;
use cluster_config::ids::{Incarnation, NodeId, UnixMs};
use cluster_config::limits::MARK_ENTRIES;
use cluster_config::member::Member;
use cluster_config::wire::peer::{Held, Report};

use super::check::{self, Violation};
use super::command;
use super::inventory::Inventory;
use super::plan::plan;
use crate::command::Command;
use crate::membership;
use crate::state::State;

/// Longest time between two plans, where neither state nor reports have changed, milliseconds: departure times come
/// nearer all the while.
pub const PLAN_INTERVAL_MS_MAX: u64 = 1_000;

/// How alive a node is: heard of, lost, gone.
type Liveness = Vec<(NodeId, bool, bool, bool)>;

/// What happens to a leader that makes it plan. Its time is milliseconds of any clock that does not go back, since
/// silence is measured by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planning {
    /// The term in which this node leads.
    term: Option<u64>,
    /// When it began to lead, or to run.
    began_ms: u64,
    inventory: Inventory,
    /// What each node holds by the last report that said so, in whichever term: it tells news from repetition.
    last: BTreeMap<NodeId, Told>,
    liveness: Liveness,
    /// Whether it is the first plan of a term, a report has brought news, or the state has changed since the last plan.
    is_due: bool,
    planned_ms: Option<u64>,
    in_round: bool,
}

/// What a node holds, by a report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// The node's start, and how often what it holds had changed.
    of: (Incarnation, u64),
    held: Held,
}

/// What a report was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    News,
    /// What was known.
    Again,
    /// It says that all is as before, and that is not known.
    Unknown,
}

impl Planning {
    /// Takes a node's report.
    pub fn report(&mut self, now_ms: u64, mut report: Report) -> Heard {
        self.pass(now_ms);
        let (node, of) = (report.node, (report.incarnation, report.revision));
        let is_first = !self.inventory.has_heard(node);
        let last = self.last.get(&node);
        if report.held.is_none() && is_first {
            // It was told in an earlier term, or a moment before this one began to lead.
            report.held = last.filter(|last| last.of == of).map(|last| last.held.clone());
        }
        // How many answers are open changes all the time, and nothing is placed by it.
        let is_news = |held: &Held| is_first || last.is_none_or(|last| last.of.0 != of.0 || last.held != *held);
        let news = report.held.clone().filter(is_news);
        if !self.inventory.take(report) {
            return Heard::Unknown;
        }
        let Some(held) = news else { return Heard::Again };
        self.is_due = true;
        self.last.insert(node, Told { of, held });
        Heard::News
    }

    /// What has been heard so far.
    pub fn inventory(&mut self, now_ms: u64) -> &Inventory {
        self.pass(now_ms);
        &self.inventory
    }

    /// The state has changed.
    pub fn changed(&mut self) {
        self.is_due = true;
    }

    /// Whether this node leads, and in which term. In a new one silence counts from `now_ms`, so that nobody is taken
    /// for dead who could not have reported yet.
    pub fn leads(&mut self, now_ms: u64, term: Option<u64>) {
        if self.term == term {
            return;
        }
        *self = match term {
            Some(_) => {
                let (last, in_round) = (std::mem::take(&mut self.last), self.in_round);
                Self { term, began_ms: now_ms, is_due: true, in_round, last, ..Self::default() }
            }
            None => Self { term, ..std::mem::take(self) },
        };
    }

    /// What is known of the nodes where it is time to plan; then a round is under way, until [`Planning::round_ended`].
    pub fn look(&mut self, now_ms: u64, state: &State) -> Option<Inventory> {
        if self.term.is_none() || self.in_round {
            return None;
        }
        self.pass(now_ms);
        let liveness = liveness_of(state, &self.inventory);
        let is_old = self.planned_ms.is_none_or(|at| now_ms.saturating_sub(at) >= PLAN_INTERVAL_MS_MAX);
        if !self.is_due && !is_old && self.liveness == liveness {
            return None;
        }
        (self.liveness, self.is_due, self.planned_ms, self.in_round) = (liveness, false, Some(now_ms), true);
        Some(self.inventory.clone())
    }

    /// All commands of the last plan are proposed, or one was not taken.
    pub fn round_ended(&mut self) {
        self.in_round = false;
    }

    fn pass(&mut self, now_ms: u64) {
        self.inventory.pass(now_ms.saturating_sub(self.began_ms));
    }
}

fn liveness_of(state: &State, inventory: &Inventory) -> Liveness {
    let nodes = state.members.ids();
    nodes.map(|node| (node, inventory.is_alive(node), inventory.is_lost(node), inventory.is_gone(node))).collect()
}

/// The raft group, as its leader knows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// The cluster that this node's folder belongs to.
    pub founding: Option<Founding>,
    /// One whose description does not read has none, and is not announced.
    pub members: BTreeMap<NodeId, Option<Member>>,
    /// The last committed entry that each of them has acknowledged.
    pub acknowledged: BTreeMap<NodeId, u64>,
}

/// One plan: its commands in order, until one is not taken, since the rest builds on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    inventory: Inventory,
    now: UnixMs,
    canaries: Canaries,
    waiting: VecDeque<Command>,
    has_planned: bool,
}

impl Round {
    /// A round at `now`, the wall clock's time, by which journeys depart.
    pub fn new(state: &State, inventory: Inventory, group: &Group, now: UnixMs, canaries: Canaries) -> Self {
        let waiting = member_commands(state, &inventory, group).into();
        Self { inventory, now, canaries, waiting, has_planned: false }
    }

    /// The next command to propose.
    ///
    /// # Errors
    /// The plan breaks a rule: it must not be proposed.
    pub fn next(&mut self, state: &State) -> Result<Option<Command>, Violation> {
        if self.waiting.is_empty() && !self.has_planned {
            self.has_planned = true;
            let changes = plan(state, &self.inventory, self.now, self.canaries);
            self.waiting = changes.into_iter().map(Command::Placement).collect();
        }
        let next = self.waiting.pop_front();
        if let Some(Command::Placement(command::Command::Change { parent, changes })) = &next
            // A plan for a blueprint that has moved on is refused by its generation.
            && *parent == state.blueprint.generation()
        {
            check::changes(state, changes, self.canaries)?;
        }
        Ok(next)
    }
}

/// Says what the cluster is, and keeps the replicated state's members in step with the raft group's: who is in the
/// group is announced as the group has it, how far their logs go is kept, and who left and is silent is forgotten.
fn member_commands(state: &State, inventory: &Inventory, group: &Group) -> Vec<Command> {
    let is_said = state.members.founding().is_some();
    let founding = group.founding.iter().filter(|_| !is_said).cloned();
    let founding = founding.map(|founding| membership::Command::Found(founding).into());
    let known = |member: &&Member| state.members.get(member.id).is_some_and(|known| known.member == **member);
    let announced = group.members.values().flatten().filter(|member| !known(member));
    let announced = announced.map(|member| membership::Command::Register(member.clone()).into());
    let ahead = |(node, entry): &(&NodeId, &u64)| {
        state.members.get(**node).is_some_and(|known| **entry >= known.mark + MARK_ENTRIES)
    };
    let marks: BTreeMap<NodeId, u64> = group.acknowledged.iter().filter(ahead).map(|(n, e)| (*n, *e)).collect();
    let marks = (!marks.is_empty()).then(|| membership::Command::Mark(marks).into());
    let gone = |id: &NodeId| !group.members.contains_key(id) && inventory.is_gone(*id);
    let forgotten = state.members.ids().filter(gone).map(|id| membership::Command::Remove(id).into());
    founding.chain(announced).chain(marks).chain(forgotten).collect()
}

#[cfg(test)]
mod tests {
    use cluster_config::actor::Actor;
    use cluster_config::cluster::Agreed;
    use cluster_config::ids::{ClusterId, Incarnation};
    use cluster_config::limits::{NODE_LOST_AFTER_MS, REPLACE_AFTER_MS};

    use super::*;
    use crate::entry::Entry;

    fn apply(state: &mut State, command: Command) {
        state.apply(&Entry::new(Actor::node(NodeId(1)), UnixMs(0), command), Canaries::default());
    }

    fn member(id: u64, port: u16) -> Member {
        let zone = "a".parse().expect("a zone");
        Member { id: NodeId(id), address: format!("10.0.0.{id}:{port}"), zone }
    }

    fn state(members: u64) -> State {
        let mut state = State::default();
        (1..=members).for_each(|id| apply(&mut state, membership::Command::Register(member(id, 7100)).into()));
        state
    }

    fn report(node: u64, incarnation: u64) -> Report {
        Report {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            revision: 1,
            held: Some(Held::default()),
            open: 0,
            clock: UnixMs(0),
        }
    }

    fn group(members: &[Member]) -> Group {
        let members = members.iter().map(|member| (member.id, Some(member.clone()))).collect();
        Group { founding: None, members, acknowledged: BTreeMap::new() }
    }

    fn founding() -> Founding {
        let agreed = Agreed { name: "north".to_owned(), model: "m".parse().expect("a model"), template_dims: 512 };
        Founding { cluster: ClusterId(7), agreed }
    }

    #[test]
    fn a_leader_plans_at_once_then_for_news_changes_and_once_a_second() {
        let mut planning = Planning::default();
        let state = state(1);
        let plans = |planning: &mut Planning, now_ms| {
            let due = planning.look(now_ms, &state).is_some();
            planning.round_ended();
            due
        };
        assert!(!plans(&mut planning, 0), "it does not lead");
        planning.leads(100, Some(1));
        assert!(plans(&mut planning, 100));
        assert!(!plans(&mut planning, 150));
        assert_eq!(planning.report(200, report(1, 1)), Heard::News);
        assert!(plans(&mut planning, 200), "news");
        assert_eq!(planning.report(250, report(1, 1)), Heard::Again);
        assert!(!plans(&mut planning, 250), "the same again");
        planning.changed();
        assert!(plans(&mut planning, 300), "a change");
        planning.report(900, report(1, 1));
        assert!(!plans(&mut planning, 1_299));
        assert!(plans(&mut planning, 1_300), "a second has passed");
        planning.leads(1_400, Some(1));
        assert!(!plans(&mut planning, 1_400), "it leads on");
        planning.leads(1_500, Some(2));
        assert!(plans(&mut planning, 1_500), "a new term");
    }

    /// F37: what was told in one term is known in the next, and nobody is placed around for want of a report.
    #[test]
    fn a_report_that_all_is_as_before_is_understood_where_what_was_before_is_known() {
        let brief = |revision| Report { revision, held: None, ..report(1, 7) };
        let mut planning = Planning::default();
        planning.leads(0, Some(1));
        assert_eq!(planning.report(10, brief(1)), Heard::Unknown);
        assert!(!planning.inventory(10).is_alive(NodeId(1)));
        assert_eq!(planning.report(20, report(1, 7)), Heard::News);
        assert_eq!(planning.report(30, brief(1)), Heard::Again);
        planning.leads(40, Some(2));
        assert!(!planning.inventory(40).is_alive(NodeId(1)), "it has to be heard again");
        assert_eq!(planning.report(50, brief(2)), Heard::Unknown);
        assert_eq!(planning.report(60, brief(1)), Heard::News);
        assert!(planning.inventory(60).is_alive(NodeId(1)));
        assert_eq!(planning.report(70, brief(1)), Heard::Again);
    }

    #[test]
    fn a_node_that_falls_silent_is_a_reason_to_plan_before_the_second_is_over() {
        let mut planning = Planning::default();
        planning.leads(0, Some(1));
        planning.report(0, report(1, 1));
        let mut lost_ms = None;
        for now_ms in (0..2 * NODE_LOST_AFTER_MS).step_by(50) {
            // The state changes shortly before, so that the last plan is young.
            if now_ms == NODE_LOST_AFTER_MS - 100 {
                planning.changed();
            }
            if let Some(inventory) = planning.look(now_ms, &state(1)) {
                planning.round_ended();
                lost_ms = lost_ms.or(inventory.is_lost(NodeId(1)).then_some(now_ms));
            }
        }
        assert_eq!(lost_ms, Some(NODE_LOST_AFTER_MS));
    }

    #[test]
    fn silence_counts_from_the_beginning_of_the_term() {
        let mut planning = Planning::default();
        planning.leads(0, Some(1));
        planning.report(0, report(1, 1));
        planning.leads(5_000, None);
        assert!(planning.look(6_000, &state(1)).is_none(), "it does not lead any more");
        planning.leads(60_000, Some(3));
        let inventory = planning.look(60_000, &state(1)).expect("a new term");
        assert!(!inventory.is_lost(NodeId(1)) && !inventory.is_alive(NodeId(1)), "it could not have reported yet");
    }

    #[test]
    fn one_round_at_a_time_and_what_happens_meanwhile_is_not_forgotten() {
        let mut planning = Planning::default();
        planning.leads(0, Some(1));
        assert!(planning.look(0, &state(1)).is_some());
        planning.changed();
        assert!(planning.look(10, &state(1)).is_none(), "the round before is under way");
        planning.leads(20, Some(2));
        assert!(planning.look(20, &state(1)).is_none(), "in a new term too");
        planning.round_ended();
        assert!(planning.look(30, &state(1)).is_some());
    }

    #[test]
    fn members_of_the_group_are_announced_and_who_left_and_is_silent_is_forgotten() {
        let (mut state, mut inventory) = (state(3), Inventory::default());
        inventory.pass(REPLACE_AFTER_MS);
        inventory.take(report(3, 1));
        let mut group = group(&[member(1, 7200), member(4, 7100)]);
        group.members.insert(NodeId(5), None);
        group.founding = Some(founding());
        group.acknowledged = [(NodeId(1), MARK_ENTRIES), (NodeId(3), MARK_ENTRIES - 1), (NodeId(9), 1_000)].into();
        let mut round = Round::new(&state, inventory, &group, UnixMs(0), Canaries::default());
        let mut said = Vec::new();
        while let Some(command) = round.next(&state).expect("no rule is broken") {
            apply(&mut state, command.clone());
            said.push(command);
        }
        let announced = [member(1, 7200), member(4, 7100)].map(|member| membership::Command::Register(member).into());
        let [first, second] = announced;
        let found: Command = membership::Command::Found(founding()).into();
        let mark = membership::Command::Mark([(NodeId(1), MARK_ENTRIES)].into()).into();
        let gone = membership::Command::Remove(NodeId(2)).into();
        assert_eq!(said, [found, first, second, mark, gone], "node 3 is not silent");
        let again = Round::new(&state, Inventory::default(), &group, UnixMs(0), Canaries::default()).next(&state);
        assert_eq!(again, Ok(None), "what the cluster is is said once");
    }
}
