//! Who reaches whom: groups that are apart, and directions that are cut.

use std::collections::{BTreeMap, BTreeSet};

/// The cuts of a network.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuts {
    /// The group of a machine; those that are in none are one more group.
    groups: BTreeMap<usize, usize>,
    /// Directions in which nothing passes.
    one_way: BTreeSet<(usize, usize)>,
}

impl Cuts {
    /// Parts the machines into these groups, and those that are not named into one more.
    pub(super) fn part(&mut self, groups: &[&[usize]]) {
        let numbered = groups.iter().zip(1..);
        self.groups = numbered.flat_map(|(members, group)| members.iter().map(move |host| (*host, group))).collect();
    }

    /// From now on nothing passes from one machine to another; what the other sends still arrives.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.one_way.insert((from, to));
    }

    /// Everybody reaches everybody.
    pub(super) fn heal(&mut self) {
        *self = Self::default();
    }

    /// Whether what `from` sends reaches `to`.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.groups.get(&from) == self.groups.get(&to) && !self.one_way.contains(&(from, to))
    }

    /// Whether two machines hear each other, as a connection needs it.
    pub(super) fn connects(&self, one: usize, other: usize) -> bool {
        self.reaches(one, other) && self.reaches(other, one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_apart_and_a_cut_is_one_way() {
        let mut cuts = Cuts::default();
        cuts.part(&[&[0, 1], &[2]]);
        assert!(cuts.reaches(0, 1) && cuts.reaches(3, 4), "the others are a group");
        assert!(!cuts.reaches(1, 2) && !cuts.reaches(2, 3) && !cuts.reaches(3, 0));
        cuts.cut(0, 1);
        assert!(!cuts.reaches(0, 1) && cuts.reaches(1, 0) && !cuts.connects(1, 0));
        cuts.heal();
        assert!(cuts.connects(0, 1) && cuts.connects(1, 2));
    }
}
