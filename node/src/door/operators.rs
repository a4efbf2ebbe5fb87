//! What the node answers to operators. Each node answers each request; those that only the leader can carry out are
//! handed on to it.

use std::sync::Arc;
use std::time::Instant;

use cluster_config::actor::Actor;
use cluster_config::wire::Refusal;
use cluster_config::wire::operator::{Request, Response};
use coordinator::{Coordinator, Planner};
use coordinator_core::{Command, journeys, membership, policy, retention};
use metrics_exporter_prometheus::PrometheusHandle;

use super::pages::{gallery, page, unknown};
use super::status::status;
use crate::engine::EngineHandle;
use crate::gallery::directory::Directory;
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
    /// The shards that run here.
    pub directory: Arc<Directory>,
    /// What scores here.
    pub engine: EngineHandle,
    /// The node's metrics.
    pub metrics: PrometheusHandle,
}

impl Operators {
    /// Answers one request of `actor`.
    pub async fn answer(&self, actor: Actor, request: Request) -> Response {
        self.try_answer(actor, request).await.unwrap_or_else(Response::Refused)
    }

    async fn try_answer(&self, actor: Actor, request: Request) -> Result<Response, Refusal> {
        let (coordinator, directory) = (&self.coordinator, self.directory.as_ref());
        Ok(match request {
            Request::ClusterStatus => {
                let (cluster, engine) = (self.cluster.clone(), self.engine.describe());
                Response::ClusterStatus(status(cluster, engine, coordinator, &self.planner.inventory()))
            }
            Request::SubmitManifest(bytes) => Response::Submitted(self.submissions.submit(actor, bytes).await?),
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
            Request::AddMember { .. } | Request::RemoveMember(_) | Request::TransferLeader(_) => {
                self.leader.carry_out(actor, request).await?
            }
        })
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
