//! The parts of a node: each is given what it uses, from the disk up to the door.

use std::sync::Arc;

use actix::{ArbiterHandle, Recipient};
use cluster_config::file::Configuration;
use cluster_config::ids::Incarnation;
use cluster_config::member::Member;
use coordinator::{Coordinator, Planner, Upkeep, Watchlist};
use metrics_exporter_prometheus::PrometheusHandle;
use node_link::PeerLinks;
use tokio::runtime::Handle;

use super::error::Error;
use crate::clock;
use crate::door::Service;
use crate::door::entry::Entry;
use crate::door::operators::Operators;
use crate::door::peers::Peers;
use crate::engine::EngineHandle;
use crate::folder::{self, Bond};
use crate::gallery::build::Tools;
use crate::gallery::content::Contents;
use crate::gallery::directory::Directory;
use crate::gallery::keeper::{Keeper, Reconcile};
use crate::gallery::orders::Orders;
use crate::gallery::search::Searches;
use crate::gallery::store::Store;
use crate::group::chunks::ChunkFiles;
use crate::group::freshness::Freshness;
use crate::group::leader::Leader;
use crate::group::presence::Presence;
use crate::group::proposer::Proposer;
use crate::holdings;
use crate::manifest::submit::Submissions;
use crate::peers::links::Links;
use crate::peers::raft::RaftLinks;
use crate::peers::standing::Standing;

/// What a running node is made of, as far as its start and its end need it.
pub struct Parts {
    /// The raft group and the replicated state.
    pub coordinator: Coordinator,
    /// Who is alive, and where shards are placed.
    pub planner: Arc<Planner>,
    /// The other nodes.
    pub links: Links,
    /// This start of the node.
    pub incarnation: Incarnation,
    /// This node, as the others come to know it.
    pub presence: Arc<Presence>,
    /// Who is a member.
    pub standing: Arc<Standing>,
    /// The way into the replicated state.
    pub proposer: Proposer,
    /// The way to the leader.
    pub leader: Leader,
    /// What is kept of shards on the disk.
    pub contents: Arc<Contents>,
    /// What is done by the time.
    pub upkeep: Upkeep,
    /// Files of the ledger.
    pub chunks: Arc<ChunkFiles>,
    /// Whether this node lacks something.
    pub freshness: Arc<Freshness>,
    /// The shards that run here.
    pub directory: Arc<Directory>,
    /// What makes these fit the replicated state.
    pub keeper: Recipient<Reconcile>,
    /// All answers of the node.
    pub service: Arc<Service>,
}

impl Parts {
    /// Starts the parts, except what speaks to other nodes by itself. A part that has to go on is on the `watch` list.
    ///
    /// # Errors
    /// The first part that does not start.
    pub fn start(
        configuration: &Configuration,
        peer_links: PeerLinks,
        metrics: PrometheusHandle,
        watch: &Watchlist,
    ) -> Result<Self, Error> {
        let (node, cluster) = (&configuration.node, &configuration.cluster);
        let network = Handle::current();
        let engine = EngineHandle::start(node.engine, node.id, &node.data_dir, watch)?;
        let store = Store::open(&node.data_dir, &node.key_dir())?;
        let on_disk = store.shards()?;
        let holdings = holdings::open(configuration)?;
        let options = coordinator::Options {
            node_id: node.id,
            data_dir: node.data_dir.join("raft"),
            settings: cluster.clone(),
            now: Arc::new(clock::now),
            watch: watch.clone(),
        };
        let bond = Arc::new(Bond::open(&node.data_dir, cluster.agreed())?);
        let raft_links = RaftLinks::new(peer_links.clone(), bond.clone());
        let coordinator = Coordinator::start(options, Arc::new(raft_links))?;
        bond.check_store(coordinator.initialised())?;
        let planner = Arc::new(Planner::start(coordinator.clone(), bond.shared(), watch)?);
        let upkeep = Upkeep::start(coordinator.clone(), planner.clone(), watch)?;
        let start = folder::begin(&node.data_dir)?;
        let member = Member { id: node.id, address: node.address().to_owned(), zone: node.zone };
        let presence = Presence::new(coordinator.clone(), peer_links.clone(), bond, start, (member, cluster));
        let presence = Arc::new(presence);

        let links = Links::new(peer_links, coordinator.clone(), &cluster.members);
        let standing = Arc::new(Standing::new(coordinator.clone(), links.clone()));
        let proposer = Proposer::start(coordinator.clone(), links.clone(), &network, watch);
        let freshness = Arc::new(Freshness::new(coordinator.clone(), links.clone()));
        let leader = Leader::new(coordinator.clone(), links.clone(), presence.clone(), planner.clone());
        let chunks = Arc::new(ChunkFiles::new(coordinator.clone(), links.clone()));
        let directory = Arc::new(Directory::default());
        let contents = Contents::new(coordinator.clone(), links.clone(), store, directory.clone(), network.clone());
        let contents = Arc::new(contents);
        let tools = Arc::new(Tools {
            coordinator: coordinator.clone(),
            links: links.clone(),
            proposer: proposer.clone(),
            contents: contents.clone(),
            holdings,
            model: cluster.model,
            dims: cluster.template_dims,
            network,
        });
        let keeper = Keeper::spawn(&start_actors(watch)?, tools, watch, engine.clone(), directory.clone(), on_disk);

        let searches = Searches::new(node.id, directory.clone(), engine.clone());
        let orders = Orders::new(coordinator.clone(), links.clone(), directory.clone());
        let entry = Entry::new(
            coordinator.clone(),
            links.clone(),
            searches.clone(),
            proposer.clone(),
            freshness.clone(),
            chunks.clone(),
            (cluster.model, cluster.template_dims),
        );
        let peers = Peers {
            coordinator: coordinator.clone(),
            presence: presence.clone(),
            planner: planner.clone(),
            standing: standing.clone(),
            leader: leader.clone(),
            searches,
            orders: orders.clone(),
            directory: directory.clone(),
            contents: contents.clone(),
            chunks: chunks.clone(),
        };
        let submissions = Submissions {
            coordinator: coordinator.clone(),
            proposer: proposer.clone(),
            freshness: freshness.clone(),
            orders,
            model: cluster.model,
        };
        let operators = Operators {
            cluster: cluster.name.clone(),
            coordinator: coordinator.clone(),
            planner: planner.clone(),
            proposer: proposer.clone(),
            leader: leader.clone(),
            submissions,
            chunks: chunks.clone(),
            directory: directory.clone(),
            engine,
            metrics,
        };
        let service = Arc::new(Service { entry, peers, operators, open: Arc::default() });
        let incarnation = start.incarnation;
        Ok(Self {
            coordinator,
            planner,
            links,
            incarnation,
            presence,
            standing,
            proposer,
            leader,
            contents,
            upkeep,
            chunks,
            freshness,
            directory,
            keeper,
            service,
        })
    }
}

/// Starts the actors' thread.
fn start_actors(watch: &Watchlist) -> Result<ArbiterHandle, Error> {
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let watched = watch.watch("actors' thread");
    std::thread::Builder::new()
        .name("actors".into())
        .spawn(move || {
            let _watched = watched;
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
