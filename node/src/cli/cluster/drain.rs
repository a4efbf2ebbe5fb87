//! `tvs cluster drain`: emptying a node, and waiting until it may be stopped.

use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use cluster_config::wire::operator::{Draining, Move, Request, Response};

use crate::cli::connect::{Connection, out_of_turn};
use crate::cli::{Failure, output};

/// How often it is asked what is left.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often it is said, where nothing but the count changes.
const SAY_INTERVAL: Duration = Duration::from_secs(2);

/// Galleries that a preview names.
const NAMED_MAX: usize = 40;

/// Has the node emptied, and waits until leadership and galleries have moved and its last open answer is given.
pub fn wait(connection: &Connection, node: NodeId) -> Result<(), Failure> {
    connection.ask(&Request::Drain { node, draining: true })?;
    let (begun, mut first, mut said) = (Instant::now(), None, None::<(Instant, String)>);
    loop {
        let left = status(connection, node)?;
        if left.is_done {
            return output::print(&format!("done: node {node} leads nothing and holds nothing; it may be stopped"));
        }
        let held = left.owns + left.stands_by + left.rosters;
        let moved = first.get_or_insert(held).saturating_sub(held);
        let rate = f64::from(moved) / begun.elapsed().as_secs_f64().max(0.001);
        let why = reason(&left);
        let is_due = said.as_ref().is_none_or(|(at, before)| *before != why || at.elapsed() >= SAY_INTERVAL);
        if is_due {
            output::print(&format!("node {node}: {held} galleries left, {rate:.1} moved a second; {why}"))?;
            said = Some((Instant::now(), why));
        }
        std::thread::sleep(INTERVAL);
    }
}

fn status(connection: &Connection, node: NodeId) -> Result<Draining, Failure> {
    match connection.ask(&Request::DrainStatus(node))? {
        Response::Draining(left) => Ok(left),
        _ => Err(out_of_turn()),
    }
}

/// What is waited for, in words.
fn reason(left: &Draining) -> String {
    let mut why = Vec::new();
    if left.leads {
        why.push("it still leads".to_owned());
    }
    if left.stuck > 0 {
        why.push(format!("{} have no other node that takes them: add a node, or undo another drain", left.stuck));
    }
    if left.unready > 0 {
        why.push(format!("{} wait until a copy elsewhere is ready", left.unready));
    }
    if left.open > 0 {
        why.push(format!("{} answers are open", left.open));
    }
    if why.is_empty() {
        why.push("the map is being changed".to_owned());
    }
    why.join(", ")
}

/// Shows what would go where, and what would not.
pub fn preview(connection: &Connection, node: NodeId) -> Result<(), Failure> {
    let Response::Moves(moves) = connection.ask(&Request::DrainPreview(node))? else { return Err(out_of_turn()) };
    output::print(&describe(node, &moves))
}

fn describe(node: NodeId, moves: &[Move]) -> String {
    let (stuck, goes): (Vec<&Move>, Vec<&Move>) = moves.iter().partition(|change| change.to.is_empty());
    let mut lines = vec![format!("node {node} has {} galleries; nothing was changed", moves.len())];
    let named = |change: &&Move| {
        let to: Vec<String> = change.to.iter().map(ToString::to_string).collect();
        let what = if change.owned { "owned" } else { "stood by for" };
        format!("  {} ({what}): stays on node {}", change.shard, to.join(" and "))
    };
    lines.extend(goes.iter().take(NAMED_MAX).map(named));
    if goes.len() > NAMED_MAX {
        lines.push(format!("  and {} more", goes.len() - NAMED_MAX));
    }
    let blocked =
        |change: &&Move| format!("  {}: no other node takes it; add a node, or undo another drain", change.shard);
    lines.extend(stuck.iter().take(NAMED_MAX).map(blocked));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_said_in_words() {
        let left = Draining { leads: true, stuck: 2, unready: 3, open: 1, ..Draining::default() };
        let why = reason(&left);
        for words in ["it still leads", "2 have no other node", "3 wait until", "1 answers are open"] {
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(reason(&Draining::default()), "the map is being changed");
        let shard = "AA100-20261124-JFK".parse().expect("a journey");
        let shard = cluster_config::gallery::ShardId {
            gallery: cluster_config::gallery::GalleryId::passengers(shard),
            modality: cluster_config::gallery::Modality::Face,
            model: "m".parse().expect("a model"),
            part: 0,
        };
        let moves = [(true, vec![NodeId(3)]), (false, Vec::new())];
        let moves = moves.map(|(owned, to)| Move { shard, owned, to });
        let text = describe(NodeId(2), &moves);
        assert!(text.contains("stays on node 3") && text.contains("no other node takes it"), "{text}");
    }
}
