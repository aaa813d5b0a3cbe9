//! The slots to fetch, cut into spans; which of them are asked for, checked, ready, released; and who served what.
//!
//! ```text
//!    base         tip                                      next             target
//!     |  done      |  spans                                 |                 |
//!  ---#============#======|------|======|......|======|-----|-----------------|-->  slots
//!        released   Ready  Asked  Ready  Wanted Checking       not yet planned
//! ```

use super::{check::CheckedBlock, config::RANGE_SLOTS_MAX};
use std::collections::{BTreeMap, VecDeque};
use sundog_types::{Hash, Pubkey, Slot};

/// Released spans of which it is remembered who served them: 12,800 slots, far more than there are between a root and
/// what is being executed. Full: the oldest is taken for granted.
pub const DONE_MAX: usize = 128;

/// A block by slot and id. No id: not known, any block in the slot will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) slot: Slot,
    pub(crate) id: Option<Hash>,
}

impl Tip {
    /// Whether a block builds on this one. On genesis any block of the next slots may build: it has no shreds, and
    /// leaders chain to 32 zero bytes.
    fn carries(&self, block: &CheckedBlock) -> bool {
        let same = self.slot == Slot::ZERO || self.id.is_none_or(|id| id == block.parent_id());
        block.parent() == self.slot && same
    }
}

#[derive(Debug)]
enum State {
    Wanted,
    Asked(u64),
    Checking { id: u64, bytes: usize },
    Ready { peer: Pubkey, bytes: usize, blocks: VecDeque<CheckedBlock> },
}

#[derive(Debug)]
struct Span {
    end: Slot,
    state: State,
}

#[derive(Debug)]
struct Done {
    from: Slot,
    end: Slot,
    peer: Pubkey,
    blocks: Vec<(Slot, Hash)>,
}

/// A block that does not build on the one released before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// The start of the span that it opens.
    pub(crate) from: Slot,
    /// Who served it.
    pub(crate) peer: Pubkey,
    /// What it names as its parent.
    pub(crate) parent: Slot,
    /// The parent's block id.
    pub(crate) parent_id: Hash,
}

/// What the release came to.
#[derive(Debug)]
pub(crate) enum Release {
    Block(Pubkey, CheckedBlock),
    Mismatch(Mismatch),
    Wait,
}

/// The slots that are being fetched.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    base: Tip,
    tip: Tip,
    next: Slot,
    spans: BTreeMap<Slot, Span>,
    done: VecDeque<Done>,
}

impl Ranges {
    /// Begins after a block.
    pub(crate) fn restart(&mut self, slot: Slot, id: Option<Hash>) {
        let tip = Tip { slot, id };
        *self = Self { base: tip, tip, next: slot.saturating_add(1), ..Self::default() };
    }

    /// The last block that was released.
    pub(crate) fn tip(&self) -> Tip {
        self.tip
    }

    /// The first slot that is not planned yet.
    pub(crate) fn next(&self) -> Slot {
        self.next
    }

    /// The first slot that is not released, or known to be skipped.
    pub(crate) fn front(&self) -> Slot {
        self.spans.first_key_value().map_or(self.next, |(from, _)| *from)
    }

