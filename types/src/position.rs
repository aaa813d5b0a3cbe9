//! Positions on the chain's axes, and distances between them.
//!
//! There is no `From<u64>`: whoever makes a slot from a number says so with [`Slot::new`].

use serde::{Deserialize, Serialize};
use std::{fmt, marker::PhantomData};

/// A distance between two positions on the same axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delta<T>(u64, PhantomData<T>);

impl<T> Delta<T> {
    /// A distance of `steps`.
    #[must_use]
    pub const fn new(steps: u64) -> Self {
        Self(steps, PhantomData)
    }

    /// The number of steps.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

macro_rules! position {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($int);

        impl $name {
            /// The first position.
            pub const ZERO: Self = Self(0);

            /// The position with this number.
            #[must_use]
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }

            /// The one after it.
            ///
            /// # Panics
            /// On overflow, which only a bug can cause: positions are bounded where bytes are parsed.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("position overflow"))
            }

            /// The one before it, if there is one.
            #[must_use]
            pub const fn previous(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The position `by` further on; the last one if there is none so far.
            #[must_use]
            pub const fn saturating_add(self, by: $int) -> Self {
                Self(self.0.saturating_add(by))
            }

            /// The position `by` before it; the first one if there is none so far back.
            #[must_use]
            pub const fn saturating_sub(self, by: $int) -> Self {
                Self(self.0.saturating_sub(by))
            }

            /// How far it is from an earlier position; `None` if that is not earlier or equal.
            #[must_use]
            pub fn since(self, earlier: Self) -> Option<Delta<Self>> {
                self.0.checked_sub(earlier.0).map(|steps| Delta::new(u64::from(steps)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

position! {
    /// A slot: the stretch of time in which one leader may make one block.
    Slot(u64)
}
position! {
    /// An epoch: the stretch of slots for which stakes and the leader schedule are fixed.
    Epoch(u64)
}
position! {
    /// The number of ticks since genesis. Ticks 1 to 64 belong to slot 0 (reference 2.6).
    TickHeight(u64)
}
position! {
    /// The place of a data or a code shred in its slot; the two kinds count separately.
    ShredIndex(u32)
}
position! {
    /// The data index of the first data shred of an FEC set, for shreds of both kinds.
    FecSetIndex(u32)
}

impl TickHeight {
    /// The height at which `slot` is complete: `(slot + 1) * ticks_per_slot`.
    #[must_use]
    pub const fn end_of(slot: Slot, ticks_per_slot: u64) -> Self {
        Self(slot.0.saturating_add(1).saturating_mul(ticks_per_slot))
    }

    /// The slot that the tick at this height belongs to; height 0, before any tick, is slot 0.
    #[must_use]
    pub const fn slot(self, ticks_per_slot: u64) -> Slot {
        Slot(self.0.saturating_sub(1) / ticks_per_slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_1_to_64_belong_to_slot_0() {
        for (tick, slot) in [(0, 0), (1, 0), (64, 0), (65, 1), (128, 1), (129, 2)] {
            assert_eq!(TickHeight::new(tick).slot(64), Slot::new(slot), "tick {tick}");
        }
        assert_eq!(TickHeight::end_of(Slot::new(0), 64), TickHeight::new(64));
    }

    #[test]
    fn a_distance_to_a_later_slot_does_not_exist() {
        assert_eq!(Slot::new(3).since(Slot::new(5)), None);
        assert_eq!(Slot::new(5).since(Slot::new(3)), Some(Delta::new(2)));
    }
}
