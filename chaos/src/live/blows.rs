//! The kinds of blows, and how each is struck and ended.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use cluster_config::ids::NodeId;
use cluster_config::wire::operator::Request;
use harness::emulator::{Conditions, Shape, swizzle};
use harness::fault::Fault;
use harness::live::Live;
use harness::shim::{INPUT_OUTPUT, NO_SPACE, Struck, Troubles};
use harness::target::{LEVEL_DEADLINE, Target};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::impostors;

/// Milliseconds of a year.
const YEAR_MS: i64 = 31_557_600_000;

/// A kind of blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// SIGKILL, and a start on the same disk
    Kill,
    /// SIGTERM, and a start on the same disk
    Stop,
    Pause,
    /// A node is cut off from everybody
    Alone,
    /// A node is cut off from its peers; gates reach it
    WithoutPeers,
    /// A node is cut off from the gates; its peers reach it
    WithoutGates,
    /// A node hears its peers and is not heard
    Mute,
    /// A node is heard by its peers and hears none
    Deaf,
    /// A node's cable is pulled; with `--machines` only
    Cable,
    /// A node's network card is switched off; with `--machines` only
    Card,
    /// Two halves with one node that reaches both
    Bridge,
    Halves,
    /// Nodes are cut off one by one and come back in another order
    Swizzle,
    /// A node's links are slow
    SlowLinks,
    /// All links lose, repeat and reorder packets
    RoughLinks,
    /// A node's links are narrow
    NarrowLinks,
    /// A node's disk takes long to sync
    SlowDisk,
    /// A node's disk refuses to sync (EIO)
    BrokenDisk,
    /// A node's disk is full (ENOSPC)
    FullDisk,
    /// A node's clock is wrong
    Clock,
    /// A node's GPU is gone for a while; with `--gpu` only
    Gpu,
    /// A node is killed and a bit of its disk turned over
    Bit,
    /// A node joins, or where one has, one leaves
    Members,
    /// A node is drained and takes work again
    Drain,
    /// Leadership is handed over
    Handover,
    /// A copy of a running node is started beside it
    Twin,
    /// A node is put back to an earlier state of its folder
    Rollback,
    /// A node's folder is taken away or replaced while it runs
    Folder,
    /// A node is taken out of the cluster while it runs
    Removed,
    /// Somebody with a node's certificate who is no member forges messages
    Stranger,
    /// One address leaves handshakes unfinished
    Stalling,
    /// One gate asks as fast as it can
    Flood,
    /// A node is killed and the index of what it keeps is damaged
    Cache,
    /// A node's clock is up to 30 years off
    Years,
    /// A node's disk has no room for another file (ENOSPC)
    NoInodes,
    /// A node's certificate ends while it is in use, and is renewed before
    Expiring,
    /// Gates go on from other ports
    Rebinding,
}

/// A blow that was struck, and its end.
#[derive(Debug, Clone)]
pub struct Blow {
    pub kind: Kind,
    /// Whether it struck one node alone, so that promise P3 covers it.
    pub one_node: bool,
    /// When it was struck.
    pub began: Instant,
    /// When its cause was gone.
    pub ended: Instant,
    /// What was done, in words.
    pub text: String,
    /// Whether it met anything. A GPU that nobody used while it was gone proves nothing.
    pub struck: bool,
}

impl Kind {
    /// Its name on the command line and in results.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it is something that operators do, not a fault.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Drain | Self::Handover)
    }

    /// Whether it strikes one node alone, so that promise P3 holds. All others must be safe, and the cluster must come
    /// back.
    fn one_node(self) -> bool {
        !matches!(self, Self::Bridge | Self::Halves | Self::Swizzle | Self::RoughLinks)
    }
}

/// Draws how long a blow lasts, evenly over the orders of magnitude: as many are below a second as above.
fn lasts(generator: &mut ChaCha8Rng, longest: Duration) -> Duration {
    let (shortest, longest) = (0.1_f64, longest.as_secs_f64().max(0.2));
    let even = f64::from(generator.next_u32()) / f64::from(u32::MAX);
    Duration::from_secs_f64(shortest * (longest / shortest).powf(even))
}

/// A third of the blows strike the leader, a third the node that owns most, a third anybody.
async fn victim(live: &Live, generator: &mut ChaCha8Rng) -> NodeId {
    let leader = live.leader().await;
    match generator.next_u32() % 3 {
        0 => leader,
        1 => {
            let members = live.status(leader).await.map(|status| status.members).unwrap_or_default();
            members.iter().max_by_key(|member| member.owner_of).map_or(leader, |member| member.member.id)
        }
        _ => {
            let running = live.running();
            running[generator.next_u32() as usize % running.len()]
        }
    }
}

