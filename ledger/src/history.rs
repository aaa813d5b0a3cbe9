//! The history of an address.

use crate::{Ledger, LedgerError, error::decode, keys};
use serde::{Deserialize, Serialize};
use solana_transaction_error::TransactionError;
use sundog_types::{Pubkey, Signature, Slot, store::Space};

/// The most lines of one answer, as Solana's RPC has it.
pub const HISTORY_LIMIT: usize = 1_000;
/// The most rows one question reads: lines of other forks are passed over, and must not make a reader busy.
pub const HISTORY_SCAN_MAX: usize = 16_384;
/// Rows read at once.
const PAGE_ROWS: usize = 1_024;

/// What the index of addresses holds of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sighting {
    pub(crate) signature: Signature,
    pub(crate) err: Option<TransactionError>,
    pub(crate) memo: Option<String>,
}

/// Which part of an address's history is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Start after this transaction, going back. Nothing is found if it is unknown.
    pub before: Option<Signature>,
    /// Stop before this transaction, if it is known.
    pub until: Option<Signature>,
    /// The most lines; [`HISTORY_LIMIT`] at most.
    pub limit: usize,
}

/// A line of an address's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// Which transaction.
    pub signature: Signature,
    /// The slot of its block.
    pub slot: Slot,
    /// Its place in the block, from 0.
    pub index: u32,
    /// Why it failed, if it failed.
    pub err: Option<TransactionError>,
    /// What its memo instructions said.
    pub memo: Option<String>,
    /// Its block's time, in seconds since the Unix epoch.
    pub block_time: Option<i64>,
}

impl Ledger {
    /// The transactions that name an address, newest first, of the slots that `on_fork` accepts.
    ///
    /// # Errors
    /// If the store fails or something does not decode.
    pub fn signatures_for_address(
        &self,
        address: &Pubkey,
        page: &Page,
        on_fork: &dyn Fn(Slot) -> bool,
    ) -> Result<Vec<AddressRecord>, LedgerError> {
        let limit = page.limit.min(HISTORY_LIMIT);
        let mut found = Vec::new();
        let mut to = keys::address(address, Slot::new(u64::MAX), u32::MAX).to_vec();
        if let Some(before) = &page.before {
            let Some((slot, index)) = self.place_on(before, on_fork)? else {
                return Ok(found);
            };
            to = keys::address(address, slot, index).to_vec();
        }
        let from = match page.until.as_ref().map(|until| self.place_on(until, on_fork)).transpose()?.flatten() {
            Some((slot, index)) => keys::address(address, slot, index.saturating_add(1)),
            None => keys::address(address, Slot::ZERO, 0),
        };
        let mut scanned = 0;
        while found.len() < limit && scanned < HISTORY_SCAN_MAX {
            let rows = self.store.range_back(Space::Addresses, &from, &to, PAGE_ROWS)?;
            for (key, value) in &rows {
                let (slot, index) = keys::place_at_end(key, 44)?;
                if found.len() < limit && on_fork(slot) {
                    found.push(self.line(slot, index, decode(value, "a line of an address's history")?)?);
                }
            }
            scanned += rows.len();
            let Some((lowest, _)) = rows.last().filter(|_| rows.len() == PAGE_ROWS) else {
                break;
            };
            to = lowest.to_vec();
        }
        Ok(found)
    }

    fn place_on(
        &self,
        signature: &Signature,
        on_fork: &dyn Fn(Slot) -> bool,
    ) -> Result<Option<(Slot, u32)>, LedgerError> {
        Ok(self.places(signature)?.into_iter().find(|(slot, _)| on_fork(*slot)))
    }

    fn line(&self, slot: Slot, index: u32, sighting: Sighting) -> Result<AddressRecord, LedgerError> {
        let Sighting { signature, err, memo } = sighting;
        let block_time = self.slot_meta(slot)?.filter(crate::SlotMeta::executed).map(|meta| meta.block_time);
        Ok(AddressRecord { signature, slot, index, err, memo, block_time })
    }
}
