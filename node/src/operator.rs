//! What the node answers to operators. Each node answers each request; those that only the leader can carry out are
//! handed on to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_config::actor::Actor;
use cluster_config::gallery::{GalleryCounts, GalleryId, Modality, ShardId};
use cluster_config::ids::{Incarnation, JourneyId, NodeId};
use cluster_config::journey::JourneyStatus;
use cluster_config::journey::{JourneyPlan, Listing};
use cluster_config::member::Member;
use cluster_config::wire::operator::{
    ClusterStatus, Gallery, LedgerPage, LedgerRecord, MemberStatus, Receipt, Request, Response, Shard, Submitted,
    SubmittedJourney,
};
use cluster_config::wire::peer;
use cluster_config::wire::peer::BuildOrder;
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator_core::placement::Placement;
use coordinator_core::{Command, Outcome, State, journeys, membership, policy, retention};
use metrics_exporter_prometheus::PrometheusHandle;
use node_link::Lane;

use crate::actors::build;
use crate::context::{Context, out_of_turn};
use crate::directory::Directory;
use crate::freshness::Freshness;
use crate::manifests::{self, Announcement};
use crate::proposer::Proposer;

/// How long a change of the state may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long all galleries of one manifest file may take.
const BUILD_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a node waits for its own announcement to come back before it repeats it.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(200);

/// Records in one page at most: a page stays far below the operators' frame.
const PAGE_RECORDS_MAX: u32 = 10_000;

/// See the module.
pub struct Operators {
    /// What the node's parts share.
    pub context: Arc<Context>,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// Whether this node lacks something.
    pub freshness: Arc<Freshness>,
    /// The planner, which knows how long nodes have been silent.
    pub planner: Arc<coordinator::Planner>,
    /// The node's metrics.
    pub metrics: PrometheusHandle,
}

impl Operators {
    /// Answers one request of `actor`.
    pub async fn answer(&self, actor: Actor, request: Request) -> Response {
        self.try_answer(actor, request).await.unwrap_or_else(Response::Refused)
    }

    async fn try_answer(&self, actor: Actor, request: Request) -> Result<Response, Refusal> {
        let (coordinator, directory) = (&self.context.coordinator, &self.context.directory);
        Ok(match request {
            Request::ClusterStatus => Response::ClusterStatus(self.status()),
            Request::SubmitManifest(bytes) => Response::Submitted(self.submit(actor, bytes).await?),
            Request::GalleryList => Response::Galleries(coordinator.with_state(|state| {
                state.journeys().iter().filter_map(|plan| gallery(directory, state, plan.id)).collect()
            })),
            Request::GalleryShow(id) => Response::Gallery(
                coordinator.with_state(|state| gallery(directory, state, id).ok_or_else(|| unknown(id)))?,
            ),
            Request::LedgerPage { from, limit } => {
                Response::LedgerPage(coordinator.with_state(|s| page(s, from, limit)))
            }
            Request::PolicyShow => Response::Policy(coordinator.with_state(|state| state.policy().clone())),
            Request::Metrics => {
                self.gauge_memory();
                Response::Metrics(self.metrics.render())
            }
            Request::CloseJourney(id) => self.change(actor, journeys::Command::Close(id)).await?,
            Request::PolicySet(policy) => self.change(actor, policy::Command::Set(policy)).await?,
            Request::AttestDestruction(node) => self.change(actor, retention::Command::Attest(node)).await?,
            Request::Drain { node, draining } => {
                let drained = self.change(actor, membership::Command::SetDraining { node, draining }).await?;
                if draining && coordinator.leader() == Some(node) {
                    self.leave_leadership(actor, node).await?;
                }
                drained
            }
            Request::AddMember { .. } | Request::RemoveMember(_) | Request::TransferLeader(_) => {
                self.at_leader(actor, request).await?
            }
        })
    }

    /// What is measured when somebody asks.
    fn gauge_memory(&self) {
        metrics::gauge!("tvs_galleries_memory_bytes").set(self.context.directory.memory_bytes() as f64);
        metrics::gauge!("tvs_galleries_device_bytes").set(self.context.engine.device_memory_bytes() as f64);
    }

