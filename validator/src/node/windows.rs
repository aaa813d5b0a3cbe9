//! When own slots may begin, as plain values: what the leader before is given, and the wait for the own vote after a start.

use std::time::Duration;
use sundog_types::{
    Now, Pubkey, Slot,
    schedule::{LEADER_WINDOW_SLOTS, Leaders},
};

/// A block farther than this from the root holds votes alone, so that it costs the others little to catch up and the
/// votes that end the wait for a root find room (reference 8.9).
const VOTE_ONLY_BEYOND: u64 = 400;
/// A cluster whose votes have not moved for so many slots does not go on without this node.
const STILL_SLOTS: u32 = 32;

/// Whether a block of `slot` holds votes alone.
pub(super) fn is_vote_only(slot: Slot, root: Slot) -> bool {
    slot.get() > root.get().saturating_add(VOTE_ONLY_BEYOND)
}

/// Half slots that the leader before is given from the beginning of `first` on, the first own slot after the block that
/// is built on: as many as there are own slots in a row, at most four (reference 2.8). None if its last block is the one
/// built on, or is not near, or the block is this node's own.
pub(super) fn grace_halves(leaders: &Leaders, me: &Pubkey, reset: (Slot, bool), first: Slot) -> u32 {
    let (reset, mine) = reset;
    let near = reset.next() < first && first.get() <= reset.get() + LEADER_WINDOW_SLOTS;
    let others = (first.get().saturating_sub(LEADER_WINDOW_SLOTS)..first.get()).rev().map(Slot::new);
    let last_of_another = others.into_iter().find(|slot| leaders.leader(*slot) != Some(*me));
    if mine || !near || last_of_another == Some(reset) {
        return 0;
    }
    let row = (0..LEADER_WINDOW_SLOTS).take_while(|next| leaders.leader(first.saturating_add(*next)) == Some(*me));
    u32::try_from(row.count()).expect("at most four")
}

/// Whether the chain takes this node's votes, which is looked at once after a start: a node that is deaf, mute or far
/// behind makes no block while the cluster goes on without it (reference 8.9). There the vote must be rooted, and the
/// operator says when a cluster as a whole is started; here it must be in a block, and a cluster that stands still is
/// seen to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstVote {
    landed: bool,
    /// The first vote of this life.
    cast: Option<Slot>,
    /// The newest slot that was on disk at the start.
    stored: Slot,
    /// What more than two thirds of the stake, others than this node, vote for, and when that moved last.
    others: Option<(Slot, Now)>,
}

impl FirstVote {
    /// Something of this slot was on disk at the start.
    pub(super) fn was_stored(&mut self, slot: Slot) {
        self.stored = self.stored.max(slot);
    }

    /// A vote of this life leaves.
    pub(super) fn cast(&mut self, slot: Slot) {
        self.cast.get_or_insert(slot);
    }

    /// What the others vote for.
    pub(super) fn hear(&mut self, now: Now, voted: Slot) {
        if self.others.is_none_or(|(before, _)| voted > before) {
            self.others = Some((voted, now));
        }
    }

    /// Whether a bank of `slot` has still to be looked at, and with which vote in it the wait is over.
    pub(super) fn looks_for(&self, slot: Slot) -> Option<Slot> {
        self.cast.filter(|_| !self.landed && slot > self.stored)
    }

    /// A vote of this life is in a block.
    pub(super) fn landed(&mut self) {
        self.landed = true;
    }

