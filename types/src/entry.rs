//! Entries, the records of Proof of History, and their batches on the wire.

use crate::Hash;
use crate::transaction::{TransactionError, decode_transaction};
use serde::Serialize;
use solana_transaction::versioned::VersionedTransaction;

/// Bytes of an entry without transactions: hash count, hash, transaction count.
const ENTRY_BYTES_MIN: usize = 8 + 32 + 8;

/// Bytes of the smallest transaction: no signature, no account, no instruction.
const TRANSACTION_BYTES_MIN: usize = 1 + 3 + 1 + 32 + 1;

/// A record of Proof of History (reference 2.1): how far the hash chain ran, and what was mixed in.
///
/// It serialises as bincode lays it out. There is no `Deserialize`: [`decode_batch`] is the way in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Hashes since the previous entry.
    pub num_hashes: u64,
    /// State of the chain after this entry.
    pub hash: Hash,
    /// What was recorded; nothing, if the entry is a tick.
    pub transactions: Vec<VersionedTransaction>,
}

impl Entry {
    /// Whether it marks time instead of recording transactions.
    #[must_use]
    pub fn is_tick(&self) -> bool {
        self.transactions.is_empty()
    }
}

/// Why bytes are no batch of entries. The block that holds them can never become valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end inside an entry, or a count exceeds what they can hold.
    #[error("entry {entry}: the bytes end inside it; the block is invalid")]
    Cut {
        /// Place of the entry in the batch.
        entry: usize,
    },
    /// A transaction in an entry does not decode.
    #[error("entry {entry}, transaction {transaction}: {source}; the block is invalid")]
    Transaction {
        /// Place of the entry in the batch.
        entry: usize,
        /// Place of the transaction in the entry.
        transaction: usize,
        /// What is wrong with it.
        source: TransactionError,
    },
}

/// The wire form of a batch: what one range of data shreds carries.
///
/// # Panics
/// If a transaction holds a list longer than 65,535, which none that was decoded does.
#[must_use]
pub fn encode_batch(entries: &[Entry]) -> Vec<u8> {
    bincode::serialize(entries).expect("lists of a transaction are short")
}

/// Decodes a batch. Bytes after it are ignored and no bytes at all are zero entries, as the reference
/// reads a completed range of shreds (reference 16.2). Memory is reserved only for what the bytes can hold.
///
/// # Errors
/// When the bytes are no batch, or when a transaction in it is neither legacy nor version 0.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Entry>, EntryError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = bytes;
    let count = count(&mut rest, ENTRY_BYTES_MIN).ok_or(EntryError::Cut { entry: 0 })?;
    (0..count)
        .map(|entry| decode_entry(&mut rest, entry))
        .collect()
}

fn decode_entry(rest: &mut &[u8], entry: usize) -> Result<Entry, EntryError> {
    let cut = EntryError::Cut { entry };
    let num_hashes = u64::from_le_bytes(*take(rest).ok_or(cut)?);
    let hash = Hash::new_from_array(*take(rest).ok_or(cut)?);
    let count = count(rest, TRANSACTION_BYTES_MIN).ok_or(cut)?;
    let mut transactions = Vec::with_capacity(count);
    for transaction in 0..count {
        let decoded = decode_transaction(rest).map_err(|source| EntryError::Transaction {
            entry,
            transaction,
            source,
        })?;
        *rest = rest.get(decoded.length..).unwrap_or_default();
        transactions.push(decoded.transaction);
    }
    Ok(Entry {
        num_hashes,
        hash,
        transactions,
    })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

/// A count of items, refused if the bytes after it cannot hold so many.
fn count(rest: &mut &[u8], item_bytes_min: usize) -> Option<usize> {
    let count = usize::try_from(u64::from_le_bytes(*take(rest)?)).ok()?;
    (count <= rest.len() / item_bytes_min).then_some(count)
}
