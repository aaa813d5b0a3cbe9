//! What was seen a moment ago.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use sundog_types::Now;

/// How long something counts as seen. Short: a client that hears nothing sends the same bytes again
/// and must get through.
pub const SEEN_FOR: Duration = Duration::from_secs(2);

/// How many are remembered: two seconds at 32,768 per second. When full, the oldest is forgotten early,
/// and the bank catches its repetition.
pub const SEEN_MAX: usize = 65_536;

/// The first half of a 32-byte hash: enough to tell things apart that nobody can steer.
pub(crate) type SeenKey = [u8; 16];

/// Remembers keys for a while.
#[derive(Default)]
pub(crate) struct Seen {
    until: BTreeMap<SeenKey, Now>,
    /// Oldest first. Every key of `until` once.
    order: VecDeque<SeenKey>,
}

impl Seen {
    /// Notes a key. Whether it was new.
    pub(crate) fn note(&mut self, now: Now, key: SeenKey) -> bool {
        while let Some(oldest) = self.order.front() {
            if self.until.len() < SEEN_MAX && !now.reached(self.until[oldest]) {
                break;
            }
            self.until.remove(oldest);
            self.order.pop_front();
        }
        if self.until.contains_key(&key) {
            return false;
        }
        self.until.insert(key, now.after(SEEN_FOR));
        self.order.push_back(key);
        true
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.until.len(), self.order.len());
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Now = Now { mono_us: 5, unix_ms: 0 };

    fn key(number: usize) -> SeenKey {
        (number as u128).to_le_bytes()
    }

    #[test]
    fn a_repetition_is_noticed_until_it_is_forgotten() {
        let mut seen = Seen::default();
        assert!(seen.note(T0, key(1)));
        assert!(!seen.note(T0.after(SEEN_FOR / 2), key(1)));
        assert!(seen.note(T0.after(SEEN_FOR), key(1)));
    }

    #[test]
    fn when_full_the_oldest_is_forgotten() {
        let mut seen = Seen::default();
        for number in 0..=SEEN_MAX {
            assert!(seen.note(T0, key(number)));
        }
        assert_eq!(seen.len(), SEEN_MAX);
        assert!(!seen.note(T0, key(SEEN_MAX)));
        assert!(seen.note(T0, key(0)));
    }
}
