//! One request, sent to one node after the other until the first answer or the deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cluster_config::versions::Version;
use cluster_config::wire::gate::{Request, Response};
use cluster_config::wire::{Channel, RefusalCode};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Inner;
use super::error::{ClientError, Failure, Tried};
use super::pace::Pace;
use super::warm::Node;
use crate::error::LinkError;
use crate::exchange::exchange_frame;
use crate::frame::Frame;
use crate::version::version_of;

/// Nodes asked at the same time at most: the first, the hedge, and one more if both are silent.
const RUNNING_MAX: usize = 3;

/// How often one request is sent at most. It bounds the load when two nodes refuse for the whole deadline.
const LAUNCHES_MAX: usize = 32;

/// Pause before a node that refused is asked again, if there is no other. It doubles up to [`RETRY_PAUSE_MAX`]. While
/// the client has no warm node, it looks for one as often.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Longest such pause: a fraction of an election, so that a client adds little to the time of one.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(160);

/// One attempt under way.
struct Attempt {
    node: Arc<Node>,
    launched: Instant,
}

async fn attempt(node: Arc<Node>, frame: Frame) -> (SocketAddr, Result<Response, LinkError>) {
    let exchanged = exchange_frame(&node.connection, node.address, Channel::Gate, &frame).await;
    (node.address, exchanged.and_then(|answer| answer.read()))
}

/// The request in a version: one of `frames`, or a new one.
fn frame_of(request: &Request, version: Version, frames: &mut Vec<Frame>) -> Result<Frame, LinkError> {
    if let Some(known) = frames.iter().find(|frame| frame.version == version) {
        return Ok(known.clone());
    }
    let frame = Frame::encode(Channel::Gate, version, request)?;
    frames.push(frame.clone());
    Ok(frame)
}

/// Asks until there is an answer. Gives the answer and the node that gave it.
pub(super) async fn run(
    client: &Inner,
    request: &Request,
    pace: &Pace,
    deadline: Duration,
) -> Result<(SocketAddr, Response), ClientError> {
    let until = Instant::now() + deadline;
    let mut answers = FuturesUnordered::new();
    let mut running: Vec<Attempt> = Vec::with_capacity(2);
    // The last failure of each node.
    let mut tried: Vec<Tried> = Vec::new();
    // Nodes that refused are asked after the others.
    let mut refusing: Vec<SocketAddr> = Vec::new();
    let mut launches = 0;
    let hedge_after = pace.delay();
    let mut pause = RETRY_PAUSE;
    let mut launch_at = Instant::now();
    // One encoding for each version that the nodes speak.
    let mut frames: Vec<Frame> = Vec::with_capacity(1);
    loop {
        let now = Instant::now();
        if now >= until || (running.is_empty() && launches == LAUNCHES_MAX) {
            let silent =
                running.iter().map(|attempt| Tried { address: attempt.node.address, failure: Failure::Silent });
            tried.extend(silent);
            if tried.is_empty() {
                tried = client.pool.failures();
            }
            return Err(ClientError::out_of_time(deadline.as_millis() as u64, tried));
        }
        if now >= launch_at {
            launch_at = until;
            if running.len() < RUNNING_MAX && launches < LAUNCHES_MAX {
                let mut except = refusing.clone();
                except.extend(running.iter().map(|attempt| attempt.node.address));
                let picked = if running.is_empty() {
                    client.pool.pick(&except)
                } else {
                    let silent = running.iter().filter(|attempt| now - attempt.launched >= hedge_after);
                    silent.for_each(|attempt| client.pool.doubt(&attempt.node));
                    client.pool.pick_beside(&except)
                };
                match picked {
                    Some(_) if !running.is_empty() && !client.budget.spend() => launch_at = now + hedge_after,
                    Some(node) => match frame_of(request, version_of(&node.connection), &mut frames) {
                        Err(error) if running.is_empty() => return Err(ClientError::Request(error)),
                        // Only what this node understands cannot hold it. Those that were asked may still answer.
                        Err(error) => {
                            refusing.push(node.address);
                            note(&mut tried, node.address, Failure::Link(error));
                            launch_at = now;
                        }
                        Ok(frame) => {
                            if !running.is_empty() {
                                client.hedges.fetch_add(1, Ordering::Relaxed);
                            } else if launches > 0 {
                                client.retries.fetch_add(1, Ordering::Relaxed);
                            }
                            launches += 1;
                            answers.push(attempt(node.clone(), frame));
                            running.push(Attempt { node, launched: now });
                            launch_at = now + hedge_after;
                        }
                    },
                    None if running.is_empty() => {
                        launch_at = now + pause;
                        // What nodes refused then they may do now. Without a warm node, looking costs nothing.
                        if !refusing.is_empty() {
                            pause = (pause * 2).min(RETRY_PAUSE_MAX);
                            refusing.clear();
                        }
                    }
                    // A third connection is being made.
                    None => launch_at = now + RETRY_PAUSE,
                }
            }
        }
        let (address, result) = tokio::select! {
            biased;
            Some(answer) = answers.next(), if !running.is_empty() => answer,
            () = tokio::time::sleep_until(launch_at.min(until)) => continue,
        };
        let Some(place) = running.iter().position(|attempt| attempt.node.address == address) else { continue };
        let Attempt { node, launched } = running.remove(place);
        let failure = match result {
            Ok(Response::Refused(refusal)) if !refusal.code.retryable() => {
                client.pool.praise(&node);
                return Err(ClientError::Refused { address, refusal });
            }
            Ok(Response::Refused(refusal)) => {
                if refusal.code == RefusalCode::Unavailable {
                    client.pool.demote(&node);
                }
                refusing.push(address);
                Failure::Refused(refusal)
            }
            Ok(response) => {
                pace.answered(launched.elapsed());
                client.pool.praise(&node);
                for slower in running.iter().filter(|other| other.launched < launched) {
                    client.pool.strike(&slower.node);
                }
                return Ok((address, response));
            }
            Err(error) => {
                client.pool.remove(&node, Failure::Link(error.clone()));
                Failure::Link(error)
            }
        };
        note(&mut tried, address, failure);
        launch_at = Instant::now();
    }
}

/// Keeps the last failure of each node.
fn note(tried: &mut Vec<Tried>, address: SocketAddr, failure: Failure) {
    tried.retain(|before| before.address != address);
    tried.push(Tried { address, failure });
}
