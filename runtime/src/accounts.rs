//! The rooted accounts: what every fork agrees on, kept in a store behind a bounded cache.
//!
//! The store may be behind the root: what changed since is kept here until it is written.

use crate::layers::Seeded;
use bytes::Bytes;
use indexmap::IndexMap;
use solana_account::{Account, AccountSharedData, ReadableAccount};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, RwLock},
};
use sundog_types::{
    Pubkey,
    store::{Batch, Space, Store, StoreError},
};

/// Account data kept in memory, in bytes: enough for the programs and the busy accounts of a localnet,
/// and little beside the banks themselves. When it is full, what was not read lately goes.
pub const CACHE_BYTES_MAX: usize = 256 << 20;

/// What an entry costs beside its data.
const ENTRY_BYTES: usize = 160;
/// Accounts read from the store at once while scanning.
const SCAN_PAGE: usize = 1_024;
/// The fields in front of an account's data in the store.
const HEAD_BYTES: usize = 57;

/// An account with the slot in which it was last written.
pub type Stored = (AccountSharedData, u64);

/// The accounts as of the root, for all banks. Readers on any thread may use it.
///
/// Only [`crate::Bank::squash`] changes what it answers.
pub struct RootedAccounts {
    store: Arc<dyn Store>,
    cache: RwLock<Cache>,
    capacity: usize,
}

type Kept = IndexMap<Pubkey, Option<Stored>, Seeded>;

/// Two generations: what is found in the old one moves to the young one; when the young one has half
/// of the capacity, the old one is dropped and they change places.
#[derive(Default)]
struct Cache {
    young: Kept,
    old: Kept,
    young_bytes: usize,
    /// For the next young generation.
    seed: Seeded,
    /// Counts changes of the root, so that a value read from the store before one is not cached after it.
    generation: u64,
    unwritten: Unwritten,
}

/// What the store lacks. As large as the changes of a few blocks: whoever moves the root writes them in time.
#[derive(Default)]
struct Unwritten {
    /// As of the root; without lamports: gone.
    accounts: Arc<BTreeMap<Pubkey, Stored>>,
    /// The slots whose transaction statuses the store has.
    statuses: BTreeSet<u64>,
}

