//! Transactions that wait for this node to lead, best price first.

use crate::VerifiedTransaction;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use sundog_types::{Now, Signature};

/// Transactions held: several full blocks, at some 3 kB each about 50 MB. When full, the cheapest loses.
pub const BUFFER_MAX: usize = 16_384;

/// How long one is held: 150 slots of 400 ms, after which its blockhash is dead.
pub const HELD_FOR: Duration = Duration::from_secs(60);

/// Price, then who came first.
type Rank = (u64, Reverse<u64>);

/// What became of a transaction that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is held.
    Held,
    /// It is held, and the cheapest is not any more.
    Displaced,
    /// The buffer is full and this one is the cheapest.
    Outbid,
    /// It is held already.
    Duplicate,
}

/// A priority queue with a bounded size.
#[derive(Default)]
pub(crate) struct Buffer {
    ranked: BTreeMap<Rank, VerifiedTransaction>,
    by_signature: BTreeMap<Signature, Rank>,
    by_age: BTreeSet<(Now, Rank)>,
    arrivals: u64,
}

impl Buffer {
    /// Offers a transaction that has been here since `since`.
    pub(crate) fn offer(&mut self, since: Now, mut transaction: VerifiedTransaction) -> Offer {
        let signature = transaction.signature();
        if self.by_signature.contains_key(&signature) {
            return Offer::Duplicate;
        }
        self.arrivals += 1;
        let rank = (transaction.price().priority(), Reverse(self.arrivals));
        let full = self.ranked.len() >= BUFFER_MAX;
        if full {
            let cheapest = *self.ranked.first_key_value().expect("full").0;
            if rank <= cheapest {
                return Offer::Outbid;
            }
            self.remove(cheapest);
        }
        transaction.held_since = Some(since);
        self.by_signature.insert(signature, rank);
        self.by_age.insert((since, rank));
        self.ranked.insert(rank, transaction);
        if full { Offer::Displaced } else { Offer::Held }
    }

    /// The best one, if it is no larger than `bytes_max`.
    pub(crate) fn take_best(&mut self, bytes_max: usize) -> Option<VerifiedTransaction> {
        let (rank, transaction) = self.ranked.last_key_value()?;
        if transaction.packet().len() > bytes_max {
            return None;
        }
        self.remove(*rank)
    }

    /// Forgets one that has landed.
    pub(crate) fn forget(&mut self, signature: &Signature) {
        if let Some(rank) = self.by_signature.get(signature) {
            self.remove(*rank);
        }
    }

    /// Forgets those held for too long. How many.
    pub(crate) fn expire(&mut self, now: Now) -> u64 {
        let mut expired = 0;
        while self.next_expiry().is_some_and(|expiry| now.reached(expiry)) {
            let (_, rank) = *self.by_age.first().expect("one expires");
            self.remove(rank);
            expired += 1;
        }
        expired
    }

    /// When the oldest has been held for too long.
    pub(crate) fn next_expiry(&self) -> Option<Now> {
        self.by_age.first().map(|(since, _)| since.after(HELD_FOR))
    }

    /// The best ones that no other leader has been sent yet, at most `count`.
    pub(crate) fn unforwarded(&self, count: usize) -> impl Iterator<Item = &VerifiedTransaction> {
        let best_first = self.ranked.values().rev();
        best_first
            .filter(|transaction| !transaction.forwarded)
            .take(count)
    }

    /// Notes that one was sent to another leader.
    pub(crate) fn mark_forwarded(&mut self, signature: &Signature) {
        let rank = self.by_signature.get(signature);
        if let Some(transaction) = rank.and_then(|rank| self.ranked.get_mut(rank)) {
            transaction.forwarded = true;
        }
    }

    fn remove(&mut self, rank: Rank) -> Option<VerifiedTransaction> {
        let transaction = self.ranked.remove(&rank)?;
        self.by_signature.remove(&transaction.signature());
        if let Some(since) = transaction.held_since {
            self.by_age.remove(&(since, rank));
        }
        Some(transaction)
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.ranked.len()
    }
}
