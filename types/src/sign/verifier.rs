//! Verification with a memory, which may only save time.

use super::strict::VerifyingKey;
use crate::{
    Pubkey, Signature,
    kernel::ed25519::{Check, Kernel},
};
use sha2::{Digest as _, Sha256};
use solana_transaction::versioned::VersionedTransaction;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys kept decompressed: the validators of a large cluster, and the busiest payers. 200 bytes each, taken as they come.
pub const KEYS_MAX: usize = 4_096;
/// Signatures remembered to hold: ten seconds of a busy cluster's transactions, which come from clients and again in a
/// block, and votes, which come by gossip, straight, and in a block. 32 bytes each.
pub const HELD_MAX: usize = 65_536;
/// Places that one key or signature can take; of these the one that lost interest loses it.
const WAYS: usize = 4;
/// Locks, so that threads seldom meet at one.
const SHARDS: usize = 16;
const KEY_SETS: usize = KEYS_MAX / WAYS / SHARDS;
const HELD_SETS: usize = HELD_MAX / WAYS / SHARDS;

const _: () = assert!(SHARDS * KEY_SETS * WAYS == KEYS_MAX && SHARDS * HELD_SETS * WAYS == HELD_MAX);

/// What proves that a signature holds: the hash of signer, signature and message. The first two have a fixed length, so
/// that two different checks cannot hash the same bytes.
type Proof = [u8; 32];

/// Answers what [`super::verify`] answers, always. It keeps keys decompressed that come often, and knows again what it
/// found to hold, so that a transaction or a gossip value is verified once however often it comes.
///
/// Both memories are divided into sets of four places, by bits of the key or the hash. Full: of its set, a new
/// signature takes the place of the oldest; a new key takes the last place, and moves one place up each time it comes
/// again, so that keys that come once do not push out those that come often. What was forgotten is verified again.
#[derive(Debug)]
pub struct Verifier {
    shards: Box<[Mutex<Shard>]>,
    memory: Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Memory {
    None,
    Keys,
    All,
}

#[derive(Debug)]
struct Shard {
    keys: Vec<Vec<VerifyingKey>>,
    /// Zeros where there is none yet: no known bytes hash to that.
    held: Vec<[Proof; WAYS]>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new(Memory::All)
    }
}

impl Verifier {
    fn new(memory: Memory) -> Self {
        let shard = || Shard {
            keys: vec![Vec::new(); KEY_SETS],
            held: if memory == Memory::All { vec![[[0; 32]; WAYS]; HELD_SETS] } else { Vec::new() },
        };
        let shards = if memory == Memory::None { 0 } else { SHARDS };
        Self { shards: (0..shards).map(|_| Mutex::new(shard())).collect(), memory }
    }

    /// One that remembers nothing: for what is checked seldom, and to measure the others by.
    #[must_use]
    pub fn without_memory() -> Self {
        Self::new(Memory::None)
    }

    /// One that remembers keys alone.
    #[must_use]
    pub fn of_keys() -> Self {
        Self::new(Memory::Keys)
    }

    /// Whether `signer` signed the message, strictly; remembered if so. For what may come again: transactions, votes,
    /// gossip values.
    #[must_use]
    pub fn holds(&self, signer: &Pubkey, message: &[u8], signature: &Signature) -> bool {
        self.holds_all(&[Check { signer, message, signature }]) == [true]
    }