    async fn change(&self, actor: Actor, command: impl Into<Command>) -> Result<Response, Refusal> {
        self.proposer.propose(actor, command, Instant::now() + CHANGE_TIMEOUT).await?;
        Ok(Response::Done)
    }

    /// Gives leadership to another voter that is not being drained.
    async fn leave_leadership(&self, actor: Actor, node: NodeId) -> Result<(), Refusal> {
        let voters = self.context.coordinator.voters();
        let heir = self.context.coordinator.with_state(|state| {
            let members = state.members();
            let serves = |id: &NodeId| *id != node && members.contains(*id) && !members.is_draining(*id);
            voters.into_iter().find(serves)
        });
        match heir {
            Some(heir) => self.at_leader(actor, Request::TransferLeader(heir)).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn at_leader(&self, actor: Actor, request: Request) -> Result<Response, Refusal> {
        let no_leader = || {
            let fix = "try again; a leader is elected within a second while a majority lives";
            Refusal::new(RefusalCode::Unavailable, "no leader is known", fix)
        };
        let leader = self.context.coordinator.leader().ok_or_else(no_leader)?;
        if leader == self.context.me {
            return self.lead(actor, request).await;
        }
        let request = peer::Request::ForLeader { actor, request };
        match self.context.ask(leader, Lane::Raft, &request, CHANGE_TIMEOUT).await? {
            peer::Response::ForLeader(Response::Refused(refusal)) => Err(refusal),
            peer::Response::ForLeader(response) => Ok(response),
            _ => Err(out_of_turn(leader)),
        }
    }

    /// Answers a request that another node has handed on because it takes this one for the leader.
    pub async fn answer_as_leader(&self, actor: Actor, request: Request) -> Response {
        self.lead(actor, request).await.unwrap_or_else(Response::Refused)
    }

    async fn lead(&self, actor: Actor, request: Request) -> Result<Response, Refusal> {
        let coordinator = &self.context.coordinator;
        let failed = |error: coordinator::Error| {
            let code = match error {
                coordinator::Error::Membership(_) => RefusalCode::Conflict,
                _ => RefusalCode::Unavailable,
            };
            Refusal::new(code, error.to_string(), "see `tvs cluster status`, then try again")
        };
        match request {
            Request::AddMember { member, voter } => {
                coordinator.add_member(actor, member, voter).await.map_err(failed)?
            }
            Request::RemoveMember(node) => coordinator.remove_member(actor, node).await.map_err(failed)?,
            Request::TransferLeader(node) => coordinator.transfer_leader(node).await.map_err(failed)?,
            _ => return Err(Refusal::new(RefusalCode::BadValue, "request", "ask any node, not the leader")),
        }
        Ok(Response::Done)
    }

    fn status(&self) -> ClusterStatus {
        let coordinator = &self.context.coordinator;
        let voters = coordinator.voters();
        let leader = coordinator.leader();
        let leads = leader == Some(self.context.me);
        let (term, applied_index) = (coordinator.term(), coordinator.applied_index().unwrap_or(0));
        let inventory = self.planner.inventory();
        coordinator.with_state(|state| {
            let blueprint = state.blueprint();
            let replicated = blueprint.iter().filter(|(shard, placement)| {
                let committed = state.part(*shard).map(|part| part.version).unwrap_or_default();
                let holds = |node| inventory.is_alive(node) && inventory.version(node, *shard) >= committed;
                committed.0 > 0 && placement.replicas().all(holds)
            });
            let placed = |holds: &dyn Fn(&Placement) -> bool| blueprint.iter().filter(|(_, p)| holds(p)).count() as u32;
            let open = state.journeys().iter().filter(|plan| state.is_open(plan.id));
            ClusterStatus {
                cluster: self.context.settings.name.clone(),
                node: self.context.me,
                leader,
                term,
                applied_index,
                generation: blueprint.generation(),
                engine: self.context.engine.describe(),
                members: state
                    .members()
                    .iter()
                    .map(|member| {
                        let id = member.member.id;
                        MemberStatus {
                            member: member.member.clone(),
                            voter: voters.contains(&id),
                            draining: member.draining,
                            silent_ms: leads.then(|| inventory.silent_ms(id)),
                            owner_of: placed(&|p| p.owner == id),
                            standby_of: placed(&|p| p.standbys.contains(&id)),
                        }
                    })
                    .collect(),
                journeys: open.count() as u32,
                shards: blueprint.len() as u32,
                shards_replicated: leads.then(|| replicated.count() as u32),
                ledger_records: state.ledger().len(),
            }
        })
    }

    async fn submit(&self, actor: Actor, bytes: Vec<u8>) -> Result<Submitted, Refusal> {
        let model = self.context.settings.model;
        let read = tokio::task::spawn_blocking(move || manifests::read(&bytes, model)).await;
        let announced = read.map_err(|error| {
            Refusal::new(RefusalCode::Internal, format!("manifest: the parser broke off: {error}"), "report the file")
        })??;
        let deadline = Instant::now() + BUILD_TIMEOUT;
        let journeys = announced.journeys.iter().map(|announcement| self.submit_journey(actor, announcement, deadline));
        let journeys = futures::future::try_join_all(journeys).await?;
        Ok(Submitted { journeys, warnings: announced.warnings, quarantined: announced.quarantined })
    }

    async fn submit_journey(
        &self,
        actor: Actor,
        announcement: &Announcement,
        deadline: Instant,
    ) -> Result<SubmittedJourney, Refusal> {
        if announcement.listing != Listing::Whole {
            // A change goes on from what is known of the journey, which this node may lack.
            self.freshness.catch_up(Instant::now() + CHANGE_TIMEOUT).await?;
        }
        let mut plan = self.plan_after(announcement)?;
        // A gallery is built for a journey that is there. A cancellation changes the plan last: one that cannot be
        // followed changes nothing.
        let announced = match announcement.listing {
            Listing::Whole | Listing::Added => match self.open(actor, &plan).await {
                Err(refusal) if refusal.code == RefusalCode::Conflict => {
                    // This node has not heard of the parts that the gallery has by now.
                    self.freshness.catch_up(Instant::now() + CHANGE_TIMEOUT).await?;
                    plan = self.plan_after(announcement)?;
                    Some(self.open(actor, &plan).await?)
                }
                opened => Some(opened?),
            },
            Listing::Removed => None,
        };
        // One part after the other: each goes on from the people of all the others.
        let mut built = Vec::with_capacity(usize::from(plan.parts));
        for part in 0..plan.parts {
            let gallery = GalleryId::passengers(plan.id);
            let shard = ShardId { gallery, modality: Modality::Face, model: plan.model, part };
            let (people, listing) = (announcement.people.clone(), announcement.listing);
            let order = BuildOrder { shard, manifest: plan.manifest, people, listing };
            built.push(build::at_owner(&self.context, order, deadline).await?);
        }
        let opened = match announced {
            Some(opened) => opened,
            None => self.open(actor, &plan).await?,
        };
        let version = built.iter().map(|built| built.version).min().unwrap_or_default();
        let counts = built.iter().fold(GalleryCounts::default(), |sum, built| sum + built.counts);
        self.applied(plan.id, version).await;
        Ok(SubmittedJourney {
            journey: plan.id,
            duplicate: opened == Outcome::KnownManifest,
            version,
            people: counts.people,
            templates: counts.rows,
            without_photo: counts.without_photo,
        })
    }

    /// The plan of an announced journey, by what this node knows of it.
    fn plan_after(&self, announcement: &Announcement) -> Result<JourneyPlan, Refusal> {
        self.context.coordinator.with_state(|state| {
            let id = announcement.plan.id;
            let people = state.passengers(id).map_or(0, |gallery| gallery.counts().people);
            announcement.plan_after(state.journeys().get(id), people)
        })
    }

    async fn open(&self, actor: Actor, plan: &JourneyPlan) -> Result<Outcome, Refusal> {
        self.proposer.propose(actor, journeys::Command::Open(plan.clone()), Instant::now() + CHANGE_TIMEOUT).await
    }

    /// Waits until this node has applied the commit as well, so that who submitted here can board here at once.
    async fn applied(&self, id: JourneyId, version: cluster_config::ids::GalleryVersion) {
        let mut changes = self.context.coordinator.changes();
        let applied = |state: &State| {
            state.passengers(id).is_none_or(|gallery| gallery.parts().iter().all(|part| part.version >= version))
        };
        let wait = async {
            while !self.context.coordinator.with_state(applied) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // A node that is cut off catches up later; the gallery is committed all the same.
        let _ = tokio::time::timeout(CHANGE_TIMEOUT, wait).await;
    }

    /// Announces this start of the node, and waits until its own state has it: from then on that state is not an old
    /// one, from before the start.
    pub async fn announce(&self, member: Member, incarnation: Incarnation) {
        let actor = Actor::node(member.id);
        let mut changes = self.context.coordinator.changes();
        loop {
            let known = self.context.coordinator.with_state(|state| state.members().get(member.id).cloned());
            let command = match known {
                Some(known) if known.member != member => membership::Command::Register(member.clone()),
                Some(known) if known.incarnation < incarnation => {
                    membership::Command::AnnounceStart { node: member.id, incarnation }
                }
                Some(_) => return,
                None => membership::Command::Register(member.clone()),
            };
            if let Err(refusal) = self.proposer.propose(actor, command, Instant::now() + CHANGE_TIMEOUT).await {
                tracing::warn!(%refusal, "this node could not announce itself yet");
            }
            // What was applied at the leader comes here a moment later; without news it is said again.
            let _ = tokio::time::timeout(ANNOUNCE_INTERVAL, changes.changed()).await;
        }
    }
}

fn unknown(id: JourneyId) -> Refusal {
    Refusal::new(RefusalCode::NotFound, format!("journey {id}"), "see `tvs gallery list` for the journeys")
}

/// The gallery of a journey's passengers; absent where the journey is not known.
fn gallery(directory: &Directory, state: &State, id: JourneyId) -> Option<Gallery> {
    let (plan, committed) = (state.journeys().get(id)?, state.passengers(id)?);
    let shards = state.galleries().shards(GalleryId::passengers(id)).map(|(shard, part)| {
        let placement = state.placement(shard);
        let receipts = part.receipts.iter();
        Shard {
            shard,
            version: part.version,
            hash: part.hash,
            people: part.counts.people,
            rows: part.counts.rows,
            without_photo: part.counts.without_photo,
            epoch: placement.map(|p| p.epoch).unwrap_or_default(),
            owner: placement.map(|p| p.owner),
            standbys: placement.map(|p| p.standbys.clone()).unwrap_or_default(),
            rosters: placement.map(|p| p.rosters.clone()).unwrap_or_default(),
            holders: part.holders.iter().copied().collect(),
            receipts: receipts.map(|(node, r)| Receipt { node: *node, at: r.at, attested: r.attested }).collect(),
            memory_bytes: directory.serving(shard).map(|serving| serving.loaded.gallery.bytes_resident() as u64),
        }
    });
    let is_building = committed.status() == JourneyStatus::Building;
    Some(Gallery {
        journey: plan.id,
        carrier: plan.carrier.clone(),
        number: plan.number.clone(),
        departure_port: plan.departure_port,
        arrival_port: plan.arrival_port,
        departs_at: plan.departs_at,
        status: committed.status(),
        people: if is_building { plan.people } else { committed.counts().people },
        boarded: state.ledger().boardings(plan.id),
        shards: shards.collect(),
    })
}

fn page(state: &State, from: u64, limit: u32) -> LedgerPage {
    let until = from.saturating_add(u64::from(limit.min(PAGE_RECORDS_MAX)));
    let records: Vec<LedgerRecord> = (from..until)
        .map_while(|position| state.ledger().get(position).map(|record| record.exported(position)))
        .collect();
    let next = from + records.len() as u64;
    LedgerPage { records, next: (next < state.ledger().len()).then_some(next) }
}
