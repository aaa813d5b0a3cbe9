//! Whole stretches of the rooted chain, for those who catch up.

use crate::{Ledger, LedgerError};
use bytes::Bytes;
use sundog_types::Slot;

/// A rooted block as shreds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootedBlock {
    /// Its slot.
    pub slot: Slot,
    /// Its data shreds in the order of their indexes.
    pub shreds: Vec<Bytes>,
}

impl Ledger {
    /// The rooted blocks of `slots` slots from `first` on, ascending, as shreds. Stops before the block that would
    /// bring the shreds over `bytes_max`, but not before the first one, so that who asks again gets on.
    ///
    /// # Errors
    /// If the store fails or a key does not decode.
    pub fn rooted_blocks(&self, first: Slot, slots: u64, bytes_max: usize) -> Result<Vec<RootedBlock>, LedgerError> {
        let Some(span) = slots.checked_sub(1) else { return Ok(Vec::new()) };
        let limit = usize::try_from(slots).unwrap_or(usize::MAX);
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for slot in self.rooted_slots(first, first.saturating_add(span), limit)? {
            let shreds = self.data_shreds(slot)?;
            bytes += shreds.iter().map(Bytes::len).sum::<usize>();
            if bytes > bytes_max && !blocks.is_empty() {
                break;
            }
            if !shreds.is_empty() {
                blocks.push(RootedBlock { slot, shreds });
            }
        }
        Ok(blocks)
    }
}
