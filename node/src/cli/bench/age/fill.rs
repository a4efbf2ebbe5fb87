//! Filling a ledger: records are proposed as an entry node hands them on, in batches, over the wire to the leader. So
//! they take the product's own way through the log, the state, the chunks and the snapshots of every node; what they do
//! not take is the gates' door and the search.

use std::sync::Arc;
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::decision::{Directive, Reason};
use cluster_config::gallery::{Fence, GalleryId, Modality, ShardId};
use cluster_config::ids::{EncounterId, JourneyId, NodeId, PersonMark, StandingId, SubjectId, UnixMs};
use cluster_config::journey::Listing;
use cluster_config::limits::{LEDGER_BATCH_RECORDS_MAX, PEER_FRAME_BYTES_MAX};
use cluster_config::versions::Version;
use cluster_config::wire::operator::Request as Asked;
use cluster_config::wire::peer::{BuildOrder, Request, Response};
use cluster_config::wire::{RefusalCode, codec};
use coordinator_core::{Command, Outcome, Record, RecordOutcome, galleries};
use node_link::{Lane, PeerLinks};
use node_population::{TEMPLATE_DIMS, model, people};
use node_stage::flight::{Flight, Itinerary};
use node_stage::level::wait_for;
use node_stage::show::Show;
use node_stage::{Error, clock};
use tokio::task::JoinSet;

use super::stand::{STEP_TIMEOUT, Stand};

/// The node for which the records are handed on.
const ENTRY: NodeId = NodeId(1);

/// Batches on their way at once.
const IN_FLIGHT: usize = 6;

/// Records of a journey that stays open, and of one that ends: a flight with its recaptures, and a large ship.
const OPEN_RECORDS: u64 = 500;
/// See [`OPEN_RECORDS`].
const ENDED_RECORDS: u64 = 5_000;

/// Journeys that end are boarded so many at a time.
const SIDE_BY_SIDE: u64 = 4;

/// Galleries that stand.
const STANDING: [&str; 3] = ["LAREDO-PEDESTRIAN", "SAN-YSIDRO-LANES", "APPLICANTS"];

/// Pause before a batch is tried again that was not taken.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries of one batch.
const TRIES_MAX: usize = 500;

/// How many records each kind of gallery has.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    pub open: u64,
    pub standing: u64,
    pub ended: u64,
}

impl Shares {
    /// A tenth belongs to open journeys, a third to standing galleries.
    pub fn of(encounters: u64) -> Self {
        let (open, standing) = (encounters / 10, encounters / 3);
        Self { open, standing, ended: encounters - open - standing }
    }
}

/// The way of records into the ledger.
#[derive(Clone)]
struct Way {
    links: PeerLinks,
    stand: Arc<[(NodeId, std::net::SocketAddr)]>,
}

/// Fills the ledger of a stand with so many encounters, all kinds side by side.
///
/// # Errors
/// Where a batch is not taken.
pub async fn fill(stand: &Stand, encounters: u64, show: &impl Show) -> Result<Shares, Error> {
    let shares = Shares::of(encounters);
    show.step("announcing the journeys and opening the galleries of the ledger");
    let open = flights("XA", shares.open.div_ceil(OPEN_RECORDS));
    let ended = flights("XB", shares.ended.div_ceil(ENDED_RECORDS).next_multiple_of(SIDE_BY_SIDE));
    stand.submit(&open).await?;
    stand.submit(&ended).await?;
    let way = Way::to(stand)?;
    for name in STANDING {
        way.open_standing(name).await?;
    }
    let plan = Plan { shares, open: journeys(&open), ended: journeys(&ended), encounters };
    way.propose_all(stand, &plan, show).await?;
    Ok(shares)
}

/// Flights with two people each: their galleries are not what is measured.
fn flights(carrier: &str, count: u64) -> Vec<Flight> {
    let population = node_population::Population::new(1, TEMPLATE_DIMS);
    let departs_at_s = (clock::now().0 / 1_000) as i64 + 40 * 60;
    let itinerary = |number: u64| Itinerary {
        carrier: carrier.to_owned(),
        number: number as u32 + 1,
        from: "JFK".to_owned(),
        to: "LHR".to_owned(),
        departs_at_s,
        travellers_before: 100_000 + 2 * number as u32,
        travellers: 2,
    };
    (0..count).map(|number| Flight::new(&population, &itinerary(number))).collect()
}

