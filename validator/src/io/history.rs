//! What the RPC reads of the past: the ledger, seen from the fork that the node is on.

use crate::node::View;
use arc_swap::ArcSwapOption;
use std::{ops::RangeInclusive, sync::Arc};
use sundog_ledger::{AddressRecord, Block, Ledger, LedgerError, Located, Page};
use sundog_rpc::{Commitment, History, chain::AddressWindow};
use sundog_types::{Pubkey, Signature, Slot};

/// Slots whose metadata is read at once when a range is asked for.
const SLOTS_AT_ONCE: usize = 1_024;

/// The ledger, and the fork it is seen from.
pub struct LedgerHistory {
    pub(super) ledger: Ledger,
    pub(super) view: Arc<ArcSwapOption<View>>,
}

/// A disk that fails is logged, and what it holds is as if it were not there.
fn readable<T>(read: Result<T, LedgerError>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%error, "the ledger cannot be read")).ok()
}

impl LedgerHistory {
    fn on_fork(&self, slot: Slot) -> bool {
        self.standing(slot).is_some()
    }
}

impl History for LedgerHistory {
    fn standing(&self, slot: Slot) -> Option<Commitment> {
        let view = self.view.load_full()?;
        if slot <= view.finalized.slot() {
            let unwritten = view.unwritten_roots.binary_search(&slot).is_ok();
            return (unwritten || readable(self.ledger.is_rooted(slot))?).then_some(Commitment::Finalized);
        }
        view.fork.binary_search(&slot).ok()?;
        let confirmed = view.confirmed.slot();
        let sure = slot <= confirmed && view.fork.binary_search(&confirmed).is_ok();
        Some(if sure { Commitment::Confirmed } else { Commitment::Processed })
    }

    fn block(&self, slot: Slot) -> Option<Block> {
        readable(self.ledger.block(slot))?
    }

    fn block_time(&self, slot: Slot) -> Option<i64> {
        readable(self.ledger.slot_meta(slot))?.filter(|meta| meta.executed()).map(|meta| meta.block_time)
    }

    fn slots(&self, range: RangeInclusive<u64>, at_least: Commitment, limit: usize) -> Vec<Slot> {
        let (mut from, last) = (Slot::new(*range.start()), Slot::new(*range.end()));
        let mut found = Vec::new();
        while found.len() < limit && from <= last {
            let rows = readable(self.ledger.slots(from, last, SLOTS_AT_ONCE)).unwrap_or_default();
            let Some((newest, _)) = rows.last() else { break };
            from = newest.next();
            let sure = |slot: &Slot| self.standing(*slot).is_some_and(|standing| standing >= at_least);
            found.extend(rows.iter().filter(|(_, meta)| meta.executed()).map(|(slot, _)| *slot).filter(sure));
        }
        found.truncate(limit);
        found
    }

    fn first_available(&self) -> Slot {
        readable(self.ledger.lowest_slot()).flatten().unwrap_or_default()
    }

    fn transaction(&self, signature: &Signature) -> Option<Located> {
        readable(self.ledger.transaction_on(signature, &|slot| self.on_fork(slot)))?
    }

    fn signatures_of(&self, address: &Pubkey, window: &AddressWindow) -> Vec<AddressRecord> {
        let page = Page { before: window.before, until: window.until, limit: window.limit };
        let sure = |slot: Slot| self.standing(slot).is_some_and(|standing| standing >= window.at_least);
        readable(self.ledger.signatures_for_address(address, &page, &sure)).unwrap_or_default()
    }
}
