//! Waiting, after a coordinated restart, until enough of the stake is there.

use super::{Effect, Event, Node};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    time::Duration,
};
use sundog_gossip::Trouble;
use sundog_types::{Effects, Now, Pubkey, Slot, peer::Peer};

/// The cluster goes on once so much of the stake is seen, percent (reference 8.9): more than what two thirds need, as some
/// of it will not come back at once.
pub const SUPERMAJORITY_PERCENT: u128 = 80;
/// Who was not heard of for longer is not there: contact infos are renewed twice in that time.
const SEEN_WITHIN: Duration = Duration::from_secs(15);
/// How often it is told who is there.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Addresses on another shred version remembered at most; full: no more are noted.
const ELSEWHERE_MAX: usize = 64;
/// Missing nodes that a line names.
const NAMED_MAX: usize = 8;

/// A node that waits at the slot of a restart. It neither votes nor makes blocks until [`Wait::look`] says that it is over.
#[derive(Clone, Debug)]
pub struct Wait {
    slot: Slot,
    told: Option<Now>,
    elsewhere: BTreeMap<SocketAddr, u16>,
    attendance: Attendance,
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// The slot waited at.
    pub slot: Slot,
    /// Stake of the nodes that are in gossip with this node's shred version, its own included, in lamports.
    pub present: u128,
    /// Stake of all, in lamports.
    pub total: u128,
    /// Nodes with stake that are not, with their stake, the most first.
    pub missing: Vec<(Pubkey, u64)>,
    /// Where nodes with stake say that they are on another shred version, and on which.
    pub elsewhere: Vec<(SocketAddr, u16)>,
}

/// What came of a look around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Enough are there: go on.
    Over,
    /// Too few, and it is time to say so.
    Tell,
    /// Too few.
    Wait,
}

impl Wait {
    /// At the slot of a restart.
    #[must_use]
    pub fn at(slot: Slot) -> Self {
        let attendance = Attendance { slot, ..Attendance::default() };
        Self { slot, told: None, elsewhere: BTreeMap::new(), attendance }
    }

    /// Notes a node that is on another shred version.
    pub fn note_elsewhere(&mut self, address: SocketAddr, version: u16) {
        if self.elsewhere.len() < ELSEWHERE_MAX || self.elsewhere.contains_key(&address) {
            self.elsewhere.insert(address, version);
        }
    }

    /// Looks who is there: `stakes` by node as of the slot, `peers` with this node's shred version.
    pub fn look(&mut self, now: Now, me: Pubkey, stakes: &BTreeMap<Pubkey, u64>, peers: &[Peer]) -> Look {
        let seen = peers.iter().filter(|peer| now.since(peer.last_seen) <= SEEN_WITHIN).map(|peer| peer.identity);
        let here: BTreeSet<Pubkey> = seen.chain([me]).collect();
        let sum = |present: bool| -> u128 {
            let of = stakes.iter().filter(|(node, _)| here.contains(node) == present);
            of.map(|(_, stake)| u128::from(*stake)).sum()
        };
        let mut missing: Vec<(Pubkey, u64)> =
            stakes.iter().filter(|(node, stake)| **stake > 0 && !here.contains(node)).map(|(n, s)| (*n, *s)).collect();
        missing.sort_by_key(|(node, stake)| (std::cmp::Reverse(*stake), *node));
        let (present, absent) = (sum(true), sum(false));
        let elsewhere = self.elsewhere.iter().map(|(address, version)| (*address, *version)).collect();
        self.attendance = Attendance { slot: self.slot, present, total: present + absent, missing, elsewhere };
        if self.attendance.suffices() {
            return Look::Over;
        }
        if self.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            self.told = Some(now);
            return Look::Tell;
        }
        Look::Wait
    }

    /// Who was there at the last look.
    #[must_use]
    pub const fn attendance(&self) -> &Attendance {
        &self.attendance
    }
}

impl Attendance {
    /// Whether enough are there.
    #[must_use]
    pub const fn suffices(&self) -> bool {
        self.total > 0 && self.present * 100 >= self.total * SUPERMAJORITY_PERCENT
    }

    /// The share of the stake that is there, in whole percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        u64::try_from(self.present * 100 / self.total.max(1)).unwrap_or_default()
    }
}

impl fmt::Display for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, slot) = (self.percent(), self.slot);
        write!(f, "{percent}% of the stake is in gossip at slot {slot}, {SUPERMAJORITY_PERCENT}% is needed")?;
        for (place, (node, stake)) in self.missing.iter().take(NAMED_MAX).enumerate() {
            let lead = if place == 0 { "; missing: " } else { ", " };
            let tenths = u128::from(*stake) * 1_000 / self.total.max(1);
            write!(f, "{lead}{node} ({}.{}%)", tenths / 10, tenths % 10)?;
        }
        if self.missing.len() > NAMED_MAX {
            write!(f, " and {} more", self.missing.len() - NAMED_MAX)?;
        }
        for (place, (address, version)) in self.elsewhere.iter().take(NAMED_MAX).enumerate() {
            let lead = if place == 0 { "; on another shred version: " } else { ", " };
            write!(f, "{lead}{address} ({version})")?;
        }
        Ok(())
    }
}