fn journeys(flights: &[Flight]) -> Vec<JourneyId> {
    flights.iter().map(|flight| flight.journey).collect()
}

/// Which record comes when.
struct Plan {
    shares: Shares,
    open: Vec<JourneyId>,
    ended: Vec<JourneyId>,
    encounters: u64,
}

impl Plan {
    /// How many of the first `count` records are of a kind with this share.
    fn of_first(&self, share: u64, count: u64) -> u64 {
        (u128::from(share) * u128::from(count) / u128::from(self.encounters.max(1))) as u64
    }

    /// The record of this number; and how many of those that end come before it.
    fn record(&self, number: u64) -> Record {
        let next = |share| (self.of_first(share, number), self.of_first(share, number + 1));
        let ((open, after_open), (standing, after_standing)) = (next(self.shares.open), next(self.shares.standing));
        let gallery = if after_open > open {
            GalleryId::passengers(self.open[open as usize % self.open.len()])
        } else if after_standing > standing {
            GalleryId::Standing(STANDING[standing as usize % STANDING.len()].parse().unwrap_or_else(|_| unreachable!()))
        } else {
            GalleryId::passengers(self.ended[self.ended_place(number - open - standing) as usize])
        };
        boarding(number, gallery)
    }

    /// Which of the journeys that end has the record of this number among theirs.
    fn ended_place(&self, number: u64) -> u64 {
        let round = number / (SIDE_BY_SIDE * ENDED_RECORDS);
        (round * SIDE_BY_SIDE + number % SIDE_BY_SIDE).min(self.ended.len() as u64 - 1)
    }

    /// The journeys whose records are all among the first `count`.
    fn over(&self, count: u64) -> u64 {
        let ended = count - self.of_first(self.shares.open, count) - self.of_first(self.shares.standing, count);
        match count >= self.encounters {
            true => self.ended.len() as u64,
            false => ended / (SIDE_BY_SIDE * ENDED_RECORDS) * SIDE_BY_SIDE,
        }
    }
}

/// Of twenty captures one finds nobody and three are of people out of scope.
fn boarding(number: u64, gallery: GalleryId) -> Record {
    let random = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let kind = number % 20;
    let (boards, in_scope) = (kind > 0, kind > 3);
    let journey = gallery.journey().unwrap_or_else(nowhere);
    let device = "JFK-T4-B32-1".parse().unwrap_or_else(|_| unreachable!("a constant that fits"));
    Record {
        gallery,
        entry: ENTRY,
        directive: if boards { Directive::Proceed } else { Directive::Wait },
        reason: if boards { Reason::Matched } else { Reason::NoMatch },
        subject: Some(SubjectId(random as u64)).filter(|_| in_scope),
        mark: Some(PersonMark(random.to_be_bytes())).filter(|_| boards),
        manifest_ordinal: Some(number as u32 % 600).filter(|_| in_scope),
        fence: Fence { versions: u64::MAX, epochs: u64::MAX },
        ..Record::waiting(EncounterId(random ^ 1 << 127), journey, device, UnixMs(clock::now().0))
    }
}

/// What stands where a record is made that belongs to no journey, until its gallery is set.
fn nowhere() -> JourneyId {
    "XX1".parse().unwrap_or_else(|_| unreachable!("a constant that fits"))
}

impl Way {
    fn to(stand: &Stand) -> Result<Self, Error> {
        let identity = stand.cluster.identity(&format!("node-{ENTRY}"))?;
        let ids = stand.cluster.ids();
        let nodes = ids.into_iter().map(|id| Ok((id, stand.cluster.node(id)?.address)));
        let nodes: Vec<_> = nodes.collect::<Result<_, Error>>()?;
        let endpoint = node_link::bind_client(nodes[0].1, &identity).map_err(Error::failed)?;
        Ok(Self { links: PeerLinks::new(endpoint, identity), stand: nodes.into() })
    }

