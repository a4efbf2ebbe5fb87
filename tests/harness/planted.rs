//! Faults that are planted in what has to go on: a watched task, and a node's own process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster_config::canary::{Canary, VARIABLE, name};
use cluster_config::ids::NodeId;
use coordinator::Watchlist;

use crate::fault::Fault;
use crate::live::{Live, Setting};
use crate::target::Target;

/// How long a node may take to end once one of its loops has.
const END_LOOKS: usize = 200;

/// Has a watched thread panic. Gives what is wrong where nobody is told.
pub fn silent_end() -> Option<String> {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = told.clone();
    let list = Watchlist::new(Arc::new(move |reason| heard.lock().expect("a lock").push(reason)));
    let watched = list.watch("thread");
    let ended = std::thread::spawn(move || {
        let _watched = watched;
        std::panic::resume_unwind(Box::new("planted"));
    });
    let panicked = ended.join().is_err();
    let silent = told.lock().expect("a lock").is_empty();
    (panicked && silent).then(|| "a watched thread panicked, and nobody was told".to_owned())
}

/// Starts a node of its own with this fault. Gives its last words where its process ended, with a code that is not 0.
///
/// # Panics
/// Where it does not start.
pub async fn end_of_node(canary: Canary) -> Option<String> {
    let mut live = Live::prepare(&Setting::new("planted", 1));
    let id = NodeId(1);
    let node = live.cluster.node_mut(id).expect("a node");
    node.environment.push((VARIABLE, name(canary).into()));
    let log = node.log.clone();
    live.strike(Fault::Start(id)).await;
    for _ in 0..END_LOOKS {
        if let Some(status) = live.cluster.ended(id).expect("it can be asked for") {
            live.cluster.forget(id).expect("a node");
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let words = said.lines().rev().find(|line| line.starts_with("tvs: ")).unwrap_or("no word").to_owned();
            return (!status.success()).then(|| format!("{words} ({status})"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::UnixMs;
    use cluster_config::member::Member;
    use coordinator::{Coordinator, Options, Transport, TransportError};
    use coordinator_core::Command;
    use futures::future::BoxFuture;

    use super::*;
    use crate::group::log::{Disk, SimulatedLog};
    use crate::group::settings;

    /// A network without anybody.
    struct Nowhere;

    impl Transport for Nowhere {
        fn call(
            &self,
            target: NodeId,
            _: &str,
            _: cluster_config::wire::peer::RaftCall,
            _: Vec<u8>,
            _: Duration,
        ) -> BoxFuture<'static, Result<Vec<u8>, TransportError>> {
            Box::pin(async move { Err(TransportError::Unreachable(target)) })
        }
    }

    /// F12: where openraft's core panics nothing more is told but the end of its metrics, and the node would go on
    /// out of a frozen state.
    #[tokio::test]
    async fn a_panic_in_openraft_s_core_is_a_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let options = Options {
            node_id: NodeId(1),
            data_dir: folder.path().to_owned(),
            settings: settings(),
            now: Arc::new(|| UnixMs(1)),
            watch: Watchlist::new(Arc::new(move |reason| drop(tell.send(reason)))),
        };
        let disk = Arc::new(Disk::default());
        let wrap = |log| SimulatedLog::new(log, disk.clone()).0;
        let node = Coordinator::start_within(options, Arc::new(Nowhere), wrap).await.expect("a node");
        let alone = Member { id: NodeId(1), address: "127.0.0.1:1".to_owned(), zone: "a".parse().expect("a zone") };
        node.initialise(&[alone]).await.expect("a group of one");
        crate::level::wait_for("it leads", Duration::from_secs(10), async || {
            node.read_barrier().await.map_err(|error| error.to_string())
        })
        .await;
        assert!(told.try_recv().is_err());
        disk.panics();
        let proposed = node.propose(cluster_config::actor::Actor::node(NodeId(1)), Command::record(Vec::new()));
        let _ = tokio::time::timeout(Duration::from_secs(1), proposed).await;
        let said = tokio::time::timeout(Duration::from_secs(5), told.recv()).await.expect("in time").expect("told");
        assert!(said.contains("raft core"), "{said}");
    }

    #[test]
    fn a_watched_thread_that_panics_is_told() {
        assert_eq!(silent_end(), None);
    }
}
