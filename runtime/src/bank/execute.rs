//! Loading and executing transactions, without changing anything.
//!
//! First each transaction is made ready: what can be said without accounts. Then they are executed in groups that
//! cannot see each other (see `groups`).

use super::{Bank, groups::CHUNK_MIN};
use crate::{
    blockhash_queue::PROCESSING_AGE_MAX,
    layers::Seeded,
    stakes::StakeHistory,
    svm::{self, Checked, Outcome, Plain, Source},
    transaction::{self, INSTRUCTIONS_MAX, Rules, Tables, Tx},
};
use indexmap::IndexSet;
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
use std::borrow::Cow;
use sundog_types::{Hash, Pubkey};

/// Accounts that a transaction may name.
const ACCOUNT_LOCKS_MAX: usize = 128;
/// The same before the gate increase_tx_account_lock_limit.
const ACCOUNT_LOCKS_BEFORE: usize = 64;
const LOCKS_GATE: Pubkey = Pubkey::from_str_const("9LZdXeKGeBV6hRLdxS1rHbHoEUsKqesCC2ZAPTPKJAbK");
const INSTRUCTIONS_GATE: Pubkey = Pubkey::from_str_const("64ixypL1HPu8WtJhNSMb9mSgfFaJvsANuRkTbHyuLfnx");

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

/// How transactions are executed.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Whether outcomes name all accounts of a transaction, not only those to be stored.
    pub(super) after: bool,
    /// Whether plain transfers go without the SVM. The outcome is the same.
    pub(super) plain: bool,
}

/// A transaction that passed its checks.
pub(super) enum Ready {
    /// It looks plain; and the lamports per signature of its blockhash.
    Plain(Plain, u64),
    /// For the SVM.
    Svm(Box<(SanitizedTransaction, Checked)>),
}

/// What is known of a transaction before it is executed.
struct Prepared {
    message_hash: Hash,
    loaded: LoadedAddresses,
    ready: Result<Ready, TransactionError>,
}

impl Bank {
    /// Loads and executes transactions in order, as far as it matters; changes nothing. Their signatures
    /// are not checked. A transaction that comes twice is refused the second time.
    ///
    /// Commit the result before anything else is executed that should see it.
    #[must_use]
    pub fn execute<'a>(&self, transactions: impl Into<Cow<'a, [VersionedTransaction]>>) -> Executed {
        self.execute_with(transactions.into().into_owned(), Way { after: false, plain: true })
    }

    pub(super) fn execute_with(&self, transactions: Vec<VersionedTransaction>, way: Way) -> Executed {
        let prepare = |transaction| self.make_ready(transaction, way);
        let prepared: Vec<Prepared> = if rayon::current_num_threads() == 1 || transactions.len() < 2 * CHUNK_MIN {
            transactions.iter().map(prepare).collect()
        } else {
            transactions.par_iter().with_min_len(CHUNK_MIN).map(prepare).collect()
        };
        let mut seen = IndexSet::with_capacity_and_hasher(prepared.len(), Seeded::new(&self.place.parent_hash));
        let mut ready = Vec::with_capacity(prepared.len());
        let mut known = Vec::with_capacity(prepared.len());
        for (index, prepared) in prepared.into_iter().enumerate() {
            let Prepared { message_hash, loaded, ready: checked } = prepared;
            // What never came to its hash is refused each time.
            let named = message_hash != Hash::default();
            let new =
                if !named || seen.insert(message_hash) { Ok(()) } else { Err(TransactionError::AlreadyProcessed) };
            // What passed the checks gets its real result below.
            let result = new.and(checked).map(|checked| ready.push((index, checked)));
            known.push((message_hash, loaded, result.err().unwrap_or(TransactionError::CommitCancelled)));
        }
        let mut results: Vec<Option<Result<Outcome, TransactionError>>> = known.iter().map(|_| None).collect();
        for (index, result) in self.run(&transactions, ready, way) {
            results[index] = Some(result);
        }
        let item = |((transaction, (message_hash, loaded, error)), result)| Item {
            transaction,
            message_hash,
            loaded,
            result: Option::unwrap_or(result, Err(error)),
        };
        let items = transactions.into_iter().zip(known).zip(results).map(item).collect();
        Executed { slot: self.place.slot, generation: self.generation, items }
    }

    fn make_ready(&self, transaction: &VersionedTransaction, way: Way) -> Prepared {
        let plain = way.plain.then(|| Plain::read(transaction, &self.features)).flatten();
        if let Some(plain) = plain {
            let message_hash = transaction.message.hash();
            if let Some(price) = self.recent_price(transaction.message.recent_blockhash(), &message_hash) {
                return Prepared {
                    message_hash,
                    loaded: LoadedAddresses::default(),
                    ready: Ok(Ready::Plain(plain, price)),
                };
            }
        }
        match self.prepare(transaction.clone()) {
            Ok(tx) => Prepared {
                message_hash: *tx.message_hash(),
                loaded: tx.sanitized.get_loaded_addresses(),
                ready: self.check(&tx).map(|checked| Ready::Svm(Box::new((tx.sanitized, checked)))),
            },
            Err(error) => {
                Prepared { message_hash: Hash::default(), loaded: LoadedAddresses::default(), ready: Err(error) }
            }
        }
    }

    /// A transaction that turned out not to be plain, for the SVM.
    pub(super) fn ready_for_svm(
        &self,
        transaction: &VersionedTransaction,
    ) -> Result<(SanitizedTransaction, Checked), TransactionError> {
        let tx = self.prepare(transaction.clone())?;
        let checked = self.check(&tx)?;
        Ok((tx.sanitized, checked))
    }

    /// The lamports per signature of a recent blockhash, if no transaction with this message hash landed on it.
    fn recent_price(&self, blockhash: &Hash, message_hash: &Hash) -> Option<u64> {
        let age = self.queue.age(blockhash).filter(|age| *age <= PROCESSING_AGE_MAX)?;
        let new = !self.own_statuses.contains(message_hash) && !self.statuses.contains(message_hash, Some(age + 1));
        new.then(|| self.queue.lamports_per_signature(blockhash)).flatten()
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
