//! When blocks of two peers do not fit together, or one turns out bad: who is wrong?

use super::{
    book::Offence, effect::Effect, machine::Sync, ranges::Mismatch, refusal::Refusal, requests::Purpose, wire::Message,
};
use sundog_types::{Hash, Now, Pubkey, Slot};

impl Sync {
    /// A block does not build on what was released. Its parent decides: whoever has a block signed by its leader with
    /// just that id shows that the chain which names it is real, and then what was released is not all of it. If
    /// nobody has it, the block itself is refused.
    pub(super) fn dispute(&mut self, now: Now, mismatch: Mismatch, out: &mut Vec<Effect>) {
        let Mismatch { from, peer, parent, parent_id } = mismatch;
        self.metrics.disputes += 1;
        self.dispute = Some(mismatch);
        let root = self.chain.root;
        let other_root = parent == root && self.chain.root_id.is_some_and(|id| id != parent_id);
        // Below the root nothing is open to dispute; and a span that should have its parent must have it.
        if parent < root || parent >= from || other_root && root != Slot::ZERO {
            return self.settle(now, false, out);
        }
        let suspect = self.ranges.suspect(parent, parent_id);
        if self.ranges.served_by(suspect) == Some(peer) {
            // It contradicts itself: neither part is worth anything.
            return self.settle(now, true, out);
        }
        let holders = self.links.servers().filter(|(_, _, held)| held.lowest <= parent);
        let holders: Vec<_> = holders.map(|(id, link, held)| (id, link.peer, held.root)).collect();
        for holder in holders {
            let id = self.next_id();
            let what = (Purpose::Dispute(parent, parent_id), parent.saturating_add(1));
            self.requests.start(now, id, holder, what);
            self.send(holder.0, &Message::GetBlock { id, slot: parent, block_id: parent_id }, out);
        }
        self.settle_if_alone(now, out);
    }

    /// A peer did not have the parent, or went away. If it was the last, the block is refused.
    pub(super) fn settle_if_alone(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_dispute = |purpose: &Purpose| matches!(purpose, Purpose::Dispute(..));
        let checked = self.checks.values().any(|check| is_dispute(&check.purpose));
        if self.dispute.is_some() && !checked && !self.requests.any(is_dispute) {
            self.settle(now, false, out);
        }
    }

    /// Ends the dispute. `parent_exists`: what was released is wrong; else the block that does not link is.
    pub(super) fn settle(&mut self, now: Now, parent_exists: bool, out: &mut Vec<Effect>) {
        let Some(Mismatch { from, peer, parent, parent_id }) = self.dispute.take() else {
            return;
        };
        if parent_exists {
            self.rewind(now, self.ranges.suspect(parent, parent_id), out);
        } else {
            self.ranges.refuse(from);
            self.metrics.ranges_failed += 1;
            self.drop_peer(now, peer, Refusal::WrongBlock, out);
        }
    }

    /// The parent that a disputed block names was shown, and is what its leader signed.
    pub(super) fn parent_shown(&mut self, now: Now, slot: Slot, id: Hash, out: &mut Vec<Effect>) {
        if self.dispute.is_some_and(|dispute| (dispute.parent, dispute.parent_id) == (slot, id)) {
            self.settle(now, true, out);
        }
    }

    /// What was released from this slot on is wrong: drops who served it and fetches it again from others. If the
    /// node had it before, it fetches again from its root.
    fn rewind(&mut self, now: Now, slot: Slot, out: &mut Vec<Effect>) {
        self.metrics.rewinds += 1;
        match self.ranges.rewind(slot) {
            Some(peer) => self.drop_peer(now, peer, Refusal::WrongBlock, out),
            None => self.ranges.restart(self.chain.root, self.chain.root_id),
        }
    }

    /// Execution found a released block bad.
    pub(super) fn dead(&mut self, now: Now, slot: Slot, out: &mut Vec<Effect>) {
        if self.is_syncing() && self.ranges.served_by(slot).is_some() {
            self.dispute = None;
            self.rewind(now, slot, out);
        }
    }

    /// Drops a peer that may have gone already.
    pub(super) fn drop_peer(&mut self, now: Now, peer: Pubkey, why: Refusal, out: &mut Vec<Effect>) {
        let link = self.links.dialed().find(|(_, link)| link.peer == peer).map(|(id, _)| id);
        match link {
            Some(link) => self.refuse(now, link, why, out),
            None => {
                self.metrics.count_refused(why);
                self.book.mark(now, peer, Offence::Bad);
            }
        }
    }
}
