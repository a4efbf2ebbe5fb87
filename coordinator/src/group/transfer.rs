//! A snapshot on its way to a follower: in chunks, one after the other, so that neither end holds the raft thread or a
//! lane for longer than one chunk takes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_config::limits::{CHUNK_BYTES, PEER_FRAME_BYTES_MAX};
use openraft::raft::SnapshotResponse;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::group::raft::{SnapshotMeta, TypeConfig, Vote};
use crate::machine::RaftSnapshot;

/// How long a follower may take for a chunk, milliseconds: a chunk takes 20 ms on a line of 100 Mbit/s.
pub const CHUNK_MS_MAX: u64 = 5_000;

/// How often one chunk is sent, and how often a transfer begins anew, before it is given up. openraft tries again then.
pub const TRIES_MAX: u32 = 3;

/// One chunk of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The sender's leadership.
    vote: Vote,
    /// What the snapshot covers.
    meta: SnapshotMeta,
    /// Length of the whole state, bytes.
    bytes: u64,
    /// Where in it the chunk begins.
    from: u64,
    /// The chunk.
    #[serde(with = "cluster_config::raw")]
    data: Vec<u8>,
}

impl Chunk {
    /// The sender's leadership.
    pub fn vote(&self) -> &Vote {
        &self.vote
    }
}

/// What a follower says to a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It has the state up to here.
    Has(u64),
    /// It has the whole state, and this came of it.
    Whole(SnapshotResponse<TypeConfig>),
    /// It lacks what is before the chunk.
    FromStart,
}

/// The leader's end.
#[derive(Debug)]
pub struct Outgoing<'a> {
    vote: Vote,
    snapshot: &'a RaftSnapshot,
    from: usize,
    /// Times that the present chunk was sent, and that the transfer began.
    tries: (u32, u32),
}

impl<'a> Outgoing<'a> {
    /// A transfer from the start.
    pub fn new(vote: Vote, snapshot: &'a RaftSnapshot) -> Self {
        Self { vote, snapshot, from: 0, tries: (0, 1) }
    }

    /// The chunk to send next, and how long its answer may take; `whole` is how long the last one's may, since the
    /// follower decodes the state then. None where it was sent too often.
    pub fn next(&mut self, whole: Duration) -> Option<(Chunk, Duration)> {
        self.tries.0 += 1;
        if self.tries.0 > TRIES_MAX || self.tries.1 > TRIES_MAX {
            return None;
        }
        let state = self.snapshot.snapshot.as_slice();
        let until = state.len().min(self.from + CHUNK_BYTES);
        let chunk = Chunk {
            vote: self.vote,
            meta: self.snapshot.meta.clone(),
            bytes: state.len() as u64,
            from: self.from as u64,
            data: state[self.from..until].to_vec(),
        };
        let is_last = until == state.len();
        Some((chunk, if is_last { whole } else { Duration::from_millis(CHUNK_MS_MAX) }))
    }

    /// Takes the follower's answer; gives what came of the whole snapshot.
    pub fn take(&mut self, answer: Answer) -> Option<SnapshotResponse<TypeConfig>> {
        match answer {
            Answer::Whole(response) => return Some(response),
            // It is ahead where an answer was lost. It cannot have what there is not.
            Answer::Has(until) if until > self.from as u64 && until < self.snapshot.snapshot.len() as u64 => {
                (self.from, self.tries.0) = (until as usize, 0);
            }
            Answer::Has(_) => {}
            Answer::FromStart => (self.from, self.tries) = (0, (0, self.tries.1 + 1)),
        }
        None
    }
}

/// A snapshot that has come in part.
#[derive(Debug)]
struct Partial {
    vote: Vote,
    meta: SnapshotMeta,
    bytes: u64,
    data: Vec<u8>,
}

/// What is to be done with a chunk that came.
#[derive(Debug)]
pub enum Taken {
    /// Answer this.
    Answer(Answer),
    /// All of it is there: install it, and answer what comes of it.
    Whole(Vote, RaftSnapshot),
}

/// The follower's end: at most one snapshot is under way.
#[derive(Debug, Default)]
pub struct Incoming(Mutex<Option<Partial>>);

