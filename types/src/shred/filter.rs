//! What is dropped of arriving shreds before any signature is checked (reference 3.12).

use super::{
    DropReason, Gate, Gates, Kind, View,
    variant::{MAX_SHREDS_PER_SLOT, SHREDS_PER_KIND},
    wire::{DATA_COMPLETE, LAST_IN_SLOT},
};
use crate::Slot;

/// Slots ahead of the clock that are taken at least, whatever the epoch's length.
const LEAST_SLOTS_AHEAD: u64 = 500;

/// What a node knows when it judges a shred.
#[derive(Clone, Copy, Debug)]
pub struct FilterContext {
    /// The node's root.
    pub root: Slot,
    /// The last slot it takes shreds of: [`highest_slot`].
    pub max_slot: Slot,
    /// The chain it is on.
    pub shred_version: u16,
    /// The gates of the epoch that the shred's slot is in.
    pub gates: Gates,
}

/// The last slot of which shreds are taken, when the node works on slot `tip`.
#[must_use]
pub fn highest_slot(tip: Slot, slots_in_epoch: u64) -> Slot {
    tip.saturating_add(slots_in_epoch.saturating_mul(2).max(LEAST_SLOTS_AHEAD))
}

/// Whether a shred is worth the cost of checking its signature.
///
/// # Errors
/// The first reason to drop it.
pub fn filter(shred: View<'_>, context: &FilterContext) -> Result<(), DropReason> {
    keep_if(shred.version() == context.shred_version, DropReason::ShredVersion)?;
    keep_if(shred.slot() <= context.max_slot, DropReason::SlotTooFar)?;
    keep_if(shred.index().get() < MAX_SHREDS_PER_SLOT, DropReason::IndexTooHigh)?;
    match shred.kind() {
        Kind::Data => filter_data(shred, context)?,
        Kind::Code => filter_code(shred, context)?,
    }
    if context.gates.has(Gate::FixedFecSet) {
        keep_if(lies_in_aligned_set(shred), DropReason::BadFecSet)?;
    }
    Ok(())
}

fn filter_data(shred: View<'_>, context: &FilterContext) -> Result<(), DropReason> {
    let (slot, parent) = (shred.slot(), shred.parent().ok_or(DropReason::BadParent)?);
    let genesis = slot == Slot::ZERO && parent == Slot::ZERO && context.root == Slot::ZERO;
    if !genesis {
        keep_if(slot > context.root, DropReason::SlotRooted)?;
        keep_if(context.root <= parent && parent < slot, DropReason::BadParent)?;
    }
    let place = shred.index().get().wrapping_sub(shred.fec_set_index().get());
    let ends_set = place == SHREDS_PER_KIND as u32 - 1;
    if context.gates.has(Gate::DataCompleteAtEnd) && shred.flags() & DATA_COMPLETE != 0 {
        keep_if(ends_set, DropReason::BadFlags)?;
    }
    if context.gates.has(Gate::FixedFecSet) && shred.flags() & LAST_IN_SLOT == LAST_IN_SLOT {
        let ends_aligned = shred.index().get() % SHREDS_PER_KIND as u32 == SHREDS_PER_KIND as u32 - 1;
        keep_if(ends_aligned, DropReason::BadFlags)?;
    }
    Ok(())
}

fn filter_code(shred: View<'_>, context: &FilterContext) -> Result<(), DropReason> {
    keep_if(shred.slot() > context.root, DropReason::SlotRooted)?;
    if context.gates.has(Gate::FixedFecSet) {
        let fixed =
            usize::from(shred.num_data()) == SHREDS_PER_KIND && usize::from(shred.num_code()) == SHREDS_PER_KIND;
        keep_if(fixed, DropReason::BadErasureConfig)?;
    }
    Ok(())
}

fn lies_in_aligned_set(shred: View<'_>) -> bool {
    let (index, set) = (shred.index().get(), shred.fec_set_index().get());
    set.is_multiple_of(SHREDS_PER_KIND as u32)
        && index.checked_sub(set).is_some_and(|place| place < SHREDS_PER_KIND as u32)
}

fn keep_if(condition: bool, otherwise: DropReason) -> Result<(), DropReason> {
    if condition { Ok(()) } else { Err(otherwise) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shreds_are_taken_from_at_least_500_slots_ahead() {
        assert_eq!(highest_slot(Slot::new(10), 32), Slot::new(510));
        assert_eq!(highest_slot(Slot::new(10), 8_192), Slot::new(16_394));
        assert_eq!(highest_slot(Slot::new(u64::MAX), 8_192), Slot::new(u64::MAX));
    }
}
