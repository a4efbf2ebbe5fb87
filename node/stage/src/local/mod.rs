//! A cluster of real processes on this machine's loopback: for the demonstration, the benchmarks and the tests.
//!
//! Every node is a process of its own of the binary `tvs`, with its own configuration file, data folder and
//! certificate, on a free port, which is kept for it while it does not run. All are killed when the cluster is dropped.

mod ports;
mod process;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Child;

use cluster_config::actor::{Actor, Holder, Role};
use cluster_config::cluster::ClusterSettings;
use cluster_config::file::Configuration;
use cluster_config::ids::{NodeId, PortCode};
use cluster_config::member::Member;
use cluster_config::process::{EngineChoice, HoldingsSettings, NodeSettings};
use node_link::Identity;
use node_link::certificates::{self, Authority, Validity};
use node_population::{TEMPLATE_DIMS, model};

/// Days for which the certificates of a local cluster are valid: nobody keeps one longer.
const CERTIFICATE_DAYS: u32 = 30;

/// Zones are given out in turn.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// Why a local cluster does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("local cluster: {path:?} cannot be {action}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        action: &'static str,
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] node_link::certificates::Error),
    /// A certificate could not be read.
    #[error(transparent)]
    Identity(#[from] node_link::identity::Error),
    /// There is no such node.
    #[error("local cluster: there is no node {0}")]
    NoSuchNode(NodeId),
    /// A configuration does not encode: a fault of ours.
    #[error("local cluster: the configuration does not encode: {0}")]
    Configuration(String),
}

/// How a local cluster is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of nodes.
    pub nodes: u64,
    /// The folder of everything; must not exist or be empty.
    pub folder: PathBuf,
    /// The binary `tvs`.
    pub binary: PathBuf,
    /// What computes scores.
    pub engine: EngineChoice,
    /// Seed of the synthetic holdings.
    pub seed: u64,
    /// What nodes write into their log files (`TVS_LOG`).
    pub log: String,
    /// The addresses under which nodes are known to gates and to each other, node 1's first, where something stands
    /// before them: a relay that disturbs their links. Nodes beyond the list are known by where they listen.
    pub fronts: Vec<SocketAddr>,
    /// The machines that nodes run on, node 1's first; those beyond the list run on this one, on loopback.
    pub hosts: Vec<Ipv4Addr>,
}

/// One node of the cluster.
pub struct LocalNode {
    pub id: NodeId,
    /// Where gates and other nodes reach it.
    pub address: SocketAddr,
    /// Where its QUIC endpoint listens; the same, unless something stands before it.
    pub listen: SocketAddr,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// The binary that its process is started from: that of the cluster, unless it is to run another release.
    pub binary: PathBuf,
    /// Its log file; a restart adds to it.
    pub log: PathBuf,
    /// Variables that its process is started with besides those of this one.
    pub environment: Vec<(&'static str, OsString)>,
    /// The words before its command that put it where it is to run.
    pub launcher: Vec<OsString>,
    child: Option<Child>,
    /// Holds its port while it does not run.
    port: Option<UdpSocket>,
}

pub struct LocalCluster {
    options: Options,
    authority: Authority,
    certs: PathBuf,
    nodes: Vec<LocalNode>,
}

impl LocalCluster {
    /// Makes certificates and configurations and starts all nodes. It does not wait for them.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn start(options: Options) -> Result<Self, Error> {
        let mut cluster = Self::prepare(options)?;
        for id in cluster.ids() {
            cluster.restart(id)?;
        }
        Ok(cluster)
    }

    /// As [`LocalCluster::start`], without starting any process.
    ///
    /// # Errors
    /// As [`LocalCluster::start`].
    pub fn prepare(options: Options) -> Result<Self, Error> {
        let certs = options.folder.join("certs");
        create_folder(&certs)?;
        let authority = Authority::create(&certs)?;
        authority.issue(Role::Operator, "operator", Validity::Days(CERTIFICATE_DAYS))?;
        let mut cluster = Self { options, authority, certs, nodes: Vec::new() };
        let ports = (0..cluster.options.nodes).map(|_| cluster.free_port()).collect::<Result<Vec<_>, _>>()?;
        let members: Vec<Member> = (1..).zip(&ports).map(|(id, (port, _))| cluster.member(id, *port)).collect();
        for (member, port) in members.iter().zip(ports) {
            let node = cluster.configure(member, port, &members)?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// Prepares one more node that is not among the founding members; it has to be started and added.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn prepare_newcomer(&mut self) -> Result<Member, Error> {
        let port = self.free_port()?;
        let id = self.nodes.iter().map(|node| node.id.0).max().unwrap_or(0) + 1;
        let newcomer = self.member(id, port.0);
        let founders: Vec<Member> = self.nodes.iter().map(|node| self.member(node.id.0, node.listen.port())).collect();
        let node = self.configure(&newcomer, port, &founders)?;
        self.nodes.push(node);
        Ok(newcomer)
    }

    /// A node as the others know it.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn member_of(&self, id: NodeId) -> Result<Member, Error> {
        Ok(self.member(id.0, self.node(id)?.listen.port()))
    }

