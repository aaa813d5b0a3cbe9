//! The one place where a packet becomes a transaction to rely on. Pure.

use crate::DropReason;
use crate::price::{Price, price};
use bytes::Bytes;
use solana_message::{VersionedMessage, v0::MessageAddressTableLookup};
use solana_transaction::versioned::VersionedTransaction;
use sundog_types::transaction::{
    DecodedTransaction, TRANSACTION_BYTES_MAX, TransactionError, decode_whole_transaction,
};
use sundog_types::{Hash, Now, Pubkey, Signature};
use sundog_types::{kernel::ed25519::Check, sign::Verifier, vote::is_simple_vote};

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
    /// One that nobody signed, for tests that need many.
    #[cfg(test)]
    pub(crate) fn unchecked(transaction: VersionedTransaction) -> Self {
        Self {
            packet: Bytes::from(sundog_types::transaction::encode_transaction(&transaction)),
            message_hash: transaction.message.hash(),
            price: price(&transaction),
            is_vote: is_simple_vote(&transaction),
            transaction,
            held_since: None,
            forwarded: false,
        }
    }

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
        self.transaction.signatures.first().copied().unwrap_or_default()
    }

    /// Who pays its fee.
    #[must_use]
    pub fn payer(&self) -> Pubkey {
        self.transaction.message.static_account_keys().first().copied().unwrap_or_default()
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

/// As [`check_packet`], for bytes that are not shared yet, which are copied, and without a memory.
///
/// # Errors
/// As there.
pub fn check(bytes: &[u8]) -> Result<VerifiedTransaction, DropReason> {
    if bytes.len() > TRANSACTION_BYTES_MAX {
        return Err(DropReason::TooLarge);
    }
    check_packet(&Bytes::copy_from_slice(bytes), &Verifier::without_memory())
}

/// Judges a packet by itself: size, form, indexes, locks, and last, since they cost most, signatures
/// (reference 1.8, 1.9).
///
/// # Errors
/// The first rule that it breaks.
pub fn check_packet(packet: &Bytes, verifier: &Verifier) -> Result<VerifiedTransaction, DropReason> {
    check_packets(std::slice::from_ref(packet), verifier).pop().expect("an answer for the packet")
}

/// As [`check_packet`], for many: their signatures are verified side by side, each by itself.
#[must_use]
pub fn check_packets(packets: &[Bytes], verifier: &Verifier) -> Vec<Result<VerifiedTransaction, DropReason>> {
    let shaped: Vec<_> = packets.iter().map(|packet| check_shape(packet)).collect();
    let mut checks = Vec::with_capacity(packets.len());
    for (packet, decoded) in packets.iter().zip(&shaped) {
        let Ok(decoded) = decoded else { continue };
        let (transaction, message) = (&decoded.transaction, decoded.message_bytes(packet));
        let signed = transaction.signatures.iter().zip(transaction.message.static_account_keys());
        checks.extend(signed.map(|(signature, signer)| Check { signer, message, signature }));
    }
    // Strict: no malleable S, no point of small order, no batch equation.
    let mut answers = verifier.holds_all(&checks).into_iter();
    let judge = |(packet, decoded): (&Bytes, Result<DecodedTransaction, DropReason>)| {
        let decoded = decoded?;
        // All of its answers are taken, also after one that says no.
        let own = answers.by_ref().take(decoded.transaction.signatures.len());
        let signed = own.fold(true, |all, holds| all & holds);
        if signed { Ok(verified(packet, decoded)) } else { Err(DropReason::BadSignature) }
    };
    packets.iter().zip(shaped).map(judge).collect()
}

/// All but the signatures.
fn check_shape(packet: &[u8]) -> Result<DecodedTransaction, DropReason> {
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
    Ok(decoded)
}

fn verified(packet: &Bytes, decoded: DecodedTransaction) -> VerifiedTransaction {
    let transaction = &decoded.transaction;
    VerifiedTransaction {
        packet: packet.clone(),
        message_hash: VersionedMessage::hash_raw_message(decoded.message_bytes(packet)),
        price: price(transaction),
        is_vote: is_simple_vote(transaction),
        transaction: decoded.transaction,
        held_since: None,
        forwarded: false,
    }
}

fn check_signature_count(transaction: &VersionedTransaction) -> Result<(), DropReason> {
    let header = transaction.message.header();
    let count = transaction.signatures.len();
    let required = usize::from(header.num_required_signatures);
    // The payer is the first signer and must be writable.
    let payer_writable = header.num_readonly_signed_accounts < header.num_required_signatures;
    let right = (1..=SIGNATURES_MAX).contains(&count) && count == required && payer_writable;
    if right { Ok(()) } else { Err(DropReason::SignatureCount) }
}

fn check_message(message: &VersionedMessage) -> Result<(), DropReason> {
    let header = message.header();
    let keys = message.static_account_keys().len();
    let signers = usize::from(header.num_required_signatures);
    if signers + usize::from(header.num_readonly_unsigned_accounts) > keys || keys > STATIC_KEYS_MAX {
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
            (1..keys).contains(&program) && instruction.accounts.iter().all(|index| usize::from(*index) < accounts)
        });
    if sane { Ok(()) } else { Err(DropReason::Unsanitary) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, Sample};
    use proptest::prelude::*;
    use rand::{Rng as _, RngCore as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_good_transaction_keeps_its_bytes_and_its_id() {
        let packet = samples::transfer(Sample::default());
        let verified = check_packet(&packet, &Verifier::default()).expect("good");
        assert_eq!(verified.packet(), &packet);
        assert_eq!(verified.signature().as_ref(), &packet[1..65]);
        assert_eq!(verified.message_hash(), verified.transaction().message.hash());
        assert!(!verified.is_vote());
        assert!(check(&samples::vote(1, 2)).expect("good").is_vote());
    }

    #[test]
    fn a_packet_that_is_too_large_is_not_looked_at() {
        assert_eq!(check(&[0; 1_233]), Err(DropReason::TooLarge));
        assert_eq!(check(&[0; 1_232]), Err(DropReason::Malformed));
    }

    #[test]
    fn packets_together_get_the_answers_that_each_gets_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let good = [samples::transfer(Sample::default()), samples::vote(1, 2)];
        let mut refused = 0;
        for count in 0..40 {
            let packets: Vec<Bytes> = (0..count)
                .map(|_| {
                    let mut bytes = good[rng.gen_range(0..2)].to_vec();
                    if rng.gen_ratio(1, 3) {
                        let place = rng.gen_range(0..bytes.len());
                        bytes[place] ^= 1 << rng.gen_range(0..8);
                    }
                    if rng.gen_ratio(1, 9) {
                        bytes.truncate(rng.gen_range(0..300));
                    }
                    Bytes::from(bytes)
                })
                .collect();
            let alone: Vec<_> = packets.iter().map(|packet| check(packet)).collect();
            for verifier in [Verifier::default(), Verifier::without_memory()] {
                assert_eq!(check_packets(&packets, &verifier), alone);
                assert_eq!(check_packets(&packets, &verifier), alone);
            }
            refused += alone.iter().filter(|answer| answer.is_err()).count();
        }
        assert!(refused > 100, "{refused}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_altered_byte_passes(place in any::<prop::sample::Index>(), change in 1..=255u8) {
            let mut bytes = samples::transfer(Sample::default()).to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            prop_assert!(check(&bytes).is_err());
        }

        #[test]
        fn no_shortened_packet_passes(length in any::<prop::sample::Index>()) {
            let bytes = samples::transfer(Sample::default());
            prop_assert!(check(&bytes[..length.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn random_bytes_are_refused_and_do_not_panic() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let good = samples::transfer(Sample::default());
        for _ in 0..50_000 {
            let mut bytes = vec![0; rng.gen_range(0..1_300)];
            rng.fill_bytes(&mut bytes);
            if rng.r#gen() {
                // A good front, so that more of the decoder is reached.
                let front = rng.gen_range(0..good.len()).min(bytes.len());
                bytes[..front].copy_from_slice(&good[..front]);
            }
            assert!(check(&bytes).is_err());
        }
    }
}