    /// Bytes of blocks that are being checked or wait for their turn.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |span: &Span| match span.state {
            State::Checking { bytes, .. } | State::Ready { bytes, .. } => bytes,
            State::Wanted | State::Asked(_) => 0,
        };
        self.spans.values().map(bytes).sum()
    }

    /// Plans spans up to `last`, and before `known_end`, as far as there is room. A short span at the end waits until
    /// nothing else is under way: roots move.
    pub(crate) fn plan(&mut self, last: Slot, known_end: Slot, room: usize) {
        while self.spans.len() < room && self.next <= last && self.next < known_end {
            let end = self.next.saturating_add(RANGE_SLOTS_MAX).min(last.saturating_add(1)).min(known_end);
            let short = end < self.next.saturating_add(RANGE_SLOTS_MAX) && end < known_end;
            if short && !self.spans.is_empty() {
                return;
            }
            self.spans.insert(self.next, Span { end, state: State::Wanted });
            self.next = end;
        }
    }

    /// Gives up what lies beyond the target: those who claimed to have it are gone.
    pub(crate) fn cut(&mut self, last: Slot) {
        while let Some(mut entry) = self.spans.last_entry() {
            let (from, end) = (*entry.key(), last.saturating_add(1));
            if from > last {
                self.next = from;
                entry.remove();
            } else {
                if entry.get().end > end && matches!(entry.get().state, State::Wanted) {
                    entry.get_mut().end = end;
                    self.next = end;
                }
                return;
            }
        }
    }

    /// The spans that nobody is asked for, in order: first slot and end.
    pub(crate) fn wanted(&self) -> Vec<(Slot, Slot)> {
        let wanted = self.spans.iter().filter(|(_, span)| matches!(span.state, State::Wanted));
        wanted.map(|(from, span)| (*from, span.end)).collect()
    }

    pub(crate) fn asked(&mut self, from: Slot, id: u64) {
        if let Some(span) = self.spans.get_mut(&from) {
            span.state = State::Asked(id);
        }
    }

    /// The answer to request `id` came: its blocks are being checked. An answer may end early; the rest is wanted
    /// again. False: the span is no longer of interest.
    pub(crate) fn checking(&mut self, from: Slot, id: u64, next: Slot, bytes: usize) -> bool {
        let Some(span) = self.spans.get_mut(&from).filter(|span| matches!(span.state, State::Asked(of) if of == id))
        else {
            return false;
        };
        let end = std::mem::replace(&mut span.end, next);
        span.state = State::Checking { id, bytes };
        if next < end {
            self.spans.insert(next, Span { end, state: State::Wanted });
        }
        true
    }

    /// The blocks of a span passed their check.
    pub(crate) fn ready(&mut self, from: Slot, id: u64, peer: Pubkey, blocks: Vec<CheckedBlock>) {
        if let Some(span) = self.spans.get_mut(&from)
            && let State::Checking { id: of, bytes } = span.state
            && of == id
        {
            span.state = State::Ready { peer, bytes, blocks: blocks.into() };
        }
    }

    /// What request `id` should have brought did not come, or was wrong.
    pub(crate) fn failed(&mut self, from: Slot, id: u64) {
        if let Some(span) = self.spans.get_mut(&from)
            && matches!(span.state, State::Asked(of) | State::Checking { id: of, .. } if of == id)
        {
            span.state = State::Wanted;
        }
    }

    /// Throws the blocks of a span away.
    pub(crate) fn refuse(&mut self, from: Slot) {
        if let Some(span) = self.spans.get_mut(&from) {
            span.state = State::Wanted;
        }
    }

    /// Takes the next block out, at most up to slot `last`.
    pub(crate) fn release(&mut self, last: Slot) -> Release {
        while let Some(mut entry) = self.spans.first_entry() {
            let (from, end) = (*entry.key(), entry.get().end);
            let State::Ready { peer, blocks, .. } = &mut entry.get_mut().state else {
                return Release::Wait;
            };
            let peer = *peer;
            if let Some(block) = blocks.front() {
                if !self.tip.carries(block) {
                    let (parent, parent_id) = (block.parent(), block.parent_id());
                    return Release::Mismatch(Mismatch { from, peer, parent, parent_id });
                }
                if block.slot() > last {
                    return Release::Wait;
                }
            }
            if self.done.back().is_none_or(|done| done.from != from) {
                self.done.push_back(Done { from, end, peer, blocks: Vec::new() });
            }
            match blocks.pop_front() {
                None => {
                    entry.remove();
                    self.forget(self.done.len().saturating_sub(DONE_MAX));
                }
                Some(block) => {
                    self.tip = Tip { slot: block.slot(), id: Some(block.id()) };
                    if let Some(done) = self.done.back_mut() {
                        done.blocks.push((block.slot(), block.id()));
                    }
                    return Release::Block(peer, block);
                }
            }
        }
        Release::Wait
    }

    /// Forgets the oldest released spans; returns who served them.
    fn forget(&mut self, count: usize) -> Vec<Pubkey> {
        let mut peers = Vec::new();
        for done in self.done.drain(..count) {
            if let Some((slot, id)) = done.blocks.last() {
                self.base = Tip { slot: *slot, id: Some(*id) };
                peers.push(done.peer);
            }
        }
        peers
    }

    /// The root moved: what is below is certain. Returns those who served blocks there.
    pub(crate) fn root(&mut self, root: Slot) -> Vec<Pubkey> {
        let front = self.front();
        let certain = self.done.iter().take_while(|done| done.end <= root.saturating_add(1).min(front)).count();
        self.forget(certain)
    }

    /// Where what was released must be wrong, if a block with this parent is right.
    pub(crate) fn suspect(&self, parent: Slot, parent_id: Hash) -> Slot {
        let blocks = || self.done.iter().flat_map(|done| &done.blocks);
        let is_base = self.base == Tip { slot: parent, id: Some(parent_id) };
        if is_base || blocks().any(|block| *block == (parent, parent_id)) {
            blocks().map(|block| block.0).find(|slot| *slot > parent).unwrap_or(parent)
        } else {
            parent
        }
    }

    /// Who served the released span in which a slot lies.
    pub(crate) fn served_by(&self, slot: Slot) -> Option<Pubkey> {
        self.done.iter().find(|done| done.from <= slot && slot < done.end).map(|done| done.peer)
    }

    /// Who said that all slots after the last released block are skipped, and where that begins.
    pub(crate) fn skippers(&self) -> Option<(Slot, Vec<Pubkey>)> {
        let empty: Vec<&Done> = self.done.iter().rev().take_while(|done| done.blocks.is_empty()).collect();
        let first = empty.last()?;
        Some((first.from, empty.iter().map(|done| done.peer).collect()))
    }

    /// The request that is to bring the next block.
    pub(crate) fn awaited(&self) -> Option<u64> {
        match self.spans.first_key_value()?.1.state {
            State::Asked(id) => Some(id),
            _ => None,
        }
    }

    /// Whether nothing is planned.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Goes back to before the released span in which a slot lies: it and what was released after it is wanted
    /// again, as is all that waits from the same peer. Returns that peer. `None`: nothing released covers the slot.
    pub(crate) fn rewind(&mut self, slot: Slot) -> Option<Pubkey> {
        let place = self.done.iter().position(|done| done.from <= slot && slot < done.end)?;
        let guilty = self.done.get(place)?.peer;
        for done in self.done.drain(place..) {
            self.spans.insert(done.from, Span { end: done.end, state: State::Wanted });
        }
        let last = self.done.iter().rev().find_map(|done| done.blocks.last());
        self.tip = last.map_or(self.base, |(slot, id)| Tip { slot: *slot, id: Some(*id) });
        for span in self.spans.values_mut() {
            if matches!(span.state, State::Ready { peer, .. } if peer == guilty) {
                span.state = State::Wanted;
            }
        }
        Some(guilty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u64) -> Slot {
        Slot::new(number)
    }

    fn key(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    /// Everything that is wanted turns out to be skipped, say these peers in turn.
    fn skip_all(ranges: &mut Ranges, peers: &[u8]) {
        for ((from, end), peer) in ranges.wanted().into_iter().zip(peers.iter().cycle()) {
            ranges.asked(from, from.get());
            assert!(ranges.checking(from, from.get(), end, 10));
            ranges.ready(from, from.get(), key(*peer), Vec::new());
        }
        assert!(matches!(ranges.release(slot(u64::MAX)), Release::Wait));
    }

    #[test]
    fn spans_are_planned_up_to_target_room_and_known_epochs() {
        let mut ranges = Ranges::default();
        ranges.restart(slot(10), None);
        ranges.plan(slot(1_000), slot(250), 32);
        assert_eq!(ranges.wanted(), [(slot(11), slot(111)), (slot(111), slot(211)), (slot(211), slot(250))]);
        ranges.plan(slot(1_000), slot(u64::MAX), 5);
        assert_eq!((ranges.wanted().len(), ranges.next()), (5, slot(450)));
        ranges.cut(slot(300));
        assert_eq!((ranges.wanted().last(), ranges.next()), (Some(&(slot(250), slot(301))), slot(301)));
        ranges.cut(slot(0));
        assert_eq!((ranges.wanted().len(), ranges.next(), ranges.front()), (0, slot(11), slot(11)));
        ranges.plan(slot(20), slot(u64::MAX), 5);
        ranges.plan(slot(40), slot(u64::MAX), 5);
        assert_eq!(ranges.wanted(), [(slot(11), slot(21))], "what is short waits for more");
    }

    #[test]
    fn an_answer_that_ends_early_leaves_the_rest_wanted() {
        let mut ranges = Ranges::default();
        ranges.restart(slot(0), None);
        ranges.plan(slot(100), slot(1_000), 8);
        ranges.asked(slot(1), 5);
        assert!(!ranges.checking(slot(1), 4, slot(31), 7), "that request is of no interest");
        assert_eq!(ranges.awaited(), Some(5));
        assert!(ranges.checking(slot(1), 5, slot(31), 7));
        assert_eq!((ranges.wanted(), ranges.bytes()), (vec![(slot(31), slot(101))], 7));
        ranges.failed(slot(1), 5);
        assert_eq!((ranges.wanted().len(), ranges.bytes()), (2, 0));
    }

    #[test]
    fn who_served_what_is_remembered_within_bounds() {
        let mut ranges = Ranges::default();
        ranges.restart(slot(0), None);
        for _ in 0..5 {
            ranges.plan(slot(1_000_000), slot(u64::MAX), DONE_MAX / 2);
            skip_all(&mut ranges, &[1, 2]);
        }
        assert_eq!(ranges.done.len(), DONE_MAX);
        let first = ranges.done[0].from;
        assert_eq!(ranges.served_by(first.saturating_sub(1)), None);
        assert_eq!(ranges.served_by(first), Some(key(1)));
        let (from, peers) = ranges.skippers().unwrap();
        assert_eq!((from, peers.len()), (first, DONE_MAX));
        assert_eq!(ranges.rewind(first.saturating_add(150)), Some(key(2)));
        assert_eq!((ranges.front(), ranges.wanted().len()), (first.saturating_add(100), DONE_MAX - 1));
        assert_eq!(ranges.rewind(slot(5)), None);
    }
}
