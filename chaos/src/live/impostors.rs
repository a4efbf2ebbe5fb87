//! Blows by what is not what it seems to be: copies, earlier folders, strangers, gates that flood, certificates that
//! end. All nodes go on meanwhile, or all but the one that is struck, so nobody who boards may notice.
//!
//! # Panics
//! Each panics where the product does not do what it has to: an impostor that is let in, a node that works on without
//! its folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use cluster_config::actor::Role;
use cluster_config::gallery::{GalleryId, Modality, ShardId};
use cluster_config::ids::NodeId;
use cluster_config::wire::{Channel, RefusalCode, gate};
use harness::copies::copy_folder;
use harness::disk;
use harness::fault::Fault;
use harness::invariants::p11_authority;
use harness::level::wait_for;
use harness::live::Live;
use harness::raw::{Raw, Stalling, frame};
use harness::target::{LEVEL_DEADLINE, Target};
use node_link::Identity;
use node_link::certificates::Validity;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng as _;

/// Handshakes that one address leaves unfinished at a time.
const UNFINISHED: usize = 200;

/// Requests that one gate keeps under way when it floods a node.
const FLOOD: usize = 64;

/// How long a certificate is valid that is to end while it is in use, and how long before its end it is renewed.
const SHORT_VALIDITY: Duration = Duration::from_secs(8);
const RENEWED_BEFORE: Duration = Duration::from_secs(3);

/// A folder beside a node's data folder that is not there yet.
fn beside(data: &Path, name: &str) -> PathBuf {
    (0..).map(|number| data.with_file_name(format!("{name}-{number}"))).find(|path| !path.exists()).expect("a number")
}

/// A copy of a node's folder is started beside it. It ends, and the original works on.
pub async fn twin(live: &mut Live, node: NodeId, elsewhere: bool) -> String {
    let folder = beside(&live.data_dir(node), "twin");
    let output = live.twin(node, &folder, elsewhere).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "P14: a twin of node {node}: {said}");
    std::fs::remove_dir_all(&folder).expect("removed");
    format!("a twin of node {node} {}", if elsewhere { "elsewhere" } else { "in its place" })
}

/// A follower is killed and put back to what it was a while ago. It ends by itself; then it gets its own folder again.
/// What a leader itself had on its disk in its last moments, nobody else knows.
pub async fn rollback(live: &mut Live, victim: NodeId, lasts: Duration) -> String {
    let leader = live.leader().await;
    let node = live.running().into_iter().find(|node| *node != leader && (*node == victim || victim == leader));
    let node = node.expect("a follower");
    let data = live.data_dir(node);
    let (earlier, own) = (beside(&data, "earlier"), beside(&data, "own"));
    live.copy_running(node, &earlier).await;
    let acknowledged = live.status(node).await.map_or(0, |status| status.applied_index);
    tokio::time::sleep(lasts).await;
    // It acknowledges something that the copy does not have.
    wait_for("something is acknowledged", LEVEL_DEADLINE, async || {
        let applied = live.status(node).await.map_err(|error| error.to_string())?.applied_index;
        if applied > acknowledged + 1 { Ok(()) } else { Err(format!("entry {applied}")) }
    })
    .await;
    live.strike(Fault::Kill(node)).await;
    std::fs::rename(&data, &own).expect("set aside");
    std::fs::rename(&earlier, &data).expect("put back");
    live.strike(Fault::Start(node)).await;
    live.ends_by_itself(node, 2, "tvs node rejoin").await;
    std::fs::remove_dir_all(&data).expect("removed");
    std::fs::rename(&own, &data).expect("put back");
    live.strike(Fault::Start(node)).await;
    format!("node {node} put back by {lasts:.1?}")
}

