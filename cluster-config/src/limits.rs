//! Every bound of the system, with its argument. A setting that no operator should turn is a constant here.

/// Longest frame that a gate may send, bytes: a 4 MiB photograph is more than any face standard asks for.
pub const GATE_FRAME_BYTES_MAX: usize = 4 << 20;

/// Longest frame that an operator may send, bytes: the largest manifest (a cruise of 10,000) is below 8 MiB.
pub const OPERATOR_FRAME_BYTES_MAX: usize = 16 << 20;

/// Longest frame between nodes, bytes: one segment of [`SHARD_ROWS_MAX`] rows of 1,024 f32 fits.
pub const PEER_FRAME_BYTES_MAX: usize = 512 << 20;

/// Bytes of one chunk of a snapshot or of a sealed part of the ledger, in its file and on its way to another node:
/// 20 ms on a line of 100 Mbit/s, and a fraction of a millisecond to copy.
pub const CHUNK_BYTES: usize = 256 << 10;

/// People in one shard: a larger gallery is split, so that a move or a rebuild stays a matter of a second.
pub const SHARD_PEOPLE_MAX: usize = 8_192;

/// Photographs of one person in a gallery (the design's scale is "up to 6").
pub const TEMPLATES_PER_PERSON_MAX: usize = 6;

pub const SHARD_ROWS_MAX: usize = SHARD_PEOPLE_MAX * TEMPLATES_PER_PERSON_MAX;

/// People in the largest gallery, the derogatory one (the design, section 1).
pub const GALLERY_PEOPLE_MAX: usize = 2_000_000;

/// Parts of one gallery: as many as hold [`GALLERY_PEOPLE_MAX`] people, twice over, since parts fill unevenly and a
/// gallery grows by further parts.
pub const GALLERY_PARTS_MAX: u16 = 512;

/// Candidates asked of each shard. Two people with six photographs each fill twelve, so with 16 the second person
/// is always seen and ambiguity is never judged on one person's own photographs.
pub const CANDIDATES: usize = 16;

/// Template length bounds and step; the kernels load four numbers at a time.
pub const TEMPLATE_DIMS_MIN: usize = 128;
/// See [`TEMPLATE_DIMS_MIN`].
pub const TEMPLATE_DIMS_MAX: usize = 1_024;
/// See [`TEMPLATE_DIMS_MIN`].
pub const TEMPLATE_DIMS_STEP: usize = 4;

/// Journeys open at once, announced ones included: three days of the national schedule (1,500 a day), with room.
pub const JOURNEYS_MAX: usize = 16_384;

/// Of these, how many one carrier may have open: ten days of the largest one's departures in the national schedule.
pub const CARRIER_JOURNEYS_MAX: usize = 4_096;

/// How many anybody else may have open, who may hand in for all carriers: a gateway that runs wild leaves room for
/// those who hand in themselves.
pub const SUBMITTER_JOURNEYS_MAX: usize = JOURNEYS_MAX / 4 * 3;

/// Journeys that are closed and not purged: what is kept for the policy's longest time of a fortnight is 21,000, three
/// times over. Beyond this the oldest are destroyed early.
pub const CLOSED_JOURNEYS_MAX: usize = 65_536;

/// Lines of journeys that have ended, 100 bytes of memory each: a month's of the national schedule are 45,000. Beyond
/// this the oldest go early.
pub const ENDED_JOURNEYS_MAX: usize = 131_072;

/// Devices that are registered at once: ten for each journey of a day.
pub const DEVICES_MAX: usize = 16_384;

/// Devices in one request: a port's worth, and an entry of the log stays far below its limit.
pub const DEVICES_AT_ONCE_MAX: usize = 256;

/// Certificates and names that are revoked at once: a certificate's row can go once it has expired.
pub const REVOCATIONS_MAX: usize = 16_384;

/// Journeys in one manifest file: they are announced in one entry, and 256 plans of at most 200 bytes stay below sled's
/// largest value.
pub const MANIFEST_JOURNEYS_MAX: usize = 256;

/// Nodes of one cluster. The peak of 100 searches a second needs one; 64 covers every port with its own.
pub const NODES_MAX: usize = 64;

/// How long a gate waits at most for its answer, milliseconds (promise P3).
pub const GATE_DEADLINE_MS: u64 = 2_000;

/// Streams that one connection may have open; with the work behind each bounded, so is a connection's memory.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;

/// Searches that a node works on at once; the next one is refused with `busy`, so that an accepted one keeps its
/// deadline (promise P9).
pub const SEARCHES_IN_FLIGHT_MAX: usize = 8_192;

/// Identifications among them: an overloaded node sheds these first, and always has room for boardings (promise P9).
pub const IDENTIFICATIONS_IN_FLIGHT_MAX: usize = SEARCHES_IN_FLIGHT_MAX / 4 * 3;

