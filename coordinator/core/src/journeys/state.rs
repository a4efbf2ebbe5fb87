//! What was announced of each journey, and the lines of those that have ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster_config::actor::{Actor, Role};
use cluster_config::ids::{JourneyId, UnixMs};
use cluster_config::journey::{Ended, JourneyPlan};
use cluster_config::limits::{CARRIER_JOURNEYS_MAX, ENDED_JOURNEYS_MAX, SUBMITTER_JOURNEYS_MAX};
use serde::{Deserialize, Serialize};

/// The journeys that are remembered. Each is shared with the copies that snapshots are made of, and so are the lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Journeys {
    announced: BTreeMap<JourneyId, Arc<Announced>>,
    /// How many of those that are open each has announced.
    open: BTreeMap<Actor, u32>,
    ended: Arc<BTreeMap<JourneyId, Ended>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Announced {
    plan: JourneyPlan,
    /// Who announced it first.
    by: Actor,
}

/// How many journeys somebody may have open.
pub fn share_of(submitter: Actor) -> usize {
    match submitter.role {
        Role::Carrier => CARRIER_JOURNEYS_MAX,
        _ => SUBMITTER_JOURNEYS_MAX,
    }
}

impl Journeys {
    /// What was announced of a journey last.
    pub fn get(&self, journey: JourneyId) -> Option<&JourneyPlan> {
        self.announced.get(&journey).map(|known| &known.plan)
    }

    /// All of them, by id, but for those of which only a line is left.
    pub fn iter(&self) -> impl Iterator<Item = &JourneyPlan> {
        self.announced.values().map(|known| &known.plan)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.announced.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.announced.is_empty()
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.values().map(|open| *open as usize).sum()
    }

    /// How many of those that are open somebody has announced.
    pub fn open_of(&self, submitter: Actor) -> usize {
        self.open.get(&submitter).map_or(0, |open| *open as usize)
    }

    /// The line of a journey of which all else is destroyed.
    pub fn ended(&self, journey: JourneyId) -> Option<&Ended> {
        self.ended.get(&journey)
    }

    /// All such lines.
    pub fn lines(&self) -> impl Iterator<Item = (JourneyId, &Ended)> {
        self.ended.iter().map(|(id, ended)| (*id, ended))
    }

    pub(super) fn announce(&mut self, plan: JourneyPlan, by: Actor) {
        match self.announced.get_mut(&plan.id) {
            Some(known) => Arc::make_mut(known).plan = plan,
            None => {
                *self.open.entry(by).or_default() += 1;
                self.announced.insert(plan.id, Arc::new(Announced { plan, by }));
            }
        }
    }

    /// It is not open any more.
    pub(super) fn close(&mut self, journey: JourneyId) {
        let Some(by) = self.announced.get(&journey).map(|known| known.by) else { return };
        if let Some(open) = self.open.get_mut(&by) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&by);
            }
        }
    }

    /// Only the line is left of it; where there are too many, the oldest goes.
    pub(super) fn end(&mut self, journey: JourneyId, ended: Ended) {
        self.announced.remove(&journey);
        let lines = Arc::make_mut(&mut self.ended);
        lines.insert(journey, ended);
        if lines.len() > ENDED_JOURNEYS_MAX {
            let oldest = lines.iter().min_by_key(|(id, line)| (line.purged_at, **id)).map(|(id, _)| *id);
            oldest.map(|id| lines.remove(&id));
        }
    }

    /// The lines of those that were purged before `before` go.
    pub(super) fn forget_lines(&mut self, before: UnixMs) {
        Arc::make_mut(&mut self.ended).retain(|_, line| line.purged_at > before);
    }
}
