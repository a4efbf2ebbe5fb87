//! Whether a node may be added to the cluster: what its answer to a greeting means. Else raft would send it a log for
//! nothing, and count it as a member.

use cluster_config::cluster::Founding;
use cluster_config::member::Member;
use cluster_config::versions::Version;
use cluster_config::wire::peer::Hello;
use cluster_config::wire::{Fix, Refusal, RefusalCode};

/// Refuses a newcomer that did not answer as the node that is to be added to the cluster `ours`, which writes version
/// `written`.
///
/// # Errors
/// What is to be told to the operator.
pub fn check(
    newcomer: &Member,
    answer: Option<&Hello>,
    ours: Option<&Founding>,
    written: Version,
) -> Result<(), Refusal> {
    let place = format!("node {}", newcomer.id);
    let refuse = |code, problem, fix: Fix| Err(Refusal::new(code, place.clone(), problem, fix));
    let Some(hello) = answer else {
        let problem = format!("it does not answer at {}", newcomer.address);
        return refuse(RefusalCode::Unavailable, problem, "start it, then add it again".into());
    };
    if hello.node() != newcomer.id {
        let problem = format!("node {} answers at {}", hello.node(), newcomer.address);
        return refuse(RefusalCode::Conflict, problem, "give the address of the node that you add".into());
    }
    if let Some(ours) = ours {
        if let Some(theirs) = hello.cluster.filter(|theirs| *theirs != ours.cluster) {
            let problem = format!("it belongs to cluster {theirs}, this is {}", ours.cluster);
            let fix = "give it an empty data folder, or add it to its own cluster";
            return refuse(RefusalCode::Conflict, problem, fix.into());
        }
        if let Some(difference) = ours.agreed.difference(&hello.agreed) {
            let problem = format!("it has other settings: {difference}");
            return refuse(RefusalCode::Conflict, problem, "correct its configuration and start it again".into());
        }
    }
    if hello.version < written {
        let problem = format!("it understands version {}; the cluster writes version {written}", hello.version);
        return refuse(RefusalCode::UnknownVersion, problem, "start a later release on it".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cluster_config::cluster::Agreed;
    use cluster_config::ids::{ClusterId, FolderId, Incarnation, NodeId};
    use cluster_config::member::Past;

    use super::*;

    #[test]
    fn a_newcomer_answers_at_its_address_under_its_id_for_this_cluster_in_a_version_that_it_reads() {
        let newcomer =
            Member { id: NodeId(4), address: "10.0.0.4:7100".to_owned(), zone: "a".parse().expect("a zone") };
        let agreed = Agreed { name: "north".to_owned(), model: "m".parse().expect("a model"), template_dims: 512 };
        let ours = Founding { cluster: ClusterId(7), agreed: agreed.clone() };
        let hello = Hello {
            member: newcomer.clone(),
            incarnation: Incarnation(1),
            past: Past { folder: FolderId(1), started: Incarnation::default(), last_entry: 0 },
            cluster: None,
            agreed: agreed.clone(),
            members: Vec::new(),
            initialised: false,
            doubt: None,
            applied: 0,
            leader: None,
            version: Version(3),
        };
        let is =
            |hello: Option<&Hello>| check(&newcomer, hello, Some(&ours), Version(3)).map_err(|refusal| refusal.code);
        assert_eq!(is(Some(&hello)), Ok(()));
        assert_eq!(is(Some(&Hello { cluster: Some(ClusterId(7)), ..hello.clone() })), Ok(()), "added before, in part");
        let other = Member { id: NodeId(5), ..newcomer.clone() };
        assert_eq!(is(None), Err(RefusalCode::Unavailable));
        assert_eq!(is(Some(&Hello { member: other, ..hello.clone() })), Err(RefusalCode::Conflict));
        assert_eq!(is(Some(&Hello { cluster: Some(ClusterId(8)), ..hello.clone() })), Err(RefusalCode::Conflict));
        let other = Agreed { template_dims: 1_024, ..agreed };
        assert_eq!(is(Some(&Hello { agreed: other, ..hello.clone() })), Err(RefusalCode::Conflict));
        assert_eq!(is(Some(&Hello { version: Version(2), ..hello })), Err(RefusalCode::UnknownVersion));
    }
}
