//! Who relays what to us, and who need not (reference 6.10).
//!
//! Every relayer of an origin's values has a score: how often it was the first or second to bring one. When twenty
//! values were first brought by pushes, the best stay and the others are asked to stop.
//!
//! How many are the best: the reference keeps two, or more until they have enough stake. Where datagrams are lost two are
//! too few: at 30 % loss both miss one value in eleven, and it then comes by pull, seconds later. So it is also
//! counted how many of the values a relayer brought at all, late or not, and further ones stay until hardly any value is
//! missed by all of them: two without loss, three at 10 %, four at 30 %. Whom a node prunes is its own affair, and
//! who is not pruned goes on as before, so this needs nothing from others.

use crate::{recent::held_by, table::ORIGINS_MAX, wire::value::Kind};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use sundog_types::{Now, Pubkey};

/// Origins whose relayers are watched: twice the nodes of a full table, as in the reference. Full: the origin that
/// nothing came of for longest is forgotten.
pub const WATCHED_MAX: usize = 2 * ORIGINS_MAX;

/// Relayers watched for one origin. Full: who brings something in time takes the place of one that never did; others
/// are not noted and go on.
pub const RELAYERS_MAX: usize = 50;

/// Origins told to one relayer and not sent yet, of all relayers together. Full: a relayer is not asked to stop this
/// time; it will be after twenty more values.
pub const DUE_MAX: usize = 8_192;

/// Origins named in one prune message: the reference's figure, and what fits in a datagram.
pub const PRUNES_PER_MESSAGE: usize = 32;

/// Prune messages signed in one round. What is left is sent in the next.
pub const PRUNES_PER_ROUND: usize = 64;

/// First copies after which the relayers of an origin are judged.
const FIRST_COPIES: u32 = 20;

/// A copy counts for its relayer if fewer than so many came before.
const TIMELY: u8 = 2;

/// The best so many relayers always stay.
const KEPT: usize = 2;

/// Further relayers stay until those before them have this share of min(own stake, origin's stake), in percent.
const KEPT_STAKE_PERCENT: u128 = 15;

/// Further relayers stay until no more than this share of the values is missed by all before them, as far as they
/// miss values independently.
const MISSED_BY_ALL: f64 = 0.01;

/// No more than so many stay because of missed values: where that is not enough, pushes are not what helps.
const KEPT_FOR_MISSED: usize = 6;

/// When something last came of an origin is noted this exactly, in microseconds: contact infos come every 7.5 s.
const SPAN_US: u64 = 16_000_000;

/// Who relays what is said by whom.
#[derive(Default)]
pub struct Received {
    origins: BTreeMap<Pubkey, Watched>,
    /// By when something last came, in units of [`SPAN_US`].
    order: BTreeSet<(u64, Pubkey)>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    span: u64,
    first_copies: u32,
    relayers: Vec<Relayer>,
}

#[derive(Clone, Debug)]
struct Relayer {
    node: Pubkey,
    /// Values that it was the first or second to bring.
    score: u32,
    /// Values that it brought.
    brought: u32,
}

impl Watched {
    fn note(&mut self, relayer: &Pubkey, copies_before: u8) {
        if copies_before == 0 {
            self.first_copies = self.first_copies.saturating_add(1);
        }
        let timely = copies_before < TIMELY;
        let (score, brought) = (u32::from(timely), u32::from(copies_before < u8::MAX));
        if let Some(known) = self.relayers.iter_mut().find(|known| known.node == *relayer) {
            known.score = known.score.saturating_add(score);
            known.brought = known.brought.saturating_add(brought);
        } else if self.relayers.len() < RELAYERS_MAX {
            self.relayers.push(Relayer { node: *relayer, score, brought });
        } else if timely && let Some(useless) = self.relayers.iter_mut().find(|known| known.score == 0) {
            *useless = Relayer { node: *relayer, score, brought };
        }
    }
}

/// How many of the relayers, the best first, stay by the reference's rule: two, and more until those before them have
/// enough stake.
fn kept_for_stake(ranked: &[Relayer], enough: u128, stake: impl Fn(&Pubkey) -> u64) -> usize {
    let mut before = 0;
    let mut kept = 0;
    for relayer in ranked {
        if kept >= KEPT && before >= enough {
            break;
        }
        before += u128::from(stake(&relayer.node));
        kept += 1;
    }
    kept
}