/// Strikes and ends a blow. The caller checks whether the cluster is well afterwards. `founders` is the number of nodes
/// that the cluster began with.
///
/// # Panics
/// If something does not work that has to: a start, a change of members, a disk fault that strikes nothing.
pub async fn strike(live: &mut Live, kind: Kind, founders: usize, longest: Duration, dice: &mut ChaCha8Rng) -> Blow {
    let victim = victim(live, dice).await;
    let lasts = lasts(dice, longest);
    let began = Instant::now();
    let mut struck = true;
    let text = match kind {
        Kind::Kill => between(live, Fault::Kill(victim), Fault::Start(victim), lasts.min(longest / 2)).await,
        Kind::Stop => between(live, Fault::Stop(victim), Fault::Start(victim), lasts.min(longest / 2)).await,
        Kind::Pause => between(live, Fault::Pause(victim), Fault::Resume(victim), lasts).await,
        Kind::Alone => cut(live, Shape::Alone(victim), lasts).await,
        Kind::WithoutPeers => cut(live, Shape::WithoutPeers(victim), lasts).await,
        Kind::WithoutGates => cut(live, Shape::WithoutGates(victim), lasts).await,
        Kind::Mute => cut(live, Shape::Mute(victim), lasts).await,
        Kind::Deaf => cut(live, Shape::Deaf(victim), lasts).await,
        Kind::Cable => between(live, Fault::Pull(victim, true), Fault::Pull(victim, false), lasts).await,
        Kind::Card => between(live, Fault::SwitchOff(victim, true), Fault::SwitchOff(victim, false), lasts).await,
        Kind::Bridge => cut(live, Shape::Bridge(victim), lasts).await,
        Kind::Halves => cut(live, Shape::Halves(victim), lasts).await,
        Kind::Swizzle => swizzled(live, lasts, dice).await,
        Kind::SlowLinks => {
            let slow = Conditions { delay: ms(15), jitter: ms(15), ..Conditions::default() };
            between(live, Fault::Worsen(victim, slow), Fault::Heal, lasts).await
        }
        Kind::NarrowLinks => {
            let narrow = Conditions { bytes_per_second: 500_000, ..Conditions::default() };
            between(live, Fault::Worsen(victim, narrow), Fault::Heal, lasts).await
        }
        Kind::RoughLinks => {
            let (delay, jitter) = (ms(2), ms(4));
            let of_thousand = 5 + dice.next_u32() % 30;
            let (lost_per_mille, repeated_per_mille, overtaken_per_mille) = (of_thousand, of_thousand, of_thousand);
            let perfect = Conditions::default();
            let rough =
                Conditions { delay, jitter, lost_per_mille, repeated_per_mille, overtaken_per_mille, ..perfect };
            for node in live.running() {
                live.strike(Fault::Worsen(node, rough)).await;
            }
            tokio::time::sleep(lasts).await;
            live.strike(Fault::Heal).await;
            format!("all links: {rough}, for {lasts:.1?}")
        }
        Kind::SlowDisk => {
            let troubles = Troubles { sync_delay: ms(5 + dice.next_u64() % 60), ..Troubles::default() };
            trouble(live, victim, troubles, lasts, &mut struck, |struck| struck.syncs_delayed).await
        }
        Kind::Clock => {
            let sign = if dice.next_u32().is_multiple_of(2) { 1 } else { -1 };
            let clock_shift_ms = sign * (1_000 + i64::from(dice.next_u32() % 86_400_000));
            let troubles = Troubles { clock_shift_ms, ..Troubles::default() };
            trouble(live, victim, troubles, lasts, &mut struck, |struck| struck.clocks_shifted).await
        }
        Kind::Years => {
            let sign = if dice.next_u32().is_multiple_of(2) { 1 } else { -1 };
            let clock_shift_ms = sign * i64::from(1 + dice.next_u32() % 30) * YEAR_MS;
            let troubles = Troubles { clock_shift_ms, ..Troubles::default() };
            trouble(live, victim, troubles, lasts, &mut struck, |struck| struck.clocks_shifted).await
        }
        Kind::Gpu => {
            let troubles = Troubles { device_lost: true, ..Troubles::default() };
            trouble(live, victim, troubles, lasts, &mut struck, |struck| struck.devices_lost).await
        }
        Kind::BrokenDisk => {
            let troubles = Troubles { sync_error: INPUT_OUTPUT, ..Troubles::default() };
            broken(live, victim, troubles).await
        }
        Kind::NoInodes => {
            let troubles = Troubles { create_error: NO_SPACE, ..Troubles::default() };
            trouble(live, victim, troubles, lasts, &mut struck, |struck| struck.creations_failed).await
        }
        Kind::FullDisk => {
            let troubles = Troubles { write_error: NO_SPACE, ..Troubles::default() };
            broken(live, victim, troubles).await
        }
        Kind::Bit => {
            live.strike(Fault::Kill(victim)).await;
            live.strike(Fault::Flip(victim, dice.next_u64())).await;
            live.strike(Fault::Start(victim)).await;
            match live.settle(victim).await {
                Some(newcomer) => format!("bit on node {victim}, which ended; node {newcomer} came in its place"),
                None => format!("bit on node {victim}, which goes on"),
            }
        }
        Kind::Members if live.running().len() > founders => {
            live.leave(victim).await;
            format!("node {victim} leaves")
        }
        Kind::Members => format!("node {} joins", live.join().await),
        Kind::Drain => drained(live, victim, lasts).await,
        Kind::Handover => {
            let leader = live.leader().await;
            let heir = live.running().into_iter().find(|node| *node != leader).unwrap_or(leader);
            // If the new leader does not take over in time, the old one goes on. The checks afterwards see that.
            let handed = live.ask(leader, Request::TransferLeader(heir)).await.is_ok();
            format!("node {leader} hands over to {heir}: {handed}")
        }
        Kind::Twin => impostors::twin(live, victim, dice.next_u32().is_multiple_of(2)).await,
        Kind::Rollback => impostors::rollback(live, victim, lasts).await,
        Kind::Folder => impostors::folder(live, victim, dice.next_u32().is_multiple_of(2)).await,
        Kind::Removed => impostors::removed(live).await,
        Kind::Stranger => impostors::stranger(live, victim).await,
        Kind::Stalling => impostors::stalling(live, victim, lasts).await,
        Kind::Flood => impostors::flood(live, victim, lasts).await,
        Kind::Cache => impostors::cache(live, victim, dice).await,
        Kind::Expiring => impostors::expiring(live, victim).await,
        Kind::Rebinding => impostors::rebinding(live, lasts, dice).await,
    };
    Blow { kind, one_node: kind.one_node(), began, ended: Instant::now(), text, struck }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

async fn between(live: &mut Live, begin: Fault, end: Fault, lasts: Duration) -> String {
    live.strike(begin).await;
    tokio::time::sleep(lasts).await;
    live.strike(end).await;
    format!("{begin} for {lasts:.1?}")
}

async fn cut(live: &mut Live, shape: Shape, lasts: Duration) -> String {
    between(live, Fault::Cut(shape), Fault::Heal, lasts).await
}

async fn swizzled(live: &mut Live, lasts: Duration, dice: &mut ChaCha8Rng) -> String {
    let (out, mut back) = swizzle(&live.running(), dice);
    let step = lasts / (2 * out.len()) as u32;
    let text = format!("swizzle {out:?} over {lasts:.1?}");
    for node in out {
        live.strike(Fault::Cut(Shape::Alone(node))).await;
        tokio::time::sleep(step).await;
    }
    while !back.is_empty() {
        live.strike(Fault::Heal).await;
        back.remove(0);
        for node in &back {
            live.strike(Fault::Cut(Shape::Alone(*node))).await;
        }
        tokio::time::sleep(step).await;
    }
    text
}

/// A machine misbehaves for a while, and its node goes on. `met` says whether that struck anything.
async fn trouble(
    live: &mut Live,
    victim: NodeId,
    troubles: Troubles,
    lasts: Duration,
    met: &mut bool,
    count: impl Fn(Struck) -> u64,
) -> String {
    let before = count(live.control(victim).struck());
    let text =
        between(live, Fault::Trouble(victim, troubles), Fault::Trouble(victim, Troubles::default()), lasts).await;
    let times = count(live.control(victim).struck()) - before;
    *met = times > 0;
    format!("{text} ({times} times)")
}

/// A disk fails: its node ends by itself, and starts again on a disk that works.
async fn broken(live: &mut Live, victim: NodeId, troubles: Troubles) -> String {
    live.strike(Fault::Trouble(victim, troubles)).await;
    let begun = Instant::now();
    while live.cluster.ended(victim).expect("a node").is_none() {
        assert!(begun.elapsed() < LEVEL_DEADLINE, "node {victim} goes on with a broken disk");
        tokio::time::sleep(ms(10)).await;
    }
    let took = begun.elapsed();
    live.cluster.forget(victim).expect("a node");
    live.strike(Fault::Trouble(victim, Troubles::default())).await;
    live.strike(Fault::Start(victim)).await;
    format!("node {victim}: {troubles}; it ended itself after {took:.1?}")
}

async fn drained(live: &mut Live, victim: NodeId, lasts: Duration) -> String {
    for draining in [true, false] {
        let leader = live.leader().await;
        let asked = live.ask(leader, Request::Drain { node: victim, draining }).await;
        if let Err(failure) = asked {
            live.journal.write(format!("drain {victim} {draining}: {failure}"));
        }
        if draining {
            tokio::time::sleep(lasts).await;
        }
    }
    format!("drain node {victim} for {lasts:.1?}")
}
