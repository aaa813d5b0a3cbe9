//! Executing transactions that are ready, on threads as far as they cannot see each other.
//!
//! Transactions that have no account in common that one of them writes cannot see each other, so
//! groups of such run on threads. Within a group the order holds; the result is that of running all in
//! order on one thread.
//!
//! Within a group, plain transfers are executed at once; what lies between two of them goes to the SVM together.

use super::{
    Bank,
    execute::{Ready, Way},
};
use crate::{
    layers::{Accounts, Seeded},
    svm::{Checked, Environment, Outcome, Source, Transfers},
};
use indexmap::IndexMap;
use rayon::prelude::*;
use solana_account::{AccountSharedData, ReadableAccount};
use solana_transaction::{sanitized::SanitizedTransaction, versioned::VersionedTransaction};
use solana_transaction_error::TransactionError;
use std::sync::OnceLock;
use sundog_types::Pubkey;

/// Below this many transactions a thread is not worth its start.
pub(super) const CHUNK_MIN: usize = 8;

/// A transaction on its way: its place in the batch, and what is to be done with it.
type Ordered = Vec<(usize, Ready)>;
/// A transaction's place in the batch, and what became of it.
type Results = Vec<(usize, Result<Outcome, TransactionError>)>;

/// What all groups of a batch have in common.
struct Batch<'a> {
    bank: &'a Bank,
    transactions: &'a [VersionedTransaction],
    transfers: Option<Transfers>,
    /// Made once the SVM is needed.
    environment: OnceLock<Environment<'a>>,
}

/// One group on its way.
struct Group<'a> {
    batch: &'a Batch<'a>,
    /// What its transactions wrote so far.
    written: Accounts,
    /// What the SVM is to execute next.
    waiting: Vec<(usize, SanitizedTransaction, Checked)>,
    results: Results,
    /// How often the SVM was called, and whether it changed programs.
    flushes: usize,
    deployed: bool,
}

impl Bank {
    /// Executes transactions of `transactions` that are ready.
    pub(super) fn run(&self, transactions: &[VersionedTransaction], ready: Ordered, way: Way) -> Results {
        let read = |key: &Pubkey| Source::account(self, key).map(|(account, _)| account);
        let plain = ready.iter().any(|(_, ready)| matches!(ready, Ready::Plain(..)));
        let minimum = self.parameters.rent.minimum_balance(0);
        let transfers = plain.then(|| Transfers::new(&read, minimum, way.after)).flatten();
        let batch = Batch { bank: self, transactions, transfers, environment: OnceLock::new() };
        let threads = rayon::current_num_threads();
        if threads == 1 || ready.len() < 2 * CHUNK_MIN {
            return batch.run(ready);
        }
        let chunks = chunks(transactions, ready, (threads, Seeded::new(&self.place.parent_hash)));
        chunks.into_par_iter().flat_map_iter(|chunk| batch.run(chunk)).collect()
    }

    fn environment(&self) -> Environment<'_> {
        let blockhash = self.queue.last();
        Environment {
            features: &self.features,
            blockhash: (blockhash, self.queue.lamports_per_signature(&blockhash).unwrap_or(0)),
            epoch_total_stake: self.current_epoch_stakes().total(),
            rent: &self.parameters.rent,
        }
    }
}

impl<'a> Batch<'a> {
    fn run(&'a self, ready: Ordered) -> Results {
        let indexes: Vec<usize> = ready.iter().map(|(index, _)| *index).collect();
        let mut group = Group::new(self, ready.len());
        for (index, ready) in ready {
            // The SVM, called again, would find the changed program in what this group wrote, and keep it for all banks,
            // whether the batch is committed or not.
            if group.deployed {
                break;
            }
            group.take(index, ready);
        }
        if !group.deployed {
            group.flush();
        }
        let is_whole = group.results.len() == indexes.len();
        if is_whole && (!group.deployed || group.flushes == 1) {
            return group.results;
        }
        // Only within one call the SVM remembers which programs were changed, and does not run them before the next
        // block: it shall have all of the group at once.
        let mut group = Group::new(self, indexes.len());
        for index in indexes {
            group.postpone(index);
        }
        group.flush();
        group.results
    }
}

impl<'a> Group<'a> {
    fn new(batch: &'a Batch<'a>, length: usize) -> Self {
        let written = Accounts::with_hasher(Seeded::new(&batch.bank.place.parent_hash));
        Self { batch, written, waiting: Vec::new(), results: Vec::with_capacity(length), flushes: 0, deployed: false }
    }

