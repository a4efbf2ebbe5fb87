//! An operator who knows several nodes of a cluster: one question, its answer, and what a whole cluster is waited for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_config::device::{Device, DeviceKind, Ownership, Place, Touchpoint};
use cluster_config::ids::{DeviceId, PortCode};
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::operator::{ClusterStatus, LedgerRecord, Request, Response};
use node_link::{Identity, OperatorClient};

use crate::Error;
use crate::level::wait_for;

/// How long one answer may take of an operator who asks another node then.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an operator who insists tries at all. Faults last a minute at most, and the cluster needs a moment after.
const PATIENCE: Duration = Duration::from_secs(150);

/// Pause between two of these tries.
const TURN_PAUSE: Duration = Duration::from_millis(200);

/// Records of the ledger in one question.
const PAGE_RECORDS: u32 = 10_000;

/// See the module. Clones share the list of nodes, which may change.
#[derive(Debug, Clone)]
pub struct Operator {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    identity: Identity,
    timeout: Duration,
    turn: Arc<AtomicUsize>,
}

impl Operator {
    /// An operator who knows the nodes of these addresses and waits so long for one answer.
    pub fn new(addresses: Vec<SocketAddr>, identity: Identity, timeout: Duration) -> Self {
        Self { addresses: Arc::new(Mutex::new(addresses)), identity, timeout, turn: Arc::default() }
    }

    /// The operator's certificate.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A node has come.
    pub fn learn(&self, address: SocketAddr) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// A node has left.
    pub fn forget(&self, address: SocketAddr) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != address);
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks these nodes, one after the other, until one answers.
    ///
    /// # Errors
    /// The refusal, or why the last one does not answer.
    pub async fn ask_at(&self, addresses: Vec<SocketAddr>, request: &Request) -> Result<Response, Error> {
        self.ask_within(addresses, request, self.timeout).await
    }

    /// Asks all nodes, one after the other, until one answers.
    ///
    /// # Errors
    /// As [`Operator::ask_at`].
    pub async fn ask(&self, request: &Request) -> Result<Response, Error> {
        self.ask_at(self.addresses(), request).await
    }

    async fn ask_within(
        &self,
        addresses: Vec<SocketAddr>,
        request: &Request,
        timeout: Duration,
    ) -> Result<Response, Error> {
        let client = OperatorClient::connect(addresses, &self.identity).await?;
        match client.call(request, timeout).await? {
            Response::Refused(refusal) => Err(refusal.into()),
            response => Ok(response),
        }
    }

    /// Asks one node after the other until one has an answer, each with a connection of its own, and does not give up
    /// at the first that is silent. The request has to be one that may be asked for again.
    ///
    /// # Errors
    /// What went wrong last, at the end of all patience, and a refusal that no other node would take back.
    pub async fn insist(&self, request: &Request) -> Result<Response, Error> {
        let begun = std::time::Instant::now();
        loop {
            let addresses = self.addresses();
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
            let address = addresses.get(turn).copied().into_iter().collect();
            let problem = match self.ask_within(address, request, TURN_TIMEOUT).await {
                Err(Error::Refused(refusal)) if !refusal.code.retryable() => return Err(refusal.into()),
                Err(problem) => problem,
                Ok(response) => return Ok(response),
            };
            if begun.elapsed() > PATIENCE {
                return Err(problem);
            }
            tokio::time::sleep(TURN_PAUSE).await;
        }
    }

    /// Registers boarding gates at a port, as who runs it would.
    ///
    /// # Errors
    /// As [`Operator::insist`].
    pub async fn register_gates(&self, ids: impl IntoIterator<Item = DeviceId>, port: PortCode) -> Result<(), Error> {
        let owner = "STAGE".parse().map_err(Error::failed)?;
        let device = |id| Device {
            id,
            place: Place { port, terminal: None, gate: None, lane: None },
            owner,
            ownership: Ownership::Partner,
            kind: DeviceKind::GateCamera,
            touchpoints: BTreeSet::from([Touchpoint::Boarding]),
        };
        self.insist(&Request::DeviceAdd(ids.into_iter().map(device).collect())).await.map(|_| ())
    }

    /// Has the galleries of those journeys of a manifest built at once for which it is too early, and waits until they
    /// are.
    ///
    /// # Errors
    /// As [`Operator::ask`], and [`Error::Level`] at the deadline.
    pub async fn build_early(&self, submitted: &Response, deadline: Duration) -> Result<(), Error> {
        let Response::Submitted(submitted) = submitted else { return Err(Error::OutOfTurn) };
        let early = submitted.journeys.iter().filter(|journey| journey.status == JourneyStatus::Announced);
        for journey in early.map(|journey| journey.journey) {
            self.ask(&Request::BuildJourney(journey)).await?;
            let built = wait_for("the gallery is built", deadline, async || {
                match self.ask(&Request::GalleryShow(journey)).await {
                    Ok(Response::Gallery(gallery)) if gallery.status == JourneyStatus::Ready => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
            built.await?;
        }
        Ok(())
    }

    /// Waits until the leader's status is as wanted, and gives it.
    ///
    /// # Errors
    /// [`Error::Level`] at the deadline.
    pub async fn wait_for(
        &self,
        level: &str,
        deadline: Duration,
        wanted: impl Fn(&ClusterStatus) -> bool,
    ) -> Result<ClusterStatus, Error> {
        let reached = wait_for(level, deadline, async || {
            let mut seen = "no leader".to_owned();
            for address in self.addresses() {
                match self.ask_at(vec![address], &Request::ClusterStatus).await {
                    Ok(Response::ClusterStatus(status)) if status.leader != Some(status.node) => {}
                    Ok(Response::ClusterStatus(status)) if wanted(&status) => return Ok(status),
                    Ok(Response::ClusterStatus(status)) => seen = described(&status),
                    Ok(_) => seen = Error::OutOfTurn.to_string(),
                    Err(error) => seen = error.to_string(),
                }
            }
            Err(seen)
        });
        Ok(reached.await?)
    }

    /// The whole ledger, as the node at this address has it.
    ///
    /// # Errors
    /// As [`Operator::ask_at`].
    pub async fn ledger_at(&self, address: SocketAddr) -> Result<Vec<LedgerRecord>, Error> {
        let mut records = Vec::new();
        let mut from = Some(0);
        while let Some(position) = from {
            let request = Request::LedgerPage { from: position, limit: PAGE_RECORDS };
            let Response::LedgerPage(page) = self.ask_at(vec![address], &request).await? else {
                return Err(Error::OutOfTurn);
            };
            records.extend(page.records);
            from = page.next;
        }
        Ok(records)
    }
}

/// What somebody who waits for a cluster wants to know of it.
fn described(status: &ClusterStatus) -> String {
    let ClusterStatus { node, members, shards, shards_replicated, .. } = status;
    let replicated = shards_replicated.map_or("an unknown number".to_owned(), |count| count.to_string());
    format!("node {node} leads {} members; {replicated} of {shards} shards have all replicas", members.len())
}