    /// The same of many, side by side where the processor can.
    #[must_use]
    pub fn holds_all(&self, checks: &[Check<'_>]) -> Vec<bool> {
        if self.memory < Memory::All {
            return self.verify_all(checks);
        }
        let proofs: Vec<Proof> = checks.iter().map(proof).collect();
        let mut answers: Vec<bool> = proofs.iter().map(|proof| self.knows(proof)).collect();
        let unknown: Vec<usize> = (0..checks.len()).filter(|at| !answers[*at]).collect();
        let asked: Vec<Check<'_>> = unknown.iter().map(|at| checks[*at]).collect();
        for (at, holds) in unknown.into_iter().zip(self.verify_all(&asked)) {
            if holds {
                self.remember(proofs[at]);
                answers[at] = true;
            }
        }
        answers
    }

    /// The place of the first transaction that is not signed by all its signers. `None`: all are.
    #[must_use]
    pub fn first_unsigned(&self, transactions: &[VersionedTransaction]) -> Option<usize> {
        let missing = transactions.iter().position(|transaction| {
            let signers = usize::from(transaction.message.header().num_required_signatures);
            transaction.signatures.len() != signers || transaction.message.static_account_keys().len() < signers
        });
        // What comes after that does not matter.
        let transactions = &transactions[..missing.unwrap_or(transactions.len())];
        let messages: Vec<Vec<u8>> = transactions.iter().map(|transaction| transaction.message.serialize()).collect();
        let mut checks = Vec::with_capacity(transactions.len());
        let mut places = Vec::with_capacity(transactions.len());
        for (place, (transaction, message)) in transactions.iter().zip(&messages).enumerate() {
            let signed = transaction.signatures.iter().zip(transaction.message.static_account_keys());
            checks.extend(signed.map(|(signature, signer)| Check { signer, message, signature }));
            places.resize(checks.len(), place);
        }
        let bad = self.holds_all(&checks).into_iter().position(|holds| !holds);
        bad.map(|check| places[check]).or(missing)
    }

    fn verify_all(&self, checks: &[Check<'_>]) -> Vec<bool> {
        let kernel = Kernel::best();
        if kernel.worth_from().is_none_or(|least| checks.len() < least) {
            return checks.iter().map(|check| self.holds_once(check.signer, check.message, check.signature)).collect();
        }
        let mut answers = vec![false; checks.len()];
        kernel.verify(checks, &mut answers);
        answers
    }

    fn knows(&self, proof: &Proof) -> bool {
        let (shard, set) = place(proof, HELD_SETS);
        self.shard(shard).held[set].contains(proof)
    }

    fn remember(&self, proof: Proof) {
        let (shard, set) = place(&proof, HELD_SETS);
        let set = &mut self.shard(shard).held[set];
        // Another thread may have found the same meanwhile.
        if !set.contains(&proof) {
            set.rotate_right(1);
            set[0] = proof;
        }
    }

    /// The same of what does not come again, or is known again by other means: roots of shreds, pings.
    #[must_use]
    pub fn holds_once(&self, signer: &Pubkey, message: &[u8], signature: &Signature) -> bool {
        self.key(signer).is_some_and(|key| key.verify(message, signature))
    }

    /// A key, decompressed.
    fn key(&self, signer: &Pubkey) -> Option<VerifyingKey> {
        if self.memory == Memory::None {
            return VerifyingKey::new(signer);
        }
        let (shard, set) = place(signer.as_array(), KEY_SETS);
        let known = |set: &[VerifyingKey]| set.iter().position(|key| key.as_bytes() == signer.as_array());
        {
            let keys = &mut self.shard(shard).keys[set];
            if let Some(at) = known(keys) {
                let key = keys[at];
                keys.swap(at, at.saturating_sub(1));
                return Some(key);
            }
        }
        let key = VerifyingKey::new(signer)?;
        let keys = &mut self.shard(shard).keys[set];
        if known(keys).is_none() {
            keys.truncate(WAYS - 1);
            keys.push(key);
        }
        Some(key)
    }

    /// What a panic left behind is whole: no step between two of a memory's states panics.
    fn shard(&self, number: usize) -> MutexGuard<'_, Shard> {
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn proof(check: &Check<'_>) -> Proof {
    Sha256::new().chain_update(check.signer).chain_update(check.signature).chain_update(check.message).finalize().into()
}

/// The shard and the set within it of a key or hash.
fn place(bytes: &[u8; 32], sets: usize) -> (usize, usize) {
    let number = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    (number % SHARDS, number / SHARDS % sets)
}

#[cfg(test)]
mod tests {
    use super::{super::verify, *};
    use crate::Hash;
    use ed25519_dalek::{Signer as _, SigningKey};
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use solana_message::{VersionedMessage, legacy};

    fn signer(number: u32) -> SigningKey {
        let mut seed = [5; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        SigningKey::from_bytes(&seed)
    }

    fn key(signer: &SigningKey) -> Pubkey {
        Pubkey::new_from_array(signer.verifying_key().to_bytes())
    }

    fn signed(signer: &SigningKey, message: &[u8]) -> Signature {
        Signature::from(signer.sign(message).to_bytes())
    }

    fn keys_kept(verifier: &Verifier) -> usize {
        verifier.shards.iter().map(|shard| shard.lock().expect("alive").keys.iter().map(Vec::len).sum::<usize>()).sum()
    }

    fn held(verifier: &Verifier) -> usize {
        let of = |shard: &Shard| shard.held.iter().flatten().filter(|proof| **proof != [0; 32]).count();
        verifier.shards.iter().map(|shard| of(&shard.lock().expect("alive"))).sum()
    }

    #[test]
    fn it_answers_what_the_check_without_memory_answers_in_any_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let verifiers = [Verifier::default(), Verifier::of_keys(), Verifier::without_memory()];
        let signers: Vec<_> = (0..5).map(signer).collect();
        let mut accepted = 0;
        for _ in 0..3_000 {
            let (one, other) = (&signers[rng.gen_range(0..5)], &signers[rng.gen_range(0..5)]);
            let message = [rng.gen_range(0..4); 40];
            let mut signature = signed(one, &message);
            if rng.gen_ratio(1, 4) {
                let mut bytes: [u8; 64] = signature.into();
                bytes[rng.gen_range(0..64)] ^= 1 << rng.gen_range(0..8);
                signature = Signature::from(bytes);
            }
            let mut by = key(other);
            if rng.gen_ratio(1, 8) {
                by = Pubkey::new_from_array([rng.gen_range(0..4); 32]);
            }
            let expected = verify(&by, &message, &signature);
            let once = rng.r#gen();
            for verifier in &verifiers {
                let holds = if once { Verifier::holds_once } else { Verifier::holds };
                assert_eq!(holds(verifier, &by, &message, &signature), expected);
            }
            accepted += usize::from(expected);
        }
        assert!((200..2_000).contains(&accepted), "{accepted}");
        let kept = verifiers.map(|verifier| (keys_kept(&verifier), held(&verifier)));
        assert_eq!(kept[1..], [(kept[0].0, 0), (0, 0)]);
        assert!(kept[0].0 >= 5 && (1..=20).contains(&kept[0].1), "{kept:?}");
    }

    #[test]
    fn many_at_once_get_the_answers_that_each_alone_gets() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let verifiers = [Verifier::default(), Verifier::of_keys(), Verifier::without_memory()];
        let signers: Vec<_> = (0..7).map(signer).collect();
        for count in (0..40).chain([1, 2, 3, 200]) {
            let made: Vec<_> = (0..count)
                .map(|_| {
                    let signer = &signers[rng.gen_range(0..7)];
                    let message = vec![rng.gen_range(0..9); rng.gen_range(0..300)];
                    let mut bytes: [u8; 64] = signed(signer, &message).into();
                    bytes[rng.gen_range(0..64)] ^= u8::from(rng.gen_ratio(1, 5)) << rng.gen_range(0..8);
                    (
                        key(&signers[rng.gen_range(0..7)]),
                        key(signer),
                        message,
                        Signature::from(bytes),
                        rng.gen_ratio(1, 9),
                    )
                })
                .collect();
            let checks: Vec<_> = made
                .iter()
                .map(|(other, signer, message, signature, by_other)| {
                    let signer = if *by_other { other } else { signer };
                    Check { signer, message, signature }
                })
                .collect();
            let expected: Vec<_> =
                checks.iter().map(|check| verify(check.signer, check.message, check.signature)).collect();
            for verifier in verifiers.iter().chain([&verifiers[0]]) {
                assert_eq!(verifier.holds_all(&checks), expected);
            }
        }
    }

    #[test]
    fn the_first_transaction_that_lacks_a_signature_is_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (verifier, signers) = (Verifier::default(), [1, 2, 3].map(signer));
        let keys: Vec<_> = signers.iter().map(key).collect();
        for _ in 0..60 {
            let mut made: Vec<_> = (0..rng.gen_range(0..30))
                .map(|_| {
                    let count = rng.gen_range(1..=3_u8);
                    let message = legacy::Message::new_with_compiled_instructions(
                        count,
                        0,
                        0,
                        keys.clone(),
                        Hash::new_from_array(rng.r#gen()),
                        Vec::new(),
                    );
                    let message = VersionedMessage::Legacy(message);
                    let bytes = message.serialize();
                    let signatures = signers[..count.into()].iter().map(|signer| signed(signer, &bytes)).collect();
                    VersionedTransaction { signatures, message }
                })
                .collect();
            for _ in 0..rng.gen_range(0..3) {
                if made.is_empty() {
                    break;
                }
                let at = rng.gen_range(0..made.len());
                let signatures = &mut made[at].signatures;
                match rng.gen_range(0..3) {
                    0 => drop(signatures.pop()),
                    1 => signatures.push(Signature::default()),
                    _ => {
                        let last = signatures.last_mut().expect("one at least");
                        let mut bytes: [u8; 64] = (*last).into();
                        bytes[rng.gen_range(0..64)] ^= 1;
                        *last = Signature::from(bytes);
                    }
                }
            }
            let unsigned = |transaction: &VersionedTransaction| {
                let (message, held) = (transaction.message.serialize(), &transaction.signatures);
                held.len() != usize::from(transaction.message.header().num_required_signatures)
                    || !held.iter().zip(&keys).all(|(signature, key)| verify(key, &message, signature))
            };
            assert_eq!(verifier.first_unsigned(&made), made.iter().position(unsigned));
        }
    }

    #[test]
    fn what_holds_is_known_again_and_what_does_not_is_never_remembered() {
        let verifier = Verifier::default();
        let signer = signer(1);
        let signature = signed(&signer, b"yes");
        for _ in 0..3 {
            assert!(verifier.holds(&key(&signer), b"yes", &signature));
            assert!(!verifier.holds(&key(&signer), b"no", &signature));
        }
        assert_eq!((keys_kept(&verifier), held(&verifier)), (1, 1));
    }

    #[test]
    fn full_of_keys_it_keeps_those_that_come_often() {
        let verifier = Verifier::default();
        let busy = key(&signer(0));
        for number in 1..20_000 {
            let _ = verifier.key(&busy);
            let _ = verifier.key(&busy);
            assert!(verifier.key(&key(&signer(number))).is_some());
        }
        assert_eq!(keys_kept(&verifier), KEYS_MAX);
        let (shard, set) = place(busy.as_array(), KEY_SETS);
        assert_eq!(verifier.shard(shard).keys[set][0].as_bytes(), busy.as_array());
    }

    #[test]
    fn full_of_signatures_it_forgets_the_oldest_and_verifies_them_again() {
        let verifier = Verifier::default();
        let signer = signer(1);
        let signature = signed(&signer, b"first");
        assert!(verifier.holds(&key(&signer), b"first", &signature));
        // Others are put in as if they had been verified: signing as many would take seconds.
        for number in 0..8 * HELD_MAX as u64 {
            verifier.remember(Sha256::digest(number.to_le_bytes()).into());
        }
        assert_eq!(held(&verifier), HELD_MAX);
        assert!(verifier.holds(&key(&signer), b"first", &signature));
        assert!(!verifier.holds(&key(&signer), b"second", &signature));
        assert_eq!(held(&verifier), HELD_MAX);
    }

    #[test]
    fn threads_share_one() {
        let verifier = Verifier::default();
        let (signer, other) = (signer(1), signer(2));
        std::thread::scope(|scope| {
            for from in 0..2 {
                let (verifier, signer, other) = (&verifier, &signer, &other);
                scope.spawn(move || {
                    for number in from..from + 50_u32 {
                        let message = number.to_le_bytes();
                        let signature = signed(signer, &message);
                        assert!(verifier.holds(&key(signer), &message, &signature));
                        assert!(!verifier.holds(&key(other), &message, &signature));
                    }
                });
            }
        });
        assert_eq!((keys_kept(&verifier), held(&verifier)), (2, 51));
    }
}