    fn take(&mut self, index: usize, ready: Ready) {
        let (plain, price) = match ready {
            Ready::Svm(ready) => {
                let (transaction, checked) = *ready;
                self.waiting.push((index, transaction, checked));
                return;
            }
            Ready::Plain(plain, price) => (plain, price),
        };
        self.flush();
        let transaction = &self.batch.transactions[index];
        let read = |key: &Pubkey| self.account(key).map(|(account, _)| account);
        let transfers = self.batch.transfers.as_ref();
        match transfers.and_then(|transfers| transfers.execute((transaction, plain), price, &read)) {
            Some(outcome) => self.done(index, Ok(outcome)),
            None => self.postpone(index),
        }
    }

    /// Leaves a transaction to the SVM.
    fn postpone(&mut self, index: usize) {
        match self.batch.bank.ready_for_svm(&self.batch.transactions[index]) {
            Ok((transaction, checked)) => self.waiting.push((index, transaction, checked)),
            Err(error) => self.results.push((index, Err(error))),
        }
    }

    /// Has the SVM execute what waits for it.
    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.flushes += 1;
        let mut indexes = Vec::with_capacity(self.waiting.len());
        let mut transactions = Vec::with_capacity(self.waiting.len());
        let mut checks = Vec::with_capacity(self.waiting.len());
        for (index, transaction, checked) in self.waiting.drain(..) {
            indexes.push(index);
            transactions.push(transaction);
            checks.push(Ok(checked));
        }
        let bank = self.batch.bank;
        let environment = self.batch.environment.get_or_init(|| bank.environment());
        let results = bank.svm.execute(&*self, environment, &transactions, checks);
        for (index, result) in indexes.into_iter().zip(results) {
            self.done(index, result);
        }
    }

    fn done(&mut self, index: usize, result: Result<Outcome, TransactionError>) {
        if let Ok(outcome) = &result {
            self.written.extend(outcome.writes.iter().cloned());
            self.deployed |= !outcome.programs.is_empty();
        }
        self.results.push((index, result));
    }
}

impl Source for Group<'_> {
    fn account(&self, key: &Pubkey) -> Option<(AccountSharedData, u64)> {
        match self.written.get(key) {
            Some(account) => (account.lamports() > 0).then(|| (account.clone(), self.batch.bank.place.slot)),
            None => Source::account(self.batch.bank, key),
        }
    }

    fn epoch_stake(&self, vote_account: Option<&Pubkey>) -> u64 {
        self.batch.bank.epoch_stake(vote_account)
    }
}

/// Groups transactions that must stay in order, and shares the groups among at most `threads` chunks.
fn chunks(transactions: &[VersionedTransaction], ready: Ordered, (threads, seed): (usize, Seeded)) -> Vec<Ordered> {
    let groups = groups(transactions, &ready, seed);
    let size = ready.len().div_ceil(threads).max(CHUNK_MIN);
    // In the order of their first transactions, which are their numbers.
    let mut of_group: Vec<Ordered> = groups.iter().map(|_| Ordered::new()).collect();
    for (item, group) in ready.into_iter().zip(groups) {
        of_group[group].push(item);
    }
    let mut chunks = vec![Ordered::new()];
    for group in of_group.into_iter().filter(|group| !group.is_empty()) {
        if chunks.last().is_some_and(|chunk| chunk.len() >= size) {
            chunks.push(Ordered::new());
        }
        chunks.last_mut().expect("there is one").extend(group);
    }
    chunks
}

/// Those who used an account: its last writer, and its readers since.
#[derive(Default)]
struct Users {
    writer: Option<usize>,
    readers: Vec<usize>,
}

/// For each transaction the number of its group: the place of the group's first transaction.
fn groups(transactions: &[VersionedTransaction], ready: &Ordered, seed: Seeded) -> Vec<usize> {
    let mut leader: Vec<usize> = (0..ready.len()).collect();
    let mut users = IndexMap::<Pubkey, Users, Seeded>::with_capacity_and_hasher(2 * ready.len(), seed);
    for (place, (index, ready)) in ready.iter().enumerate() {
        let mut uses = |key: &Pubkey, written: bool| {
            let users = users.entry(*key).or_default();
            if let Some(writer) = users.writer {
                join(&mut leader, writer, place);
            }
            if written {
                for reader in users.readers.drain(..) {
                    join(&mut leader, reader, place);
                }
                users.writer = Some(place);
            } else {
                users.readers.push(place);
            }
        };
        match ready {
            // Its programs are reserved: nobody writes them.
            Ready::Plain(plain, _) => {
                let keys = transactions[*index].message.static_account_keys();
                keys[..plain.written].iter().for_each(|key| uses(key, true));
            }
            Ready::Svm(ready) => {
                let message = ready.0.message();
                let keys = message.account_keys();
                keys.iter().enumerate().for_each(|(index, key)| uses(key, message.is_writable(index)));
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
