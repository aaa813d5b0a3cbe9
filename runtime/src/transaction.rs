//! A transaction ready for execution: sanitised, its address tables resolved against a bank.

use rayon::prelude::*;
use solana_message::{
    AddressLoader, VersionedMessage,
    v0::{LoadedAddresses, MessageAddressTableLookup},
};
use solana_transaction::{
    sanitized::SanitizedTransaction,
    versioned::{VersionedTransaction, sanitized::SanitizedVersionedTransaction},
};
use solana_transaction_error::{AddressLoaderError, TransactionError};
use sundog_types::{Hash, Pubkey, Signature, sign::Verifier};

/// Instructions in a transaction, with the gate static_instruction_limit.
pub const INSTRUCTIONS_MAX: usize = 64;
/// Transactions whose signatures are verified together: a millisecond at most, so that threads share a block's.
const VERIFIED_TOGETHER: usize = 32;
/// Where the addresses of a lookup table begin.
const TABLE_META_BYTES: usize = 56;
/// The first field of an initialised lookup table.
const TABLE_TAG: [u8; 4] = [1, 0, 0, 0];

/// A transaction that a bank can execute.
#[derive(Clone, Debug)]
pub struct Tx {
    pub(crate) sanitized: SanitizedTransaction,
}

/// The state of the chain that a transaction is made ready against.
pub(crate) trait Tables {
    /// The addresses that a lookup names.
    fn resolve(&self, lookup: &MessageAddressTableLookup) -> Result<LoadedAddresses, AddressLoaderError>;
}

/// What does not depend on accounts: which rules hold.
pub(crate) struct Rules<'a> {
    pub(crate) reserved: &'a agave_reserved_account_keys::ReservedAccountKeys,
    pub(crate) locks_max: usize,
    pub(crate) instructions_max: usize,
}

#[derive(Clone, Copy)]
struct Loader<'a>(&'a dyn Tables);

impl AddressLoader for Loader<'_> {
    fn load_addresses(self, lookups: &[MessageAddressTableLookup]) -> Result<LoadedAddresses, AddressLoaderError> {
        let mut loaded = LoadedAddresses::default();
        for lookup in lookups {
            let addresses = self.0.resolve(lookup)?;
            loaded.writable.extend(addresses.writable);
            loaded.readonly.extend(addresses.readonly);
        }
        Ok(loaded)
    }
}

impl Tx {
    pub(crate) fn new(
        transaction: VersionedTransaction,
        tables: &dyn Tables,
        rules: &Rules<'_>,
    ) -> Result<Self, TransactionError> {
        if transaction.message.instructions().len() > rules.instructions_max {
            return Err(TransactionError::SanitizeFailure);
        }
        if !matches!(transaction.message, VersionedMessage::Legacy(_) | VersionedMessage::V0(_)) {
            return Err(TransactionError::UnsupportedVersion);
        }
        let hash = transaction.message.hash();
        let sanitized =
            SanitizedVersionedTransaction::try_from(transaction).map_err(|_| TransactionError::SanitizeFailure)?;
        let sanitized = SanitizedTransaction::try_new(sanitized, hash, false, Loader(tables), &rules.reserved.active)?;
        SanitizedTransaction::validate_account_locks(sanitized.message(), rules.locks_max)?;
        Ok(Self { sanitized })
    }

    /// The hash that names its message (reference 1.10).
    #[must_use]
    pub fn message_hash(&self) -> &Hash {
        self.sanitized.message_hash()
    }

    /// Its first signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.sanitized.signature()
    }

    /// Its account keys, the loaded ones last, and whether it writes each.
    pub fn accounts(&self) -> impl Iterator<Item = (&Pubkey, bool)> {
        let message = self.sanitized.message();
        (0..message.account_keys().len())
            .filter_map(move |index| Some((message.account_keys().get(index)?, message.is_writable(index))))
    }
}

/// Picks the addresses that a lookup names from a lookup table's data (reference 1.6).
///
/// `slot` is that of the bank; `in_slot_hashes`: whether SlotHashes has a slot.
pub(crate) fn pick(
    data: &[u8],
    lookup: &MessageAddressTableLookup,
    slot: u64,
    in_slot_hashes: &dyn Fn(u64) -> bool,
) -> Result<LoadedAddresses, AddressLoaderError> {
    let number = |at: usize| data.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let invalid = AddressLoaderError::InvalidAccountData;
    if data.get(..4) != Some(&TABLE_TAG) || data.len() < TABLE_META_BYTES {
        return Err(invalid);
    }
    let (Some(deactivated), Some(extended)) = (number(4), number(12)) else {
        return Err(invalid);
    };
    if deactivated != u64::MAX && deactivated != slot && !in_slot_hashes(deactivated) {
        return Err(AddressLoaderError::LookupTableAccountNotFound);
    }
    let (addresses, rest) = data[TABLE_META_BYTES..].as_chunks::<32>();
    if !rest.is_empty() {
        return Err(invalid);
    }
    let usable = if slot > extended { addresses.len() } else { usize::from(data[20]) };
    let usable = addresses.get(..usable).ok_or(invalid)?;
    let pick = |indexes: &[u8]| -> Result<Vec<Pubkey>, AddressLoaderError> {
        let pick = |index: &u8| usable.get(usize::from(*index)).copied().map(Pubkey::from);
        indexes.iter().map(|index| pick(index).ok_or(AddressLoaderError::InvalidLookupIndex)).collect()
    };
    Ok(LoadedAddresses { writable: pick(&lookup.writable_indexes)?, readonly: pick(&lookup.readonly_indexes)? })
}

/// Checks all signatures of transactions, as threads are free. The error is the place of the first
/// transaction that is not signed by all its signers. One that this node verified when it came from a client, or in
/// another block, is known again by the verifier.
///
/// # Errors
/// If a signature does not hold, or one is missing.
pub fn verify_signatures(transactions: &[VersionedTransaction], verifier: &Verifier) -> Result<(), usize> {
    let bad = |(at, some): (usize, &[VersionedTransaction])| {
        verifier.first_unsigned(some).map(|place| at * VERIFIED_TOGETHER + place)
    };
    let chunks = transactions.par_chunks(VERIFIED_TOGETHER).enumerate();
    chunks.find_map_first(bad).map_or(Ok(()), Err)
}

/// A transaction around a message that nobody signed, to ask what it would cost.
pub(crate) fn unsigned(message: VersionedMessage) -> VersionedTransaction {
    let signers = usize::from(message.header().num_required_signatures);
    VersionedTransaction { signatures: vec![Signature::default(); signers], message }
}
