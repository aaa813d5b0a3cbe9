//! The storage contract: ordered key spaces, atomic batches.
//!
//! `ledger` and `runtime` define what is stored and how it is encoded; the shell implements this
//! trait over a database, the simulator over memory that can lose what was not durable. Reads are
//! plain calls. Writes that must be durable are effects that carry a [`Batch`] and are acknowledged
//! by an input.

use bytes::Bytes;

/// A family of keys. Each has one owner crate that defines its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// `ledger`: data shreds of FEC sets that were not whole, by slot and index.
    DataShreds,
    /// `ledger`: the data shreds of whole FEC sets, by slot and set.
    FecSets,
    /// `ledger`: metadata of slots.
    Slots,
    /// `ledger`: executed transactions, by slot and place in the block.
    Transactions,
    /// `ledger`: where a transaction is, by signature.
    Signatures,
    /// `ledger`: which transactions name an account, by address and slot.
    Addresses,
    /// `runtime`: the rooted accounts, by address.
    Accounts,
    /// Single values: the rooted bank's fields, the last led slot, the genesis hash.
    Singles,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 8] = [
        Self::DataShreds,
        Self::FecSets,
        Self::Slots,
        Self::Transactions,
        Self::Signatures,
        Self::Addresses,
        Self::Accounts,
        Self::Singles,
    ];

    /// Its name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataShreds => "data_shreds",
            Self::FecSets => "fec_sets",
            Self::Slots => "slots",
            Self::Transactions => "transactions",
            Self::Signatures => "signatures",
            Self::Addresses => "addresses",
            Self::Accounts => "accounts",
            Self::Singles => "singles",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Set a key.
    Put(Space, Bytes, Bytes),
    /// Remove a key. Removing what is not there is no error.
    Delete(Space, Bytes),
}

/// Changes that take effect together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order; a later change of a key wins.
    pub writes: Vec<Write>,
}

impl Batch {
    /// Adds a change that sets `key` in `space`.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.push(Write::Put(space, key.into(), value.into()));
    }

    /// Adds a change that removes `key` from `space`.
    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        self.writes.push(Write::Delete(space, key.into()));
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// What went wrong below the storage contract.
#[derive(Debug, thiserror::Error)]
#[error("storage failed: {0}; free disk space or restore the ledger directory, then restart")]
pub struct StoreError(pub String);

/// Ordered key spaces that readers on any thread may use.
pub trait Store: Send + Sync {
    /// The value of `key`, if it is set.
    ///
    /// # Errors
    /// If the storage below fails.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// At most `limit` pairs with `from <= key < to`, in ascending order of keys.
    ///
    /// # Errors
    /// If the storage below fails.
    fn range(&self, space: Space, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// At most `limit` pairs with `from <= key < to`, in descending order of keys.
    ///
    /// # Errors
    /// If the storage below fails.
    fn range_back(&self, space: Space, from: &[u8], to: &[u8], limit: usize)
    -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Applies a batch: visible to reads when the call returns; with `durable`, also on disk.
    ///
    /// # Errors
    /// If the storage below fails; then nothing of the batch is visible.
    fn commit(&self, batch: &Batch, durable: bool) -> Result<(), StoreError>;
}
