//! Transactions sent by RPC, repeated until they land or expire.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use sundog_types::{Now, Signature};

/// Time between two sendings (reference 9.2).
pub const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Transactions waiting to land. When full, a newcomer is sent once and not repeated.
pub const RETRIES_MAX: usize = 10_000;

/// Repetitions made in one call; what is left is made at the next, at once.
pub(crate) const RETRIES_PER_CALL_MAX: usize = 256;

struct Waiting {
    packet: Bytes,
    due: Now,
    last_valid_block_height: u64,
    retries_left: Option<u64>,
}

/// What became of a transaction whose turn it was.
pub(crate) enum Turn {
    /// Send it again.
    Again(Bytes),
    /// It can not land any more, or was repeated as often as asked.
    Expired,
}

/// The table of those that wait.
#[derive(Default)]
pub(crate) struct Retries {
    waiting: BTreeMap<Signature, Waiting>,
    due: BTreeSet<(Now, Signature)>,
}

impl Retries {
    /// Keeps a transaction that was just sent. Whether it is kept (or was already).
    pub(crate) fn keep(
        &mut self,
        now: Now,
        (signature, packet): (Signature, Bytes),
        last_valid_block_height: u64,
        retries_left: Option<u64>,
    ) -> bool {
        if self.waiting.contains_key(&signature) {
            return true;
        }
        if self.waiting.len() >= RETRIES_MAX {
            return false;
        }
        let due = now.after(RETRY_EVERY);
        self.due.insert((due, signature));
        self.waiting.insert(signature, Waiting { packet, due, last_valid_block_height, retries_left });
        true
    }

    /// Forgets one that landed. Whether it was waited for.
    pub(crate) fn landed(&mut self, signature: &Signature) -> bool {
        let found = self.waiting.remove(signature);
        found.is_some_and(|waiting| self.due.remove(&(waiting.due, *signature)))
    }

    /// The next one whose turn has come by `now`, at this block height.
    pub(crate) fn turn(&mut self, now: Now, block_height: u64) -> Option<Turn> {
        let (_, signature) = *self.due.first().filter(|(due, _)| now.reached(*due))?;
        self.due.pop_first();
        let waiting = self.waiting.get_mut(&signature)?;
        if block_height > waiting.last_valid_block_height || waiting.retries_left == Some(0) {
            self.waiting.remove(&signature);
            return Some(Turn::Expired);
        }
        waiting.retries_left = waiting.retries_left.map(|left| left - 1);
        waiting.due = now.after(RETRY_EVERY);
        self.due.insert((waiting.due, signature));
        Some(Turn::Again(waiting.packet.clone()))
    }

    /// When the next turn comes.
    pub(crate) fn next_due(&self) -> Option<Now> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Now = Now { mono_us: 0, unix_ms: 0 };

    fn keep(retries: &mut Retries, number: u64, left: Option<u64>) -> bool {
        let mut signature = [0; 64];
        signature[..8].copy_from_slice(&number.to_le_bytes());
        retries.keep(T0, (Signature::from(signature), Bytes::new()), 150, left)
    }

    #[test]
    fn one_that_waits_is_repeated_until_it_expires() {
        let mut retries = Retries::default();
        assert!(keep(&mut retries, 1, None));
        assert!(retries.turn(T0, 0).is_none());
        for round in 1..4 {
            let now = T0.after(RETRY_EVERY * round);
            assert!(matches!(retries.turn(now, 150), Some(Turn::Again(_))));
            assert!(retries.turn(now, 150).is_none());
        }
        let late = T0.after(RETRY_EVERY * 4);
        assert!(matches!(retries.turn(late, 151), Some(Turn::Expired)));
        assert_eq!(retries.next_due(), None);
    }

    #[test]
    fn one_is_repeated_no_more_often_than_asked() {
        let mut retries = Retries::default();
        assert!(keep(&mut retries, 1, Some(1)));
        assert!(matches!(retries.turn(T0.after(RETRY_EVERY), 0), Some(Turn::Again(_))));
        assert!(matches!(retries.turn(T0.after(RETRY_EVERY * 2), 0), Some(Turn::Expired)));
    }

    #[test]
    fn when_full_a_newcomer_is_not_kept() {
        let mut retries = Retries::default();
        assert!((0..RETRIES_MAX as u64).all(|number| keep(&mut retries, number, None)));
        assert!(!keep(&mut retries, u64::MAX, None));
        assert!(keep(&mut retries, 0, None), "it is there already");
        assert!(retries.landed(&Signature::default()));
        assert!(keep(&mut retries, u64::MAX, None));
        assert_eq!(retries.due.len(), RETRIES_MAX);
    }
}