/// How many of the relayers, the best first, stay so that hardly any of so many values is missed by all of them.
fn kept_for_missed(ranked: &[Relayer], values: u32) -> usize {
    let mut missed_by_all = 1.0;
    let mut kept = 0;
    for relayer in ranked.iter().take(KEPT_FOR_MISSED) {
        if missed_by_all <= MISSED_BY_ALL {
            break;
        }
        // Nobody is taken to be perfect after so few values.
        let missed = values.saturating_sub(relayer.brought);
        missed_by_all *= (f64::from(missed) + 0.5) / (f64::from(values) + 1.0);
        kept += 1;
    }
    kept
}

impl Received {
    /// Notes that `relayer` brought a value of `origin` of which so many pushed copies had come before. Whether the
    /// origin's relayers should be judged now.
    pub fn note(&mut self, now: Now, origin: &Pubkey, relayer: &Pubkey, copies_before: u8) -> bool {
        let span = now.mono_us / SPAN_US;
        if let Some(watched) = self.origins.get_mut(origin) {
            if watched.span != span {
                self.order.remove(&(watched.span, *origin));
                self.order.insert((span, *origin));
                watched.span = span;
            }
            watched.note(relayer, copies_before);
            return copies_before == 0 && watched.first_copies >= FIRST_COPIES;
        }
        if self.origins.len() >= WATCHED_MAX
            && let Some((_, silent)) = self.order.pop_first()
        {
            self.origins.remove(&silent);
        }
        let mut watched = Watched { span, ..Watched::default() };
        watched.note(relayer, copies_before);
        self.origins.insert(*origin, watched);
        self.order.insert((span, *origin));
        assert_eq!(self.origins.len(), self.order.len());
        false
    }

    /// Judges the relayers of an origin and begins anew with it: those that should stop, given the stakes of all nodes
    /// and our own.
    pub fn judge(&mut self, origin: &Pubkey, own_stake: u64, stake: impl Fn(&Pubkey) -> u64) -> Vec<Pubkey> {
        let Some(watched) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        let values = std::mem::take(&mut watched.first_copies);
        let mut ranked = std::mem::take(&mut watched.relayers);
        ranked.sort_by_cached_key(|relayer| Reverse((relayer.score, stake(&relayer.node))));
        let enough = u128::from(own_stake.min(stake(origin))) * KEPT_STAKE_PERCENT / 100;
        let kept = kept_for_stake(&ranked, enough, stake).max(kept_for_missed(&ranked, values));
        ranked.drain(..kept);
        ranked.into_iter().map(|relayer| relayer.node).filter(|node| node != origin).collect()
    }

    /// How many origins are watched; at most [`WATCHED_MAX`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether nothing came yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let relayers = self.origins.values().map(|watched| watched.relayers.capacity() * RELAYER_BYTES);
        Self::held_bytes_at(self.origins.len()) + relayers.sum::<usize>()
    }

    const fn held_bytes_at(origins: usize) -> usize {
        held_by::<Pubkey, Watched>(origins) + held_by::<(u64, Pubkey), ()>(origins)
    }

    /// How many relayers of an origin are watched; at most [`RELAYERS_MAX`].
    #[must_use]
    pub fn relayers_len(&self, origin: &Pubkey) -> usize {
        self.origins.get(origin).map_or(0, |watched| watched.relayers.len())
    }
}

const RELAYER_BYTES: usize = size_of::<Relayer>();

/// What [`Received::held_bytes`] never exceeds; a list that grows has room for twice what is in it.
pub const RECEIVED_BYTES_MAX: usize =
    Received::held_bytes_at(WATCHED_MAX) + WATCHED_MAX * 2 * RELAYERS_MAX * RELAYER_BYTES;

/// What [`Due::held_bytes`] never exceeds.
pub const DUE_BYTES_MAX: usize = held_by::<Pubkey, Vec<Pubkey>>(DUE_MAX) + 4 * DUE_MAX * size_of::<Pubkey>();

/// Prunes that are to be sent.
#[derive(Default)]
pub struct Due {
    by_relayer: BTreeMap<Pubkey, Vec<Pubkey>>,
    origins: usize,
}

impl Due {
    /// The relayer should be asked to stop relaying the origin; whether there was room to note that.
    pub fn note(&mut self, relayer: Pubkey, origin: Pubkey) -> bool {
        let room = self.origins < DUE_MAX;
        if room {
            self.by_relayer.entry(relayer).or_default().push(origin);
            self.origins += 1;
        }
        room
    }

