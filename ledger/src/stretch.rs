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

/// A stretch of the rooted chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its blocks, ascending. Slots without a block are skipped slots.
    pub blocks: Vec<RootedBlock>,
    /// The first slot that was not looked at.
    pub next: Slot,
}

impl Ledger {
    /// The rooted blocks of `slots` slots from `first` on, as shreds. Stops after the block with which the shreds reach
    /// `bytes_max`, so that who asks again gets on. `unmarked`: slots that are rooted and not marked so here yet.
    ///
    /// # Errors
    /// If the store fails or a key does not decode.
    pub fn rooted_blocks(
        &self,
        first: Slot,
        slots: u64,
        bytes_max: usize,
        unmarked: &[Slot],
    ) -> Result<Stretch, LedgerError> {
        let mut stretch = Stretch { blocks: Vec::new(), next: first.saturating_add(slots) };
        let Some(span) = slots.checked_sub(1) else { return Ok(stretch) };
        let limit = usize::try_from(slots).unwrap_or(usize::MAX);
        let last = first.saturating_add(span);
        let mut rooted = self.rooted_slots(first, last, limit)?;
        rooted.extend(unmarked.iter().filter(|slot| (first..=last).contains(slot)));
        rooted.sort_unstable();
        rooted.dedup();
        let mut bytes = 0;
        for slot in rooted {
            if bytes >= bytes_max && !stretch.blocks.is_empty() {
                stretch.next = slot;
                break;
            }
            let shreds = self.data_shreds(slot)?;
            bytes += shreds.iter().map(Bytes::len).sum::<usize>();
            if !shreds.is_empty() {
                stretch.blocks.push(RootedBlock { slot, shreds });
            }
        }
        Ok(stretch)
    }
}
