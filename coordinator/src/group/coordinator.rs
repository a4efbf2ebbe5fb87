//! The one door: a handle of this node's part in the group, callable from any thread and any runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::ids::{NodeId, UnixMs};
use cluster_config::limits::{PEER_FRAME_BYTES_MAX, PROPOSE_MS_MAX};
use cluster_config::member::Member;
use cluster_config::versions::Version;
use cluster_config::wire::peer::RaftCall;
use cluster_config::wire::{Refusal, RefusalCode, codec};
use coordinator_core::{Command, Entry, Outcome, Record, RecordOutcome, State, membership};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, InitializeError, LinearizableReadError, RaftError};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::storage::RaftLogStorage;
use openraft::{ChangeMembers, Instant as _, ReadPolicy, ServerState};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::chunks::Chunks;
use crate::error::{Error, ProposeError};
use crate::group::opening::{Leadership, Parts, open};
use crate::group::options::Options;
use crate::group::raft::{self, Peer, TypeConfig, Vote};
use crate::group::transfer::{Answer, Chunk, Incoming, Taken};
use crate::group::transport::Transport;
use crate::log::Log;
use crate::machine::StateGuard;
use crate::proposing::propose::submit;

/// Longest wait for a new member to catch up, milliseconds: one transfer of a snapshot.
const CATCH_UP_MS_MAX: u64 = raft::SNAPSHOT_TRANSFER_MS_MAX;

/// Longest wait for a leader transfer, milliseconds: after that the old leader goes on.
const TRANSFER_MS_MAX: u64 = 2_000;

/// A cheap handle; clones are the same node. When the last one goes the node stops as if it had been killed.
#[derive(Clone)]
pub struct Coordinator {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    incoming: Incoming,
    runtime: Handle,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    stopped: watch::Receiver<bool>,
    /// Where the last snapshot ended when the next was begun.
    snapshot: Mutex<Option<u64>>,
}