impl RootedAccounts {
    /// Reads from `store`, with a cache of [`CACHE_BYTES_MAX`].
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with_capacity(store, CACHE_BYTES_MAX)
    }

    /// Reads from `store`, with a cache of `capacity` bytes.
    #[must_use]
    pub fn with_capacity(store: Arc<dyn Store>, capacity: usize) -> Self {
        Self { store, cache: RwLock::default(), capacity }
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// An account as of the root.
    ///
    /// # Panics
    /// If the storage fails: a bank without its accounts cannot go on.
    #[must_use]
    pub fn get(&self, key: &Pubkey) -> Option<Stored> {
        let generation = {
            let cache = self.cache.read().expect("no panic while the cache is locked");
            if let Some(found) = cache.young.get(key) {
                return found.clone();
            }
            cache.generation
        };
        let found = self.read_through(key);
        let mut cache = self.cache.write().expect("no panic while the cache is locked");
        if cache.generation == generation {
            cache.insert(*key, found.clone(), self.capacity);
        }
        found
    }

    fn read_through(&self, key: &Pubkey) -> Option<Stored> {
        let known = {
            let cache = self.cache.read().expect("no panic while the cache is locked");
            let unwritten = || cache.unwritten.accounts.get(key).map(live);
            cache.old.get(key).cloned().or_else(unwritten)
        };
        known.unwrap_or_else(|| {
            let value = expect_store(self.store.get(Space::Accounts, key.as_ref()))?;
            Some(decode(&value).expect("only this module writes accounts"))
        })
    }

    /// Takes over what a new root changes. `seed`: not known before the root was.
    pub(crate) fn rooted(&self, seed: Seeded, changes: BTreeMap<Pubkey, Stored>) {
        let mut cache = self.cache.write().expect("no panic while the cache is locked");
        cache.generation += 1;
        cache.seed = seed;
        for (key, stored) in &changes {
            cache.old.swap_remove(key);
            cache.insert(*key, live(stored), self.capacity);
        }
        Arc::make_mut(&mut cache.unwritten.accounts).extend(changes);
    }

    /// The store has everything as of the root, and the transaction statuses of these slots.
    pub(crate) fn written(&self, statuses: BTreeSet<u64>) {
        let mut cache = self.cache.write().expect("no panic while the cache is locked");
        let written = std::mem::replace(&mut cache.unwritten, Unwritten { accounts: Arc::default(), statuses });
        // Readers need not wait until it is freed.
        drop(cache);
        drop(written);
    }

    /// What the store lacks of the root's accounts, and the slots whose transaction statuses it has.
    pub(crate) fn unwritten(&self) -> (Arc<BTreeMap<Pubkey, Stored>>, BTreeSet<u64>) {
        let cache = self.cache.read().expect("no panic while the cache is locked");
        (Arc::clone(&cache.unwritten.accounts), cache.unwritten.statuses.clone())
    }

    /// Calls `each` for every account as of the root, by address; the store is read in pages.
    pub(crate) fn scan(&self, each: &mut dyn FnMut(Pubkey, Stored)) {
        let (unwritten, _) = self.unwritten();
        let mut newer = unwritten.iter().map(|(key, stored)| (*key, stored.clone())).peekable();
        let mut tell = |key: Pubkey, stored: Stored| {
            if stored.0.lamports() > 0 {
                each(key, stored);
            }
        };
        let mut from = Vec::new();
        loop {
            let page = expect_store(self.store.range(Space::Accounts, &from, &[0xff; 33], SCAN_PAGE));
            for (key, value) in &page {
                let key = Pubkey::try_from(key.as_ref()).expect("accounts are stored by address");
                while let Some((first, stored)) = newer.next_if(|(newer, _)| *newer < key) {
                    tell(first, stored);
                }
                let newer = newer.next_if(|(newer, _)| *newer == key).map(|(_, stored)| stored);
                tell(key, newer.unwrap_or_else(|| decode(value).expect("only this module writes accounts")));
            }
            match page.last() {
                Some((key, _)) if page.len() == SCAN_PAGE => {
                    from = key.to_vec();
                    from.push(0);
                }
                _ => break,
            }
        }
        newer.for_each(|(key, stored)| tell(key, stored));
    }

    /// Bytes of account data in the cache.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        let cache = self.cache.read().expect("no panic while the cache is locked");
        let old: usize = cache.old.values().map(size).sum();
        cache.young_bytes + old
    }
}

impl Cache {
    fn insert(&mut self, key: Pubkey, value: Option<Stored>, capacity: usize) {
        self.young_bytes += size(&value);
        if let Some(before) = self.young.insert(key, value) {
            self.young_bytes -= size(&before);
        }
        if self.young_bytes > capacity / 2 {
            self.old = std::mem::replace(&mut self.young, Kept::with_hasher(self.seed));
            self.young_bytes = 0;
        }
    }
}

/// An account that is there; one without lamports is not.
fn live(stored: &Stored) -> Option<Stored> {
    (stored.0.lamports() > 0).then(|| stored.clone())
}

fn size(value: &Option<Stored>) -> usize {
    ENTRY_BYTES + value.as_ref().map_or(0, |(account, _)| account.data().len())
}

/// # Panics
/// If the storage failed.
pub(crate) fn expect_store<T>(result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Adds the change of one account to a batch. Without lamports it is gone.
pub(crate) fn put(batch: &mut Batch, key: &Pubkey, (account, slot): &Stored) {
    let key = Bytes::copy_from_slice(key.as_ref());
    if account.lamports() == 0 {
        batch.delete(Space::Accounts, key);
    } else {
        batch.put(Space::Accounts, key, encode(account, *slot));
    }
}

/// Slot, lamports, rent epoch (u64 each, little-endian), executable (u8), owner, data.
fn encode(account: &AccountSharedData, slot: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + account.data().len());
    bytes.extend_from_slice(&slot.to_le_bytes());
    bytes.extend_from_slice(&account.lamports().to_le_bytes());
    bytes.extend_from_slice(&account.rent_epoch().to_le_bytes());
    bytes.push(u8::from(account.executable()));
    bytes.extend_from_slice(account.owner().as_ref());
    bytes.extend_from_slice(account.data());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let account = Account {
        lamports: number(8)?,
        rent_epoch: number(16)?,
        executable: *bytes.get(24)? != 0,
        owner: Pubkey::try_from(bytes.get(25..HEAD_BYTES)?).ok()?,
        data: bytes.get(HEAD_BYTES..)?.to_vec(),
    };
    Some((account.into(), number(0)?))
}
