//! Loading and executing transactions, without changing anything.
//!
//! Transactions that have no account in common that one of them writes cannot see each other, so
//! groups of such run on threads. Within a group the order holds; the result is that of running all in
//! order on one thread.

use super::Bank;
use crate::{
    blockhash_queue::PROCESSING_AGE_MAX,
    stakes::StakeHistory,
    svm::{self, Checked, Environment, Outcome, Source},
    transaction::{self, INSTRUCTIONS_MAX, Rules, Tables, Tx},
};
use rayon::prelude::*;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_message::v0::{LoadedAddresses, MessageAddressTableLookup};
use solana_nonce::{
    state::{Data as NonceData, DurableNonce},
    versions::Versions as NonceVersions,
};
use solana_sdk_ids::{address_lookup_table, system_program};
use solana_transaction::{sanitized::SanitizedTransaction, versioned::VersionedTransaction};
use solana_transaction_error::{AddressLoaderError, TransactionError};
use std::collections::{BTreeMap, BTreeSet};
use sundog_types::{Hash, Pubkey};

/// Accounts that a transaction may name.
const ACCOUNT_LOCKS_MAX: usize = 128;
/// The same before the gate increase_tx_account_lock_limit.
const ACCOUNT_LOCKS_BEFORE: usize = 64;
const LOCKS_GATE: Pubkey = Pubkey::from_str_const("9LZdXeKGeBV6hRLdxS1rHbHoEUsKqesCC2ZAPTPKJAbK");
const INSTRUCTIONS_GATE: Pubkey = Pubkey::from_str_const("64ixypL1HPu8WtJhNSMb9mSgfFaJvsANuRkTbHyuLfnx");
/// Below this many transactions a thread is not worth its start.
const CHUNK_MIN: usize = 8;

/// Executed transactions, in order, not committed yet. Nothing has changed; dropping it is fine.
pub struct Executed {
    pub(super) slot: u64,
    pub(super) generation: u64,
    pub(super) items: Vec<Item>,
}

/// One transaction and what became of it.
pub(super) struct Item {
    pub(super) transaction: VersionedTransaction,
    pub(super) message_hash: Hash,
    pub(super) loaded: LoadedAddresses,
    pub(super) result: Result<Outcome, TransactionError>,
}

impl Executed {
    /// The first transaction that cannot be part of a block, and why. In a block of another leader it
    /// kills the block.
    #[must_use]
    pub fn first_rejected(&self) -> Option<(usize, TransactionError)> {
        let rejected = |(index, item): (usize, &Item)| Some((index, item.result.as_ref().err()?.clone()));
        self.items.iter().enumerate().find_map(rejected)
    }

    /// Why each transaction cannot be part of a block; `None` for those that can, even if they failed.
    #[must_use]
    pub fn rejections(&self) -> Vec<Option<TransactionError>> {
        self.items.iter().map(|item| item.result.as_ref().err().cloned()).collect()
    }

    /// The transactions that can be part of a block, in order.
    #[must_use]
    pub fn processed(&self) -> Vec<VersionedTransaction> {
        let processed = self.items.iter().filter(|item| item.result.is_ok());
        processed.map(|item| item.transaction.clone()).collect()
    }

    /// How many transactions can be part of a block.
    #[must_use]
    pub fn processed_count(&self) -> usize {
        self.items.iter().filter(|item| item.result.is_ok()).count()
    }

    /// How many transactions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Compute units used by all of them.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.items.iter().filter_map(|item| item.result.as_ref().ok()).map(|outcome| outcome.units).sum()
    }
}

/// A transaction on its way: its place in the batch, and what the checks said.
type Checks = Vec<(usize, SanitizedTransaction, Checked)>;

impl Bank {
    /// Loads and executes transactions in order, as far as it matters; changes nothing. Their signatures
    /// are not checked. A transaction that comes twice is refused the second time.
    ///
    /// Commit the result before anything else is executed that should see it.
    #[must_use]
    pub fn execute(&self, transactions: &[VersionedTransaction]) -> Executed {
        self.execute_with(transactions, true)
    }

