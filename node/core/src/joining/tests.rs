use super::*;
use crate::fixture;

const HERE: ClusterId = ClusterId(7);

fn member(id: u64) -> Member {
    fixture::hello(id).member
}

fn members(ids: &[u64]) -> Vec<Member> {
    ids.iter().copied().map(member).collect()
}

fn agreed() -> Agreed {
    fixture::hello(1).agreed
}

/// A node that has started for the first time, with this list.
fn hello(id: u64, list: &[u64]) -> Hello {
    Hello { members: members(list), ..fixture::hello(id) }
}

fn of_cluster(id: u64, cluster: ClusterId) -> Hello {
    Hello { cluster: Some(cluster), initialised: true, ..hello(id, &[1, 2, 3]) }
}

/// A node with this list and folder, in its start 5, that nobody has answered at its own address.
fn own<'a>(id: u64, (agreed, members): (&'a Agreed, &'a [Member]), cluster: Option<ClusterId>) -> Own<'a> {
    let (node, incarnation) = (NodeId(id), Incarnation(5));
    Own { node, incarnation, agreed, members, cluster, voters: None, home: Home::Silent, tries: 0 }
}

fn answers(hellos: &[Hello]) -> BTreeMap<NodeId, Answer> {
    hellos.iter().map(|hello| (hello.node(), Answer::Hello(Box::new(hello.clone())))).collect()
}

/// What node `id` with this list does after these answers.
fn asks(id: u64, list: &[u64], cluster: Option<ClusterId>, hellos: &[Hello]) -> (Step, Vec<Remark>) {
    let (agreed, members) = (agreed(), members(list));
    next(&own(id, (&agreed, &members), cluster), &answers(hellos), Canaries::default())
}

/// What voter 2 of three does, at whose address `home` answers.
fn starts_again(home: Home, tries: u32, hellos: &[Hello]) -> Step {
    let (agreed, members, voters) = (agreed(), members(&[1, 2, 3]), [1, 2, 3].map(NodeId).into());
    let own = Own { voters: Some(&voters), home, tries, ..own(2, (&agreed, &members), Some(HERE)) };
    next(&own, &answers(hellos), Canaries::default()).0
}

