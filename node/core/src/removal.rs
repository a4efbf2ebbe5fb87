//! Whether this node was taken out of the cluster. Nobody sends it the log any more then, so its own state never says
//! so: the other members do, when they are greeted. One that lags behind may not know a member yet; that most of them
//! do not know it, time and again, says that it is none.

/// How often the others are greeted for this, milliseconds.
pub const LOOK_INTERVAL_MS: u64 = 1_000;

/// Looks in a row that have to say the same: whoever lags behind has caught up by the second.
const LOOKS: u32 = 2;

/// What the other members said so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    looks: u32,
}

impl Removal {
    /// Takes what those of the `others` who answered say: whether they know this node. Gives whether it was removed.
    pub fn heard(&mut self, others: usize, know_me: impl IntoIterator<Item = bool>) -> bool {
        let strangers = know_me.into_iter().filter(|known| !known).count();
        self.looks = if 2 * strangers > others { self.looks + 1 } else { 0 };
        self.looks >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_others_have_to_say_so_twice() {
        let mut removal = Removal::default();
        assert!(!removal.heard(4, [false, false, false]));
        assert!(!removal.heard(4, [false, false, true, true]), "half of them is not most of them");
        assert!(!removal.heard(4, [false, false, false, true]));
        assert!(removal.heard(4, [false, false, false]));
        assert!(!Removal::default().heard(0, []), "who is alone cannot be removed");
        let mut silent = Removal::default();
        assert!(!silent.heard(2, [false]) && !silent.heard(2, [false]), "silence says nothing");
    }
}
