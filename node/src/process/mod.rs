//! One node process: ordered start and stop of its parts.

mod error;
mod loops;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::file::Configuration;
use cluster_config::limits::RAFT_ELECTION_MS_MAX;
use coordinator::Watchlist;
use node_link::{Connections, Identity, PeerLinks, RevokedSet};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::sync::{mpsc, watch as level};
use tokio::task::JoinHandle;

pub use error::Error;
use parts::Parts;

use crate::folder;
use crate::group::announce::{announce, other_start};
use crate::group::presence;
use crate::group::removal;
use crate::observe;

/// The niceness that a node asks for: ahead of everything that is left at 0, behind what the system itself needs
/// (`nice(1)` goes from -20 to 19).
const NICENESS: i32 = -10;

/// How long a leader that stops may take to give its office away: as long as an election. Where nobody takes it, there
/// is nobody to wait for either.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(RAFT_ELECTION_MS_MAX);

/// How long a node that stops waits until the other sides know that their connections are closed.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(50);

/// How long work on further threads may take to end when nobody waits for it any more, such as half a gallery.
const THREADS_TIMEOUT: Duration = Duration::from_millis(100);

/// Runs a node until it is told to stop (SIGTERM, SIGINT) or cannot go on.
///
/// # Errors
/// [`Error`] with the place and the fix.
pub fn run(configuration: &Configuration) -> Result<(), Error> {
    #[cfg(debug_assertions)]
    cluster_config::canary::plant_as_told();
    raise_priority();
    keep_to_itself()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if configuration.node.worker_threads > 0 {
        builder.worker_threads(configuration.node.worker_threads);
    }
    let network = builder.enable_all().thread_name("network").build().map_err(Error::Thread)?;
    let result = network.block_on(run_on(configuration));
    network.shutdown_timeout(THREADS_TIMEOUT);
    result
}

async fn run_on(configuration: &Configuration) -> Result<(), Error> {
    let node = &configuration.node;
    let me = node.id;
    let _locks = (folder::lock(&node.data_dir)?, folder::lock(&node.key_dir())?);
    let metrics = observe::install_metrics()?;
    let identity = Identity::load(&node.ca_certificate, &node.certificate, &node.private_key)?;
    check_certificate(&identity, configuration)?;
    let listen = node.listen.parse().map_err(|_| Error::Fault(format!("node.listen {:?}", node.listen)))?;
    let endpoint = node_link::bind(listen, &identity)?;
    let (fault, mut faults) = mpsc::unbounded_channel();
    // Nobody listens only when the process is ending already.
    let watch = Watchlist::new(Arc::new(move |reason| drop(fault.send(reason))));
    let revoked = RevokedSet::default();
    let peer_links = PeerLinks::refusing(endpoint.clone(), identity.clone(), revoked.clone());
    let parts = Parts::start(configuration, peer_links, metrics.clone(), &watch)?;
    let Parts {
        coordinator,
        planner,
        links,
        incarnation,
        presence,
        standing,
        proposer,
        leader,
        contents,
        upkeep: _upkeep,
        chunks,
        freshness,
        directory,
        keeper,
        service,
    } = parts;

    let looked_at = |source| folder::Error::Io { path: node.data_dir.clone(), source };
    let folder_watch = folder::Watch::begin(&node.data_dir).map_err(looked_at)?;
    let (stop, stopping) = level::channel(false);
    let open = service.open.clone();
    let connections = Connections::default();
    let door = node_link::serve(endpoint.clone(), service, connections.clone(), stopped(stopping));
    let serving = watched(&watch, "door", door);
    let (caught_up, catching_up) = level::channel(false);
    let joined = catching_up.clone();
    watched(&watch, "reconciling loop", loops::reconcile(coordinator.clone(), keeper, catching_up));
    let (found, troubles) = level::channel(Vec::new());
    watched(&watch, "look for troubles", loops::look_for_trouble(contents, found));
    let reporting =
        loops::report(coordinator.clone(), links, directory, incarnation, planner, (troubles, open), joined);
    watched(&watch, "reporting loop", reporting);
    watched(&watch, "revoking loop", loops::cut_off_revoked(coordinator.clone(), revoked, connections));
    watched(&watch, "ledger files' keeper", chunks.keep_complete());
    watched(&watch, "confirming loop", freshness.keep());
    watched(&watch, "metrics' upkeep", observe::upkeep(metrics));
    watched(&watch, "certificates' watch", identity.watch());
    tracing::info!(node = %me, listen = %node.listen, "listening");

    let joining = async {
        let past = presence.past();
        presence.join().await?;
        announce(&coordinator, &proposer, incarnation, past).await.map_err(presence::Error::Refused)?;
        presence.check_state()?;
        // The reconciling task holds the other end for as long as the process lives.
        let _ = caught_up.send(true);
        standing.caught_up();
        tracing::info!(node = %me, "joined");
        tokio::select! {
            told_by = removal::removed(&coordinator, &presence) => {
                let told_by = told_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(Error::Removed { node: me, told_by })
            }
            refusal = other_start(&coordinator, incarnation) => Err(presence::Error::Refused(refusal).into()),
        }
    };
    let result = tokio::select! {
        joined = joining => joined,
        reason = folder_watch.changes() => Err(Error::Fault(reason)),
        reason = faults.recv() => Err(Error::Fault(reason.unwrap_or_else(|| "the coordinator is gone".to_owned()))),
        stopped = asked_to_stop() => stopped,
    };
    watch.end();
    match &result {
        Ok(()) => {
            tracing::info!(node = %me, "stopping");
            // A leader that stops on purpose gives its office away first, so that nobody waits for an election. Where
            // it does not work in time, the others elect a leader by themselves.
            let _ = tokio::time::timeout(HAND_OVER_TIMEOUT, leader.leave(Actor::node(me), me)).await;
        }
        // Without its log it can answer nothing that waits here: whoever does is to ask another node at once.
        Err(_) => serving.abort(),
    }
    // The receiver lives in the serving task; it is gone only if that has ended.
    let _ = stop.send(true);
    let _ = serving.await;
    coordinator.shutdown().await;
    endpoint.close(0u32.into(), b"the node stops");
    // Farewells to peers that are gone themselves are not waited for.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, endpoint.wait_idle()).await;
    result
}

