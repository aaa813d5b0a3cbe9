//! The one place where a packet becomes a transaction to rely on. Pure.

use crate::DropReason;
use crate::price::{Price, price};
use bytes::Bytes;
use solana_message::{VersionedMessage, v0::MessageAddressTableLookup};
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::transaction::{
    TRANSACTION_BYTES_MAX, TransactionError, decode_whole_transaction,
};
use sundog_types::vote::is_simple_vote;
use sundog_types::{Hash, Now, Pubkey, Signature};

/// Top-level instructions of one transaction (SIMD-160).
pub const INSTRUCTIONS_MAX: usize = 64;

/// Accounts that one transaction may lock (gate increase_tx_account_lock_limit).
pub const LOCKS_MAX: usize = 128;

/// Signatures and static keys that fit a packet at most (reference 1.8).
const SIGNATURES_MAX: usize = 12;
const STATIC_KEYS_MAX: usize = 38;

/// An account index is one byte.
const ACCOUNTS_MAX: usize = 256;

/// A transaction that is well formed, locks what it may and is signed by whom it says. Only [`check`]
/// makes one. Whether it can be paid for and is not too old is for a bank to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransaction {
    packet: Bytes,
    transaction: VersionedTransaction,
    message_hash: Hash,
    price: Price,
    is_vote: bool,
    /// When the machine took it in.
    pub(crate) held_since: Option<Now>,
    /// Whether it was sent to another leader, by us or before it came to us.
    pub(crate) forwarded: bool,
}

impl VerifiedTransaction {
    /// The transaction.
    #[must_use]
    pub fn transaction(&self) -> &VersionedTransaction {
        &self.transaction
    }

    /// The transaction, for good.
    #[must_use]
    pub fn into_transaction(self) -> VersionedTransaction {
        self.transaction
    }

    /// The bytes it came in.
    #[must_use]
    pub fn packet(&self) -> &Bytes {
        &self.packet
    }

    /// Its id: the first signature.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.transaction
            .signatures
            .first()
            .copied()
            .unwrap_or_default()
    }

    /// Who pays its fee.
    #[must_use]
    pub fn payer(&self) -> Pubkey {
        self.transaction
            .message
            .static_account_keys()
            .first()
            .copied()
            .unwrap_or_default()
    }

    /// Hash of the signed message, by which a bank knows it again (reference 1.10).
    #[must_use]
    pub fn message_hash(&self) -> Hash {
        self.message_hash
    }

    /// What it pays and costs.
    #[must_use]
    pub fn price(&self) -> Price {
        self.price
    }

    /// Whether it may use the lane of votes.
    #[must_use]
    pub fn is_vote(&self) -> bool {
        self.is_vote
    }
}

/// As [`check_packet`], for bytes that are not shared yet: they are copied.
///
/// # Errors
/// As there.
pub fn check(bytes: &[u8]) -> Result<VerifiedTransaction, DropReason> {
    if bytes.len() > TRANSACTION_BYTES_MAX {
        return Err(DropReason::TooLarge);
    }
    check_packet(&Bytes::copy_from_slice(bytes))
}

/// Judges a packet by itself: size, form, indexes, locks, and last, since they cost most, signatures
/// (reference 1.8, 1.9).
///
/// # Errors
/// The first rule that it breaks.
pub fn check_packet(packet: &Bytes) -> Result<VerifiedTransaction, DropReason> {
    if packet.len() > TRANSACTION_BYTES_MAX {
        return Err(DropReason::TooLarge);
    }
    let decoded = decode_whole_transaction(packet).map_err(|error| match error {
        TransactionError::Version(_) => DropReason::Version,
        _ => DropReason::Malformed,
    })?;
    let transaction = &decoded.transaction;
    check_signature_count(transaction)?;
    check_message(&transaction.message)?;
    check_locks(transaction.message.static_account_keys())?;
    let message_bytes = decoded.message_bytes(packet);
    let keys = transaction.message.static_account_keys();
    let mut signed = transaction.signatures.iter().zip(keys);
    // Strict: no malleable S, no point of small order, no batch equation.
    if !signed.all(|(signature, key)| signature.verify(key.as_ref(), message_bytes)) {
        return Err(DropReason::BadSignature);
    }
    Ok(VerifiedTransaction {
        packet: packet.clone(),
        message_hash: VersionedMessage::hash_raw_message(message_bytes),
        price: price(transaction),
        is_vote: is_simple_vote(transaction),
        transaction: decoded.transaction,
        held_since: None,
        forwarded: false,
    })
}

fn check_signature_count(transaction: &VersionedTransaction) -> Result<(), DropReason> {
    let header = transaction.message.header();
    let count = transaction.signatures.len();
    let required = usize::from(header.num_required_signatures);
    // The payer is the first signer and must be writable.
    let payer_writable = header.num_readonly_signed_accounts < header.num_required_signatures;
    let right = (1..=SIGNATURES_MAX).contains(&count) && count == required && payer_writable;
    if right {
        Ok(())
    } else {
        Err(DropReason::SignatureCount)
    }
}

fn check_message(message: &VersionedMessage) -> Result<(), DropReason> {
    let header = message.header();
    let keys = message.static_account_keys().len();
    let signers = usize::from(header.num_required_signatures);
    if signers + usize::from(header.num_readonly_unsigned_accounts) > keys || keys > STATIC_KEYS_MAX
    {
        return Err(DropReason::Unsanitary);
    }
    let instructions = message.instructions();
    if instructions.is_empty() && matches!(message, VersionedMessage::Legacy(_)) {
        return Err(DropReason::NoInstructions);
    }
    if instructions.len() > INSTRUCTIONS_MAX {
        return Err(DropReason::TooManyInstructions);
    }
    let lookups = message.address_table_lookups().unwrap_or_default();
    if lookups.iter().any(|lookup| loads(lookup) == 0) {
        return Err(DropReason::Unsanitary);
    }
    let accounts = keys + lookups.iter().map(loads).sum::<usize>();
    let sane = accounts <= ACCOUNTS_MAX
        && instructions.iter().all(|instruction| {
            let program = usize::from(instruction.program_id_index);
            (1..keys).contains(&program)
                && instruction
                    .accounts
                    .iter()
                    .all(|index| usize::from(*index) < accounts)
        });
    if sane {
        Ok(())
    } else {
        Err(DropReason::Unsanitary)
    }
}

fn loads(lookup: &MessageAddressTableLookup) -> usize {
    lookup.writable_indexes.len() + lookup.readonly_indexes.len()
}

/// Looked-up keys are not known here; the bank looks at those.
fn check_locks(keys: &[Pubkey]) -> Result<(), DropReason> {
    if keys.len() > LOCKS_MAX {
        return Err(DropReason::TooManyLocks);
    }
    let mut sorted: Vec<&Pubkey> = keys.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(DropReason::AccountTwice);
    }
    Ok(())
}