    /// Whether an own slot is left out: the others voted on beyond all that was on disk here, they still do, and no vote
    /// of this life is in a block.
    pub(super) fn waits(&self, now: Now, slot: Duration) -> bool {
        let goes_on = |(voted, at): (Slot, Now)| voted > self.stored && now.since(at) < slot * STILL_SLOTS;
        !self.landed && self.others.is_some_and(goes_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, sync::Arc};
    use sundog_types::{
        Epoch,
        schedule::{EpochSchedule, LeaderSchedule},
        stakes::{EpochStakes, VoteStake},
    };

    const SLOT: Duration = Duration::from_millis(400);

    fn key(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    /// Two nodes of equal stake.
    fn leaders() -> Leaders {
        let voter =
            |number: u8| (key(number), VoteStake { node: key(number), authorized_voter: key(number), stake: 1 });
        let stakes = EpochStakes { by_vote_account: BTreeMap::from([voter(1), voter(2)]) };
        let mut leaders = Leaders::new(EpochSchedule::custom(8_192, 8_192, false));
        leaders.insert(Arc::new(LeaderSchedule::new(Epoch::ZERO, 8_192, &stakes)));
        leaders
    }

    /// The first slot of a window of `me` after `other`'s, of at least so many slots in a row.
    fn takes_over(leaders: &Leaders, me: &Pubkey) -> Slot {
        let own = |slot: u64| leaders.leader(Slot::new(slot)) == Some(*me);
        let mut windows = (8..8_000).step_by(4);
        Slot::new(windows.find(|slot| own(*slot) && !own(slot - 4)).expect("two take turns"))
    }

    #[test]
    fn only_a_leader_that_may_still_be_at_it_is_given_time() {
        let (leaders, me) = (leaders(), key(1));
        let first = takes_over(&leaders, &me);
        let on = |below: u64, mine| grace_halves(&leaders, &me, (first.saturating_sub(below), mine), first);
        assert_eq!(on(1, false), 0, "it has finished");
        assert_eq!([2, 3, 4].map(|below| on(below, false)), [4, 4, 4], "its last blocks may be on their way");
        assert_eq!([2, 3, 4].map(|below| on(below, true)), [0, 0, 0], "nobody is waited for on an own block");
        assert_eq!([5, 6, 400].map(|below| on(below, false)), [0, 0, 0], "it made nothing at all");
    }

    #[test]
    fn what_is_left_of_a_window_gives_half_of_itself_and_no_more() {
        let (leaders, me) = (leaders(), key(1));
        let own = |slot: u64| leaders.leader(Slot::new(slot)) == Some(me);
        let mut windows = (8..8_000).step_by(4);
        let alone = windows.find(|slot| own(*slot) && !own(slot - 4) && !own(slot + 4)).expect("a single window");
        for (taken, halves) in [(1, 3), (2, 2), (3, 1)] {
            // The first slots were made on another block; the leader before comes late with a block of its own.
            let first = Slot::new(alone + taken);
            assert_eq!(grace_halves(&leaders, &me, (Slot::new(alone - 1), false), first), 0, "its last one");
            let reset = (Slot::new(alone - 1 - (3 - taken).min(1)), false);
            let near = first.get() <= reset.0.get() + 4 && reset.0.get() != alone - 1;
            assert_eq!(grace_halves(&leaders, &me, reset, first), if near { halves } else { 0 }, "{taken} taken");
        }
    }

    #[test]
    fn beyond_four_hundred_slots_from_the_root_a_block_holds_votes_alone() {
        let root = Slot::new(1_000);
        assert_eq!([1_001, 1_400, 1_401].map(|slot| is_vote_only(Slot::new(slot), root)), [false, false, true]);
    }

    #[test]
    fn a_node_whose_vote_has_not_landed_waits_while_the_others_go_on() {
        let start = Now { mono_us: 0, unix_ms: 0 };
        let mut first = FirstVote::default();
        assert!(!first.waits(start, SLOT), "nobody votes");
        first.was_stored(Slot::new(90));
        first.hear(start, Slot::new(90));
        assert!(!first.waits(start, SLOT), "all stopped together: what they voted for was on disk here");
        first.hear(start.after(SLOT), Slot::new(120));
        assert!(first.waits(start.after(SLOT), SLOT), "they went on");
        assert!(!first.waits(start.after(SLOT * 33), SLOT), "and stopped");

        first.hear(start.after(SLOT * 40), Slot::new(160));
        assert_eq!(first.looks_for(Slot::new(161)), None, "nothing was voted for yet");
        first.cast(Slot::new(158));
        first.cast(Slot::new(160));
        assert_eq!(first.looks_for(Slot::new(90)), None, "what was there before shows nothing");
        assert_eq!(first.looks_for(Slot::new(161)), Some(Slot::new(158)));
        first.landed();
        assert_eq!((first.looks_for(Slot::new(162)), first.waits(start.after(SLOT * 40), SLOT)), (None, false));
    }
}
