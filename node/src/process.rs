//! One node process: ordered start and stop of its parts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Recipient;
use cluster_config::actor::Actor;
use cluster_config::file::Configuration;
use cluster_config::ids::{Incarnation, NodeId};
use cluster_config::limits::REPORT_INTERVAL_MS;
use cluster_config::member::Member;
use cluster_config::wire::operator::Request as OperatorRequest;
use cluster_config::wire::peer;
use cluster_config::wire::peer::{Hello, Report};
use coordinator::{Coordinator, Planner};
use futures::future::BoxFuture;
use node_core::reconcile::RECONCILE_INTERVAL;
use node_link::{Identity, Lane, PeerLinks};
use tokio::sync::{mpsc, watch};

use crate::actors::keeper::{Keeper, Reconcile};
use crate::clock;
use crate::context::Context;
use crate::directory::Directory;
use crate::engine::EngineHandle;
use crate::entry::Entry;
use crate::freshness::Freshness;
use crate::operator::Operators;
use crate::proposer::Proposer;
use crate::service::Service;
use crate::store::Store;
use crate::turns::Turns;
use crate::{holdings, keys, observe};

/// The niceness that a node asks for: ahead of everything that is left at 0, behind what the system itself needs
/// (`nice(1)` goes from -20 to 19).
const NICENESS: i32 = -10;

/// How often members are asked whether the cluster exists, while this node does not belong to one.
const BOOTSTRAP_INTERVAL: Duration = Duration::from_millis(100);