    /// Gives a node that does not run another port, and says where it is from then on. The others are not told.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn relocate(&mut self, id: NodeId) -> Result<Member, Error> {
        let (port, held) = self.free_port()?;
        let listen = self.listen(id.0, port);
        let node = self.node_mut(id)?;
        let failed = |error: String| Error::Configuration(error);
        let text = fs::read_to_string(&node.config).map_err(|error| failed(error.to_string()))?;
        let mut configuration: Configuration = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
        configuration.node.listen = listen.to_string();
        let text = toml::to_string(&configuration).map_err(|error| failed(error.to_string()))?;
        fs::write(&node.config, text).map_err(|error| failed(error.to_string()))?;
        (node.listen, node.address, node.port) = (listen, listen, Some(held));
        self.member_of(id)
    }

    fn member(&self, id: u64, port: u16) -> Member {
        let place = id as usize - 1;
        let zone = ZONES[place % ZONES.len()];
        let front = self.options.fronts.get(place).copied();
        Member {
            id: NodeId(id),
            address: front.unwrap_or_else(|| self.listen(id, port)).to_string(),
            zone: zone.parse().unwrap_or_else(|_| unreachable!("a constant that fits")),
        }
    }

    /// Where a node listens.
    fn listen(&self, id: u64, port: u16) -> SocketAddr {
        let host = self.options.hosts.get(id as usize - 1).copied();
        (host.unwrap_or(Ipv4Addr::LOCALHOST), port).into()
    }

    fn configure(
        &self,
        member: &Member,
        (port, held): (u16, UdpSocket),
        members: &[Member],
    ) -> Result<LocalNode, Error> {
        let listen = self.listen(member.id.0, port);
        let folder = self.options.folder.join(format!("node-{}", member.id));
        create_folder(&folder)?;
        let name = format!("node-{}", member.id);
        let issued = self.authority.issue(Role::Node, &name, Validity::Days(CERTIFICATE_DAYS))?;
        let configuration = Configuration {
            cluster: ClusterSettings {
                name: "local".to_owned(),
                model: model(),
                template_dims: TEMPLATE_DIMS,
                heartbeat_ms: 25,
                election_ms_min: 100,
                election_ms_max: 200,
                members: members.to_vec(),
            },
            node: NodeSettings {
                id: member.id,
                zone: member.zone,
                listen: listen.to_string(),
                advertise: Some(member.address.clone()).filter(|address| *address != listen.to_string()),
                data_dir: folder.join("data"),
                key_dir: None,
                ca_certificate: self.authority.certificate(),
                certificate: issued.certificate,
                private_key: issued.key,
                engine: self.options.engine,
                worker_threads: 0,
            },
            holdings: HoldingsSettings::Synthetic { seed: self.options.seed },
        };
        let text = toml::to_string(&configuration).map_err(|error| Error::Configuration(error.to_string()))?;
        let config = folder.join("node.toml");
        fs::write(&config, text).map_err(|source| Error::Io { path: config.clone(), action: "written", source })?;
        let address = member.address.parse().map_err(|_| Error::Configuration(member.address.clone()))?;
        Ok(LocalNode {
            id: member.id,
            address,
            listen,
            config,
            data_dir: folder.join("data"),
            binary: self.options.binary.clone(),
            log: folder.join("log"),
            environment: Vec::new(),
            launcher: Vec::new(),
            child: None,
            port: Some(held),
        })
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// The addresses of all nodes, running or not.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// One node.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn node(&self, id: NodeId) -> Result<&LocalNode, Error> {
        self.nodes.iter().find(|node| node.id == id).ok_or(Error::NoSuchNode(id))
    }

    /// One node, to change what its process is started with.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn node_mut(&mut self, id: NodeId) -> Result<&mut LocalNode, Error> {
        self.nodes.iter_mut().find(|node| node.id == id).ok_or(Error::NoSuchNode(id))
    }

    /// The folder of the certificates: `ca.pem`, `ca.key`, `operator.pem`, `operator.key` and those issued since.
    pub fn certs(&self) -> &Path {
        &self.certs
    }

    /// The authority that all parties of this cluster trust.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// The operator's identity.
    ///
    /// # Errors
    /// [`Error::Identity`].
    pub fn operator(&self) -> Result<Identity, Error> {
        self.identity("operator")
    }

    /// The identity of a new gate at a port. It has to be registered before a node answers it.
    ///
    /// # Errors
    /// [`Error`], where there is one of that name already, too.
    pub fn gate(&self, name: &str, port: PortCode) -> Result<Identity, Error> {
        let actor = Actor { role: Role::Gate, name: name.parse().map_err(certificates::Error::Name)? };
        let holder = Holder { port: Some(port), ..actor.into() };
        self.authority.issue_to(&holder, Validity::Days(CERTIFICATE_DAYS))?;
        self.identity(name)
    }

    /// The identity of a certificate that was issued.
    ///
    /// # Errors
    /// [`Error::Identity`].
    pub fn identity(&self, name: &str) -> Result<Identity, Error> {
        let file = |extension: &str| self.certs.join(format!("{name}.{extension}"));
        Ok(Identity::load(&self.authority.certificate(), &file("pem"), &file("key"))?)
    }

    fn free_port(&self) -> Result<(u16, UdpSocket), Error> {
        let failed = |source| Error::Io { path: self.options.folder.clone(), action: "given a port", source };
        ports::free().map_err(failed)
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::Io { path: path.to_owned(), action: "created", source })
}