impl Node {
    /// Looks, while the node waits, whether enough of the stake is there. Then it builds on the block of the restart, and
    /// the clock of the chain starts anew.
    pub(super) fn look_around(&mut self, now: Now, out: &mut Effects<Effect>) {
        let (Some(wait), Some(root)) = (&mut self.wait, self.forks.get(self.forks.root())) else { return };
        let stakes = root.bank.current_epoch_stakes().by_node();
        let look = wait.look(now, self.identity, &stakes, &self.peers);
        let who = Box::new(wait.attendance().clone());
        match look {
            Look::Wait => {}
            Look::Tell => out.push(Effect::Event(Event::Waiting(who))),
            Look::Over => {
                self.wait = None;
                out.push(Effect::Event(Event::GoesOn(who)));
                self.lead_reset(now, self.forks.root(), out);
            }
        }
        self.view.touch();
    }

    /// Notes who is on another shred version.
    pub(super) fn note_elsewhere(&mut self, trouble: &Trouble) {
        if let (Some(wait), Trouble::OtherShredVersion { address, theirs, .. }) = (&mut self.wait, trouble) {
            wait.note_elsewhere(*address, *theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sundog_types::peer::{Addresses, Version};

    const START: Now = Now { mono_us: 60_000_000, unix_ms: 0 };

    fn node(number: u8) -> Pubkey {
        Pubkey::new_from_array([number; 32])
    }

    fn peer(number: u8, last_seen: Now) -> Peer {
        Peer {
            identity: node(number),
            addresses: Addresses::default(),
            stake: 100,
            last_seen,
            shred_version: 7,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    fn five() -> BTreeMap<Pubkey, u64> {
        (1..=5).map(|number| (node(number), 100)).collect()
    }

    /// Node 1 of five with equal stakes looks at those others.
    fn look(wait: &mut Wait, now: Now, others: &[u8]) -> Look {
        let peers: Vec<Peer> = others.iter().map(|number| peer(*number, START)).collect();
        wait.look(now, node(1), &five(), &peers)
    }

    #[test]
    fn four_of_five_are_enough_and_three_are_not() {
        let mut wait = Wait::at(Slot::new(40));
        assert_eq!(look(&mut wait, START, &[2, 3]), Look::Tell);
        assert_eq!(wait.attendance().percent(), 60);
        assert_eq!(look(&mut wait, START, &[2, 3, 4]), Look::Over);
    }

    #[test]
    fn it_says_every_ten_seconds_who_is_missing() {
        let mut wait = Wait::at(Slot::new(40));
        wait.note_elsewhere(([127, 0, 0, 1], 8_010).into(), 99);
        assert_eq!(look(&mut wait, START, &[2]), Look::Tell);
        assert_eq!(look(&mut wait, START.after(Duration::from_secs(9)), &[2]), Look::Wait);
        assert_eq!(look(&mut wait, START.after(Duration::from_secs(10)), &[2]), Look::Tell);
        let said = wait.attendance().to_string();
        let (three, five) = (node(3), node(5));
        assert!(said.starts_with("40% of the stake is in gossip at slot 40, 80% is needed"), "{said}");
        assert!(said.contains(&format!("missing: {three} (20.0%)")) && said.contains(&five.to_string()), "{said}");
        assert!(said.ends_with("on another shred version: 127.0.0.1:8010 (99)"), "{said}");
    }

    #[test]
    fn who_fell_silent_is_not_there() {
        let mut wait = Wait::at(Slot::new(40));
        assert_eq!(look(&mut wait, START.after(Duration::from_secs(16)), &[2, 3, 4, 5]), Look::Tell);
        assert_eq!(wait.attendance().percent(), 20, "only itself");
    }

    #[test]
    fn without_stake_nothing_is_enough() {
        let mut wait = Wait::at(Slot::new(40));
        assert_eq!(wait.look(START, node(1), &BTreeMap::new(), &[]), Look::Tell);
    }

    #[test]
    fn those_on_another_version_are_remembered_up_to_a_bound() {
        let mut wait = Wait::at(Slot::new(40));
        for port in 0..1_000 {
            wait.note_elsewhere(([127, 0, 0, 1], port).into(), 99);
        }
        wait.note_elsewhere(([127, 0, 0, 1], 3).into(), 98);
        look(&mut wait, START, &[]);
        assert_eq!(wait.attendance().elsewhere.len(), ELSEWHERE_MAX);
        assert_eq!(wait.attendance().elsewhere[3].1, 98);
    }
}