/// Ledger records in one raft entry: 256 records of at most 224 bytes stay below sled's largest value,
/// and one entry shares one fdatasync between all of them.
pub const LEDGER_BATCH_RECORDS_MAX: usize = 256;

/// Largest value written into sled, bytes; larger ones are files (design, section 6).
pub const SLED_VALUE_BYTES_MAX: usize = 64 << 10;

/// Silence after which a node counts as lost, milliseconds: four reports in a row are missing, of a busy node sixteen.
pub const NODE_LOST_AFTER_MS: u64 = 800;

/// Silence after which a lost node's replicas are made again elsewhere, milliseconds: a restart is quicker and moves
/// nothing.
pub const REPLACE_AFTER_MS: u64 = 3_000;

/// Between two heartbeats of the raft group's leader, milliseconds, where the configuration says nothing else: four are
/// missed before the shortest election.
pub const RAFT_HEARTBEAT_MS: u64 = 25;

/// Bounds of what a configuration may say instead: a shorter one is lost in the scheduling of a busy machine and floods
/// the links; with a longer one no failover keeps promise P3.
pub const RAFT_HEARTBEAT_MS_MIN: u64 = 5;
/// See [`RAFT_HEARTBEAT_MS_MIN`].
pub const RAFT_HEARTBEAT_MS_MAX: u64 = 1_000;

/// A follower waits between these two before it stands for election, milliseconds, where the configuration says nothing
/// else: a new leader within the second that a committed boarding has while the leader dies (promise P3).
pub const RAFT_ELECTION_MS_MIN: u64 = 100;
/// See [`RAFT_ELECTION_MS_MIN`].
pub const RAFT_ELECTION_MS_MAX: u64 = 200;

/// A node identifies nobody once no leader with a quorum has confirmed for so long, milliseconds, that it lacks
/// nothing: the gallery that it knows may have been replaced meanwhile. It is longer than any failover (1.2 s at most,
/// promise P3), in which identification goes on.
pub const UNCONFIRMED_MS_MAX: u64 = 3_000;

/// How often a node has itself confirmed that it lacks nothing, milliseconds: a quarter of a failover, and a share of
/// the leader's heartbeats that does not count.
pub const CONFIRM_INTERVAL_MS: u64 = 500;

/// Longest wait for the outcome of a proposal at the leader, milliseconds: longer than any election, and half of the
/// gate's deadline, so that the other half is left for what follows.
pub const PROPOSE_MS_MAX: u64 = GATE_DEADLINE_MS / 2;

/// What a node has acknowledged stands in the replicated state in steps of so many entries: a folder that has gone back
/// further is known as such to every node, not only to the leader. A step is one entry for all nodes together.
pub const MARK_ENTRIES: u64 = 64;

/// How often a node looks whether it has news for the leader, milliseconds; what is as before it says more rarely.
pub const REPORT_INTERVAL_MS: u64 = 50;

/// How long before its departure a journey counts as boarding and gets the replicas of one, milliseconds.
pub const BOARDING_WINDOW_MS: u64 = 60 * 60 * 1_000;

/// Placements in one blueprint change: 256 of about 100 bytes stay below sled's largest value.
pub const BLUEPRINT_CHANGES_MAX: usize = 256;

const _: () = assert!(GALLERY_PARTS_MAX as usize * SHARD_PEOPLE_MAX >= 2 * GALLERY_PEOPLE_MAX);
const _: () = assert!(CANDIDATES > 2 * TEMPLATES_PER_PERSON_MAX && CANDIDATES <= 64);
const _: () = assert!(SHARD_ROWS_MAX * TEMPLATE_DIMS_MAX * 4 + (64 << 20) < PEER_FRAME_BYTES_MAX);
const _: () = assert!(NODE_LOST_AFTER_MS >= 4 * REPORT_INTERVAL_MS && REPLACE_AFTER_MS > NODE_LOST_AFTER_MS);
const _: () = assert!(MANIFEST_JOURNEYS_MAX * 200 <= SLED_VALUE_BYTES_MAX);
const _: () = assert!(LEDGER_BATCH_RECORDS_MAX * 224 <= SLED_VALUE_BYTES_MAX);
const _: () =
    assert!(UNCONFIRMED_MS_MAX >= 2 * CONFIRM_INTERVAL_MS + 1_200 && UNCONFIRMED_MS_MAX >= 4 * RAFT_ELECTION_MS_MAX);
const _: () = assert!(RAFT_ELECTION_MS_MIN >= 3 * RAFT_HEARTBEAT_MS && RAFT_ELECTION_MS_MAX > RAFT_ELECTION_MS_MIN);
