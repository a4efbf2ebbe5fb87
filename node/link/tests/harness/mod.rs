//! A cluster's worth of certificates in a temporary folder, and servers whose behaviour a test can turn.

// Each test file uses its own part of this module.
#![allow(dead_code)]

pub mod relay;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_config::actor::Caller;
use cluster_config::actor::Role;
use cluster_config::decision::{Directive, Reason, Recording};
use cluster_config::device::{CaptureDetail, DeviceKind, ImageKind};
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, NodeId, UnixMs};
use cluster_config::wire::gate;
use cluster_config::wire::gate::{Capture, Sample};
use cluster_config::wire::{Refusal, RefusalCode, operator, peer};
use node_link::certificates::{Authority, Validity};
use node_link::{Connections, Endpoint, Handler, Identity, bind, serve};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct World {
    pub folder: tempfile::TempDir,
    pub authority: Authority,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::create(folder.path()).expect("an authority");
        Self { folder, authority }
    }

    pub fn identity(&self, role: Role, name: &str) -> Identity {
        self.identity_valid(role, name, Validity::Days(1))
    }

    pub fn identity_valid(&self, role: Role, name: &str, validity: Validity) -> Identity {
        let issued = self.authority.issue(role, name, validity).expect("a certificate");
        Identity::load(&self.authority.certificate(), &issued.certificate, &issued.key).expect("an identity")
    }
}

/// What a server does with requests of gates.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    Answers,
    Silent,
    Unavailable,
    BadValue,
    Panics,
    /// Answers, but after [`SLOW`].
    Slow,
}

/// See [`Mood::Slow`].
pub const SLOW: Duration = Duration::from_millis(400);

pub struct Echo {
    pub node: NodeId,
    pub mood: AtomicU8,
    pub members: Mutex<Vec<String>>,
    /// Captures that reached the handler.
    pub captures: AtomicU64,
    /// Operators' requests that the handler has begun.
    pub begun: AtomicU64,
    /// Operators' requests that the handler has finished.
    pub finished: AtomicU64,
    /// Gates by the name of their certificate that are turned away.
    pub turned_away: Mutex<Vec<String>>,
    /// How long an operator's request takes here.
    pub operator_delay: Mutex<Duration>,
}

impl Echo {
    pub fn new(node: u64) -> Arc<Self> {
        Arc::new(Self {
            node: NodeId(node),
            mood: AtomicU8::new(Mood::Answers as u8),
            members: Mutex::default(),
            captures: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            turned_away: Mutex::default(),
            operator_delay: Mutex::default(),
        })
    }

    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }
}

impl Handler for Echo {
    fn turns_away(&self, from: &Caller) -> Option<String> {
        let turned_away = self.turned_away.lock().expect("names");
        turned_away
            .iter()
            .any(|name| *name == from.actor().name.as_str())
            .then(|| "the certificate is revoked".to_owned())
    }

    async fn gate(&self, _: &Caller, request: gate::Request) -> gate::Response {
        let capture = match request {
            gate::Request::Hello => {
                let members = self.members.lock().expect("members").clone();
                return gate::Response::Welcome(gate::Welcome { node: self.node, members });
            }
            gate::Request::Identify(capture) | gate::Request::Board(capture) => capture,
        };
        self.captures.fetch_add(1, Ordering::SeqCst);
        let mood = self.mood.load(Ordering::SeqCst);
        if mood == Mood::Silent as u8 {
            std::future::pending::<()>().await;
        }
        if mood == Mood::Slow as u8 {
            tokio::time::sleep(SLOW).await;
        }
        if mood == Mood::Unavailable as u8 {
            return gate::Response::Refused(Refusal::new(
                RefusalCode::Unavailable,
                "test",
                "the test wants it so",
                "ask another node",
            ));
        }
        if mood == Mood::BadValue as u8 {
            return gate::Response::Refused(Refusal::new(
                RefusalCode::BadValue,
                "test",
                "the test wants it so",
                "send another value",
            ));
        }
        assert!(mood != Mood::Panics as u8, "the test asked for it");
        gate::Response::Answer(gate::Answer {
            encounter: capture.encounter,
            directive: Directive::Wait,
            reason: Reason::NoMatch,
            confirmed: None,
            recording: Recording::NotRequired,
            epoch: Epoch(1),
            gallery_version: GalleryVersion(1),
            searched_by: self.node,
        })
    }

    async fn peer(&self, _: &Caller, request: peer::Request) -> peer::Response {
        match request {
            peer::Request::Raft { body, .. } | peer::Request::Propose { command: body, .. } => {
                peer::Response::Raft(body)
            }
            peer::Request::StoreSegment(segment) => peer::Response::Segment(segment),
            _ => peer::Response::Done,
        }
    }

    async fn operator(&self, _: &Caller, request: operator::Request) -> operator::Response {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let delay = *self.operator_delay.lock().expect("delay");
        tokio::time::sleep(delay).await;
        self.finished.fetch_add(1, Ordering::SeqCst);
        match request {
            operator::Request::Metrics => operator::Response::Metrics(format!("node {}", self.node)),
            _ => operator::Response::Done,
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub endpoint: Endpoint,
    pub handler: Arc<Echo>,
    pub connections: Connections,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
}

pub fn start(world: &World, node: u64) -> Server {
    let identity = world.identity(Role::Node, &format!("node-{node}"));
    start_at(([127, 0, 0, 1], 0).into(), &identity, Echo::new(node))
}

pub fn start_at(address: SocketAddr, identity: &Identity, handler: Arc<Echo>) -> Server {
    let endpoint = bind(address, identity).expect("an endpoint");
    let (stop, stopped) = oneshot::channel::<()>();
    let connections = Connections::default();
    let serving = serve(endpoint.clone(), handler.clone(), connections.clone(), async {
        let _ = stopped.await;
    });
    let address = endpoint.local_addr().expect("an address");
    Server { address, endpoint, handler, connections, stop: Some(stop), task: tokio::spawn(serving) }
}

impl Server {
    /// Ends the server in order.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.expect("serving ends");
        self.endpoint.wait_idle().await;
    }
}

pub fn capture(encounter: u128) -> Capture {
    Capture {
        encounter: EncounterId(encounter),
        journey: "AA100-20261124-JFK".parse().expect("a journey"),
        sample: Sample::Template { model: "synthetic-1".parse().expect("a model"), values: vec![0.044; 512] },
        detail: CaptureDetail {
            device_kind: DeviceKind::GateCamera,
            image_kind: ImageKind::VisibleStill,
            quality: Some(80),
        },
        attempt: 1,
        captured_at: UnixMs(1),
        deadline_ms: 0,
    }
}

/// Waits for a level; the time limit only bounds a failing test.
pub async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not reached: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