impl Coordinator {
    /// Opens the store, checks it and joins the group. Blocks while the log is read.
    ///
    /// # Errors
    /// Those of the store ([`Error::StoreShortened`] and [`Error::Corrupt`] mean: rejoin under a new id),
    /// [`Error::Settings`].
    pub fn start(options: Options, transport: Arc<dyn Transport>) -> Result<Self, Error> {
        let (ready, opened) = std::sync::mpsc::channel();
        let (stop, stop_asked) = oneshot::channel::<()>();
        let (stopped, stopped_seen) = watch::channel(false);
        let data_dir = options.data_dir.clone();
        std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let error = Error::disk(&options.data_dir, "start the raft runtime")(error);
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let watched = options.watch.watch("raft thread");
                let parts = runtime.block_on(open(&options, transport, |log| log));
                let started = parts.is_ok();
                // `start` waits for this message.
                let _ = ready.send(parts.map(|parts| (parts, runtime.handle().clone())));
                if started {
                    // An error means that the last handle is gone. That is a stop, too.
                    let _ = runtime.block_on(stop_asked);
                }
                watched.asked_to_end();
                drop(runtime);
                stopped.send_replace(true);
            })
            .map_err(Error::disk(&data_dir, "start the raft thread"))?;
        let (parts, runtime) =
            opened.recv().map_err(|_| Error::Stopped("the raft thread ended while starting".to_owned()))??;
        Ok(Self::of(parts, runtime, Some(stop), stopped_seen))
    }

    /// As [`Coordinator::start`], but on the current runtime: the group has no thread of its own. A test that pauses
    /// tokio's clock runs the group in simulated time. `wrap` may put something between openraft and the log.
    ///
    /// # Errors
    /// As [`Coordinator::start`].
    pub async fn start_within<L: RaftLogStorage<TypeConfig>>(
        options: Options,
        transport: Arc<dyn Transport>,
        wrap: impl FnOnce(Log) -> L,
    ) -> Result<Self, Error> {
        let parts = open(&options, transport, wrap).await?;
        Ok(Self::of(parts, Handle::current(), None, watch::channel(true).1))
    }

    fn of(parts: Parts, runtime: Handle, stop: Option<oneshot::Sender<()>>, stopped: watch::Receiver<bool>) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                incoming: Incoming::default(),
                runtime,
                stop: Mutex::new(stop),
                stopped,
                snapshot: Mutex::default(),
            }),
        }
    }

    pub fn node_id(&self) -> NodeId {
        self.inner.parts.node_id
    }

    /// The state as applied on this node. Hold the guard briefly and never across an await.
    pub fn state(&self) -> StateGuard<'_> {
        self.inner.parts.shared.state()
    }

    /// The version in which this node writes what more than two nodes see. The cluster's version is not below it.
    pub fn version(&self) -> Version {
        self.inner.parts.shared.version()
    }

    /// The chunks of the ledger that have left the state.
    pub fn chunks(&self) -> &Chunks {
        &self.inner.parts.chunks
    }

    /// The wall clock that entries are stamped with.
    pub fn now(&self) -> UnixMs {
        (self.inner.parts.now)()
    }

    /// Runs `read` on the state.
    pub fn with_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.inner.parts.shared.state())
    }

    /// The index of the last entry that changed more than the ledger; it tells of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.parts.shared.changes()
    }

    /// Who leads, and every change of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.parts.leader.clone()
    }

    /// The leader, as this node knows it.
    pub fn leader(&self) -> Option<NodeId> {
        let metrics = self.inner.parts.raft.metrics();
        metrics.borrow_watched().current_leader.map(NodeId)
    }

    /// How long ago a quorum has answered this node last, where it leads.
    pub fn quorum_silence(&self) -> Option<Duration> {
        let metrics = self.inner.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader;
        metrics.last_quorum_acked.filter(|_| leads).map(|acked| acked.elapsed())
    }

    /// Whether this node leads, as far as it knows. Only [`Self::propose`] and [`Self::read_barrier`] make sure.
    pub fn is_leader(&self) -> bool {
        let metrics = self.inner.parts.raft.metrics();
        metrics.borrow_watched().state == ServerState::Leader
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.inner.parts.raft.metrics().borrow_watched().current_term
    }

    /// Index of the last entry that this node has applied.
    pub fn applied_index(&self) -> Option<u64> {
        self.inner.parts.shared.applied_index()
    }

    /// Index of the last entry in this node's log.
    pub fn last_entry(&self) -> Option<u64> {
        self.inner.parts.raft.metrics().borrow_watched().last_log_index
    }

    /// The last committed entry that each node has acknowledged to this leader, or has itself. It stays on that node's
    /// disk, whoever leads: entries that are not committed may still be taken back. Empty on a follower.
    pub fn acknowledged(&self) -> BTreeMap<NodeId, u64> {
        let committed = self.applied_index().unwrap_or(0);
        let metrics = self.inner.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
        let matched = matched.map(|(id, matched)| (NodeId(*id), matched.as_ref().map(|id| id.index)));
        let here = (NodeId(metrics.id), self.inner.parts.durable.index());
        let all = matched.chain(metrics.replication.is_some().then_some(here));
        all.filter_map(|(node, index)| Some((node, index?.min(committed)))).collect()
    }

    /// Index up to which snapshots have replaced the log.
    pub fn snapshot_index(&self) -> Option<u64> {
        let metrics = self.inner.parts.raft.metrics();
        let snapshot = metrics.borrow_watched().snapshot;
        snapshot.map(|id| id.index)
    }

    /// Index up to which the log is gone.
    pub fn purged_index(&self) -> Option<u64> {
        let metrics = self.inner.parts.raft.metrics();
        let purged = metrics.borrow_watched().purged;
        purged.map(|id| id.index)
    }

    /// Whether this node belongs to a group.
    pub fn initialised(&self) -> bool {
        let metrics = self.inner.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().next().is_some()
    }

    /// The nodes that vote.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        let metrics = self.inner.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().map(NodeId).collect()
    }

    /// The nodes that are sent the log but do not vote.
    pub fn learners(&self) -> BTreeSet<NodeId> {
        let voters = self.voters();
        let members = self.members().into_keys();
        members.filter(|id| !voters.contains(id)).collect()
    }

    /// All nodes of the group with address and zone.
    pub fn members(&self) -> BTreeMap<NodeId, Peer> {
        let metrics = self.inner.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let nodes = metrics.membership_config.nodes();
        nodes.map(|(id, peer)| (NodeId(*id), peer.clone())).collect()
    }

    /// Runs a future on the raft thread's runtime, where openraft's tasks run.
    async fn on_raft<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
        let task = self.inner.runtime.spawn(work);
        task.await.map_err(|error| Error::Stopped(error.to_string()))
    }

    /// Proposes a command on the leader and waits until it is applied here. `actor` is whoever asked for the change;
    /// the entry is stamped with this node's time.
    ///
    /// # Errors
    /// See [`ProposeError`]. The node forwards to the leader on [`ProposeError::NotLeader`].
    pub async fn propose(&self, actor: Actor, command: impl Into<Command>) -> Result<Outcome, ProposeError> {
        if self.inner.parts.disk_full.load(Ordering::Relaxed) {
            return Err(ProposeError::DiskFull);
        }
        let raft = self.inner.parts.raft.clone();
        let entry = Entry::new(actor, self.now(), command.into());
        let version = self.version();
        self.on_raft(async move { submit(&raft, entry, version).await })
            .await
            .map_err(|error| ProposeError::Fault(error.to_string()))?
    }

    /// Records one encounter on the leader, sharing a log entry with whatever else waits.
    ///
    /// # Errors
    /// See [`ProposeError`]; [`ProposeError::Busy`] when too many wait already.
    pub async fn record(&self, record: Record) -> Result<RecordOutcome, ProposeError> {
        let outcomes = self.record_batch(vec![record]).await?;
        let missing = || ProposeError::Fault("a record was answered without outcome".to_owned());
        outcomes.into_iter().next().ok_or_else(missing)
    }

    /// Records encounters on the leader that another node has gathered, at most
    /// [`cluster_config::limits::LEDGER_BATCH_RECORDS_MAX`]. They go into one log entry, perhaps with others.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn record_batch(&self, records: Vec<Record>) -> Result<Vec<RecordOutcome>, ProposeError> {
        if self.inner.parts.disk_full.load(Ordering::Relaxed) {
            return Err(ProposeError::DiskFull);
        }
        self.inner.parts.batcher.record(records).await
    }

    /// Waits until this node has applied everything that was committed before the call. The node must lead, and asks a
    /// quorum whether it still does (read-index): it does not trust a clock.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`], [`ProposeError::Unavailable`] without a quorum, [`ProposeError::Fault`].
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        let raft = self.inner.parts.raft.clone();
        let barrier = self.on_raft(async move {
            let wait = Duration::from_millis(PROPOSE_MS_MAX);
            tokio::time::timeout(wait, raft.ensure_linearizable(ReadPolicy::ReadIndex)).await
        });
        let answer = barrier.await.map_err(|error| ProposeError::Fault(error.to_string()))?;
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader(forward.leader_id.map(NodeId)))
            }
            Err(_) | Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(ProposeError::Unavailable)
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(ProposeError::Fault(fatal.to_string())),
        }
    }

    /// Answers a call that the [`Transport`] of the node `from` has carried here, in the version of the call. Whoever
    /// calls stands for itself: it is the candidate, or the leader.
    ///
    /// # Errors
    /// [`Error::Message`], [`Error::Version`], [`Error::Stopped`]; [`Error::Refused`] where the vote is another node's.
    pub async fn handle(&self, from: NodeId, call: RaftCall, body: &[u8]) -> Result<Vec<u8>, Error> {
        let raft = self.inner.parts.raft.clone();
        match call {
            RaftCall::Append => {
                let (rpc, version): (AppendEntriesRequest<TypeConfig>, _) =
                    codec::decode_stamped(body, PEER_FRAME_BYTES_MAX)?;
                its_own(from, &rpc.vote)?;
                let answer = self.on_raft(async move { raft.append_entries(rpc).await });
                encode_answer(answer.await?, version)
            }
            RaftCall::Vote => {
                let (rpc, version): (VoteRequest<TypeConfig>, _) = codec::decode_stamped(body, PEER_FRAME_BYTES_MAX)?;
                its_own(from, &rpc.vote)?;
                let answer = self.on_raft(async move { raft.vote(rpc).await });
                encode_answer(answer.await?, version)
            }
            RaftCall::PreVote => {
                let (rpc, version): (VoteRequest<TypeConfig>, _) = codec::decode_stamped(body, PEER_FRAME_BYTES_MAX)?;
                its_own(from, &rpc.vote)?;
                let answer = self.on_raft(async move { raft.pre_vote(rpc).await });
                encode_answer(answer.await?, version)
            }
            RaftCall::TransferLeader => {
                let (rpc, version): (TransferLeaderRequest<TypeConfig>, _) =
                    codec::decode_stamped(body, PEER_FRAME_BYTES_MAX)?;
                its_own(from, rpc.from_leader())?;
                let answer = self.on_raft(async move { raft.handle_transfer_leader(rpc).await });
                encode_answer(answer.await?, version)
            }
            RaftCall::Snapshot => {
                let (chunk, version): (Chunk, _) = codec::decode_stamped(body, PEER_FRAME_BYTES_MAX)?;
                its_own(from, chunk.vote())?;
                let answer = match self.inner.incoming.take(chunk)? {
                    Taken::Answer(answer) => answer,
                    Taken::Whole(vote, snapshot) => {
                        let answer = self.on_raft(async move { raft.install_full_snapshot(vote, snapshot).await });
                        Answer::Whole(answer.await?.map_err(|fatal| Error::Stopped(fatal.to_string()))?)
                    }
                };
                Ok(codec::encode_stamped(&answer, version, PEER_FRAME_BYTES_MAX)?)
            }
        }
    }

    /// Founds the group. Every founding node may call this with the same members; on a node that belongs to a group
    /// it changes nothing.
    ///
    /// # Errors
    /// [`Error::Membership`], [`Error::Stopped`].
    pub async fn initialise(&self, members: &[Member]) -> Result<(), Error> {
        let nodes: BTreeMap<u64, Peer> = members.iter().map(|m| (m.id.0, m.into())).collect();
        let raft = self.inner.parts.raft.clone();
        let answer = self.on_raft(async move { raft.initialize(nodes).await });
        match answer.await? {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(Error::Membership(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(Error::Stopped(fatal.to_string())),
        }
    }

    /// Adds a node as a learner, waits until it has caught up and makes it a voter if asked to. The leader then
    /// announces it to the replicated state. To be called on the leader.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::Membership`], [`Error::Refused`], [`Error::Unconfirmed`], [`Error::Stopped`].
    pub async fn add_member(&self, actor: Actor, member: Member, voter: bool) -> Result<(), Error> {
        self.with_state(|state| state.members().may_register(&member)).map_err(Error::Refused)?;
        let peer = Peer::from(&member);
        let id = member.id.0;
        let raft = self.inner.parts.raft.clone();
        let answer = self.on_raft(async move {
            let wait = Duration::from_millis(CATCH_UP_MS_MAX);
            let Ok(added) = tokio::time::timeout(wait, raft.add_learner(id, peer, false)).await else {
                return Ok(false);
            };
            // We wait ourselves until the learner has the whole log. openraft's own wait is content with a learner that
            // lacks fewer entries than a threshold. On a short log that is true of one that has never answered, and
            // as a voter it would count in every quorum.
            let wanted = added?.log_id.index;
            let level = raft.wait(Some(wait));
            let caught_up = level.metrics(
                |metrics| {
                    let replication = metrics.replication.as_ref().and_then(|all| all.get(&id));
                    replication.and_then(Option::as_ref).is_some_and(|matching| matching.index >= wanted)
                },
                "the learner has the whole log",
            );
            if caught_up.await.is_err() {
                return Ok(false);
            }
            if voter {
                let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
                raft.change_membership(voters, true).await?;
            }
            Ok(true)
        });
        let caught_up: bool = answer.await?.map_err(membership_error)?;
        if !caught_up {
            let problem = format!("node {id} did not catch up in {CATCH_UP_MS_MAX} ms");
            return Err(Error::Membership(problem));
        }
        self.announce(actor, membership::Command::Register(member)).await
    }

    /// Gives a member another address or zone. The leader then announces it to the replicated state. To be called on
    /// the leader.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn move_member(&self, actor: Actor, member: Member) -> Result<(), Error> {
        self.with_state(|state| state.members().may_register(&member)).map_err(Error::Refused)?;
        let nodes = BTreeMap::from([(member.id.0, Peer::from(&member))]);
        let raft = self.inner.parts.raft.clone();
        let answer = self.on_raft(async move { raft.change_membership(ChangeMembers::SetNodes(nodes), true).await });
        answer.await?.map_err(membership_error)?;
        self.announce(actor, membership::Command::Register(member)).await
    }

    /// Removes a node from the group and from the replicated state. To be called on the leader, after draining.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn remove_member(&self, actor: Actor, node: NodeId) -> Result<(), Error> {
        let is_known = self.members().contains_key(&node);
        let ids = BTreeSet::from([node.0]);
        let change = if self.voters().contains(&node) {
            ChangeMembers::RemoveVoters(ids)
        } else {
            ChangeMembers::RemoveNodes(ids)
        };
        let raft = self.inner.parts.raft.clone();
        let answer = self.on_raft(async move { raft.change_membership(change, false).await });
        answer.await?.map_err(membership_error)?;
        match self.announce(actor, membership::Command::Remove(node)).await {
            // It was added to the group and did not live to be announced.
            Err(Error::Refused(refusal)) if is_known && refusal.code == RefusalCode::NotFound => Ok(()),
            announced => announced,
        }
    }

    async fn announce(&self, actor: Actor, command: membership::Command) -> Result<(), Error> {
        match self.propose(actor, command).await {
            Ok(Outcome::Refused(refusal)) => Err(Error::Refused(refusal)),
            Ok(_) => Ok(()),
            Err(ProposeError::NotLeader(leader)) => Err(Error::NotLeader(leader)),
            Err(error) => Err(Error::Unconfirmed(error.to_string())),
        }
    }

    /// Hands leadership to another voter and waits until it leads. To be called on the leader.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::Membership`] where it is no voter or did not take over.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Error> {
        if !self.is_leader() {
            return Err(Error::NotLeader(self.leader()));
        }
        if !self.voters().contains(&to) {
            return Err(Error::Membership(format!("node {to} is no voter")));
        }
        let raft = self.inner.parts.raft.clone();
        let answer = self.on_raft(async move {
            raft.trigger().transfer_leader(to.0).await?;
            let wait = raft.wait(Some(Duration::from_millis(TRANSFER_MS_MAX)));
            Ok(wait.current_leader(to.0, "leader transfer").await.is_ok())
        });
        match answer.await? {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Membership(format!("node {to} did not take over"))),
            Err(fatal) => {
                let fatal: openraft::errors::Fatal<TypeConfig> = fatal;
                Err(Error::Stopped(fatal.to_string()))
            }
        }
    }

    /// Begins to make a snapshot where the ledger has grown by so many records since the last: few entries may hold
    /// many. The log before the last but one goes then.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn snapshot_where_grown(&self) -> Result<(), Error> {
        if self.inner.parts.shared.unsnapshot_records() < raft::SNAPSHOT_AFTER_RECORDS {
            return Ok(());
        }
        let raft = self.inner.parts.raft.clone();
        let newest = raft.metrics().borrow_watched().snapshot.map(|id| id.index);
        let before =
            std::mem::replace(&mut *self.inner.snapshot.lock().unwrap_or_else(PoisonError::into_inner), newest);
        let begun = self.on_raft(async move {
            if let Some(upto) = before {
                raft.trigger().purge_log(upto).await?;
            }
            raft.trigger().snapshot().await
        });
        begun.await?.map_err(|fatal: openraft::errors::Fatal<TypeConfig>| Error::Stopped(fatal.to_string()))
    }

    /// Makes a snapshot of what is applied, and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::Stopped`], where it cannot be made too.
    pub async fn make_snapshot(&self) -> Result<(), Error> {
        let (raft, wanted) = (self.inner.parts.raft.clone(), self.applied_index());
        let made = self.on_raft(async move {
            raft.trigger().snapshot().await.map_err(|fatal| fatal.to_string())?;
            let wait = raft.wait(Some(Duration::from_millis(CATCH_UP_MS_MAX)));
            let covers = |id: Option<u64>| id >= wanted;
            let made =
                wait.metrics(|metrics| covers(metrics.snapshot.map(|id| id.index)), "the snapshot is made").await;
            made.map(|_| ()).map_err(|error| error.to_string())
        });
        made.await?.map_err(Error::Stopped)
    }

    /// Stops this node's part in the group and waits until its store is closed. A second call waits as well.
    pub async fn shutdown(&self) {
        self.inner.parts.watch.end();
        let raft = self.inner.parts.raft.clone();
        // An error means that it has stopped already.
        let _ = self.on_raft(async move { raft.shutdown().await }).await;
        self.inner.parts.disk_watch.abort();
        let stop = self.inner.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
        let mut stopped = self.inner.stopped.clone();
        // An error means that the thread is gone, which is what we wait for.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// A vote counts as that of the node that sends it, and of no other.
fn its_own(from: NodeId, vote: &Vote) -> Result<(), Error> {
    let of = NodeId(vote.leader_id.node_id);
    if of == from {
        return Ok(());
    }
    let problem = format!("node {from} shows a vote of node {of}");
    let fix = "send a node's votes from that node alone";
    Err(Error::Refused(Refusal::new(RefusalCode::WrongRole, "request.vote", problem, fix)))
}

fn encode_answer<T: Serialize, E: std::fmt::Display>(answer: Result<T, E>, version: Version) -> Result<Vec<u8>, Error> {
    let answer = answer.map_err(|error| Error::Stopped(error.to_string()))?;
    Ok(codec::encode_stamped(&answer, version, PEER_FRAME_BYTES_MAX)?)
}

fn membership_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Error {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Error::NotLeader(forward.leader_id.map(NodeId))
        }
        RaftError::APIError(error) => Error::Membership(error.to_string()),
        RaftError::Fatal(fatal) => Error::Stopped(fatal.to_string()),
    }
}