    pub(super) fn execute_with(&self, transactions: &[VersionedTransaction], record: bool) -> Executed {
        let mut items = Vec::with_capacity(transactions.len());
        let mut ready = Checks::new();
        let mut seen = BTreeSet::new();
        for (index, transaction) in transactions.iter().enumerate() {
            let (message_hash, loaded, result) = match self.prepare(transaction.clone()) {
                Ok(tx) => {
                    let hash = *tx.message_hash();
                    let new = if seen.insert(hash) { Ok(()) } else { Err(TransactionError::AlreadyProcessed) };
                    let checked = new.and_then(|()| self.check(&tx));
                    let loaded = tx.sanitized.get_loaded_addresses();
                    (hash, loaded, checked.map(|checked| ready.push((index, tx.sanitized, checked))))
                }
                Err(error) => (Hash::default(), LoadedAddresses::default(), Err(error)),
            };
            // What passed the checks gets its real result below.
            let result = Err(result.err().unwrap_or(TransactionError::CommitCancelled));
            items.push(Item { transaction: transaction.clone(), message_hash, loaded, result });
        }
        for (index, result) in self.run(ready, record) {
            items[index].result = result;
        }
        Executed { slot: self.place.slot, generation: self.generation, items }
    }

    fn run(&self, ready: Checks, record: bool) -> Vec<(usize, Result<Outcome, TransactionError>)> {
        let blockhash = self.queue.last();
        let environment = Environment {
            features: &self.features,
            blockhash: (blockhash, self.queue.lamports_per_signature(&blockhash).unwrap_or(0)),
            epoch_total_stake: self.current_epoch_stakes().total(),
            rent: &self.parameters.rent,
            record,
        };
        let run = |chunk: Checks| {
            let mut indexes = Vec::with_capacity(chunk.len());
            let mut transactions = Vec::with_capacity(chunk.len());
            let mut checks = Vec::with_capacity(chunk.len());
            for (index, transaction, checked) in chunk {
                indexes.push(index);
                transactions.push(transaction);
                checks.push(Ok(checked));
            }
            let results = self.svm.execute(self, &environment, &transactions, checks);
            indexes.into_iter().zip(results).collect::<Vec<_>>()
        };
        let threads = rayon::current_num_threads();
        if threads == 1 || ready.len() < 2 * CHUNK_MIN {
            return run(ready);
        }
        chunks(ready, threads).into_par_iter().flat_map_iter(run).collect()
    }

    /// Sanitises a transaction and resolves its address tables.
    ///
    /// # Errors
    /// If it is malformed, names too many accounts, or a lookup fails.
    pub fn prepare(&self, transaction: VersionedTransaction) -> Result<Tx, TransactionError> {
        let active = |gate| self.features.activated(gate).is_some();
        let rules = Rules {
            reserved: &self.features.reserved,
            locks_max: if active(&LOCKS_GATE) { ACCOUNT_LOCKS_MAX } else { ACCOUNT_LOCKS_BEFORE },
            instructions_max: if active(&INSTRUCTIONS_GATE) { INSTRUCTIONS_MAX } else { usize::MAX },
        };
        Tx::new(transaction, self, &rules)
    }

    /// Checks budget, age, and that it is new.
    pub(super) fn check(&self, tx: &Tx) -> Result<Checked, TransactionError> {
        let blockhash = *tx.sanitized.message().recent_blockhash();
        let age = self.queue.age(&blockhash).filter(|age| *age <= PROCESSING_AGE_MAX);
        let checked = svm::check(tx, &self.features, || match age {
            Some(_) => Ok((None, self.queue.lamports_per_signature(&blockhash).unwrap_or(0))),
            None => {
                let nonce = self.nonce(tx).ok_or(TransactionError::BlockhashNotFound)?;
                Ok((Some(nonce.0), nonce.1))
            }
        })?;
        let hash = tx.message_hash();
        if self.own_statuses.contains(hash) || self.statuses.contains(hash, age.map(|age| age + 1)) {
            return Err(TransactionError::AlreadyProcessed);
        }
        Ok(checked)
    }

    /// The nonce account whose stored nonce stands in for the blockhash, and its lamports per signature
    /// (reference 1.11).
    fn nonce(&self, tx: &Tx) -> Option<(Pubkey, u64)> {
        let (address, signers) = svm::durable_nonce(tx)?;
        let blockhash = tx.sanitized.message().recent_blockhash();
        if *blockhash == *DurableNonce::from_blockhash(&self.queue.last()).as_hash() {
            return None;
        }
        let data = nonce_data(&self.account(&address)?, blockhash)?;
        signers.contains(&data.authority).then(|| (address, data.get_lamports_per_signature()))
    }

