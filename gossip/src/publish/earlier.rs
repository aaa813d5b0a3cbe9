//! Values of our own earlier life that others still hold.
//!
//! After a restart under the same identity, others hold what the earlier instance said, for days. Nothing of it enters
//! our table. But where it would win over what we say now, because the clock was set back meanwhile, we speak with a
//! later wallclock; and what we have said already, we say anew.

use crate::{
    push::FRESH_FOR,
    recent::held_by,
    table::VALUES_PER_ORIGIN,
    wire::value::{CrdsValue, Kind, Label},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use sundog_types::Now;

/// How often values that lose against earlier ones are said anew, at most: two instances with one identity must not
/// outbid each other at the speed of the network.
pub const DEFEND_EVERY: Duration = Duration::from_secs(1);

/// What was heard in our own name. Bounded by the number of labels that a node can have, [`VALUES_PER_ORIGIN`].
#[derive(Debug, Default)]
pub struct Earlier {
    floors: BTreeMap<(Kind, u16), u64>,
    losing: BTreeSet<(Kind, u16)>,
    defended: Option<Now>,
}

/// What a value heard in our own name is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// We said it in this life, or it is older than what we said.
    Known,
    /// Of an earlier life, in a place of which we have said nothing in this one.
    Earlier,
    /// Of an earlier life, and others will not take what we said in its place.
    Outdoes,
    /// Its wallclock is so far ahead that nobody would pass on a value that is newer still. It stays until time passes.
    FromTheFuture,
}

impl Earlier {
    /// Takes a value in our name; `present`: what we say in its place.
    pub fn hear(&mut self, now: Now, value: &CrdsValue, present: Option<&CrdsValue>) -> Echo {
        let (key, wallclock) = (key(&value.label()), value.wallclock());
        let known = |present: &CrdsValue| present.hash() == value.hash() || present.wallclock() > wallclock;
        if key.0 == Kind::ContactInfo || present.is_some_and(known) {
            return Echo::Known;
        }
        if u128::from(wallclock.saturating_sub(now.unix_ms)) > FRESH_FOR.as_millis() {
            return Echo::FromTheFuture;
        }
        let floor = self.floors.entry(key).or_default();
        *floor = wallclock.max(*floor);
        if present.is_none() {
            return Echo::Earlier;
        }
        self.losing.insert(key);
        Echo::Outdoes
    }

    /// Bytes held, at most.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        held_by::<(Kind, u16), u64>(self.floors.len()) + held_by::<(Kind, u16), ()>(self.losing.len())
    }

    /// The latest wallclock heard under a label.
    #[must_use]
    pub fn floor(&self, label: &Label) -> Option<u64> {
        self.floors.get(&key(label)).copied()
    }

    /// The labels, of our own, whose values are to be said anew now.
    pub fn losing(&mut self, now: Now) -> BTreeSet<(Kind, u16)> {
        let soon = self.defended.is_some_and(|defended| now.since(defended) < DEFEND_EVERY);
        if soon || self.losing.is_empty() {
            return BTreeSet::new();
        }
        self.defended = Some(now);
        std::mem::take(&mut self.losing)
    }
}

/// What [`Earlier::held_bytes`] never exceeds: [`crate::check()`] lets no more labels through.
pub const EARLIER_BYTES_MAX: usize =
    held_by::<(Kind, u16), u64>(VALUES_PER_ORIGIN) + held_by::<(Kind, u16), ()>(VALUES_PER_ORIGIN);

const fn key(label: &Label) -> (Kind, u16) {
    (label.kind, label.index)
}
