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
        best_first.filter(|transaction| !transaction.forwarded).take(count)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const T0: Now = Now { mono_us: 0, unix_ms: 0 };

    #[test]
    fn when_full_the_cheapest_loses() {
        let mut buffer = Buffer::default();
        for number in 0..BUFFER_MAX as u64 {
            assert_eq!(buffer.offer(T0, samples::unsigned(number, 1_000)), Offer::Held);
        }
        let newcomer = |price| samples::unsigned(u64::MAX - price, price);
        assert_eq!(buffer.offer(T0, newcomer(1_000)), Offer::Outbid, "as cheap, but later");
        assert_eq!(buffer.offer(T0, newcomer(0)), Offer::Outbid);
        assert_eq!(buffer.offer(T0, newcomer(2_000)), Offer::Displaced);
        assert_eq!(buffer.offer(T0, newcomer(2_000)), Offer::Duplicate);
        assert_eq!(buffer.len(), BUFFER_MAX);
        assert_eq!(buffer.take_best(9_999), Some(held(newcomer(2_000))));
        assert_eq!((buffer.by_signature.len(), buffer.by_age.len()), (buffer.len(), buffer.len()));
        assert_eq!(buffer.expire(T0.after(HELD_FOR)), BUFFER_MAX as u64 - 1);
    }

    fn held(mut transaction: VerifiedTransaction) -> VerifiedTransaction {
        transaction.held_since = Some(T0);
        transaction
    }

    #[test]
    fn at_the_same_price_the_first_goes_first() {
        let mut buffer = Buffer::default();
        for number in 1..4 {
            buffer.offer(T0, samples::unsigned(number, 5));
        }
        buffer.forget(&samples::unsigned(2, 5).signature());
        let best = std::iter::from_fn(|| buffer.take_best(9_999)).map(|t| t.signature());
        let expected = [1, 3].map(|number| samples::unsigned(number, 5).signature());
        assert_eq!(best.collect::<Vec<_>>(), expected);
        assert_eq!(buffer.next_expiry(), None);
    }
}
