//! What can go wrong when the ledger is read.

use sundog_types::{Hash, store::StoreError};

/// Why the ledger cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The storage below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stored bytes do not decode.
    #[error("the ledger holds {what} that does not decode; remove the ledger directory and let the node catch up")]
    Corrupt {
        /// What the bytes should be.
        what: &'static str,
    },
    /// The directory was made for another chain.
    #[error(
        "the ledger belongs to the chain with genesis hash {stored}, the node was started for {wanted}; \
         use another ledger directory, or remove this one"
    )]
    OtherGenesis {
        /// The genesis hash in the directory.
        stored: Hash,
        /// The genesis hash of the node.
        wanted: Hash,
    },
    /// The directory was written by a version with another layout.
    #[error("the ledger has format {stored}, this version writes {wanted}; use another directory, or remove this one")]
    OtherFormat {
        /// The format in the directory.
        stored: u64,
        /// The format of this version.
        wanted: u64,
    },
}

impl LedgerError {
    pub(crate) const fn corrupt(what: &'static str) -> Self {
        Self::Corrupt { what }
    }
}

/// Decodes a stored value.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, LedgerError> {
    bincode::deserialize(bytes).map_err(|_| LedgerError::corrupt(what))
}

/// Encodes a value to store.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    bincode::serialize(value).expect("what is in memory always encodes")
}