impl Incoming {
    /// Takes a chunk.
    ///
    /// # Errors
    /// [`Error::Message`] where the state would be longer than a state may be.
    pub fn take(&self, chunk: Chunk) -> Result<Taken, Error> {
        if chunk.bytes > PEER_FRAME_BYTES_MAX as u64 {
            let bytes = usize::try_from(chunk.bytes).unwrap_or(usize::MAX);
            return Err(cluster_config::wire::codec::Error::TooLarge { bytes, bytes_max: PEER_FRAME_BYTES_MAX }.into());
        }
        let mut under_way = self.lock();
        if chunk.from == 0 {
            let Chunk { vote, meta, bytes, .. } = chunk.clone();
            *under_way = Some(Partial { vote, meta, bytes, data: Vec::new() });
        }
        let belongs = |partial: &&mut Partial| {
            (partial.vote, &partial.meta, partial.bytes) == (chunk.vote, &chunk.meta, chunk.bytes)
        };
        let Some(partial) = under_way.as_mut().filter(belongs) else {
            return Ok(Taken::Answer(Answer::FromStart));
        };
        let has = partial.data.len() as u64;
        if chunk.from > has {
            return Ok(Taken::Answer(Answer::FromStart));
        }
        // A chunk that comes twice is taken once.
        if chunk.from == has {
            partial.data.extend_from_slice(&chunk.data);
        }
        let has = partial.data.len() as u64;
        if has < partial.bytes {
            return Ok(Taken::Answer(Answer::Has(has)));
        }
        let whole = under_way.take().filter(|partial| partial.data.len() as u64 == partial.bytes);
        Ok(match whole {
            Some(Partial { vote, meta, data, .. }) => {
                Taken::Whole(vote, RaftSnapshot { meta, snapshot: std::sync::Arc::new(data) })
            }
            None => Taken::Answer(Answer::FromStart),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Partial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::group::raft::LogId;

    const WHOLE: Duration = Duration::from_secs(60);

    fn snapshot(bytes: usize) -> RaftSnapshot {
        let data = (0..bytes).map(|n| (n / 1_000) as u8).collect();
        let id = LogId::new(Vote::new(1, 1).leader_id, 7);
        let meta = SnapshotMeta { last_log_id: Some(id), ..SnapshotMeta::default() };
        RaftSnapshot { meta, snapshot: Arc::new(data) }
    }

    fn response() -> SnapshotResponse<TypeConfig> {
        SnapshotResponse { vote: Vote::new(1, 1) }
    }

    /// Sends a snapshot; `fares` says of each chunk how often it comes, 0 where its answer is lost too. Gives how many
    /// chunks were sent, and the snapshot where it came.
    fn sent(snapshot: &RaftSnapshot, fares: impl Fn(u32) -> u32) -> (u32, Option<RaftSnapshot>) {
        let (incoming, mut outgoing) = (Incoming::default(), Outgoing::new(Vote::new(1, 1), snapshot));
        let (mut count, mut came) = (0, None);
        while let Some((chunk, _)) = outgoing.next(WHOLE) {
            assert!(chunk.data.len() <= CHUNK_BYTES);
            let times = fares(count);
            count += 1;
            let mut answer = None;
            for _ in 0..times {
                answer = Some(match incoming.take(chunk.clone()).expect("it is short enough") {
                    Taken::Answer(answer) => answer,
                    Taken::Whole(_, whole) => {
                        came = Some(whole);
                        Answer::Whole(response())
                    }
                });
            }
            if answer.and_then(|answer| outgoing.take(answer)).is_some() {
                return (count, came);
            }
        }
        (count, None)
    }

    /// F7.
    #[test]
    fn a_snapshot_comes_in_chunks_of_bounded_size() {
        for bytes in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES] {
            let snapshot = snapshot(bytes);
            let (count, came) = sent(&snapshot, |_| 1);
            assert_eq!(count as usize, bytes.div_ceil(CHUNK_BYTES).max(1));
            assert_eq!(came.expect("it came").snapshot, snapshot.snapshot);
        }
    }

    #[test]
    fn chunks_that_are_lost_or_come_twice_change_nothing() {
        let snapshot = snapshot(4 * CHUNK_BYTES + 9);
        let (_, came) = sent(&snapshot, |count| if count % 2 == 0 { 0 } else { 1 });
        assert_eq!(came.expect("it came").snapshot, snapshot.snapshot, "every other one is lost");
        let (_, came) = sent(&snapshot, |count| if count < 4 { 2 } else { 1 });
        assert_eq!(came.expect("it came").snapshot, snapshot.snapshot, "each comes twice");
        assert!(sent(&snapshot, |count| u32::from(count < 2)).1.is_none(), "it is given up, and not tried for ever");
    }

    #[test]
    fn chunks_of_two_transfers_are_not_mixed() {
        let (one, other) = (snapshot(2 * CHUNK_BYTES), snapshot(2 * CHUNK_BYTES + 1));
        let incoming = Incoming::default();
        let mut first = Outgoing::new(Vote::new(1, 1), &one);
        let mut second = Outgoing::new(Vote::new(2, 2), &other);
        for outgoing in [&mut first, &mut second] {
            let (chunk, _) = outgoing.next(WHOLE).expect("a chunk");
            let Ok(Taken::Answer(answer)) = incoming.take(chunk) else { panic!("it is not whole") };
            assert_eq!(answer, Answer::Has(CHUNK_BYTES as u64));
            outgoing.take(answer);
        }
        let (chunk, _) = first.next(WHOLE).expect("a chunk");
        let taken = incoming.take(chunk).expect("it is short enough");
        assert!(matches!(taken, Taken::Answer(Answer::FromStart)), "{taken:?}");
        let endless = Chunk { bytes: u64::MAX, ..second.next(WHOLE).expect("a chunk").0 };
        assert!(matches!(incoming.take(endless), Err(Error::Message(_))));
    }
}
