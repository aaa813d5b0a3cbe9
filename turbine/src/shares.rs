//! Divides a bounded room between senders, so that whoever floods it leaves room for the others.

use crate::effect::{Origin, Sender};
use std::collections::BTreeMap;
use sundog_types::Pubkey;

/// Whose share something that waits counts against. A staked node has one of its own. Identities without stake and the
/// addresses of UDP packets cost nothing to invent, so each of these kinds shares one; so do repair's answers, which
/// come from whom this node asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    Staked(Pubkey),
    Unstaked,
    Udp,
    Asked,
}

impl Share {
    pub(crate) fn of(origin: Origin, staked: impl Fn(&Pubkey) -> bool) -> Self {
        match origin {
            Origin::Turbine(Sender::Peer(peer)) if staked(&peer) => Self::Staked(peer),
            Origin::Turbine(Sender::Peer(_)) => Self::Unstaked,
            Origin::Turbine(Sender::Address(_)) => Self::Udp,
            _ => Self::Asked,
        }
    }
}

/// How much of a room each share may take: one place if any is free, and more as long as it has less than half of what
/// is free. An eighth is kept for those who have nothing. So one alone gets nearly a third, many who take all they can
/// get shrink to even parts as what waits is done with, and whoever asks for little finds a place. Nothing that waits
/// is ever pushed out.
#[derive(Debug)]
pub(crate) struct Shares {
    capacity: usize,
    used: usize,
    by: BTreeMap<Share, usize>,
}

impl Shares {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, used: 0, by: BTreeMap::new() }
    }

    /// Places in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether there is a place for one more of this share.
    pub(crate) fn has_room(&self, share: Share) -> bool {
        let own = self.by.get(&share).copied().unwrap_or(0);
        let free = self.capacity.saturating_sub(self.used);
        if own == 0 { free > 0 } else { own.saturating_mul(2) < free.saturating_sub(self.capacity / 8) }
    }

    pub(crate) fn take(&mut self, share: Share) {
        self.used += 1;
        *self.by.entry(share).or_default() += 1;
    }

    pub(crate) fn give_back(&mut self, share: Share) {
        if let Some(own) = self.by.get_mut(&share) {
            *own -= 1;
            self.used -= 1;
            if *own == 0 {
                self.by.remove(&share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(shares: &mut Shares, share: Share) -> usize {
        let mut taken = 0;
        while shares.has_room(share) {
            shares.take(share);
            taken += 1;
        }
        taken
    }

    #[test]
    fn one_sender_alone_gets_nearly_a_third_and_the_next_of_the_rest() {
        let mut shares = Shares::new(800);
        assert_eq!(fill(&mut shares, Share::Udp), 234);
        assert_eq!(fill(&mut shares, Share::Unstaked), 156);
        assert_eq!(shares.used(), 390);
        for _ in 0..234 {
            shares.give_back(Share::Udp);
        }
        assert_eq!(shares.used(), 156);
        shares.give_back(Share::Udp);
        assert_eq!(shares.used(), 156, "nothing to give back");
    }

    #[test]
    fn many_greedy_senders_leave_room_for_an_honest_one() {
        let mut shares = Shares::new(1_024);
        let greedy: Vec<_> = (0..100).map(|number| Share::Staked(Pubkey::new_from_array([number; 32]))).collect();
        let honest = Share::Staked(Pubkey::new_from_array([200; 32]));
        for round in 0..200 {
            for share in &greedy {
                fill(&mut shares, *share);
                assert!(shares.has_room(honest), "round {round}");
            }
            assert!(shares.used() <= 1_024);
            // An eighth of what waits is done with.
            for share in &greedy {
                for _ in 0..shares.by.get(share).copied().unwrap_or(0).div_ceil(8) {
                    shares.give_back(*share);
                }
            }
        }
    }
}
