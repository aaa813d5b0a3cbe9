//! Whether this machine's clock is right, as far as peers' clocks tell.
//!
//! A contact info that comes straight from its node says what that node's clock showed a moment ago, at most a few
//! seconds. Values with a wallclock too far from ours are refused, by us and by others of ours; a node whose clock is off
//! is therefore alone, and should know why.

use crate::recent::held_by;
use std::{collections::BTreeMap, time::Duration};
use sundog_types::{Now, Pubkey};

/// Nodes whose clocks are compared. Full: newcomers wait until one has been silent for a minute, so that a crowd of
/// new identities does not outvote those that were there.
pub const CLOCKS_MAX: usize = 64;

/// A clock this far from the others, in milliseconds, is off: they refuse what it stamps.
pub const OFF_MS: i64 = 15_000;

/// How long what a node's clock showed is remembered.
const LASTS: Duration = Duration::from_secs(60);

/// What is shown is as old as the contact info; the freshest of each such stretch counts.
const STRETCH: Duration = Duration::from_secs(15);

/// Our clock minus a node's, in milliseconds: the least of this stretch and of the one before.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    least: i64,
    before: Option<i64>,
    began: Now,
    heard: Now,
}

impl Ahead {
    fn ms(&self) -> i64 {
        self.before.map_or(self.least, |before| before.min(self.least))
    }
}

/// How far our clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOff {
    /// Ours minus theirs, in milliseconds; the middle one of those that are off.
    pub by_ms: i64,
    /// Nodes whose clocks say so.
    pub say_so: usize,
    /// Nodes whose clocks were heard.
    pub heard_from: usize,
}

/// What the clocks of others showed.
#[derive(Default)]
pub struct Clocks {
    heard: BTreeMap<Pubkey, Ahead>,
}

impl Clocks {
    /// A node's clock showed `theirs`, in milliseconds since the Unix epoch.
    pub fn note(&mut self, now: Now, node: Pubkey, theirs: u64) {
        let ahead = ahead_ms(now, theirs);
        if let Some(known) = self.heard.get_mut(&node) {
            if now.since(known.began) >= STRETCH {
                *known = Ahead { least: ahead, before: Some(known.least), began: now, heard: now };
            }
            known.least = known.least.min(ahead);
            known.heard = now;
        } else if self.heard.len() < CLOCKS_MAX {
            self.heard.insert(node, Ahead { least: ahead, before: None, began: now, heard: now });
        }
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        held_by::<Pubkey, Ahead>(self.heard.len())
    }

    /// Forgets nodes that were not heard for long.
    pub fn forget_old(&mut self, now: Now) {
        self.heard.retain(|_, ahead| now.since(ahead.heard) < LASTS);
    }

    /// Whether our clock is off: more than half of those heard say so, and agree which way. One alone is believed if
    /// `trusted` says so.
    #[must_use]
    pub fn off(&self, trusted: impl Fn(&Pubkey) -> bool) -> Option<ClockOff> {
        if self.heard.len() == 1 && !self.heard.keys().all(trusted) {
            return None;
        }
        for way in [1, -1] {
            let far = self.heard.values().map(Ahead::ms).filter(|ms| ms.saturating_mul(way) > OFF_MS);
            let mut far: Vec<i64> = far.collect();
            if far.len() * 2 > self.heard.len() {
                far.sort_unstable();
                let by_ms = far[far.len() / 2];
                return Some(ClockOff { by_ms, say_so: far.len(), heard_from: self.heard.len() });
            }
        }
        None
    }
}

/// What [`Clocks::held_bytes`] never exceeds.
pub const CLOCKS_BYTES_MAX: usize = held_by::<Pubkey, Ahead>(CLOCKS_MAX);

/// Our clock minus another, in milliseconds.
#[must_use]
pub fn ahead_ms(now: Now, theirs: u64) -> i64 {
    let ms = i128::from(now.unix_ms) - i128::from(theirs);
    i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { mono_us: 0, unix_ms: 1_760_000_000_000 };

    fn node(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    /// What is found when nodes' clocks are so many seconds behind ours: by how much, how many say so, of how many.
    fn check(behind: &[i64], expect: Option<(i64, usize, usize)>) {
        let mut clocks = Clocks::default();
        for (number, seconds) in (0..).zip(behind) {
            clocks.note(START, node(number), START.unix_ms.saturating_add_signed(-seconds * 1_000));
        }
        let off = clocks.off(|_| false).map(|off| (off.by_ms / 1_000, off.say_so, off.heard_from));
        assert_eq!(off, expect, "{behind:?}");
    }

    #[test]
    fn most_must_say_that_the_clock_is_off_and_agree_which_way() {
        check(&[], None);
        check(&[0, 1, 2], None);
        check(&[21, 22, 20, 0], Some((21, 3, 4)));
        check(&[-21, -22, -20], Some((-21, 3, 3)));
        check(&[21, -21, 0], None);
        check(&[21, 21, -21, -21], None);
    }

    #[test]
    fn one_liar_is_not_believed_against_another_or_alone() {
        check(&[100], None);
        check(&[100, 0], None);
        check(&[i64::MAX / 2_000, 0, 0], None);
        let mut clocks = Clocks::default();
        clocks.note(START, node(1), START.unix_ms + 100_000);
        assert_eq!(clocks.off(|alone| *alone == node(1)).map(|off| off.by_ms), Some(-100_000), "but an entrypoint is");
    }

    #[test]
    fn the_freshest_word_of_a_node_counts_and_old_ones_are_forgotten() {
        let mut clocks = Clocks::default();
        let at = |seconds: u64| START.after(Duration::from_secs(seconds));
        let say = |clocks: &mut Clocks, now: Now, age: u64| clocks.note(now, node(1), now.unix_ms - age * 1_000);
        let by = |clocks: &Clocks| clocks.off(|_| true).map(|off| off.by_ms / 1_000);
        say(&mut clocks, at(0), 22);
        say(&mut clocks, at(1), 16);
        say(&mut clocks, at(2), 23);
        assert_eq!(by(&clocks), Some(16));
        say(&mut clocks, at(16), 40);
        assert_eq!(by(&clocks), Some(16), "the stretch before counts");
        say(&mut clocks, at(32), 41);
        assert_eq!(by(&clocks), Some(40));
        clocks.forget_old(at(92));
        assert_eq!(by(&clocks), None);
    }

    #[test]
    fn a_crowd_of_newcomers_does_not_outvote_those_that_were_there() {
        let mut clocks = Clocks::default();
        for number in 0..CLOCKS_MAX {
            clocks.note(START, node(u8::try_from(number).expect("few")), START.unix_ms);
        }
        for number in CLOCKS_MAX..250 {
            clocks.note(START, node(u8::try_from(number).expect("few")), 0);
        }
        assert_eq!((clocks.heard.len(), clocks.held_bytes()), (CLOCKS_MAX, CLOCKS_BYTES_MAX));
        assert_eq!(clocks.off(|_| true), None);
    }
}
