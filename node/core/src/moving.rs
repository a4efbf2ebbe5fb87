//! Where a member is reached, and in which zone it stands: the raft group says it, and an operator changes it. A node
//! that starts elsewhere is refused until then.

use cluster_config::member::Member;
use cluster_config::wire::{Fix, Refusal, RefusalCode};

fn refuse(member: &Member, code: RefusalCode, problem: String, fix: Fix) -> Result<(), Refusal> {
    Err(Refusal::new(code, format!("node {}", member.id), problem, fix))
}

/// Whether a member may be given another address or zone, where `known` is what it is now.
///
/// # Errors
/// Where it is none, or works where it is.
pub fn check(known: Option<&Member>, wanted: &Member, is_alive: bool) -> Result<(), Refusal> {
    let Some(known) = known else {
        let fix = "see `tvs cluster status` for the members".into();
        return refuse(wanted, RefusalCode::NotFound, "it is no member".to_owned(), fix);
    };
    if known.address != wanted.address && is_alive {
        let problem = format!("it works at {}", known.address);
        let fix = format!("move it while it is stopped: then start it at {}", wanted.address);
        return refuse(wanted, RefusalCode::Conflict, problem, Fix::with(fix));
    }
    Ok(())
}

/// A node that is added is new, or is added once more as it is.
///
/// # Errors
/// Where it is a member with another address or zone.
pub fn is_there(known: Option<&Member>, wanted: &Member) -> Result<(), Refusal> {
    let Some(known) = known.filter(|known| *known != wanted) else { return Ok(()) };
    let problem = format!("it is a member at {} in zone {}", known.address, known.zone);
    let (id, address, zone) = (wanted.id, &wanted.address, wanted.zone);
    let fix = format!("run `tvs cluster move --id {id} --address {address} --zone {zone}` where it has moved");
    refuse(wanted, RefusalCode::Conflict, problem, Fix::with(fix))
}

#[cfg(test)]
mod tests {
    use cluster_config::ids::NodeId;

    use super::*;

    #[test]
    fn a_member_is_moved_while_it_is_stopped_and_no_other_way() {
        let member = |address: &str, zone: &str| Member {
            id: NodeId(2),
            address: address.to_owned(),
            zone: zone.parse().expect("a zone"),
        };
        let (here, there, other_zone) = (member("a:1", "a"), member("b:1", "a"), member("a:1", "b"));
        let code = |checked: Result<(), Refusal>| checked.map_err(|refusal| refusal.code);
        assert_eq!(code(check(None, &there, false)), Err(RefusalCode::NotFound));
        assert_eq!(code(check(Some(&here), &there, true)), Err(RefusalCode::Conflict));
        assert_eq!(code(check(Some(&here), &there, false)), Ok(()));
        assert_eq!(code(check(Some(&here), &other_zone, true)), Ok(()), "it does not go anywhere");
        assert_eq!(code(is_there(None, &there)), Ok(()));
        assert_eq!(code(is_there(Some(&here), &here)), Ok(()));
        assert_eq!(code(is_there(Some(&here), &other_zone)), Err(RefusalCode::Conflict));
    }
}
