//! What the node answers to operators. Each node answers each request; those that only the leader can carry out are
//! handed on to it.

use std::sync::Arc;
use std::time::Instant;

use cluster_config::actor::{Actor, Revoked};
use cluster_config::ids::JourneyId;
use cluster_config::policy::Policy;
use cluster_config::wire::operator::{Request, Response};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::{Coordinator, Planner};
use coordinator_core::{Command, devices, journeys, membership, policy, retention, revocations};
use metrics_exporter_prometheus::PrometheusHandle;
use node_core::reach::Reach;

use super::pages::{gallery, page, unknown, unknown_device};
use super::status::status;
use crate::engine::EngineHandle;
use crate::gallery::directory::Directory;
use crate::group::chunks::ChunkFiles;
use crate::group::leader::Leader;
use crate::group::proposer::{CHANGE_TIMEOUT, Proposer};
use crate::manifest::submit::Submissions;

pub struct Operators {
    /// The cluster's name.
    pub cluster: String,
    /// The replicated state.
    pub coordinator: Coordinator,
    /// The planner, which knows how long nodes have been silent.
    pub planner: Arc<Planner>,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// What only the leader carries out.
    pub leader: Leader,
    /// Manifests.
    pub submissions: Submissions,
    /// Files of the ledger.
    pub chunks: Arc<ChunkFiles>,
    /// The shards that run here.
    pub directory: Arc<Directory>,
    /// What scores here.
    pub engine: EngineHandle,
    /// The node's metrics.
    pub metrics: PrometheusHandle,
}

impl Operators {
    /// Answers one request of `actor`, whose right reaches so far.
    pub async fn answer(&self, actor: Actor, reach: Reach, request: Request) -> Response {
        self.try_answer(actor, reach, request).await.unwrap_or_else(Response::Refused)
    }

    async fn try_answer(&self, actor: Actor, reach: Reach, request: Request) -> Result<Response, Refusal> {
        let (coordinator, directory) = (&self.coordinator, self.directory.as_ref());
        Ok(match request {
            Request::ClusterStatus => {
                let (cluster, engine) = (self.cluster.clone(), self.engine.describe());
                Response::ClusterStatus(status(cluster, engine, coordinator, &self.planner.inventory()))
            }
            Request::SubmitManifest(bytes) => Response::Submitted(self.submissions.submit(actor, reach, bytes).await?),
            Request::GalleryList => Response::Galleries(coordinator.with_state(|state| {
                let own = state.journeys().iter().filter(|plan| reach.covers(plan));
                own.filter_map(|plan| gallery(directory, state, plan.id)).collect()
            })),
            Request::GalleryShow(id) => {
                self.check_reach(reach, id)?;
                let shown = coordinator.with_state(|state| {
                    let ended = state.journeys().ended(id).copied().map(Response::Ended);
                    gallery(directory, state, id).map(Response::Gallery).or(ended)
                });
                shown.ok_or_else(|| unknown(id))?
            }
            Request::LedgerPage { from, limit } => {
                Response::LedgerPage(page(coordinator, &self.chunks, from, limit).await?)
            }
            Request::PolicyShow => Response::Policy(coordinator.with_state(|state| state.policy().clone())),
            Request::Metrics => {
                self.gauge_memory();
                Response::Metrics(self.metrics.render())
            }
            Request::BuildJourney(journey) => {
                self.change(actor, journeys::Command::Build { journey, early: true }).await?
            }
            Request::CloseJourney { journey, purge } => {
                self.check_reach(reach, journey)?;
                let close = if purge { journeys::Command::Purge } else { journeys::Command::Close };
                self.change(actor, close(journey)).await?
            }
            Request::DeviceAdd(devices) => self.change(actor, devices::Command::Register(devices)).await?,
            Request::DeviceRetire(device) => self.change(actor, devices::Command::Retire(device)).await?,
            Request::DeviceList => {
                Response::Devices(coordinator.with_state(|state| state.devices().iter().cloned().collect()))
            }
            Request::DeviceShow(id) => {
                let known = coordinator.with_state(|state| state.devices().get(id).cloned());
                Response::Device(known.ok_or_else(|| unknown_device(id))?)
            }
            Request::Revoke { what, revoked } => self.revoke(actor, what, revoked).await?,
            Request::RevocationList => {
                Response::Revocations(coordinator.with_state(|state| state.revocations().iter().collect()))
            }
            Request::PolicySet(policy) => {
                self.has_model(&policy)?;
                self.change(actor, policy::Command::Set(policy)).await?
            }
            Request::AttestDestruction(node) => self.change(actor, retention::Command::Attest(node)).await?,
            Request::Drain { node, draining } => {
                let drained = self.change(actor, membership::Command::SetDraining { node, draining }).await?;
                if draining {
                    self.leader.leave(actor, node).await?;
                }
                drained
            }
            #[cfg(feature = "next")]
            Request::Amend(amendment) => {
                self.change(actor, coordinator_core::ledger::Command::Amend(amendment)).await?;
                Response::Amended(amendment)
            }
            Request::AddMember { .. }
            | Request::RemoveMember { .. }
            | Request::DrainStatus(_)
            | Request::DrainPreview(_)
            | Request::MoveMember(_)
            | Request::TransferLeader(_) => self.leader.carry_out(actor, request).await?,
        })
    }

    async fn revoke(&self, actor: Actor, what: Revoked, revoked: bool) -> Result<Response, Refusal> {
        if what == Revoked::Name(actor) && revoked {
            let (problem, fix) = ("it is your own name", "ask somebody else to revoke it");
            return Err(Refusal::new(RefusalCode::Conflict, format!("{what}"), problem, fix));
        }
        let command = if revoked { revocations::Command::Revoke(what) } else { revocations::Command::Restore(what) };
        self.change(actor, command).await
    }

    /// A journey beyond somebody's reach is one that they do not know, and so is one of which this node cannot tell.
    fn check_reach(&self, reach: Reach, id: JourneyId) -> Result<(), Refusal> {
        let covers = || self.coordinator.with_state(|s| s.journeys().get(id).is_some_and(|plan| reach.covers(plan)));
        if reach == Reach::All || covers() { Ok(()) } else { Err(unknown(id)) }
    }

    /// A calibration describes the scores of one model, and nobody else's.
    fn has_model(&self, policy: &Policy) -> Result<(), Refusal> {
        let model = self.submissions.model;
        if policy.matching.model == model {
            return Ok(());
        }
        let problem =
            format!("it describes the scores of {}, and the cluster's model is {model}", policy.matching.model);
        let fix = "give the calibration of the cluster's model";
        Err(Refusal::new(RefusalCode::BadValue, "policy.matching.model", problem, fix))
    }

    /// What is measured when somebody asks.
    fn gauge_memory(&self) {
        metrics::gauge!("tvs_galleries_memory_bytes").set(self.directory.memory_bytes() as f64);
        metrics::gauge!("tvs_galleries_device_bytes").set(self.engine.device_memory_bytes() as f64);
    }

    async fn change(&self, actor: Actor, command: impl Into<Command>) -> Result<Response, Refusal> {
        self.proposer.propose(actor, command, Instant::now() + CHANGE_TIMEOUT).await?;
        Ok(Response::Done)
    }
}
