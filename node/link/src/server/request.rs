//! One request, from the first byte on its stream to the last byte of its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cluster_config::rights;
use cluster_config::versions::Version;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, Fix, FrameHeader, Refusal, RefusalCode, gate, operator, peer};
use quinn::{RecvStream, SendStream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::budget::{Over, UnderWay};
use super::{Handler, Session, Shared};
use crate::codes::{CODE_ABANDONED, CODE_PROTOCOL};
use crate::frame::{self, BodyError, Frame, HeaderError, Reader};
use crate::limits;
use crate::observe::{Metrics, Up};

/// Why no request was read.
enum Unread {
    /// The sender is told why, on this channel.
    Refused(Channel, Refusal),
    /// The channel is unknown: the other side does not speak this protocol.
    Foreign(Refusal),
    /// The sender, or the node, has a budget used up.
    Over(Over),
    /// Nobody waits for an answer.
    Gone,
}

/// Handles one request. It holds its permit until the work is done, even if the stream is closed before.
pub(super) async fn handle<H: Handler>(
    shared: Arc<Shared<H>>,
    session: Arc<Session>,
    _permit: OwnedSemaphorePermit,
    mut send: SendStream,
    mut receive: RecvStream,
) {
    let _up = Up::new(&shared.metrics.in_flight);
    let metrics = &shared.metrics;
    let read = match session.account.begin(shared.registry.now()) {
        Ok(under_way) => read(&shared, &session, under_way, &mut receive).await,
        Err(over) => Err(Unread::Over(over)),
    };
    let (FrameHeader { channel, version, .. }, body, _under_way) = match read {
        Ok(read) => read,
        Err(Unread::Refused(channel, refusal)) => {
            return refuse(metrics, (channel, session.version), refusal, &mut send).await;
        }
        Err(Unread::Over(over)) => {
            drop(receive);
            return shed(metrics, &session, over, &mut send).await;
        }
        Err(Unread::Foreign(refusal)) => {
            metrics.protocol_error(session.from.actor(), &refusal.to_string());
            // The connection is closed next, so an error does not matter.
            let _ = send.reset(CODE_PROTOCOL);
            return session.connection.close(CODE_PROTOCOL, refusal.to_string().as_bytes());
        }
        Err(Unread::Gone) => return,
    };
    drop(receive);
    let from = &session.from;
    match channel {
        Channel::Gate => match frame::decode(channel, version, &body) {
            Ok(request) => {
                drop(body);
                if matches!(request, gate::Request::Board(_))
                    && let Err(over) = session.account.record(shared.registry.now())
                {
                    return shed(metrics, &session, over, &mut send).await;
                }
                let response = shared.handler.gate(from, request).await;
                if let gate::Response::Refused(refusal) = &response {
                    metrics.refused(refusal.code);
                }
                answer(metrics, (channel, version), &response, &mut send).await;
            }
            Err(refusal) => refuse(metrics, (channel, version), refusal, &mut send).await,
        },
        Channel::Peer => match frame::decode(channel, version, &body) {
            Ok(request) => {
                drop(body);
                let response = shared.handler.peer(from, request).await;
                if let peer::Response::Refused(refusal) = &response {
                    metrics.refused(refusal.code);
                }
                answer(metrics, (channel, version), &response, &mut send).await;
            }
            Err(refusal) => refuse(metrics, (channel, version), refusal, &mut send).await,
        },
        Channel::Operator => match frame::decode(channel, version, &body) {
            Ok(request) => {
                drop(body);
                let response = shared.handler.operator(from, request).await;
                if let operator::Response::Refused(refusal) = &response {
                    metrics.refused(refusal.code);
                }
                answer(metrics, (channel, version), &response, &mut send).await;
            }
            Err(refusal) => refuse(metrics, (channel, version), refusal, &mut send).await,
        },
    }
    if shared.stopping.load(Ordering::Acquire) {
        // The connection is closed as soon as no request is under way: this one is until its answer has arrived.
        let _ = tokio::time::timeout(limits::SHUTDOWN_GRACE, send.stopped()).await;
    }
}

/// Reads a frame within the limits of time and memory, and checks that this sender may send it.
async fn read<H: Handler>(
    shared: &Shared<H>,
    session: &Session,
    mut under_way: UnderWay,
    receive: &mut RecvStream,
) -> Result<(FrameHeader, Bytes, UnderWay), Unread> {
    let mut reader = Reader::new(receive);
    let header = match tokio::time::timeout(limits::FRAME_TIMEOUT, reader.header()).await {
        Ok(Ok(header)) => header,
        Ok(Err(HeaderError::Refused { channel: Some(channel), refusal })) => {
            return Err(Unread::Refused(channel, refusal));
        }
        Ok(Err(HeaderError::Refused { channel: None, refusal })) => return Err(Unread::Foreign(refusal)),
        Ok(Err(HeaderError::Gone(_))) => return Err(Unread::Gone),
        Err(_) => {
            return Err(Unread::Refused(
                Channel::of(session.from.actor().role),
                late("header", 0, limits::FRAME_TIMEOUT),
            ));
        }
    };
    let channel = header.channel;
    rights::check_channel(session.from.actor(), channel).map_err(|refusal| Unread::Refused(channel, refusal))?;
    if shared.stopping.load(Ordering::Acquire) {
        let refusal = Refusal::new(RefusalCode::Unavailable, "this node", "it is stopping", "ask another node");
        return Err(Unread::Refused(channel, refusal));
    }
    let length = header.body_bytes as usize;
    if length > limits::SMALL_BODY_BYTES {
        under_way.hold(length).map_err(Unread::Over)?;
    }
    let time = limits::FRAME_TIMEOUT + Duration::from_secs(length as u64 / limits::FRAME_RATE_MIN);
    let body = match tokio::time::timeout(time, reader.body(length)).await {
        Ok(Ok(body)) => body,
        Ok(Err(BodyError::Refused(refusal))) => return Err(Unread::Refused(channel, refusal)),
        Ok(Err(BodyError::Gone(_))) => return Err(Unread::Gone),
        Err(_) => return Err(Unread::Refused(channel, late("body", reader.body_bytes_read, time))),
    };
    let metrics = shared.metrics.channel(channel);
    metrics.frames_in.increment(1);
    metrics.bytes_in.increment((FRAME_HEADER_BYTES + length) as u64);
    Ok((header, body, under_way))
}

fn late(part: &str, position: usize, time: Duration) -> Refusal {
    Refusal::new(
        RefusalCode::MalformedFrame,
        format!("frame {part} byte {position}"),
        "the rest did not come in time",
        Fix::with(format!("send the whole frame, and the stream's end, within {} ms", time.as_millis())),
    )
}

/// Refuses what is over a budget. A flood of such requests waits for its refusals, so that it costs others little.
async fn shed(metrics: &Metrics, session: &Session, over: Over, send: &mut SendStream) {
    metrics.over_budget(over.as_str(), session.from.actor());
    let account = &session.account;
    // The semaphore is never closed, so there is no error.
    let _place = account.refusals().acquire().await;
    let form = (Channel::of(session.from.actor().role), session.version);
    refuse(metrics, form, account.refusal(over), send).await;
    tokio::time::sleep(limits::REFUSAL_PAUSE).await;
}

/// Refuses, in the answer's type of the channel that was used.
async fn refuse(metrics: &Metrics, form: (Channel, Version), refusal: Refusal, send: &mut SendStream) {
    metrics.refused(refusal.code);
    match form.0 {
        Channel::Gate => answer(metrics, form, &gate::Response::Refused(refusal), send).await,
        Channel::Peer => answer(metrics, form, &peer::Response::Refused(refusal), send).await,
        Channel::Operator => answer(metrics, form, &operator::Response::Refused(refusal), send).await,
    }
}

/// Answers on the channel and in the version of the request.
async fn answer<T: Serialize>(
    metrics: &Metrics,
    (channel, version): (Channel, Version),
    response: &T,
    send: &mut SendStream,
) {
    let frame = match Frame::encode(channel, version, response) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::error!(%error, ?channel, "an answer of this node cannot be sent");
            // The sender sees the reset and may ask elsewhere. An error means that the stream is closed already.
            let _ = send.reset(CODE_ABANDONED);
            return;
        }
    };
    let metrics = metrics.channel(channel);
    metrics.frames_out.increment(1);
    metrics.bytes_out.increment(frame.bytes() as u64);
    let time = limits::FRAME_TIMEOUT + Duration::from_secs(frame.bytes() as u64 / limits::FRAME_RATE_MIN);
    // A client that has gone or does not read its answer loses it.
    if tokio::time::timeout(time, frame.write(send)).await.is_err() {
        tracing::debug!(?channel, "an answer was given up because nobody read it");
    }
}
