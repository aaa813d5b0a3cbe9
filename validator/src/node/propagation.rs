//! Own blocks that too few of the others have: sent again, and not gone on from.
//!
//! The tower knows who has them ([`sundog_tower::propagation`]); here is when they are sent again, and that no window of
//! own slots begins on one (reference 8.6).

use super::{Effect, Event, Node, leading::WINDOW_SLOTS};
use std::{collections::BTreeMap, time::Duration};
use sundog_types::{Effects, Now, Slot};

/// Own slots that may be sent again. A node leads fewer between two roots; more: the oldest is sent no more.
const WATCHED_MAX: usize = sundog_tower::propagation::MAX_OWN_BLOCKS;

/// An own block that too few nodes have is sent again after this, then after twice as long, and so on
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// up to so many doublings (reference 8.6).
const AGAIN_DOUBLINGS: u32 = 6;
/// Data shreds of a block that are sent again in one turn: what a busy node sends in a tenth of a second.
const AGAIN_SHREDS_MAX: usize = 2_048;

/// When to send a block again.
struct Again {
    at: Now,
    /// How often that was done.
    sent: u32,
}

/// Own blocks above the root.
#[derive(Default)]
pub(super) struct Propagation {
    own: BTreeMap<Slot, Again>,
}

impl Propagation {
    /// An own block is frozen.
    pub(super) fn watch(&mut self, now: Now, slot: Slot) {
        self.own.insert(slot, Again { at: now.after(AGAIN_AFTER), sent: 0 });
        if self.own.len() > WATCHED_MAX {
            self.own.pop_first();
        }
    }

    /// Whether the block is to be sent again now; counts that it is.
    fn sends_again(&mut self, now: Now, slot: Slot) -> bool {
        let Some(again) = self.own.get_mut(&slot).filter(|again| now.reached(again.at)) else { return false };
        again.sent += 1;
        again.at = now.after(AGAIN_AFTER * (1 << again.sent.min(AGAIN_DOUBLINGS)));
        true
    }

    /// Forgets a block: it lost.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.own.remove(&slot);
    }

    /// Forgets blocks at or below the root.
    pub(super) fn set_root(&mut self, root: Slot) {
        self.own.retain(|slot, _| *slot > root);
    }
}

impl Node {
    /// Whether a slot may be begun on `parent`: the last own block on the way there is propagated, or so young that it
    /// may still be on its way.
    pub(super) fn may_build_on(&self, parent: Slot, slot: Slot) -> bool {
        self.consensus.newest_own(parent).is_none_or(|own| {
            let young = slot.since(own).is_none_or(|distance| distance.get() < WINDOW_SLOTS);
            young || self.consensus.is_propagated(own)
        })
    }

    /// Sends the last own block on the fork that is built on once more, if too few nodes have it for too long.
    pub(super) fn spread_again(&mut self, now: Now, out: &mut Effects<Effect>) {
        let Some(own) = self.leading.reset().and_then(|reset| self.consensus.newest_own(reset.slot)) else { return };
        if self.consensus.is_propagated(own) || !self.propagation.sends_again(now, own) {
            return;
        }
        let mut shreds = self.ledger.data_shreds(own).unwrap_or_default();
        shreds.truncate(AGAIN_SHREDS_MAX);
        self.counters.spread_again += 1;
        self.turbine(now, sundog_turbine::Input::OwnAgain { shreds }, out);
    }

    /// Tells that a slot is left out because nobody has the last own block.
    pub(super) fn tell_unpropagated(&mut self, parent: Slot, slot: Slot, out: &mut Effects<Effect>) {
        self.counters.unpropagated += 1;
        if let Some(last) = self.consensus.newest_own(parent) {
            out.push(Effect::Event(Event::Unpropagated { slot, last }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { mono_us: 0, unix_ms: 0 };

    #[test]
    fn a_block_that_nobody_has_is_sent_again_ever_more_seldom() {
        let mut propagation = Propagation::default();
        propagation.watch(START, Slot::new(9));
        let at = |seconds| START.after(Duration::from_secs(seconds));
        let sent: Vec<u64> = (0..1_000).filter(|second| propagation.sends_again(at(*second), Slot::new(9))).collect();
        assert_eq!(sent, [5, 15, 35, 75, 155, 315, 635, 955]);
    }

    #[test]
    fn the_oldest_block_is_let_go_when_too_many_wait() {
        let mut propagation = Propagation::default();
        for slot in 0..=WATCHED_MAX as u64 {
            propagation.watch(START, Slot::new(slot));
        }
        assert_eq!(propagation.own.len(), WATCHED_MAX);
        assert!(!propagation.own.contains_key(&Slot::ZERO));
        propagation.set_root(Slot::new(200));
        assert_eq!(propagation.own.keys().next(), Some(&Slot::new(201)));
    }
}
