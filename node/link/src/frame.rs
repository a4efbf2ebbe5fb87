//! One frame on one stream: header checked before the body is allocated, body read as it comes, one write out.

use bytes::Bytes;
use cluster_config::versions::{Unknown, Version};
use cluster_config::wire::codec;
use cluster_config::wire::{Channel, FRAME_HEADER_BYTES, Fix, FrameHeader, Refusal, RefusalCode};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codes::CODE_ABANDONED;

/// A frame ready to be written, as often as needed: its clones share the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) version: Version,
    chunks: [Bytes; 2],
}

impl Frame {
    /// Encodes `message` for `channel`, in a version that the other side understands.
    pub(crate) fn encode<T: Serialize>(channel: Channel, version: Version, message: &T) -> Result<Self, codec::Error> {
        let body = codec::encode_as(message, version, channel.body_bytes_max())?;
        // The limit of every channel is far below what the header's 32 bits hold.
        let header = FrameHeader { version, channel, body_bytes: body.len() as u32 }.encode();
        Ok(Self { version, chunks: [Bytes::copy_from_slice(&header), Bytes::from(body)] })
    }

    /// Length on the wire, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Writes the frame and ends the stream. If the future is dropped half-way, the stream is reset, so that the other
    /// side does not take the first half for a whole frame.
    pub(crate) async fn write(&self, stream: &mut SendStream) -> Result<(), WriteError> {
        let mut writing = Writing { stream, whole: false };
        writing.stream.write_all_chunks(&mut self.chunks.clone()).await?;
        writing.whole = true;
        // An error means that the other side has stopped the stream. Then nobody waits for its end.
        let _ = writing.stream.finish();
        Ok(())
    }
}

struct Writing<'a> {
    stream: &'a mut SendStream,
    whole: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.whole {
            // An error means that the stream is gone already.
            let _ = self.stream.reset(CODE_ABANDONED);
        }
    }
}

/// Why a header could not be read.
#[derive(Debug)]
pub(crate) enum HeaderError {
    /// The bytes are no header. The channel, if it could be read, gives the type of the refusal.
    Refused { channel: Option<Channel>, refusal: Refusal },
    /// The stream or the connection is gone; nobody waits for an answer.
    Gone(ReadError),
}

/// Why a body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The stream did not carry what the header announced.
    Refused(Refusal),
    /// The stream or the connection is gone.
    Gone(ReadError),
}

/// Reads frames from one stream.
pub(crate) struct Reader<'a> {
    stream: &'a mut RecvStream,
    /// Bytes that were read after the header.
    pending: Bytes,
    /// Body bytes read so far, for the report of a timeout.
    pub(crate) body_bytes_read: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(stream: &'a mut RecvStream) -> Self {
        Self { stream, pending: Bytes::new(), body_bytes_read: 0 }
    }

    /// Reads and checks the header.
    pub(crate) async fn header(&mut self) -> Result<FrameHeader, HeaderError> {
        let mut header = [0; FRAME_HEADER_BYTES];
        let mut length = 0;
        while length < FRAME_HEADER_BYTES {
            let Some(mut chunk) = self.chunk().await.map_err(HeaderError::Gone)? else {
                return Err(HeaderError::Refused {
                    channel: header.get(3).filter(|_| length > 3).copied().and_then(Channel::from_byte),
                    refusal: Refusal::new(
                        RefusalCode::MalformedFrame,
                        format!("frame header byte {length}"),
                        "the stream ends",
                        Fix::with(format!("send the whole header of {FRAME_HEADER_BYTES} bytes")),
                    ),
                });
            };
            let taken = chunk.split_to(chunk.len().min(FRAME_HEADER_BYTES - length));
            header[length..length + taken.len()].copy_from_slice(&taken);
            length += taken.len();
            self.pending = chunk;
        }
        FrameHeader::decode(header)
            .map_err(|refusal| HeaderError::Refused { channel: Channel::from_byte(header[3]), refusal })
    }

    /// Reads the body of `length` bytes and the end of the stream. Memory grows with the bytes that have come, not with
    /// `length`.
    pub(crate) async fn body(&mut self, length: usize) -> Result<Bytes, BodyError> {
        let first = std::mem::take(&mut self.pending);
        self.body_bytes_read = first.len();
        let body = if first.len() >= length {
            first
        } else {
            let mut body = Vec::with_capacity(length.min(crate::limits::SMALL_BODY_BYTES));
            body.extend_from_slice(&first);
            while body.len() < length {
                let Some(chunk) = self.chunk().await.map_err(BodyError::Gone)? else {
                    return Err(BodyError::Refused(Refusal::new(
                        RefusalCode::MalformedFrame,
                        format!("frame body byte {}", body.len()),
                        "the stream ends",
                        Fix::with(format!("send the {length} bytes that the header announces")),
                    )));
                };
                body.extend_from_slice(&chunk);
                self.body_bytes_read = body.len();
            }
            Bytes::from(body)
        };
        let more = body.len() > length || self.chunk().await.map_err(BodyError::Gone)?.is_some();
        if more {
            return Err(BodyError::Refused(Refusal::new(
                RefusalCode::MalformedFrame,
                format!("frame body byte {length}"),
                format!("more bytes follow than the {length} that the header announces"),
                "send one frame on each stream",
            )));
        }
        Ok(body)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        Ok(self.stream.read_chunk(usize::MAX, true).await?.map(|chunk| chunk.bytes))
    }
}

/// Decodes a body. A refusal says where it does not decode.
pub(crate) fn decode<T: DeserializeOwned>(channel: Channel, version: Version, body: &[u8]) -> Result<T, Refusal> {
    let as_described = "encode the message as this protocol version describes it";
    codec::decode_as(body, version, channel.body_bytes_max()).map_err(|error| match error {
        codec::Error::TooLarge { .. } => {
            Refusal::new(RefusalCode::TooLarge, "frame body", error.to_string(), "send a smaller message")
        }
        codec::Error::Malformed { position, bytes, reason } => {
            let place = format!("frame body byte {position} of {bytes}");
            Refusal::new(RefusalCode::MalformedFrame, place, format!("it does not decode: {reason}"), as_described)
        }
        codec::Error::Encode(_) => {
            Refusal::new(RefusalCode::MalformedFrame, "frame body", error.to_string(), as_described)
        }
        codec::Error::Version(unknown) => {
            Refusal::new(RefusalCode::UnknownVersion, "frame header byte 2", unknown.to_string(), Unknown::FIX)
        }
    })
}