/// A node's folder is taken away, or replaced by a copy, while it runs. It ends by itself; then it gets its own folder
/// again.
pub async fn folder(live: &mut Live, node: NodeId, is_replaced: bool) -> String {
    let data = live.data_dir(node);
    let aside = beside(&data, "aside");
    std::fs::rename(&data, &aside).expect("set aside");
    if is_replaced {
        copy_folder(&aside, &data);
    }
    let begun = Instant::now();
    while live.cluster.ended(node).expect("a node").is_none() {
        assert!(begun.elapsed() < LEVEL_DEADLINE, "P14: node {node} goes on without its folder");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    // Whoever finds it puts it back: nothing of it is lost.
    if is_replaced {
        std::fs::remove_dir_all(&data).expect("removed");
    }
    std::fs::rename(&aside, &data).expect("put back");
    live.cluster.forget(node).expect("a node");
    live.strike(Fault::Start(node)).await;
    let what = if is_replaced { "replaced" } else { "taken away" };
    format!("the folder of node {node} {what}; it ended itself after {took:.1?}")
}

/// A node joins, is taken out, and its process runs on. It ends by itself.
pub async fn removed(live: &mut Live) -> String {
    let node = live.join().await;
    live.ready(live.running().len()).await;
    live.remove(node).await;
    live.ends_by_itself(node, 2, "tvs node rejoin").await;
    format!("node {node} taken out while it ran")
}

/// Somebody with a certificate of a node, who is no member, says all that a node can say, for another and for itself.
pub async fn stranger(live: &Live, victim: NodeId) -> String {
    let name = "node-999";
    let identity = match live.cluster.identity(name) {
        Ok(identity) => identity,
        Err(_) => {
            let issued = live.cluster.authority().issue(Role::Node, name, Validity::Days(1)).expect("issued");
            Identity::load(&live.cluster.authority().certificate(), &issued.certificate, &issued.key).expect("loaded")
        }
    };
    let shard = ShardId {
        gallery: GalleryId::passengers("ZT100-20300101-JFK".parse().expect("a journey")),
        modality: Modality::Face,
        model: node_population::model(),
        part: 0,
    };
    let mut count = 0;
    for node in live.running() {
        let raw = Raw::new(live.address(node), &identity);
        for (what, request) in
            p11_authority::forged(victim, shard).into_iter().chain(p11_authority::members_only(shard))
        {
            let refusal = raw.refusal(Channel::Peer, &frame(Channel::Peer, &request)).await;
            let code = refusal.map(|refusal| refusal.code);
            let is_refused = matches!(code, Ok(RefusalCode::WrongRole | RefusalCode::NotMember | RefusalCode::Busy));
            assert!(is_refused, "P11: a stranger's {what} is answered by node {node} with {code:?}");
            count += 1;
        }
    }
    format!("a stranger's {count} messages for node {victim}")
}

/// One address leaves handshakes unfinished.
pub async fn stalling(live: &Live, node: NodeId, lasts: Duration) -> String {
    let identity = live.gate_identity().await;
    // Past the relay, which would make one address of all.
    let listen = live.cluster.node(node).expect("a node").listen;
    let stalling = Stalling::begin(listen, &identity, UNFINISHED).await;
    tokio::time::sleep(lasts).await;
    drop(stalling);
    format!("{UNFINISHED} handshakes of one address left unfinished at node {node} for {lasts:.1?}")
}

/// One gate asks as fast as it can. It is refused in time, and nobody else waits for it.
pub async fn flood(live: &Live, node: NodeId, lasts: Duration) -> String {
    let identity = live.gate_identity().await;
    let bytes = frame(Channel::Gate, &gate::Request::Hello);
    let asked = Raw::new(live.address(node), &identity).flood(&bytes, FLOOD, lasts).await;
    format!("{asked} requests of one gate to node {node} in {lasts:.1?}")
}

/// A node is killed and the index of what it keeps is damaged. It begins that anew.
pub async fn cache(live: &mut Live, node: NodeId, dice: &mut ChaCha8Rng) -> String {
    live.strike(Fault::Kill(node)).await;
    let index = live.data_dir(node).join("galleries/index");
    for _ in 0..8 {
        let flipped = disk::flip(&index, dice.next_u64());
        live.journal.write(flipped);
    }
    live.strike(Fault::Start(node)).await;
    format!("8 bits of node {node}'s index of galleries")
}

/// A node's certificate is about to end while it is in use, and is renewed in time.
pub async fn expiring(live: &Live, node: NodeId) -> String {
    let (authority, name) = (live.cluster.authority(), format!("node-{node}"));
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(node_stage::clock::now().0);
    let short = Validity::Between { from: now - Duration::from_secs(3_600), until: now + SHORT_VALIDITY };
    authority.renew(&name, short).expect("renewed");
    tokio::time::sleep(SHORT_VALIDITY - RENEWED_BEFORE).await;
    authority.renew(&name, Validity::Days(30)).expect("renewed");
    // Until the old one has ended, so that whoever still used it would be seen.
    tokio::time::sleep(RENEWED_BEFORE).await;
    format!("the certificate of node {node} ends, and is renewed {RENEWED_BEFORE:?} before")
}

/// What stands before gates forgets their ports, again and again: they go on from others.
pub async fn rebinding(live: &Live, lasts: Duration, dice: &mut ChaCha8Rng) -> String {
    let times = 1 + dice.next_u32() % 4;
    for _ in 0..times {
        live.emulator().rebind();
        tokio::time::sleep(lasts / times).await;
    }
    format!("all gates have other ports, {times} times in {lasts:.1?}")
}