fn texts(remarks: &[Remark]) -> String {
    remarks.iter().filter(|remark| remark.is_fault()).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_of_the_listed_founds_once_all_are_there_and_nobody_else_does() {
    let list = [1, 2, 3];
    assert_eq!(asks(1, &list, None, &[hello(2, &[3, 2, 1]), hello(3, &list)]), (Step::Founds, Vec::new()));
    let (step, remarks) = asks(2, &list, None, &[hello(1, &list), hello(3, &list)]);
    assert_eq!((step, texts(&remarks)), (Step::Waits, String::new()), "it leaves it to node 1");
    let (step, remarks) = asks(1, &list, None, &[hello(2, &list)]);
    assert_eq!(step, Step::Waits);
    assert_eq!(remarks, [Remark::Waits { answered: vec![NodeId(2)], listed: 2 }]);
    assert_eq!(asks(2, &list, None, &[of_cluster(1, HERE), hello(3, &list)]).0, Step::FoundsToo(HERE));
    assert_eq!(asks(2, &list, None, &[hello(1, &list), of_cluster(3, HERE)]).0, Step::Opens(HERE), "an odd order");
    assert_eq!(asks(1, &[1], None, &[]).0, Step::Founds, "alone");
    assert_eq!(asks(4, &list, None, &[hello(1, &list), hello(2, &list), hello(3, &list)]).0, Step::Waits, "a newcomer");
}

/// F27: two lists with a node in common found nothing together, whichever of them it has; everybody names who differs.
#[test]
fn overlapping_lists_found_no_second_cluster() {
    let (low, high) = ([1, 2, 3], [3, 4, 5]);
    let (step, remarks) = asks(3, &high, None, &[hello(4, &high), hello(5, &high)]);
    assert_eq!((step, texts(&remarks)), (Step::Founds, String::new()), "node 3 is of one mind with 4 and 5");
    let (step, remarks) = asks(1, &low, None, &[hello(2, &low), hello(3, &high)]);
    assert_eq!(step, Step::Waits);
    let said = texts(&remarks);
    assert!(said.contains("node 3 lists [3 at 10.0.0.3:7100 in zone a, 4 at"), "{said}");
    assert!(said.contains("this node [1 at"), "{said}");
    let (step, _) = asks(1, &low, None, &[hello(2, &low), Hello { cluster: Some(HERE), ..hello(3, &low) }]);
    assert_eq!(step, Step::Waits, "a founder has been promised to another cluster");
    let (step, remarks) = asks(4, &high, None, &[of_cluster(3, HERE), hello(5, &high)]);
    assert_eq!(step, Step::Opens(HERE), "it may be added to the cluster that is");
    assert!(texts(&remarks).contains("node 3 lists [1 at"), "{remarks:?}");
    let (_, remarks) = asks(2, &low, None, &[of_cluster(1, HERE), of_cluster(3, HERE)]);
    assert_eq!(texts(&remarks), "", "the founding has just not come here yet");
    let moved = Member { address: "10.0.0.9:7100".to_owned(), ..member(2) };
    let other = Hello { members: vec![member(1), moved], ..hello(2, &low) };
    assert_eq!(asks(1, &[1, 2], None, &[other]).0, Step::Waits, "another address is another list");
}

#[test]
fn who_founds_again_after_a_crash_takes_the_same_cluster_up() {
    let list = [1, 2];
    let promised = Hello { cluster: Some(HERE), ..hello(2, &list) };
    assert_eq!(asks(1, &list, Some(HERE), std::slice::from_ref(&promised)).0, Step::Founds);
    assert_eq!(asks(1, &list, Some(ClusterId(8)), &[promised]).0, Step::Waits);
}

/// F28: a node that differs is named, and keeps nobody from working.
#[test]
fn a_node_that_differs_is_named_and_the_others_go_on() {
    let (agreed, members) = (agreed(), members(&[1, 2, 3]));
    let voters = [1, 2, 3].map(NodeId).into();
    let own = Own { voters: Some(&voters), ..own(2, (&agreed, &members), Some(HERE)) };
    let mut wrong = of_cluster(1, HERE);
    wrong.agreed = Agreed { name: "south".to_owned(), template_dims: 1_024, ..agreed.clone() };
    let (step, remarks) = next(&own, &answers(&[wrong.clone(), of_cluster(3, ClusterId(8))]), Canaries::default());
    assert_eq!(step, Step::Waits, "nobody of its own cluster is there");
    let home = Home::Node(NodeId(2), own.incarnation);
    let (step, _) = next(&Own { home, ..own }, &answers(&[wrong.clone(), of_cluster(3, HERE)]), Canaries::default());
    assert_eq!(step, Step::Belongs);
    let said = texts(&remarks);
    assert!(said.contains("node 1 has other settings: cluster.name is \"north\" here and \"south\" there"), "{said}");
    assert!(said.contains("cluster.template_dims is 512 here and 1024 there"), "{said}");
    assert!(said.contains("node 3 belongs to cluster 00000000000000000000000000000008"), "{said}");

    wrong.initialised = false;
    wrong.cluster = None;
    let (step, remarks) = asks(2, &[1, 2], None, &[wrong]);
    assert_eq!(step, Step::Waits, "before the founding it is waited for");
    assert!(texts(&remarks).contains("node 1 has other settings"));
}

#[test]
fn a_founding_of_two_releases_waits_and_names_the_other_one() {
    let older = Hello { version: Version(Version::CURRENT.0 + 1), ..hello(2, &[1, 2]) };
    let (step, remarks) = asks(1, &[1, 2], None, &[older]);
    assert_eq!(step, Step::Waits);
    let said = texts(&remarks);
    assert!(said.contains("node 2 understands version") && said.contains("start one on all"), "{said}");
}

#[test]
fn a_newcomer_waits_where_the_listed_are_of_two_clusters_or_others_than_listed() {
    let (step, remarks) = asks(4, &[1, 2], None, &[of_cluster(1, HERE), of_cluster(2, ClusterId(8))]);
    assert_eq!(step, Step::Waits);
    assert!(remarks.iter().any(|remark| matches!(remark, Remark::SeveralClusters(_))), "{remarks:?}");
    let (agreed, members) = (agreed(), members(&[1, 2]));
    let own = own(4, (&agreed, &members), None);
    let refusal = Refusal::new(RefusalCode::Conflict, "node 4", "it belongs to another cluster", "look");
    let stranger = Answer::Hello(Box::new(of_cluster(9, HERE)));
    let answers = [(NodeId(1), stranger), (NodeId(2), Answer::Refused(refusal))].into();
    let (step, remarks) = next(&own, &answers, Canaries::default());
    assert_eq!(step, Step::Waits);
    assert_eq!(remarks[0], Remark::OtherNode { listed: NodeId(1), found: NodeId(9) });
    assert!(texts(&remarks).contains("node 2 refuses this node: node 4: it belongs to another cluster; look"));
}

/// P14: who starts again takes part once a majority and the leader have looked at it, and it is reached at its address.
#[test]
fn a_member_that_starts_again_is_looked_at_before_it_takes_part() {
    let here = Home::Node(NodeId(2), Incarnation(5));
    let led_by_3 = Hello { leader: Some(NodeId(3)), ..of_cluster(1, HERE) };
    assert_eq!(starts_again(here, 0, &[]), Step::Waits);
    assert_eq!(starts_again(here, 0, &[of_cluster(1, HERE)]), Step::Belongs, "no leader is known: all start again");
    assert_eq!(starts_again(here, 0, std::slice::from_ref(&led_by_3)), Step::Waits, "the leader knows better");
    assert_eq!(starts_again(here, 1, std::slice::from_ref(&led_by_3)), Step::Belongs, "it is dead");
    assert_eq!(starts_again(here, 0, &[led_by_3.clone(), of_cluster(3, HERE)]), Step::Belongs);
    let led_by_us = Hello { leader: Some(NodeId(2)), ..of_cluster(1, HERE) };
    assert_eq!(starts_again(here, 0, &[led_by_us]), Step::Belongs, "that was its start before");
    assert_eq!(starts_again(Home::Silent, 0, &[of_cluster(1, HERE)]), Step::Waits);
    assert_eq!(starts_again(Home::Silent, TRIES_MAX, &[of_cluster(1, HERE)]), Step::Belongs);
}

#[test]
fn whoever_is_not_the_node_that_the_cluster_knows_ends() {
    let here = Home::Node(NodeId(2), Incarnation(5));
    let refusal = || Refusal::new(RefusalCode::Conflict, "node 2", "its data folder has gone back in time", "run it");
    let doubts = |id, applied| Hello { doubt: Some(refusal()), applied, ..of_cluster(id, HERE) };
    let trusts = |id, applied| Hello { applied, ..of_cluster(id, HERE) };
    assert_eq!(starts_again(here, 0, &[doubts(1, 9), trusts(3, 8)]), Step::IsRefused(refusal()));
    assert_eq!(starts_again(here, 0, &[doubts(1, 9), trusts(3, 9)]), Step::IsRefused(refusal()));
    assert_eq!(starts_again(here, 0, &[doubts(1, 7), trusts(3, 8)]), Step::Belongs, "node 3 has heard of the move");
    for twin in [Home::Node(NodeId(2), Incarnation(4)), Home::Node(NodeId(9), Incarnation(5))] {
        let step = starts_again(twin, 0, &[trusts(1, 9), trusts(3, 9)]);
        assert!(matches!(step, Step::IsTwin(_)), "{step:?}");
    }
    let step = starts_again(here, 0, &[of_cluster(1, ClusterId(8)), of_cluster(3, ClusterId(8))]);
    assert!(matches!(step, Step::IsForeign(Remark::OtherCluster { .. })), "{step:?}");
    assert_eq!(starts_again(here, 0, &[of_cluster(1, ClusterId(8)), of_cluster(3, HERE)]), Step::Belongs);
}
