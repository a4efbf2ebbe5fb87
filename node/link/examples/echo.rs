//! Measures what this crate adds to bare quinn: the same 2 KB there and about 100 bytes back, over the same endpoint
//! settings, once as raw streams and once as a gate's request through client library, frames, role check and handler.
//!
//! Run it on a quiet machine: `cargo run --release -p node-link --example echo`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster_config::actor::Caller;
use cluster_config::actor::Role;
use cluster_config::decision::{Directive, Reason, Recording};
use cluster_config::device::{CaptureDetail, DeviceKind, ImageKind};
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, NodeId, UnixMs};
use cluster_config::wire::gate::{Answer, Capture, Request, Response, Sample, Welcome};
use cluster_config::wire::{operator, peer};
use node_link::certificates::{Authority, Validity};
use node_link::endpoint::SERVER_NAME;
use node_link::{Connections, GateClient, GateClientOptions, Handler, Identity, bind, bind_client, serve};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const REQUEST_BYTES: usize = 2_150;
const ANSWER_BYTES: usize = 96;
const ALONE: usize = 10_000;
const IN_FLIGHT: usize = 32;
/// Gates that ask in turns of so many requests, since a node bounds what one certificate asks for within a minute.
const GATES: usize = 64;
const TURN: usize = 1_000;
const SPELL: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

struct Echo;

impl Handler for Echo {
    async fn gate(&self, _: &Caller, request: Request) -> Response {
        let (Request::Identify(capture) | Request::Board(capture)) = request else {
            return Response::Welcome(Welcome { node: NodeId(1), members: Vec::new() });
        };
        Response::Answer(Answer {
            encounter: capture.encounter,
            directive: Directive::Wait,
            reason: Reason::NoMatch,
            confirmed: None,
            recording: Recording::NotRequired,
            epoch: Epoch(1),
            gallery_version: GalleryVersion(1),
            searched_by: NodeId(1),
        })
    }

    async fn peer(&self, _: &Caller, _: peer::Request) -> peer::Response {
        peer::Response::Done
    }

    async fn operator(&self, _: &Caller, _: operator::Request) -> operator::Response {
        operator::Response::Done
    }
}

fn capture(encounter: u128) -> Result<Capture, Failure> {
    Ok(Capture {
        encounter: EncounterId(encounter),
        journey: "AA100-20261124-JFK".parse()?,
        sample: Sample::Template { model: "synthetic-1".parse()?, values: vec![0.044; 512] },
        detail: CaptureDetail {
            device_kind: DeviceKind::GateCamera,
            image_kind: ImageKind::VisibleStill,
            quality: None,
        },
        attempt: 1,
        captured_at: UnixMs(1),
        deadline_ms: 0,
    })
}

async fn bare_server(endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    receive.read_to_end(1 << 16).await.ok()?;
                    send.write_all(&[7; ANSWER_BYTES]).await.ok()?;
                    send.finish().ok()
                });
            }
        });
    }
}

async fn bare_call(connection: quinn::Connection) -> Result<(), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[7; REQUEST_BYTES]).await?;
    send.finish()?;
    receive.read_to_end(1 << 16).await?;
    Ok(())
}

/// Prints latency alone and throughput with [`IN_FLIGHT`] requests in flight.
async fn measure<C, F>(name: &str, call: C) -> Result<(), Failure>
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), Failure>> + Send,
{
    let mut took_us = Vec::with_capacity(ALONE);
    for _ in 0..ALONE {
        let begun = Instant::now();
        call().await?;
        took_us.push(begun.elapsed().as_micros());
    }
    took_us.sort_unstable();
    let until = Instant::now() + SPELL;
    let lanes: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut count = 0_u64;
                while Instant::now() < until {
                    call().await?;
                    count += 1;
                }
                Ok::<_, Failure>(count)
            })
        })
        .collect();
    let mut count = 0;
    for lane in lanes {
        count += lane.await??;
    }
    let rate = count as f64 / SPELL.as_secs_f64();
    println!(
        "{name:>7}: alone p50 {} us, p99 {} us; {IN_FLIGHT} in flight {rate:.0}/s",
        took_us[ALONE / 2],
        took_us[ALONE * 99 / 100]
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("tvs-echo-{}", std::process::id()));
    let authority = Authority::create(&folder)?;
    let identity = |role, name: &str| -> Result<Identity, Failure> {
        let issued = authority.issue(role, name, Validity::Days(1))?;
        Ok(Identity::load(&authority.certificate(), &issued.certificate, &issued.key)?)
    };
    let (node, gate) = (identity(Role::Node, "node-1")?, identity(Role::Gate, "gate-0")?);
    let gates = (1..=GATES).map(|number| identity(Role::Gate, &format!("gate-{number}")));
    let gates: Vec<Identity> = gates.collect::<Result<_, _>>()?;
    std::fs::remove_dir_all(&folder)?;

    let bare = bind(([127, 0, 0, 1], 0).into(), &node)?;
    let bare_address = bare.local_addr()?;
    tokio::spawn(bare_server(bare));
    let bare_client = bind_client(bare_address, &gate)?;
    let connection = bare_client.connect(bare_address, SERVER_NAME)?.await?;

    let framed = bind(([127, 0, 0, 1], 0).into(), &node)?;
    let framed_address = framed.local_addr()?;
    tokio::spawn(serve(framed, Arc::new(Echo), Connections::default(), std::future::pending()));
    let (mut framed, mut hedging) = (Vec::new(), Vec::new());
    for gate in gates {
        framed.push(GateClient::connect_to_one(framed_address, gate.clone(), Duration::from_secs(2)).await?);
        hedging.push(GateClient::connect(GateClientOptions::new(vec![framed_address], gate)).await?);
    }

    for _ in 0..ROUNDS {
        measure("bare", {
            let connection = connection.clone();
            move || bare_call(connection.clone())
        })
        .await?;
        for (name, clients) in [("framed", &framed), ("hedging", &hedging)] {
            let (clients, next) = (clients.clone(), Arc::new(AtomicUsize::new(0)));
            measure(name, move || {
                let turn = next.fetch_add(1, Ordering::Relaxed) / TURN;
                let client = clients[turn % GATES].clone();
                async move {
                    client.identify(capture(1)?).await?;
                    Ok(())
                }
            })
            .await?;
        }
    }
    println!("{:?}", hedging[0].statistics());
    Ok(())
}
