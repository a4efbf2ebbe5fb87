//! Whether a node that this one does not know is a member all the same. A node that lags behind has not heard of the
//! newest members, and one of them may be the leader that it has to follow: so it asks those that it knows.

use std::collections::BTreeMap;

use cluster_config::ids::NodeId;
use cluster_config::limits::NODES_MAX;

/// How long the members that are known may take to answer.
pub const VOUCH_MS_MAX: u64 = 500;

/// How long a word counts that somebody is a member: meanwhile this node hears of it by itself.
const MEMBER_US: u64 = 2_000_000;

/// How long a word counts that nobody knows a node: one that is just being added is not kept out for longer.
const STRANGER_US: u64 = 500_000;

/// Nodes whose word is kept: strangers need a certificate each.
const WORDS_MAX: usize = 4 * NODES_MAX;

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A member says that it is one.
    Member,
    /// Those who answered do not know it.
    Stranger,
    /// Nobody answered.
    Silence,
}

/// What to do about a node that this one does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// What counts now; absent while the first answers are waited for.
    pub word: Option<Word>,
    /// Whether the members are to be asked, and [`Standing::answered`] to be told.
    pub ask: bool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    word: Option<Word>,
    until_us: u64,
    asking: bool,
}

/// The words of the members about nodes that are not known here.
#[derive(Debug, Default)]
pub struct Standing {
    words: BTreeMap<NodeId, Known>,
}

impl Standing {
    /// What counts of a node at `now_us`. An old word counts until there is a new one.
    pub fn of(&mut self, now_us: u64, node: NodeId) -> Next {
        if !self.words.contains_key(&node) {
            self.make_room();
        }
        let known = self.words.entry(node).or_insert(Known { word: None, until_us: 0, asking: false });
        let ask = !known.asking && (known.word.is_none() || now_us >= known.until_us);
        known.asking |= ask;
        Next { word: known.word, ask }
    }

    /// The members that were asked about a node have answered, as far as they do.
    pub fn answered(&mut self, now_us: u64, node: NodeId, answers: impl IntoIterator<Item = bool>) {
        let word = answers.into_iter().fold(Word::Silence, |word, is_member| match (word, is_member) {
            (Word::Member, _) | (_, true) => Word::Member,
            (_, false) => Word::Stranger,
        });
        let lasts_us = if word == Word::Member { MEMBER_US } else { STRANGER_US };
        self.words.insert(node, Known { word: Some(word), until_us: now_us + lasts_us, asking: false });
    }

    fn make_room(&mut self) {
        if self.words.len() < WORDS_MAX {
            return;
        }
        let idle = self.words.iter().filter(|(_, known)| !known.asking);
        if let Some(oldest) = idle.min_by_key(|(_, known)| known.until_us).map(|(node, _)| *node) {
            self.words.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(4);

    #[test]
    fn members_are_asked_once_and_one_who_knows_the_node_is_enough() {
        let mut standing = Standing::default();
        assert_eq!(standing.of(0, NODE), Next { word: None, ask: true });
        assert_eq!(standing.of(1, NODE), Next { word: None, ask: false }, "they are being asked");
        standing.answered(2, NODE, [false, true, false]);
        assert_eq!(standing.of(3, NODE), Next { word: Some(Word::Member), ask: false });
        let later = 2 + MEMBER_US;
        assert_eq!(standing.of(later, NODE), Next { word: Some(Word::Member), ask: true }, "the old word counts on");
        standing.answered(later, NODE, [false]);
        assert_eq!(standing.of(later, NODE), Next { word: Some(Word::Stranger), ask: false });
    }

    #[test]
    fn silence_is_no_word_about_anybody_and_is_soon_tried_again() {
        let mut standing = Standing::default();
        standing.of(0, NODE);
        standing.answered(0, NODE, []);
        assert_eq!(standing.of(1, NODE).word, Some(Word::Silence));
        assert!(standing.of(STRANGER_US, NODE).ask);
    }

    #[test]
    fn many_strangers_take_no_more_than_their_room() {
        let mut standing = Standing::default();
        for node in 0..10 * WORDS_MAX as u64 {
            standing.of(node, NodeId(node));
            standing.answered(node, NodeId(node), [false]);
        }
        assert_eq!(standing.words.len(), WORDS_MAX);
    }
}
