//! What strikes the group: deaths, cuts, bad weather, slow disks, snapshots, and operators who change it meanwhile.

use std::time::Duration;

use cluster_config::actor::Actor;
use cluster_config::ids::NodeId;
use coordinator::Coordinator;
use tokio::time::{Instant, sleep, timeout};

use super::network::Weather;
use super::{COMMAND_TIMEOUT, FOUNDERS, Group, MEMBERS_MAX, member};
use crate::dice::Dice;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    KillLeader,
    /// The leader dies, and while the others elect, they die and come back one after the other.
    Flicker,
    Alone,
    Deaf,
    Mute,
    Halves,
    Loss,
    SlowLinks,
    SlowDisk,
    Transfer,
    Join,
    Leave,
    Snapshot,
}

const FAULTS: [Fault; 14] = [
    Fault::Kill,
    Fault::KillLeader,
    Fault::Flicker,
    Fault::Alone,
    Fault::Deaf,
    Fault::Mute,
    Fault::Halves,
    Fault::Loss,
    Fault::SlowLinks,
    Fault::SlowDisk,
    Fault::Transfer,
    Fault::Join,
    Fault::Leave,
    Fault::Snapshot,
];

impl Group {
    /// Strikes again and again for so long.
    pub(super) async fn strike(&self, dice: &mut Dice, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            sleep(Duration::from_millis(dice.between(200, 3_000))).await;
            let fault = FAULTS[dice.between(0, FAULTS.len() as u64) as usize];
            let ids: Vec<NodeId> = self.members.borrow().keys().copied().collect();
            let node = dice.pick(&ids).unwrap_or(NodeId(1));
            let lasts = Duration::from_millis(dice.between(50, 4_000));
            match fault {
                Fault::Kill => self.kill_for(node, lasts).await,
                Fault::KillLeader => match self.leader().map(|leader| leader.node_id()) {
                    Some(leader) => self.kill_for(leader, lasts).await,
                    None => continue,
                },
                Fault::Flicker => {
                    let Some(leader) = self.leader().map(|leader| leader.node_id()) else { continue };
                    self.tell(format!("node {leader} is killed, and others flicker"));
                    self.kill(leader).await;
                    sleep(Duration::from_millis(dice.between(150, 400))).await;
                    for _ in 0..dice.between(4, 12) {
                        let others: Vec<NodeId> = ids.iter().copied().filter(|id| *id != leader).collect();
                        let Some(other) = dice.pick(&others) else { break };
                        self.kill(other).await;
                        sleep(Duration::from_millis(dice.between(1, 20))).await;
                        self.start(other).await;
                        sleep(Duration::from_millis(dice.between(1, 60))).await;
                    }
                    self.start(leader).await;
                }
                Fault::Alone | Fault::Deaf | Fault::Mute | Fault::Halves => {
                    self.cut(fault, node, &ids);
                    self.fair_again_after(&format!("{fault:?} {node}"), lasts).await;
                }
                Fault::Loss => {
                    *self.network.weather() =
                        Weather { lost: dice.between(50, 400), doubled: 200, ..Weather::default() };
                    self.fair_again_after("loss", lasts).await;
                }
                Fault::SlowLinks => {
                    let delay_us = (1_000, dice.between(20_000, 300_000));
                    *self.network.weather() = Weather { delay_us, ..Weather::default() };
                    self.fair_again_after(&format!("slow links {delay_us:?}"), lasts).await;
                }
                Fault::SlowDisk => {
                    let disk = self.members.borrow().get(&node).map(|member| member.disk.clone());
                    let Some(disk) = disk else { continue };
                    disk.takes(Duration::from_millis(dice.between(5, 600)));
                    self.tell(format!("the disk of node {node} is slow for {lasts:?}"));
                    sleep(lasts).await;
                    disk.takes(Duration::ZERO);
                }
                Fault::Transfer => {
                    let Some(leader) = self.leader() else { continue };
                    let outcome = timeout(COMMAND_TIMEOUT, leader.transfer_leader(node)).await;
                    self.tell(format!("node {} hands over to {node}: {outcome:?}", leader.node_id()));
                    if !matches!(outcome, Ok(Ok(()))) {
                        continue;
                    }
                }
                Fault::Join if self.join().await => {}
                Fault::Leave if self.leave(node).await => {}
                Fault::Snapshot => {
                    let Some(node) = self.network.node(node) else { continue };
                    let outcome = timeout(COMMAND_TIMEOUT, node.make_snapshot()).await;
                    self.tell(format!("node {} makes a snapshot: {outcome:?}", node.node_id()));
                }
                Fault::Join | Fault::Leave => continue,
            }
            self.struck(&format!("{fault:?}"));
        }
    }

    /// Takes the network's weather back to what it should be.
    async fn fair_again_after(&self, what: &str, lasts: Duration) {
        self.tell(format!("{what} for {lasts:?}"));
        sleep(lasts).await;
        *self.network.weather() = Weather::default();
    }

    fn cut(&self, fault: Fault, node: NodeId, ids: &[NodeId]) {
        let mut weather = self.network.weather();
        for other in ids.iter().copied().filter(|other| *other != node) {
            let (in_, out) = ((other, node), (node, other));
            match fault {
                Fault::Deaf => weather.cut.extend([in_]),
                Fault::Mute => weather.cut.extend([out]),
                // Those with an even id are on this side.
                Fault::Halves if other.0 % 2 == node.0 % 2 => {}
                _ => weather.cut.extend([in_, out]),
            }
        }
    }

    async fn kill_for(&self, id: NodeId, lasts: Duration) {
        self.tell(format!("node {id} is killed for {lasts:?}"));
        self.kill(id).await;
        sleep(lasts).await;
        self.start(id).await;
    }

    /// Ends a node, and waits until nothing of it can touch its files any more.
    async fn kill(&self, id: NodeId) {
        let Some(node) = self.network.remove(id) else { return };
        node.shutdown().await;
        drop(node);
        let open = self.members.borrow().get(&id).map(|member| member.log_open.clone()).unwrap_or_default();
        let begun = Instant::now();
        while open.strong_count() > 0 {
            assert!(begun.elapsed() < COMMAND_TIMEOUT, "node {id} still has its log open");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whether a new node has joined.
    async fn join(&self) -> bool {
        let Some(leader) = self.leader().filter(|_| self.members.borrow().len() < MEMBERS_MAX) else { return false };
        let id = NodeId(self.next.replace(self.next.get() + 1));
        self.start(id).await;
        let outcome =
            timeout(COMMAND_TIMEOUT, leader.add_member(Actor::node(leader.node_id()), member(id), true)).await;
        self.tell(format!("node {id} joins: {outcome:?}"));
        matches!(outcome, Ok(Ok(())))
    }

    /// Whether the node has left.
    async fn leave(&self, id: NodeId) -> bool {
        let leader = self.leader().filter(|leader| leader.node_id() != id && leader.voters().len() > FOUNDERS as usize);
        let Some(leader) = leader else { return false };
        let outcome = timeout(COMMAND_TIMEOUT, leader.remove_member(Actor::node(leader.node_id()), id)).await;
        self.tell(format!("node {id} leaves: {outcome:?}"));
        let left = matches!(outcome, Ok(Ok(())));
        if left {
            self.kill(id).await;
            self.members.borrow_mut().remove(&id);
        }
        left
    }

    /// Makes the network well; what else was struck is well at the end of its fault.
    pub(super) fn heal(&self) {
        *self.network.weather() = Weather::default();
        self.tell("all is well".to_owned());
    }

    /// The members of the group as the leader has them, once they all have what it has.
    pub(super) async fn settled(&self, deadline: Instant) -> Option<Vec<Coordinator>> {
        while Instant::now() < deadline {
            if let Some(leader) = self.leader()
                && leader.read_barrier().await.is_ok()
            {
                let wanted = leader.applied_index();
                let members = leader.members();
                let running: Vec<Coordinator> = members.keys().filter_map(|id| self.network.node(*id)).collect();
                if running.len() == members.len() && running.iter().all(|node| node.applied_index() == wanted) {
                    return Some(running);
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
        None
    }
}
