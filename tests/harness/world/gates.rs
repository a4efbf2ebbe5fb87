//! Who uses a world: operators that submit manifests and close journeys, and gates that board everybody, with the
//! retries and hedges of the gate client library (`node/link/src/client/race.rs`).

use std::rc::Rc;

use cluster_config::decision::Directive;
use cluster_config::ids::NodeId;
use cluster_config::journey::{JourneyPlan, Listing};
use cluster_config::wire::gate::{Capture, Request, Response};
use cluster_config::wire::peer::BuildOrder;
use cluster_config::wire::{Channel, Refusal, RefusalCode};
use coordinator_core::{Command, journeys};
use futures::future::{Either, join, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::World;
use super::entry::device;
use super::lists::Message;
use super::network::Address;
use super::node::Status;
use node_stage::oracle::{Kind, Outcome};

/// How long a gate waits for its answer, microseconds.
const DEADLINE_US: u64 = 2_000_000;

/// When a second node is asked, microseconds.
const HEDGE_US: u64 = 60_000;

/// Pause before nodes that refused are asked again, microseconds; doubled up to the second.
const RETRY_US: (u64, u64) = (5_000, 160_000);

/// Nodes asked at the same time, and times that one request is sent at most.
const RUNNING_MAX: usize = 3;
const LAUNCHES_MAX: usize = 32;

/// How often a gate asks again, with the same encounter, for a traveller whose request was not answered. Once the world
/// is healed the answer must come.
const ROUNDS_MAX: usize = 4;

/// How long after healing a flight boards before an operator takes it for lost, microseconds.
const ABANDONED_US: u64 = 60_000_000;

/// How often a file that has to be refused is submitted where nobody says so.
const WRONG_TRIES: usize = 3;

/// Captures of one traveller.
const ATTEMPTS_MAX: u8 = 3;

/// What became of a message.
enum Followed {
    Yes,
    Refused,
    /// Nobody can follow it any more.
    Never,
}

impl World {
    /// The whole life of one flight: submitted, boarded while further messages come in, closed.
    pub async fn fly(self: Rc<Self>, flight: usize) {
        let mut dice = crate::dice::Dice::new(self.seed ^ (flight as u64) << 40, "flight");
        self.sleep(dice.between(500_000, 15_000_000)).await;
        let messages = self.content.flights[flight].messages.clone();
        if dice.chance(300) {
            self.submit_with_a_wrong_one(flight, &messages[0].plan).await;
        }
        self.submit(flight, &messages[0]).await;
        let pauses_us: Vec<u64> = messages[1..].iter().map(|_| dice.between(500_000, 12_000_000)).collect();
        let (world, later) = (self.clone(), messages.clone());
        self.executor.spawn(None, async move {
            for (message, pause_us) in later[1..].iter().zip(pauses_us) {
                world.sleep(pause_us).await;
                world.submit(flight, message).await;
            }
            world.loaded.borrow_mut().insert(flight);
        });
        let (world, last) = (self.clone(), messages[messages.len() - 1].instead());
        self.executor.spawn(None, async move { world.submit_again(flight, last).await });
        self.wait_until_built(messages[0].plan.id).await;
        let gate = Address::Client(100 + flight as u64);
        let mut later = Vec::new();
        for (guest, (_, comes_with)) in self.content.flights[flight].guests.iter().enumerate() {
            if *comes_with != Some(0) {
                later.push(guest);
                continue;
            }
            self.board_guest(gate, flight, guest, &mut dice).await;
            if dice.chance(120) {
                self.repeat_id(gate, flight, guest, dice.between(0, 3)).await;
            }
            self.sleep(dice.between(100_000, 2_500_000)).await;
        }
        while !self.loaded.borrow().contains(&flight) {
            self.sleep(200_000).await;
        }
        for guest in 0..self.content.flights[flight].guests.len() {
            if later.contains(&guest) {
                self.board_guest(gate, flight, guest, &mut dice).await;
            } else if dice.chance(400) {
                // Whoever has boarded, and was renumbered, corrected or taken off and brought back meanwhile, must not
                // board again.
                self.present(gate, Kind::Board, flight, Some(guest), 20, 1).await;
            }
            self.sleep(dice.between(50_000, 1_000_000)).await;
        }
        self.close(gate, flight, &mut dice).await;
        self.flown.set(self.flown.get() + 1);
    }

    /// Where every copy of a gallery is lost, its manifest has to be submitted again (the README's limits): an operator
    /// does so for a flight that is still open a while after the world was healed.
    async fn submit_again(self: &Rc<Self>, flight: usize, message: Message) {
        while !self.is_abandoned(0) {
            self.sleep(1_000_000).await;
        }
        if self.loaded.borrow().contains(&flight) && !self.closing.borrow().contains(&flight) {
            self.count("manifest submitted again");
            self.submit(flight, &message).await;
        }
    }

    /// Whether the world was healed, and what has been tried since then was tried for long enough.
    fn is_abandoned(&self, since_us: u64) -> bool {
        self.healed_us.get().is_some_and(|at| at.max(since_us) + ABANDONED_US < self.now_us())
    }

    /// Closes a flight, and perhaps destroys it at once, while somebody comes who is late.
    async fn close(self: &Rc<Self>, gate: Address, flight: usize, dice: &mut crate::dice::Dice) {
        let journey = self.content.flights[flight].journey;
        self.closing.borrow_mut().insert(flight);
        let late_us = dice.between(0, 60_000);
        let guest = dice.chance(500).then_some(0);
        let close = if dice.chance(300) { journeys::Command::Purge } else { journeys::Command::Close };
        if close(journey) == journeys::Command::Purge(journey) {
            self.purging.borrow_mut().insert(journey);
        }
        join(self.operate(flight, |_| close(journey).into()), async {
            self.sleep(late_us).await;
            self.present(gate, Kind::Board, flight, guest, 99, 1).await;
        })
        .await;
        self.present(gate, Kind::Identify, flight, Some(0), 98, 1).await;
        self.note(format_args!("{journey} is closed"));
    }

    async fn board_guest(self: &Rc<Self>, gate: Address, flight: usize, guest: usize, dice: &mut crate::dice::Dice) {
        if dice.chance(500) {
            self.present(gate, Kind::Identify, flight, Some(guest), 0, 1).await;
        }
        for attempt in 1..=ATTEMPTS_MAX {
            let told = self.present(gate, Kind::Board, flight, Some(guest), u64::from(attempt), attempt).await;
            if told != Some(Directive::Recapture) {
                break;
            }
        }
        if dice.chance(150) {
            // Somebody goes through twice: that is a new encounter, and must not be a second crossing.
            self.present(gate, Kind::Board, flight, Some(guest), 9, 1).await;
        }
        if dice.chance(150) {
            self.present(gate, Kind::Board, flight, None, guest as u64, 1).await;
        }
    }

    /// Somebody asks with the id of an encounter of before: another gate with the very same picture, the same gate with
    /// the picture of a stranger, or with the same picture for another journey. None is a retry (P12).
    async fn repeat_id(self: &Rc<Self>, gate: Address, flight: usize, guest: usize, kind: u64) {
        let at = super::content::BEGINS;
        let of_guest = self.content.capture(flight, Some(guest), 1, 1, at);
        let stranger = self.content.capture(flight, None, 1_000 + guest as u64, 1, at);
        let elsewhere = self.content.flights[(flight + 1) % self.content.flights.len()].journey;
        let (from, capture) = match kind {
            0 => (Address::Client(gate_number(gate) + 500), of_guest),
            1 => (gate, Capture { encounter: of_guest.encounter, ..stranger }),
            _ => (gate, Capture { journey: elsewhere, ..of_guest }),
        };
        self.present_as((from, true), Kind::Board, flight, None, capture).await;
    }

    /// Presents one capture until it is answered, refused for good, or given up, and writes that down.
    async fn present(
        self: &Rc<Self>,
        gate: Address,
        kind: Kind,
        flight: usize,
        guest: Option<usize>,
        number: u64,
        attempt: u8,
    ) -> Option<Directive> {
        let mut capture = self.content.capture(flight, guest, number, attempt, super::content::BEGINS);
        if kind == Kind::Identify {
            capture.encounter.0 |= 1 << 127;
        }
        self.present_as((gate, false), kind, flight, guest, capture).await
    }

    async fn present_as(
        self: &Rc<Self>,
        (gate, repeats): (Address, bool),
        kind: Kind,
        flight: usize,
        guest: Option<usize>,
        capture: Capture,
    ) -> Option<Directive> {
        let begun_us = self.now_us();
        let mut rounds = 0;
        let outcome = loop {
            let asked_us = self.now_us();
            let outcome = self.race(gate, kind, &capture).await;
            let closing = self.closing.borrow().contains(&flight);
            self.judge.borrow_mut().asked(self.now_us() - asked_us, closing, repeats, &outcome);
            rounds += 1;
            let again = matches!(outcome, Outcome::Unknown(_)) && (rounds < ROUNDS_MAX || self.faults_over());
            if !again {
                break outcome;
            }
            self.sleep(300_000).await;
        };
        let told = outcome.answer().map(|answer| answer.directive);
        let line = match &outcome {
            Outcome::Answered(answer) => format!("{:?} by {}", answer.directive, answer.searched_by),
            Outcome::Refused(refusal) => format!("refused: {refusal}"),
            Outcome::Unknown(reason) => format!("unknown: {reason}"),
        };
        self.note(format_args!("{kind:?} {} {line}", capture.encounter));
        let took_us = self.now_us() - begun_us;
        let asked = (device(gate), capture);
        self.judge.borrow_mut().told(&self.content, kind, flight, guest, asked, begun_us, took_us, outcome);
        told
    }

    /// Asks as many nodes as it takes, until the first answer or the deadline.
    async fn race(self: &Rc<Self>, gate: Address, kind: Kind, capture: &Capture) -> Outcome {
        let until_us = self.now_us() + DEADLINE_US;
        let request = match kind {
            Kind::Identify => Request::Identify(capture.clone()),
            Kind::Board => Request::Board(capture.clone()),
        };
        let mut order: Vec<NodeId> = self.nodes.keys().copied().collect();
        order.retain(|id| self.node(*id).status.get() != Status::Lost);
        let count = order.len();
        order.rotate_left(gate_number(gate) as usize % count);
        let (mut turn, mut launches, mut pause_us, mut hedge_us) = (0, 0, RETRY_US.0, HEDGE_US);
        let mut running: Vec<NodeId> = Vec::new();
        let mut answers = FuturesUnordered::new();
        let mut last: Option<Refusal> = None;
        let mut launch_us = self.now_us();
        loop {
            let now_us = self.now_us();
            if now_us >= until_us || (running.is_empty() && launches == LAUNCHES_MAX) {
                let reason = last.map_or("no answer".to_owned(), |refusal| refusal.to_string());
                return Outcome::Unknown(reason);
            }
            if now_us >= launch_us {
                launch_us = until_us;
                if running.len() < RUNNING_MAX.min(count) && launches < LAUNCHES_MAX {
                    while running.contains(&order[turn % count]) {
                        turn += 1;
                    }
                    let node = order[turn % count];
                    turn += 1;
                    launches += 1;
                    running.push(node);
                    let (world, request) = (self.clone(), &request);
                    answers.push(async move {
                        let left_us = until_us - now_us;
                        (node, world.call::<_, Response>(gate, node, Channel::Gate, request, left_us).await)
                    });
                    launch_us = now_us + hedge_us;
                    hedge_us *= 2;
                }
            }
            let patience = std::pin::pin!(self.sleep(launch_us.min(until_us).saturating_sub(now_us)));
            let (node, response) = match select(answers.next(), patience).await {
                Either::Left((Some(answered), _)) => answered,
                Either::Left((None, patience)) => {
                    patience.await;
                    continue;
                }
                Either::Right(_) => continue,
            };
            running.retain(|other| *other != node);
            match response {
                Some(Response::Answer(answer)) => return Outcome::Answered(answer),
                Some(Response::Refused(refusal)) if !refusal.code.retryable() => return Outcome::Refused(refusal),
                Some(Response::Refused(refusal)) => {
                    last = Some(refusal);
                    launch_us = self.now_us() + if running.is_empty() { pause_us } else { 0 };
                    pause_us = (pause_us * 2).min(RETRY_US.1);
                }
                Some(Response::Welcome(_)) | None => launch_us = self.now_us(),
            }
        }
    }

    /// Submits a message until it is followed (`Submissions::submit_journey`), whichever node it takes. A change that
    /// nobody can follow any more, since the people before are lost, is given up for the whole list.
    async fn submit(self: &Rc<Self>, flight: usize, message: &Message) {
        let begun_us = self.now_us();
        let mut message = message.clone();
        self.note(format_args!("{}: {message}", message.plan.id));
        let id = message.plan.id;
        loop {
            if message.listing != Listing::Removed {
                self.operate(flight, |_| journeys::Command::Open(message.plan.clone()).into()).await;
            }
            match self.build_all(flight, &message, begun_us).await {
                Followed::Yes if message.listing == Listing::Removed => {
                    self.operate(flight, |_| journeys::Command::Open(message.plan.clone()).into()).await;
                    break;
                }
                Followed::Yes => break,
                Followed::Refused => {
                    self.count("cancellation refused as unclear");
                    break;
                }
                Followed::Never => {
                    self.count("whole list submitted in place of a change");
                    message = message.instead();
                }
            }
        }
        self.judge.borrow_mut().submitted(flight, &message);
        self.count(match message.listing {
            Listing::Whole => "whole list followed",
            Listing::Added => "addition followed",
            Listing::Removed => "cancellation followed",
        });
        self.note(format_args!("{id} has {} people by {:?}", message.plan.people, message.listing));
    }

    async fn build_all(self: &Rc<Self>, flight: usize, message: &Message, begun_us: u64) -> Followed {
        for part in 0..message.plan.parts {
            let shard = message.shard(part);
            let (people, listing) = (message.people.clone(), message.listing);
            let order = BuildOrder { shard, manifest: message.plan.manifest, people, listing };
            let mut turn = flight as u64;
            loop {
                if listing != Listing::Whole && self.is_abandoned(begun_us) {
                    return Followed::Never;
                }
                turn += 1;
                let node = self.nth(turn);
                if node.status.get() == Status::Up {
                    let deadline_us = self.now_us() + 5_000_000;
                    let built = self.build_at_owner(node, order.clone(), deadline_us);
                    // The operator's connection ends with the node's process.
                    let run = node.run.get();
                    let alive = || node.run.get() == run && node.status.get() != Status::Down;
                    match self.while_holds(built, alive).await {
                        Some(Ok(_)) => break,
                        Some(Err(refusal)) => {
                            self.note(format_args!("{shard} is not built: {refusal}"));
                            let closing = self.closing.borrow().contains(&flight);
                            self.judge.borrow_mut().not_built(message, &refusal, closing);
                            if refusal.code == RefusalCode::BadValue {
                                return Followed::Refused;
                            }
                        }
                        None => {}
                    }
                }
                self.sleep(200_000).await;
            }
        }
        Followed::Yes
    }

    /// Submits a file with this journey and one that is refused: then neither is announced (P10).
    async fn submit_with_a_wrong_one(self: &Rc<Self>, flight: usize, plan: &JourneyPlan) {
        let wrong = JourneyPlan { id: "ZZ1-WRONG".parse().expect("an id"), parts: 0, ..plan.clone() };
        let plans = vec![plan.clone(), wrong];
        for turn in 0..WRONG_TRIES as u64 {
            let node = self.nth(flight as u64 + turn);
            if node.status.get() != Status::Up {
                continue;
            }
            let run = node.run.get();
            let command = journeys::Command::OpenAll(plans.clone());
            let proposed = self.propose_for_operator(node, command, self.now_us() + 3_000_000);
            let alive = || node.run.get() == run && node.status.get() != Status::Down;
            if let Some(Err(refusal)) = self.while_holds(proposed, alive).await
                && refusal.code == RefusalCode::BadValue
            {
                return;
            }
        }
    }

    /// Has a command applied, by whichever node it takes.
    pub async fn operate(self: &Rc<Self>, turn: usize, command: impl Fn(&World) -> Command) {
        let mut turn = turn as u64;
        loop {
            turn += 1;
            let node = self.nth(turn);
            if node.status.get() == Status::Up {
                let run = node.run.get();
                let proposed = self.propose_for_operator(node, command(self), self.now_us() + 3_000_000);
                let alive = || node.run.get() == run && node.status.get() != Status::Down;
                if let Some(Ok(_)) = self.while_holds(proposed, alive).await {
                    return;
                }
            }
            self.sleep(200_000).await;
        }
    }
}

fn gate_number(gate: Address) -> u64 {
    match gate {
        Address::Client(number) => number,
        Address::Node(node) => node.0,
    }
}