    /// The lamports per signature that hold for a transaction, if its blockhash or nonce is usable.
    pub(super) fn price(&self, tx: &Tx) -> Option<u64> {
        let blockhash = tx.sanitized.message().recent_blockhash();
        let recent = self.queue.age(blockhash).filter(|age| *age <= PROCESSING_AGE_MAX);
        match recent {
            Some(_) => self.queue.lamports_per_signature(blockhash),
            None => self.nonce(tx).map(|(_, price)| price),
        }
    }

    /// The stake of past epochs.
    #[must_use]
    pub fn stake_history(&self) -> &StakeHistory {
        self.stakes.history()
    }
}

fn nonce_data(account: &AccountSharedData, blockhash: &Hash) -> Option<NonceData> {
    if !system_program::check_id(account.owner()) {
        return None;
    }
    let versions: NonceVersions = bincode::deserialize(account.data()).ok()?;
    versions.verify_recent_blockhash(blockhash).cloned()
}

/// Groups transactions that must stay in order, and shares the groups among at most `threads` chunks.
fn chunks(ready: Checks, threads: usize) -> Vec<Checks> {
    let groups = groups(&ready);
    let size = ready.len().div_ceil(threads).max(CHUNK_MIN);
    let mut of_group = BTreeMap::<usize, Checks>::new();
    for (item, group) in ready.into_iter().zip(groups) {
        of_group.entry(group).or_default().push(item);
    }
    let mut chunks = vec![Checks::new()];
    for group in of_group.into_values() {
        if chunks.last().is_some_and(|chunk| chunk.len() >= size) {
            chunks.push(Checks::new());
        }
        chunks.last_mut().expect("there is one").extend(group);
    }
    chunks
}

/// For each transaction the number of its group: the place of the group's first transaction.
fn groups(ready: &Checks) -> Vec<usize> {
    let mut leader: Vec<usize> = (0..ready.len()).collect();
    // The last writer of an account, and its readers since.
    let mut users = BTreeMap::<Pubkey, (Option<usize>, Vec<usize>)>::new();
    for (place, (_, transaction, _)) in ready.iter().enumerate() {
        let message = transaction.message();
        for (index, key) in message.account_keys().iter().enumerate() {
            let (writer, readers) = users.entry(*key).or_default();
            if let Some(writer) = writer {
                join(&mut leader, *writer, place);
            }
            if message.is_writable(index) {
                for reader in readers.drain(..) {
                    join(&mut leader, reader, place);
                }
                *writer = Some(place);
            } else {
                readers.push(place);
            }
        }
    }
    (0..ready.len()).map(|place| find(&mut leader, place)).collect()
}

fn find(leader: &mut [usize], mut place: usize) -> usize {
    while leader[place] != place {
        leader[place] = leader[leader[place]];
        place = leader[place];
    }
    place
}

fn join(leader: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(leader, a), find(leader, b));
    leader[a.max(b)] = a.min(b);
}

impl Source for Bank {
    fn account(&self, key: &Pubkey) -> Option<(AccountSharedData, u64)> {
        self.lookup(key).filter(|(account, _)| account.lamports() > 0)
    }

    fn epoch_stake(&self, vote_account: Option<&Pubkey>) -> u64 {
        let stakes = self.current_epoch_stakes();
        vote_account.map_or_else(|| stakes.total(), |key| stakes.of_vote_account(key))
    }
}

impl Tables for Bank {
    fn resolve(&self, lookup: &MessageAddressTableLookup) -> Result<LoadedAddresses, AddressLoaderError> {
        let table = self.account(&lookup.account_key).ok_or(AddressLoaderError::LookupTableAccountNotFound)?;
        if !address_lookup_table::check_id(table.owner()) {
            return Err(AddressLoaderError::InvalidAccountOwner);
        }
        let known = |slot| self.slot_hashes().iter().any(|(known, _)| *known == slot);
        transaction::pick(table.data(), lookup, self.place.slot, &known)
    }
}