    async fn propose_all(&self, stand: &Stand, plan: &Plan, show: &impl Show) -> Result<(), Error> {
        let (mut next, mut done, mut closed) = (0, 0, 0);
        let mut proposing = JoinSet::new();
        loop {
            while proposing.len() < IN_FLIGHT && next < plan.encounters {
                let end = plan.encounters.min(next + LEDGER_BATCH_RECORDS_MAX as u64);
                let (way, records) = (self.clone(), (next..end).map(|number| plan.record(number)).collect());
                proposing.spawn(async move { way.propose(records).await });
                next = end;
            }
            let Some(taken) = proposing.join_next().await else { break };
            done += taken.map_err(Error::failed)??;
            show.progress(done, plan.encounters, "encounters");
            // Of those that are on their way some may belong to a journey that would be closed.
            let behind = (IN_FLIGHT * LEDGER_BATCH_RECORDS_MAX) as u64;
            let over = if next < plan.encounters { plan.over(done.saturating_sub(behind)) } else { closed };
            closed = close(stand, plan, closed, over).await?;
        }
        close(stand, plan, closed, plan.over(plan.encounters)).await.map(|_| ())
    }

    /// Has records stored, trying again until they are.
    async fn propose(&self, records: Vec<Record>) -> Result<u64, Error> {
        let count = records.len() as u64;
        match self.command(Actor::node(ENTRY), Command::record(records)).await? {
            Outcome::Recorded(outcomes) => match outcomes.into_iter().find(|outcome| !is_recorded(outcome)) {
                None => Ok(count),
                Some(other) => Err(Error::Failed(format!("an encounter was not recorded: {other:?}"))),
            },
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(Error::OutOfTurn),
        }
    }

    /// Opens a gallery that stands, with three people in it.
    async fn open_standing(&self, name: &str) -> Result<(), Error> {
        let id: StandingId = name.parse().map_err(Error::failed)?;
        let open = galleries::Command::OpenStanding { id, modality: Modality::Face, model: model(), parts: 1 };
        let operator: Actor = "tvs://operator/operator".parse().map_err(Error::failed)?;
        if let Outcome::Refused(refusal) = self.command(operator, open.into()).await? {
            return Err(refusal.into());
        }
        let shard = ShardId { gallery: GalleryId::Standing(id), modality: Modality::Face, model: model(), part: 0 };
        let people = (1..=3).map(|ordinal| people::person(90_000 + ordinal, ordinal)).collect();
        let order = Request::Build(BuildOrder { shard, manifest: Default::default(), people, listing: Listing::Added });
        let built = wait_for("a standing gallery is built", STEP_TIMEOUT, async || {
            let mut seen = String::new();
            for node in self.stand.iter() {
                match self.links.call(*node, Lane::Bulk, &order, STEP_TIMEOUT).await {
                    Ok(Response::Built(_)) => return Ok(()),
                    other => seen = format!("{other:?}"),
                }
            }
            Err(seen)
        });
        Ok(built.await?)
    }

    /// Has the leader apply a command.
    async fn command(&self, actor: Actor, command: Command) -> Result<Outcome, Error> {
        let command = codec::encode_stamped(&command, Version::CURRENT, PEER_FRAME_BYTES_MAX).map_err(Error::failed)?;
        let request = Request::Propose { actor, command };
        let mut node = self.stand[0];
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            match self.links.call(node, Lane::Bulk, &request, STEP_TIMEOUT).await {
                Ok(Response::Proposed(bytes)) => {
                    let read = codec::decode_stamped(&bytes, PEER_FRAME_BYTES_MAX);
                    return read.map(|(outcome, _)| outcome).map_err(Error::failed);
                }
                Ok(Response::NotLeader(Some(leader))) => {
                    node = self.stand.iter().copied().find(|(id, _)| *id == leader).unwrap_or(node);
                    continue;
                }
                Ok(Response::Refused(refusal)) if !is_passing(refusal.code) => return Err(refusal.into()),
                other => last = format!("{other:?}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Error::Failed(format!("the leader does not take a command: {last}")))
    }
}

fn is_recorded(outcome: &RecordOutcome) -> bool {
    matches!(outcome, RecordOutcome::Stored(_) | RecordOutcome::Sealed(_))
}

fn is_passing(code: RefusalCode) -> bool {
    code.retryable()
}

/// Closes the journeys from `from` to `until`, and gives how many are closed.
async fn close(stand: &Stand, plan: &Plan, from: u64, until: u64) -> Result<u64, Error> {
    for journey in plan.ended.iter().take(until as usize).skip(from as usize) {
        stand.operator.insist(&Asked::CloseJourney { journey: *journey, purge: true }).await?;
    }
    Ok(until.max(from))
}
