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
    (0..count).map(|entry| decode_entry(&mut rest, entry)).collect()
}

fn decode_entry(rest: &mut &[u8], entry: usize) -> Result<Entry, EntryError> {
    let cut = EntryError::Cut { entry };
    let num_hashes = u64::from_le_bytes(*take(rest).ok_or(cut)?);
    let hash = Hash::new_from_array(*take(rest).ok_or(cut)?);
    let count = count(rest, TRANSACTION_BYTES_MIN).ok_or(cut)?;
    let mut transactions = Vec::with_capacity(count);
    for transaction in 0..count {
        let decoded =
            decode_transaction(rest).map_err(|source| EntryError::Transaction { entry, transaction, source })?;
        *rest = rest.get(decoded.length..).unwrap_or_default();
        transactions.push(decoded.transaction);
    }
    Ok(Entry { num_hashes, hash, transactions })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pubkey, Signature};
    use proptest::{collection::vec, prelude::*};
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use solana_message::{Message, MessageHeader, VersionedMessage, compiled_instruction::CompiledInstruction, v0};

    fn message() -> impl Strategy<Value = VersionedMessage> {
        let keys = vec(any::<[u8; 32]>().prop_map(Pubkey::from), 0..140);
        let instruction = (any::<u8>(), vec(any::<u8>(), 0..4), vec(any::<u8>(), 0..200))
            .prop_map(|(program_id_index, accounts, data)| CompiledInstruction { program_id_index, accounts, data });
        let lookup = (any::<[u8; 32]>(), vec(any::<u8>(), 0..3), vec(any::<u8>(), 0..3));
        let lookups = vec(lookup, 0..3);
        (0..0x80u8, keys, vec(instruction, 0..4), proptest::option::of(lookups)).prop_map(
            |(signers, account_keys, instructions, lookups)| {
                let header = MessageHeader {
                    num_required_signatures: signers,
                    num_readonly_signed_accounts: 1,
                    num_readonly_unsigned_accounts: 2,
                };
                let recent_blockhash = Hash::new_from_array([signers; 32]);
                let Some(lookups) = lookups else {
                    return VersionedMessage::Legacy(Message { header, account_keys, recent_blockhash, instructions });
                };
                let lookups = lookups.into_iter();
                let address_table_lookups = lookups
                    .map(|(key, writable_indexes, readonly_indexes)| v0::MessageAddressTableLookup {
                        account_key: Pubkey::from(key),
                        writable_indexes,
                        readonly_indexes,
                    })
                    .collect();
                VersionedMessage::V0(v0::Message {
                    header,
                    account_keys,
                    recent_blockhash,
                    instructions,
                    address_table_lookups,
                })
            },
        )
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let signatures = vec(any::<u8>().prop_map(|byte| Signature::from([byte; 64])), 0..130);
        let transaction =
            (signatures, message()).prop_map(|(signatures, message)| VersionedTransaction { signatures, message });
        let entry =
            (any::<u64>(), any::<[u8; 32]>(), vec(transaction, 0..3)).prop_map(|(num_hashes, hash, transactions)| {
                Entry { num_hashes, hash: Hash::new_from_array(hash), transactions }
            });
        vec(entry, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_batch_decodes_to_what_was_encoded(entries in entries()) {
            let bytes = encode_batch(&entries);
            prop_assert_eq!(decode_batch(&bytes), Ok(entries));
        }

        #[test]
        fn a_shortened_batch_is_refused(entries in entries(), cut in any::<prop::sample::Index>()) {
            let bytes = encode_batch(&entries);
            let length = cut.index(bytes.len()).max(1);
            prop_assert!(decode_batch(&bytes[..length]).is_err());
        }

        #[test]
        fn an_altered_batch_is_refused_or_encodes_to_its_own_bytes(
            entries in entries(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = encode_batch(&entries);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok(decoded) = decode_batch(&bytes) {
                prop_assert!(bytes.starts_with(&encode_batch(&decoded)));
            }
        }
    }

    #[test]
    fn random_bytes_neither_panic_nor_reserve_what_they_claim() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut bytes = vec![0; rng.gen_range(0..300)];
            rng.fill(bytes.as_mut_slice());
            if bytes.len() > 2 && rng.r#gen() {
                // Small counts reach further into the decoder than random ones.
                let end = bytes.len().min(8);
                bytes[1..end].fill(0);
            }
            if let Ok(entries) = decode_batch(&bytes) {
                assert!(entries.capacity() <= bytes.len());
            }
        }
    }
}
