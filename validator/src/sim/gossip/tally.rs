//! What is counted.

use sundog_gossip::wire::{
    Protocol,
    value::{CrdsData, CrdsValue},
};
use sundog_types::Now;

/// Classes of datagrams that bytes are counted by.
pub const CLASSES: [&str; 5] = ["pull request", "pull response", "push", "prune", "ping, pong"];

/// Kinds of values that copies are counted by.
pub const KINDS: [&str; 4] = ["Vote", "ContactInfo", "EpochSlots", "other"];

/// Bytes of datagrams' payloads, by [`CLASSES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent.
    pub sent: [u64; CLASSES.len()],
    /// Arrived.
    pub received: [u64; CLASSES.len()],
}

/// The class of a datagram, by its tag.
pub(super) fn class(bytes: &[u8]) -> usize {
    bytes.first().map_or(0, |tag| usize::from(*tag)).min(CLASSES.len() - 1)
}

/// The kind of a value.
pub(super) const fn kind(data: &CrdsData) -> usize {
    match data {
        CrdsData::Vote(..) => 0,
        CrdsData::ContactInfo(_) => 1,
        CrdsData::EpochSlots(..) => 2,
        _ => 3,
    }
}

/// What arrived at all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Values that came by push, each copy counted, by [`KINDS`].
    pub pushed: [u64; KINDS.len()],
    /// Values that came in answers to pulls, by [`KINDS`].
    pub pulled: [u64; KINDS.len()],
    /// Values that were news and came by push.
    pub news_pushed: u64,
    /// Values that were news and came in answers to pulls.
    pub news_pulled: u64,
    /// Values published, by [`KINDS`].
    pub published: [u64; KINDS.len()],
}

impl Tally {
    pub(super) fn note(&mut self, message: &Protocol) {
        let (counts, values): (_, &[CrdsValue]) = match message {
            Protocol::PushMessage(_, values) => (&mut self.pushed, values),
            Protocol::PullResponse(_, values) => (&mut self.pulled, values),
            _ => return,
        };
        for value in values {
            counts[kind(value.data())] += 1;
        }
    }
}

/// A vote on its way to everybody.
#[derive(Clone, Debug)]
pub struct Probe {
    /// When it was published.
    pub at: Now,
    /// By which node.
    pub origin: usize,
    /// Milliseconds until it arrived, by node; [`u16::MAX`]: it has not.
    pub ms: Vec<u16>,
}