    /// A relayer and the origins of one message to it.
    pub fn take(&mut self) -> Option<(Pubkey, Vec<Pubkey>)> {
        let mut first = self.by_relayer.first_entry()?;
        let relayer = *first.key();
        let rest = first.get().len().saturating_sub(PRUNES_PER_MESSAGE);
        let origins = first.get_mut().split_off(rest);
        first.get_mut().shrink_to(2 * rest);
        if rest == 0 {
            first.remove();
        }
        self.origins -= origins.len();
        Some((relayer, origins))
    }

    /// How many origins are noted, those of each relayer counted; at most [`DUE_MAX`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.origins
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let origins: usize = self.by_relayer.values().map(Vec::capacity).sum();
        held_by::<Pubkey, Vec<Pubkey>>(self.by_relayer.len()) + origins * size_of::<Pubkey>()
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.origins == 0
    }
}

const KINDS: usize = Kind::Retired as usize + 1;

/// Pushed copies of values that came in, by kind of value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    first: [u64; KINDS],
    more: [u64; KINDS],
}

impl Copies {
    /// Counts a copy that was news, or one of what was known already.
    pub const fn count(&mut self, kind: Kind, news: bool) {
        if news {
            self.first[kind as usize] += 1;
        } else {
            self.more[kind as usize] += 1;
        }
    }

    /// Copies that were news.
    #[must_use]
    pub const fn first(&self, kind: Kind) -> u64 {
        self.first[kind as usize]
    }