/// Starts a task that has to go on for as long as the node does.
fn watched(watch: &Watchlist, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let watched = watch.watch(name);
    tokio::spawn(async move {
        let _watched = watched;
        task.await;
    })
}

async fn stopped(mut stopping: level::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn asked_to_stop() -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Thread)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Thread)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Asks for more than its share of a busy machine, before any thread is started, since threads inherit it: a node that
/// waits behind batch work answers heartbeats late and is taken for dead. Where that is not permitted (CAP_SYS_NICE),
/// the node runs like any other process.
fn raise_priority() {
    let present = rustix::process::getpriority_process(None).unwrap_or_default();
    if present <= NICENESS {
        return;
    }
    match rustix::process::setpriority_process(None, NICENESS) {
        Ok(()) => tracing::debug!(niceness = NICENESS, "runs before batch work"),
        Err(error) => tracing::debug!(%error, niceness = present, "keeps its priority"),
    }
}

/// Lets nobody else read what a node writes, nor its memory: its files are its owner's, it leaves no core dump, and
/// no process but the superuser's may look into it. Names and templates pass through that memory.
fn keep_to_itself() -> Result<(), Error> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept = rustix::process::setrlimit(Resource::Core, none)
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable));
    kept.map_err(|error| Error::Fault(format!("core dumps cannot be switched off: {error}")))
}

/// A node's certificate has the role `node` and the name `node-ID`.
fn check_certificate(identity: &Identity, configuration: &Configuration) -> Result<(), Error> {
    let caller = identity.caller();
    let peer = caller.actor();
    let wanted = format!("node-{}", configuration.node.id);
    if peer.role == cluster_config::actor::Role::Node && peer.name.as_str() == wanted {
        return Ok(());
    }
    let path = configuration.node.certificate.display().to_string();
    Err(Error::WrongCertificate { path, found: format!("{} {}", peer.role, peer.name), wanted })
}
