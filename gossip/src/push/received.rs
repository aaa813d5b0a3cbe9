//! Who relays what to us, and who need not (reference 6.10).
//!
//! Every relayer of an origin's values has a score: how often it was the first or second to bring one. When twenty
//! values were first brought by pushes, the best stay and the others are asked to stop.

use crate::{table::ORIGINS_MAX, wire::value::Kind};
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

/// Who relays what is said by whom.
#[derive(Default)]
pub struct Received {
    origins: BTreeMap<Pubkey, Watched>,
    /// By when something last came, in seconds.
    order: BTreeSet<(u64, Pubkey)>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    second: u64,
    first_copies: u32,
    relayers: Vec<(Pubkey, u32)>,
}

impl Watched {
    fn note(&mut self, relayer: &Pubkey, copies_before: u8) {
        if copies_before == 0 {
            self.first_copies = self.first_copies.saturating_add(1);
        }
        let timely = copies_before < TIMELY;
        if let Some((_, score)) = self.relayers.iter_mut().find(|(known, _)| known == relayer) {
            *score = score.saturating_add(u32::from(timely));
        } else if self.relayers.len() < RELAYERS_MAX {
            self.relayers.push((*relayer, u32::from(timely)));
        } else if timely && let Some(useless) = self.relayers.iter_mut().find(|(_, score)| *score == 0) {
            *useless = (*relayer, 1);
        }
    }
}

impl Received {
    /// Notes that `relayer` brought a value of `origin` of which so many pushed copies had come before. Whether the
    /// origin's relayers should be judged now.
    pub fn note(&mut self, now: Now, origin: &Pubkey, relayer: &Pubkey, copies_before: u8) -> bool {
        let second = now.mono_us / 1_000_000;
        if let Some(watched) = self.origins.get_mut(origin) {
            if watched.second != second {
                self.order.remove(&(watched.second, *origin));
                self.order.insert((second, *origin));
                watched.second = second;
            }
            watched.note(relayer, copies_before);
            return copies_before == 0 && watched.first_copies >= FIRST_COPIES;
        }
        if self.origins.len() >= WATCHED_MAX
            && let Some((_, silent)) = self.order.pop_first()
        {
            self.origins.remove(&silent);
        }
        let mut watched = Watched { second, ..Watched::default() };
        watched.note(relayer, copies_before);
        self.origins.insert(*origin, watched);
        self.order.insert((second, *origin));
        assert_eq!(self.origins.len(), self.order.len());
        false
    }

    /// Judges the relayers of an origin and begins anew with it: those that should stop, given the stakes of all nodes
    /// and our own.
    pub fn judge(&mut self, origin: &Pubkey, own_stake: u64, stake: impl Fn(&Pubkey) -> u64) -> Vec<Pubkey> {
        let Some(watched) = self.origins.get_mut(origin) else {
            return Vec::new();
        };
        watched.first_copies = 0;
        let relayers = std::mem::take(&mut watched.relayers);
        let mut ranked: Vec<_> = relayers.iter().map(|(node, score)| (*score, stake(node), *node)).collect();
        ranked.sort_by_key(|(score, stake, _)| Reverse((*score, *stake)));
        let enough = u128::from(own_stake.min(stake(origin))) * KEPT_STAKE_PERCENT / 100;
        let mut before = 0;
        let mut kept = 0;
        for (_, stake, _) in &ranked {
            if kept >= KEPT && before >= enough {
                break;
            }
            before += u128::from(*stake);
            kept += 1;
        }
        ranked.drain(..kept);
        ranked.into_iter().map(|(_, _, node)| node).filter(|node| node != origin).collect()
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

    /// How many relayers of an origin are watched; at most [`RELAYERS_MAX`].
    #[must_use]
    pub fn relayers_len(&self, origin: &Pubkey) -> usize {
        self.origins.get(origin).map_or(0, |watched| watched.relayers.len())
    }
}

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
