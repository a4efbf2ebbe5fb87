//! What a node does again and again for as long as it runs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Recipient;
use cluster_config::actor::Revoked;
use cluster_config::canary::{Canary, planted};
use cluster_config::ids::Incarnation;
use cluster_config::limits::REPORT_INTERVAL_MS;
use cluster_config::member::Trouble;
use cluster_config::wire::peer::{self, Held};
use coordinator::{Coordinator, Leadership, Planner};
use node_core::reconcile::RECONCILE_INTERVAL;
use node_core::reporting::{LOOKS_A_REPORT, Reporting};
use node_link::{Connections, Lane, RevokedSet};
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::gallery::content::Contents;
use crate::gallery::directory::Directory;
use crate::gallery::keeper::Reconcile;
use crate::peers::links::Links;

/// Reconciles whenever the state changes, and now and then besides. Until this node has applied its own announcement
/// its state may be an old one: it keeps what it does not know.
pub async fn reconcile(coordinator: Coordinator, keeper: Recipient<Reconcile>, caught_up: watch::Receiver<bool>) {
    let mut changes = coordinator.changes();
    loop {
        let caught_up = *caught_up.borrow();
        if keeper.send(Reconcile { caught_up }).await.is_err() {
            tracing::error!("the keeper is gone; shards are no longer reconciled");
            return;
        }
        // A timeout is as good as a change: the next round looks again.
        let _ = tokio::time::timeout(RECONCILE_INTERVAL, changes.changed()).await;
    }
}

/// How often a node looks whether it can do its work.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(1);

/// Finds out what this node cannot do, for its reports. Only a change is logged.
pub async fn look_for_trouble(contents: Arc<Contents>, troubles: watch::Sender<Vec<Trouble>>) {
    let mut ticks = tokio::time::interval(TROUBLE_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let checked = contents.check_store().await;
        let present = checked.as_ref().err().map(|_| Trouble::Store).into_iter().collect::<Vec<_>>();
        metrics::gauge!("tvs_node_troubles").set(present.len() as f64);
        if *troubles.borrow() == present {
            continue;
        }
        match checked {
            Ok(()) => tracing::info!("galleries can be kept again"),
            Err(problem) => tracing::error!(problem, "galleries cannot be kept: this node is given none"),
        }
        troubles.send_replace(present);
    }
}

/// Tells the leader what this node holds, and what it cannot do, once it is known to be the member that the
/// cluster knows: the word of a copy would stand before that of its original.
pub async fn report(
    coordinator: Coordinator,
    links: Links,
    directory: Arc<Directory>,
    incarnation: Incarnation,
    planner: Arc<Planner>,
    (troubles, open): (watch::Receiver<Vec<Trouble>>, Arc<AtomicU32>),
    mut joined: watch::Receiver<bool>,
) {
    if joined.wait_for(|joined| *joined).await.is_err() {
        return;
    }
    let (me, interval) = (coordinator.node_id(), Duration::from_millis(REPORT_INTERVAL_MS));
    let (leadership, forgotten) = (coordinator.leadership(), Arc::new(Notify::new()));
    let reporting = Arc::new(Mutex::new(Reporting::new(LOOKS_A_REPORT)));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = forgotten.notified() => {}
        }
        assert!(!planted(Canary::LoopPanics), "a panic was planted here");
        let Leadership { term, leader, .. } = *leadership.borrow();
        let Some(leader) = leader else { continue };
        let led = (leader, term);
        let held = Held { shards: directory.versions(), troubles: troubles.borrow().clone() };
        let open = open.load(Ordering::Relaxed);
        let report = lock(&reporting).look(led, (me, incarnation), held, open, clock::now());
        let Some(report) = report else { continue };
        let (revision, is_brief) = (report.revision, report.held.is_none());
        if leader == me {
            let knows = planner.report(report);
            lock(&reporting).answered(led, revision, knows);
            continue;
        }
        let (links, reporting, forgotten) = (links.clone(), reporting.clone(), forgotten.clone());
        tokio::spawn(async move {
            // A lost report is made up for by the next.
            match links.ask(leader, Lane::Raft, &peer::Request::Report(report), 8 * interval).await {
                Ok(peer::Response::Done) => lock(&reporting).answered(led, revision, true),
                Ok(peer::Response::TellAll) => {
                    lock(&reporting).answered(led, revision, false);
                    if is_brief {
                        forgotten.notify_one();
                    }
                }
                _ => {}
            }
        });
    }
}

fn lock(reporting: &Mutex<Reporting>) -> MutexGuard<'_, Reporting> {
    // Nothing that holds the lock can panic half-way through a change.
    reporting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection ends whose certificate is revoked.
pub const REVOKED: &str = "the certificate is revoked; have another one issued";

/// Ends the connections of those who come to be revoked, whoever made them.
pub async fn cut_off_revoked(coordinator: Coordinator, revoked: RevokedSet, connections: Connections) {
    let mut changes = coordinator.changes();
    loop {
        let all = coordinator.with_state(|state| state.revocations().iter().map(|one| one.what).collect());
        for what in revoked.set(all) {
            let closed = match what {
                Revoked::Name(actor) => connections.close_of(&actor, REVOKED),
                Revoked::Certificate(certificate) => connections.close_certificate(&certificate, REVOKED),
            };
            tracing::info!(%what, closed, "revoked");
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
