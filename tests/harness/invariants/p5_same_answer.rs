//! P5: an answer never depends on which node was asked, which replica searched or which engine scored.

use cluster_config::ids::NodeId;
use cluster_config::wire::gate::Answer;

/// All answers to one capture are the same, but for the node that searched.
///
/// # Panics
/// Where one differs.
pub fn check(answers: &[(NodeId, Answer)]) {
    let Some((first, expected)) = answers.first() else {
        panic!("no answers were given");
    };
    for (node, answer) in answers {
        let answer = Answer { searched_by: expected.searched_by, ..answer.clone() };
        assert_eq!(answer, *expected, "P5 is broken: node {node} answers otherwise than node {first}");
    }
}
