//! What peers answer to the side that fetches: taken, checked on the pool, or asked of others.

use super::{
    check::{Expect, Fault, RangeChecked},
    effect::{Effect, LinkId},
    machine::Sync,
    refusal::Refusal,
    requests::{BLOCK_BYTES_MAX, Purpose, Request},
};
use sundog_types::{Now, Pubkey, Slot};

/// An answer that the pool checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checking {
    pub(crate) peer: Pubkey,
    pub(crate) purpose: Purpose,
    pub(crate) bytes: usize,
}

impl Sync {
    /// The last part of an answer came.
    pub(super) fn answered(
        &mut self,
        id: u64,
        request: Request,
        next: Slot,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let bytes = request.bytes;
        let expect = match request.purpose {
            Purpose::Range(from) => {
                if next <= from || next > request.end {
                    self.ranges.failed(from, id);
                    return Err(Refusal::Malformed);
                }
                if !self.ranges.checking(from, id, next, bytes) {
                    return Ok(());
                }
                let holds = (from <= request.root && request.root < next).then_some(request.root);
                Expect::Range { from, end: next, holds }
            }
            Purpose::Want(slot, block_id) | Purpose::Dispute(slot, block_id) => Expect::Block { slot, block_id },
        };
        if bytes > BLOCK_BYTES_MAX && matches!(expect, Expect::Block { .. }) {
            self.unanswered(id, request.purpose);
            return Err(Refusal::Malformed);
        }
        self.check(id, expect, request, out);
        Ok(())
    }

    /// A peer does not have what it was asked for.
    pub(super) fn not_held(
        &mut self,
        now: Now,
        (id, link): (u64, LinkId),
        lowest: Slot,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let request = self.requests.take(id, link).ok_or(Refusal::Unexpected)?;
        self.unanswered(id, request.purpose);
        if let Purpose::Range(from) = request.purpose {
            // Ledgers are pruned from below. Else it does not have what it claims to have.
            let held = self.links.get_mut(link).and_then(|link| link.held.as_mut());
            match held.filter(|held| lowest > from && lowest > held.lowest) {
                Some(held) => held.lowest = lowest,
                None => return Err(Refusal::WrongBlock),
            }
        }
        self.settle_if_alone(now, out);
        Ok(())
    }

    /// A request came to nothing: others are asked.
    pub(super) fn unanswered(&mut self, id: u64, purpose: Purpose) {
        match purpose {
            Purpose::Range(from) => {
                self.metrics.ranges_failed += 1;
                self.ranges.failed(from, id);
            }
            Purpose::Want(slot, block_id) => {
                if let Some(want) = self.wants.get_mut(&(slot, block_id)) {
                    want.under_way = false;
                }
            }
            Purpose::Dispute(..) => {}
        }
    }

    /// The pool checked an answer.
    pub(super) fn checked(&mut self, now: Now, checked: RangeChecked, out: &mut Vec<Effect>) {
        let RangeChecked { id, result } = checked;
        let Some(Checking { peer, purpose, .. }) = self.checks.remove(&id) else { return };
        let blocks = match result {
            Ok(blocks) => blocks,
            Err(fault) => {
                self.unanswered(id, purpose);
                // A single block may be of a slot whose leader is not known: nobody's fault.
                if !matches!((fault, purpose), (Fault::Leader(_), Purpose::Want(..) | Purpose::Dispute(..))) {
                    self.drop_peer(now, peer, Refusal::WrongBlock, out);
                }
                return self.settle_if_alone(now, out);
            }
        };
        self.metrics.blocks_checked += blocks.len() as u64;
        match purpose {
            Purpose::Range(from) => self.ranges.ready(from, id, peer, blocks),
            Purpose::Want(slot, block_id) => {
                if self.wants.remove(&(slot, block_id)).is_some() {
                    self.metrics.wanted_fetched += 1;
                    for block in blocks {
                        self.hand_on(peer, block, out);
                    }
                }
            }
            Purpose::Dispute(slot, block_id) => {
                self.parent_shown(now, slot, block_id, out);
                self.settle_if_alone(now, out);
            }
        }
    }
}
