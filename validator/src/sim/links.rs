//! The links of bulk sync: reliable, ordered, and cut when either machine dies.

use std::collections::BTreeMap;
use sundog_turbine::sync::{LinkId, Message};
use sundog_types::Now;

/// How a machine treats those who fetch blocks from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFault {
    /// It takes links and says nothing.
    Silent,
    /// It serves blocks in which a byte is wrong.
    Forges,
    /// It leaves the last block out of what it serves.
    CutsOff,
    /// It claims to be a thousand slots further than it is.
    Boasts,
}

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) host: usize,
    pub(super) life: u32,
    pub(super) other: LinkId,
    /// When what was sent last from here arrives.
    arrives: Now,
}

/// All open links.
#[derive(Debug, Default)]
pub(super) struct Links {
    made: u64,
    ends: BTreeMap<LinkId, End>,
}

impl Links {
    /// Opens a link between two machines, each in its present life; the ends' numbers, in that order.
    pub(super) fn open(&mut self, now: Now, [(from, from_life), (to, to_life)]: [(usize, u32); 2]) -> (LinkId, LinkId) {
        let (here, there) = (LinkId::new(self.made), LinkId::new(self.made + 1));
        self.made += 2;
        self.ends.insert(here, End { host: from, life: from_life, other: there, arrives: now });
        self.ends.insert(there, End { host: to, life: to_life, other: here, arrives: now });
        (here, there)
    }

    /// The other end, and when what is sent now arrives there if it takes until `due` at least: nothing overtakes.
    pub(super) fn send(&mut self, from: LinkId, due: Now) -> Option<(LinkId, End, Now)> {
        let end = self.ends.get_mut(&from)?;
        if end.arrives.mono_us < due.mono_us {
            end.arrives = due;
        }
        let (other, arrives) = (end.other, end.arrives);
        Some((other, *self.ends.get(&other)?, arrives))
    }

    /// Cuts a link; both ends, with their numbers, and when each learns of it.
    pub(super) fn close(&mut self, link: LinkId, due: Now) -> Vec<(LinkId, End, Now)> {
        let Some((other, far, arrives)) = self.send(link, due) else { return Vec::new() };
        let Some(near) = self.ends.remove(&link) else { return Vec::new() };
        self.ends.remove(&other);
        vec![(other, far, arrives), (link, near, arrives)]
    }

    /// One end of each link whose two machines are such a pair.
    pub(super) fn between(&self, mut pair: impl FnMut(&[usize; 2]) -> bool) -> Vec<LinkId> {
        let ends = self.ends.iter().filter(|(link, end)| **link < end.other);
        let of_pair = ends.filter(|(_, end)| self.ends.get(&end.other).is_some_and(|far| pair(&[end.host, far.host])));
        of_pair.map(|(link, _)| *link).collect()
    }

    /// The links of a machine.
    pub(super) fn of(&self, host: usize) -> Vec<LinkId> {
        self.ends.iter().filter(|(_, end)| end.host == host).map(|(link, _)| *link).collect()
    }
}

impl SyncFault {
    /// What leaves instead of this frame.
    pub(super) fn tamper(self, frame: bytes::Bytes) -> Option<bytes::Bytes> {
        let Ok(mut message) = Message::decode(&frame) else { return Some(frame) };
        match (self, &mut message) {
            (Self::Silent, _) => return None,
            (Self::Forges, Message::Blocks { blocks, .. }) => {
                for shred in blocks.iter_mut().flat_map(|block| block.shreds.last_mut()) {
                    let mut bytes = shred.to_vec();
                    bytes[100] ^= 1;
                    *shred = bytes.into();
                }
            }
            (Self::CutsOff, Message::Blocks { blocks, more: false, .. }) => {
                blocks.pop();
            }
            (Self::Boasts, Message::Hello(hello)) => boast(&mut hello.held),
            (Self::Boasts, Message::Ping(held) | Message::Pong(held)) => boast(held),
            _ => return Some(frame),
        }
        Some(message.encode())
    }
}

fn boast(held: &mut sundog_turbine::sync::Held) {
    held.root = held.root.saturating_add(1_000);
    held.highest = held.highest.saturating_add(1_000);
}