    /// Copies of what was known already, by an earlier copy or a pull, or outdated.
    #[must_use]
    pub const fn more(&self, kind: Kind) -> u64 {
        self.more[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    const NOW: Now = Now { mono_us: 0, unix_ms: 1_760_000_000_000 };

    fn key(number: usize) -> Pubkey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Pubkey::new_from_array(bytes)
    }

    /// Twenty values of origin 100, each brought by the relayers in this order.
    fn twenty(received: &mut Received, relayers: &[usize]) {
        for number in 1..=20 {
            for (before, relayer) in (0..).zip(relayers) {
                let judged = received.note(NOW, &key(100), &key(*relayer), before);
                assert_eq!(judged, number == 20 && before == 0, "value {number}, copy {before}");
            }
        }
    }

    #[test]
    fn the_two_best_stay_without_stakes_and_losses_and_the_origin_always() {
        let mut received = Received::default();
        twenty(&mut received, &[1, 2, 3, 100, 4]);
        assert_eq!(received.relayers_len(&key(100)), 5);
        assert_eq!(received.judge(&key(100), 0, |_| 0), [key(3), key(4)]);
        assert_eq!(received.relayers_len(&key(100)), 0, "begun anew");
        assert!(received.judge(&key(55), 0, |_| 0).is_empty(), "never heard of");
    }

    #[test]
    fn more_stay_until_they_have_fifteen_percent_of_the_smaller_stake() {
        // Relayers 1 to 6 have a stake of ten times their number.
        let stake = |node: &Pubkey| match u64::from_be_bytes(*node.as_array().first_chunk().expect("32 bytes")) {
            100 => 1_000,
            number => number * 10,
        };
        // By score 1 and 2 are first, 30 together; of the others who have the same score, who has more stake.
        for (own, pruned) in [(u64::MAX, &[3][..]), (500, &[5, 4, 3]), (0, &[6, 5, 4, 3])] {
            let mut received = Received::default();
            twenty(&mut received, &[1, 2, 3, 4, 5, 6]);
            let pruned: Vec<Pubkey> = pruned.iter().copied().map(key).collect();
            assert_eq!(received.judge(&key(100), own, stake), pruned, "own stake {own}");
        }
    }

    /// A thousand values of origin 100 from ten relayers on whose ways so many percent are lost; how many relayers
    /// stay each time they are judged.
    fn kept_where_lost(percent: u32) -> Vec<usize> {
        let mut rng = ChaCha8Rng::from_seed([5; 32]);
        let mut received = Received::default();
        let mut kept = Vec::new();
        for _ in 0..1_000 {
            let mut copies = 0;
            let mut due = false;
            for relayer in 0..10 {
                if rng.gen_range(0..100) >= percent {
                    due |= received.note(NOW, &key(100), &key(relayer), copies);
                    copies += 1;
                }
            }
            if due {
                let heard = received.relayers_len(&key(100));
                kept.push(heard - received.judge(&key(100), 0, |_| 0).len());
            }
        }
        kept
    }

    #[test]
    fn as_many_relayers_stay_as_it_takes_to_miss_one_value_in_a_hundred() {
        for (percent, stay) in [(0, 2..=2), (10, 2..=4), (30, 2..=6), (60, 6..=6)] {
            let kept = kept_where_lost(percent);
            assert!(kept.len() > 45 && kept.iter().all(|kept| stay.contains(kept)), "{percent} %: {kept:?}");
        }
        let mean = |kept: Vec<usize>| kept.iter().sum::<usize>() as f64 / kept.len() as f64;
        assert!((2.0..3.5).contains(&mean(kept_where_lost(10))));
        assert!((3.5..4.6).contains(&mean(kept_where_lost(30))));
    }

    #[test]
    fn who_is_first_or_second_scores_and_later_copies_only_show_that_a_relayer_is_there() {
        let mut received = Received::default();
        for number in 0..20 {
            let [first, second] = if number % 2 == 0 { [1, 2] } else { [2, 3] };
            received.note(NOW, &key(100), &key(first), 0);
            received.note(NOW, &key(100), &key(second), 1);
            received.note(NOW, &key(100), &key(4), 2);
            received.note(NOW, &key(100), &key(5), u8::MAX);
        }
        // Scores: 2 has 20, 1 and 3 have 10; of equals the one seen first stays. What 2 and 1 bring is not quite enough,
        // so 3 stays as well.
        assert_eq!(received.judge(&key(100), 0, |_| 0), [4, 5].map(key));
    }

    #[test]
    fn fifty_relayers_are_watched_and_who_is_in_time_displaces_who_never_was() {
        let mut received = Received::default();
        for relayer in 0..RELAYERS_MAX + 10 {
            received.note(NOW, &key(100), &key(relayer), 9);
        }
        assert_eq!(received.relayers_len(&key(100)), RELAYERS_MAX);
        for _ in 0..20 {
            received.note(NOW, &key(100), &key(900), 0);
            received.note(NOW, &key(100), &key(901), 1);
        }
        assert_eq!(received.relayers_len(&key(100)), RELAYERS_MAX);
        let pruned = received.judge(&key(100), 0, |_| 0);
        assert_eq!(pruned.len(), RELAYERS_MAX - 2);
        assert!(!pruned.contains(&key(900)) && !pruned.contains(&key(901)));
    }

    #[test]
    fn the_origin_silent_for_longest_is_forgotten_when_too_many_are_watched() {
        let mut received = Received::default();
        let at = |span: usize| Now { mono_us: SPAN_US * span as u64, ..NOW };
        for origin in 0..WATCHED_MAX {
            received.note(at(origin), &key(origin), &key(1), 0);
        }
        received.note(at(WATCHED_MAX), &key(0), &key(1), 0);
        received.note(at(WATCHED_MAX), &key(WATCHED_MAX), &key(1), 0);
        assert_eq!(received.len(), WATCHED_MAX);
        assert_eq!(received.relayers_len(&key(0)), 1, "heard of again");
        assert_eq!(received.relayers_len(&key(1)), 0, "forgotten");
    }

    #[test]
    fn everything_full_is_within_the_stated_bytes() {
        let (mut received, mut due) = (Received::default(), Due::default());
        for origin in 0..WATCHED_MAX + 10 {
            for relayer in 0..RELAYERS_MAX + 5 {
                received.note(NOW, &key(origin), &key(relayer), 9);
            }
        }
        for number in 0..DUE_MAX + 10 {
            due.note(key(number), key(number));
        }
        let held = received.held_bytes();
        assert!(held <= RECEIVED_BYTES_MAX && held > RECEIVED_BYTES_MAX / 3, "{held} of {RECEIVED_BYTES_MAX}");
        let held = due.held_bytes();
        assert!(held <= DUE_BYTES_MAX && held > DUE_BYTES_MAX / 3, "{held} of {DUE_BYTES_MAX}");
    }

    #[test]
    fn due_prunes_are_bounded_and_leave_in_messages_of_thirty_two() {
        let mut due = Due::default();
        for number in 0..DUE_MAX + 10 {
            assert_eq!(due.note(key(number % 100), key(number)), number < DUE_MAX);
        }
        let mut origins = 0;
        let mut messages = 0;
        while let Some((relayer, some)) = due.take() {
            assert!(!some.is_empty() && some.len() <= PRUNES_PER_MESSAGE);
            assert!(some.iter().all(|origin| {
                let number = u64::from_be_bytes(*origin.as_array().first_chunk().expect("32 bytes"));
                relayer == key(usize::try_from(number % 100).expect("small"))
            }));
            origins += some.len();
            messages += 1;
        }
        assert_eq!((origins, messages), (DUE_MAX, 300), "82 or 81 origins of each of a hundred");
        assert!(due.is_empty());
    }
}