/// How long one greeting may take.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a node does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] cluster_config::file::Error),
    /// Certificates or key.
    #[error(transparent)]
    Identity(#[from] node_link::identity::Error),
    /// The certificate says another role or name.
    #[error("certificate {path}: it is for {found}, this needs `tvs certs issue --role node --name {wanted}`")]
    WrongCertificate {
        /// The file.
        path: String,
        /// What it says.
        found: String,
        /// The name that is needed.
        wanted: String,
    },
    /// The QUIC endpoint.
    #[error(transparent)]
    Endpoint(#[from] node_link::endpoint::Error),
    /// The engine.
    #[error("engine does not start")]
    Engine(#[source] shaders::Error),
    /// Galleries on disk.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// Holdings.
    #[error(transparent)]
    Holdings(#[from] holdings::Error),
    /// The raft group.
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
    /// Metrics.
    #[error("metrics: {0}")]
    Metrics(String),
    /// A thread or a runtime.
    #[error("the operating system gives no thread; raise its limits")]
    Thread(#[source] std::io::Error),
    /// The folder of the data.
    #[error("data folder {path}: {source}; give the node a folder of its own that it can write to")]
    DataFolder {
        /// The folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process works in the folder.
    #[error("data folder {path} is in use by another process; give each node a folder of its own")]
    DataFolderInUse {
        /// The folder.
        path: String,
    },
    /// The disk was wiped.
    #[error(
        "node {node} is a member, but its data folder is empty: a node whose disk was wiped could vote twice; \
         remove it with `tvs cluster remove {node}`, and add this machine under a new id"
    )]
    Wiped {
        /// The node.
        node: NodeId,
    },
    /// Two nodes take the cluster to be something else.
    #[error(
        "node {other} has other settings: cluster.name, cluster.model and cluster.template_dims must be equal on all"
    )]
    OtherCluster {
        /// The other node.
        other: NodeId,
    },
    /// Something that cannot go on.
    #[error("{0}")]
    Fault(String),
}

/// Carries the calls of the raft group over the node's links.
struct RaftLinks(PeerLinks);

impl coordinator::Transport for RaftLinks {
    fn call(
        &self,
        target: NodeId,
        address: &str,
        call: peer::RaftCall,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, coordinator::TransportError>> {
        use coordinator::TransportError::{Refused, Timeout, Unreachable};
        let address = address.parse::<SocketAddr>();
        let links = self.0.clone();
        Box::pin(async move {
            let address = address.map_err(|_| Unreachable(target))?;
            let begun = Instant::now();
            let answered = links.call(address, Lane::Raft, &peer::Request::Raft { call, body }, timeout).await;
            metrics::histogram!("tvs_raft_call_seconds").record(begun.elapsed().as_secs_f64());
            match answered {
                Ok(peer::Response::Raft(body)) => Ok(body),
                Ok(peer::Response::Refused(refusal)) => Err(Refused(target, refusal.to_string())),
                Ok(_) => Err(Refused(target, "an answer out of turn".to_owned())),
                Err(node_link::LinkError::TimedOut { .. }) => Err(Timeout(target)),
                Err(_) => Err(Unreachable(target)),
            }
        })
    }
}

/// Runs a node until it is told to stop (SIGTERM, SIGINT) or cannot go on.
///
/// # Errors
/// [`Error`] with the place and the fix.
pub fn run(configuration: &Configuration) -> Result<(), Error> {
    raise_priority();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if configuration.node.worker_threads > 0 {
        builder.worker_threads(configuration.node.worker_threads);
    }
    let network = builder.enable_all().thread_name("network").build().map_err(Error::Thread)?;
    let result = network.block_on(run_on(configuration));
    network.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn run_on(configuration: &Configuration) -> Result<(), Error> {
    let node = &configuration.node;
    let me = node.id;
    let _lock = lock_data_folder(&node.data_dir)?;
    let metrics = observe::install_metrics()?;
    let identity = Identity::load(&node.ca_certificate, &node.certificate, &node.private_key)?;
    check_certificate(&identity, configuration)?;
    let listen = node.listen.parse().map_err(|_| Error::Fault(format!("node.listen {:?}", node.listen)))?;
    let endpoint = node_link::bind(listen, &identity)?;
    let links = PeerLinks::new(endpoint.clone());
    let engine = EngineHandle::start(node.engine, me, &node.data_dir)?;
    let store = Store::open(&node.data_dir)?;
    let on_disk = store.shards()?;
    let holdings = holdings::open(configuration)?;

    let (fault, mut faults) = mpsc::unbounded_channel();
    let on_fault = Arc::new(move |reason: String| {
        // Nobody listens only when the process is ending already.
        let _ = fault.send(reason);
    });
    let options = coordinator::Options {
        node_id: me,
        data_dir: node.data_dir.join("raft"),
        settings: configuration.cluster.clone(),
        now: Arc::new(clock::now),
        on_fault,
    };
    let coordinator = Coordinator::start(options, Arc::new(RaftLinks(links.clone())))?;
    let planner = Arc::new(Planner::start(coordinator.clone())?);
    let context = Arc::new(Context {
        me,
        incarnation: begin_incarnation(&node.data_dir)?,
        settings: configuration.cluster.clone(),
        coordinator: coordinator.clone(),
        links,
        engine,
        store,
        holdings,
        directory: Directory::default(),
        turns: Turns::default(),
        raft_open: AtomicBool::new(coordinator.initialised()),
        network: tokio::runtime::Handle::current(),
    });
    let proposer = Proposer::start(context.clone());
    let arbiter = start_actors()?;
    let keeper = Keeper::spawn(&arbiter, context.clone(), proposer.clone(), on_disk.clone());

    let freshness = Arc::new(Freshness::new(context.clone()));
    let service = Arc::new(Service {
        context: context.clone(),
        entry: Entry::new(context.clone(), proposer.clone(), freshness.clone()),
        operators: Operators {
            context: context.clone(),
            proposer,
            freshness,
            planner: planner.clone(),
            metrics: metrics.clone(),
        },
        planner: planner.clone(),
    });
    let (stop, stopping) = watch::channel(false);
    let serving = tokio::spawn(node_link::serve(endpoint.clone(), service.clone(), stopped(stopping)));
    let (caught_up, catching_up) = watch::channel(false);
    tokio::spawn(reconcile_loop(coordinator.clone(), keeper, catching_up));
    tokio::spawn(report_loop(context.clone(), planner));
    tokio::spawn(observe::upkeep(metrics));
    tracing::info!(node = %me, listen = %node.listen, "listening");

    let member = Member { id: me, address: node.address().to_owned(), zone: node.zone };
    let joining = async {
        join(&context, &configuration.cluster.members).await?;
        service.operators.announce(member, context.incarnation).await;
        // The reconciling task holds the other end for as long as the process lives.
        let _ = caught_up.send(true);
        tracing::info!(node = %me, "joined");
        std::future::pending::<Result<(), Error>>().await
    };
    let result = tokio::select! {
        joined = joining => joined,
        reason = faults.recv() => Err(Error::Fault(reason.unwrap_or_else(|| "the coordinator is gone".to_owned()))),
        stopped = asked_to_stop() => stopped,
    };
    if result.is_ok() {
        tracing::info!(node = %me, "stopping");
        hand_over(&service, me).await;
    }
    if result.is_err() {
        // Without its log it can answer nothing that waits here: whoever does is to ask another node at once.
        serving.abort();
    }
    // The receiver lives in the serving task; it is gone only if that has ended.
    let _ = stop.send(true);
    let _ = serving.await;
    coordinator.shutdown().await;
    endpoint.close(0u32.into(), b"the node stops");
    // Farewells to peers that are gone themselves are not waited for.
    let _ = tokio::time::timeout(GREETING_TIMEOUT, endpoint.wait_idle()).await;
    result
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
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

/// A leader that stops on purpose gives its office away first, so that nobody waits for an election.
async fn hand_over(service: &Service, me: NodeId) {
    if service.context.coordinator.leader() != Some(me) {
        return;
    }
    let heir = service.context.coordinator.voters().into_iter().find(|voter| *voter != me);
    if let Some(heir) = heir {
        let request = OperatorRequest::TransferLeader(heir);
        let handed = service.operators.answer(Actor::node(me), request);
        // Where it does not work in time, the others elect a leader by themselves.
        let _ = tokio::time::timeout(Duration::from_secs(1), handed).await;
    }
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

/// Keeps two processes out of one folder: both would write to the same log.
fn lock_data_folder(path: &std::path::Path) -> Result<std::fs::File, Error> {
    let name = path.display().to_string();
    let failed = |source| Error::DataFolder { path: name.clone(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    let file = std::fs::File::create(path.join("lock")).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::DataFolderInUse { path: name }),
    }
}

/// Numbers this start of the process, and keeps the number: the next start has a later one, whatever its clock says.
fn begin_incarnation(data_dir: &std::path::Path) -> Result<Incarnation, Error> {
    let path = data_dir.join("incarnation");
    let failed = |source| Error::DataFolder { path: path.display().to_string(), source };
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| failed(std::io::Error::other(error)))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Incarnation::default(),
        Err(error) => return Err(failed(error)),
    };
    let incarnation = node_core::incarnation::next(before, clock::now());
    keys::replace_file(&path, incarnation.to_string().as_bytes()).map_err(failed)?;
    Ok(incarnation)
}

/// A node's certificate has the role `node` and the name `node-ID`.
fn check_certificate(identity: &Identity, configuration: &Configuration) -> Result<(), Error> {
    let peer = identity.peer();
    let wanted = format!("node-{}", configuration.node.id);
    if peer.role == cluster_config::actor::Role::Node && peer.name.as_str() == wanted {
        return Ok(());
    }
    let path = configuration.node.certificate.display().to_string();
    Err(Error::WrongCertificate { path, found: format!("{} {}", peer.role, peer.name), wanted })
}

/// Starts the actors' thread.
fn start_actors() -> Result<actix::ArbiterHandle, Error> {
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("actors".into())
        .spawn(move || {
            let system = actix::System::new();
            // The one who waits below takes it at once.
            let _ = ready.send(actix::System::current().arbiter().clone());
            if let Err(error) = system.run() {
                tracing::error!(%error, "the actors' thread ended");
            }
        })
        .map_err(Error::Thread)?;
    started.recv().map_err(|_| Error::Fault("the actors' thread does not start".to_owned()))
}

/// Makes sure that this node belongs to the cluster: founds it together with the members of the configuration where
/// none of them belongs to one yet, else waits to be added.
async fn join(context: &Context, members: &[Member]) -> Result<(), Error> {
    let me = context.me;
    let founds = members.iter().any(|member| member.id == me);
    let mut said = false;
    loop {
        let initialised = context.coordinator.initialised();
        let greetings = members.iter().filter(|member| member.id != me).map(|member| greet(context, member));
        let answers: Vec<Option<Hello>> = futures::future::join_all(greetings).await;
        let present: Vec<&Hello> = answers.iter().flatten().collect();
        if let Some(other) = present.iter().find(|hello| hello.fingerprint != context.settings.fingerprint()) {
            return Err(Error::OtherCluster { other: other.node });
        }
        if initialised || context.coordinator.initialised() {
            return Ok(());
        }
        if present.iter().any(|hello| hello.knows_you) {
            return Err(Error::Wiped { node: me });
        }
        if present.iter().any(|hello| hello.initialised) {
            context.raft_open.store(true, Ordering::Release);
        }
        let nobody_belongs = present.iter().all(|hello| !hello.initialised);
        if founds && nobody_belongs && present.len() + 1 == members.len() {
            context.raft_open.store(true, Ordering::Release);
            context.coordinator.initialise(members).await?;
            tracing::info!(node = %me, members = members.len(), "founded the cluster");
        } else if !said {
            said = true;
            let answered: BTreeSet<NodeId> = present.iter().map(|hello| hello.node).collect();
            tracing::info!(node = %me, ?answered, founds, "waiting for the other members, or to be added");
        }
        tokio::time::sleep(BOOTSTRAP_INTERVAL).await;
    }
}

async fn greet(context: &Context, member: &Member) -> Option<Hello> {
    let hello = Hello {
        node: context.me,
        incarnation: context.incarnation,
        fingerprint: context.settings.fingerprint(),
        initialised: context.coordinator.initialised(),
        knows_you: false,
    };
    let address = member.address.parse().ok()?;
    match context.links.call(address, Lane::Raft, &peer::Request::Hello(hello), GREETING_TIMEOUT).await {
        Ok(peer::Response::Hello(hello)) => Some(hello),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, "no greeting");
            None
        }
    }
}

/// Reconciles whenever the state changes, and now and then besides. Until this node has applied its own announcement
/// its state may be an old one: it keeps what it does not know.
async fn reconcile_loop(coordinator: Coordinator, keeper: Recipient<Reconcile>, caught_up: watch::Receiver<bool>) {
    let mut changes = coordinator.changes();
    loop {
        let caught_up = *caught_up.borrow();
        if keeper.send(Reconcile { caught_up }).await.is_err() {
            tracing::error!("the keeper is gone; shards are no longer reconciled");
            return;
        }
        // A timeout is as good as a change: the next round looks again.
        let _ = tokio::time::timeout(RECONCILE_INTERVAL, changes.changed()).await;
    }
}

/// Tells the leader what this node holds.
async fn report_loop(context: Arc<Context>, planner: Arc<Planner>) {
    let interval = Duration::from_millis(REPORT_INTERVAL_MS);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let report =
            Report { node: context.me, incarnation: context.incarnation, shards: context.directory.versions() };
        match context.coordinator.leader() {
            Some(leader) if leader == context.me => planner.report(report),
            Some(leader) => {
                let context = context.clone();
                tokio::spawn(async move {
                    // A lost report is made up for by the next.
                    let _ = context.ask(leader, Lane::Raft, &peer::Request::Report(report), 8 * interval).await;
                });
            }
            None => {}
        }
    }
}
