//! How much the table holds, and what that takes in memory.

use super::{Origin, history, prefixes, slab};
use std::time::Duration;
use sundog_types::{Hash, Now, Pubkey};

/// Nodes whose values are kept: the reference's figure, several times the largest known cluster.
pub const ORIGINS_MAX: usize = 8_192;

/// Values kept of all nodes together. One node may have [`VALUES_PER_ORIGIN`]; the figure leaves 32 for each of
/// [`ORIGINS_MAX`].
pub const VALUES_MAX: usize = 262_144;

/// Memory of the values themselves, in bytes. Usual values take about 1.2 kB decoded, so that [`VALUES_MAX`] come
/// first; values made to be large decode to many times that, and then this comes first.
pub const BYTES_MAX: usize = 400_000_000;

/// Labels that one node can have: 32 votes, 255 epoch slots, 512 chunks of duplicate proofs and one each of contact
/// info, lowest slot, snapshot hashes and the two kinds of a restart. [`crate::check()`] lets no others through.
pub const VALUES_PER_ORIGIN: usize = 32 + 255 + 512 + 5;

/// Values of a node without stake, once stakes are known: its votes, and what else such a node says. More are refused.
/// Otherwise a few hundred nodes, which one machine can run, would fill the table with [`VALUES_PER_ORIGIN`] each, and
/// keep out others without stake.
pub const UNSTAKED_VALUES_MAX: usize = 64;

/// Hashes of values that left the table; they stay in pull filters so as not to come back at once. Full: the oldest
/// is forgotten and may come back.
pub const PURGED_MAX: usize = 65_536;

/// Hashes of pulled values that were not taken. Full: the oldest is forgotten and may be sent again.
pub const REFUSED_MAX: usize = 16_384;

/// What a table with the usual limits takes at most, in bytes.
pub const HELD_BYTES_MAX: usize = Limits::USUAL.held_bytes_max();

/// What one of our own values takes at most, in bytes; they come on top of all limits.
const OWN_VALUE_BYTES: usize = 4_096;

/// An entry of the list of a node's values.
pub(super) const SHELF_BYTES: usize = size_of::<(u32, u32)>();

/// An entry of a B-tree, whose nodes may be half empty.
const fn in_tree(bytes: usize) -> usize {
    2 * bytes + 32
}

/// A node in the index of origins and in the two orders of them; the index is at least half full.
pub(super) const ORIGIN_BYTES: usize =
    size_of::<(u64, Pubkey, Origin)>() + 2 * size_of::<usize>() + in_tree(32) + in_tree(40);

pub(super) const PURGED_BYTES: usize = size_of::<(Now, Hash)>();

/// A hash with its moment, and in the order of moments.
pub(super) const REFUSED_BYTES: usize = in_tree(32 + 24) + in_tree(8 + 32);

/// How much the table holds, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes, at most.
    pub origins: usize,
    /// Values, at most.
    pub values: usize,
    /// Memory of the values themselves in bytes, at most.
    pub bytes: usize,
    /// How long the values of a silent node with stake are kept: about an epoch, at least
    /// [`super::UNSTAKED_LASTS`].
    pub staked_lasts: Duration,
}

impl Limits {
    const USUAL: Self = Self {
        origins: ORIGINS_MAX,
        values: VALUES_MAX,
        bytes: BYTES_MAX,
        staked_lasts: Duration::from_millis(432_000 * 400),
    };

    /// What a table with these limits takes at most, in bytes: the values, our own values on top, and what finds them,
    /// with twice the room that is needed where arrays grow by doubling.
    #[must_use]
    pub const fn held_bytes_max(&self) -> usize {
        let values = self.values + VALUES_PER_ORIGIN;
        let origins = self.origins + 1;
        self.bytes
            + VALUES_PER_ORIGIN * OWN_VALUE_BYTES
            + 2 * values * (slab::PLACE_BYTES + SHELF_BYTES)
            + 8 * values * prefixes::SLOT_BYTES
            + 2 * history::entries_max(values) * history::ENTRY_BYTES
            + 2 * origins * (ORIGIN_BYTES + 4 * SHELF_BYTES)
            + 2 * PURGED_MAX * PURGED_BYTES
            + REFUSED_MAX * REFUSED_BYTES
            + SMALLEST_BYTES
    }
}

/// What empty arrays begin with.
const SMALLEST_BYTES: usize = 4_096;

impl Default for Limits {
    fn default() -> Self {
        Self::USUAL
    }
}
