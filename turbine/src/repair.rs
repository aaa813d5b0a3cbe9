//! Asks other nodes for the shreds that Turbine did not bring (reference 7.3).
//!
//! A response is believed to answer a request because it carries the request's nonce: 32 random bits that only the
//! asked peer has seen. The reference takes it from any address; here it must also come from the asked host, so that
//! whoever guesses nonces has to know, and forge the address of, the peer that was asked. The port is not looked at:
//! address translation may change it. Nothing else of a response is read before both hold.

use crate::{
    block::{Due, Status},
    effect::{Effect, RepairKind},
    gather::Gather,
    metrics::DropReason,
    pace::{Pace, pause, rest},
    peers::{RepairPeer, RepairPeers, same_host},
    quota::Allowance,
    repair_wire::{Ask, Ping, Pong, Request},
};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use sundog_types::{
    Now, Pubkey, Slot,
    peer::Peer,
    shred::{Shred, Signed},
    sign::Sign,
};

/// How often repair looks for work while there is some.
pub const TICK: Duration = Duration::from_millis(10);
/// Requests made in one tick by default: 6,400 in a second cost an eighth of a core here and a third at the servers.
pub const BUDGET: usize = 64;
/// Requests that may be open. Full: the oldest is given up, and answers to it are refused.
pub const OPEN_MAX: usize = 16_384;
/// Requests that are remembered so that they are not repeated too soon. Full: the oldest is forgotten.
pub const RECENT_MAX: usize = 32_768;
/// Slots that matter most, as told from outside. More are not looked at.
pub const WANTED_MAX: usize = 64;
/// Signatures of pings checked in a second. Over it, pings are dropped; their servers send others.
pub const PING_CHECKS_PER_SECOND: u64 = 500;
/// Slots for which something is asked in one tick. More wait until these have what they lack.
const WINDOW: usize = 64;
/// Slots looked at in one tick.
const LOOKED_AT: usize = 512;
/// Missing shreds listed of a slot in one tick.
const LISTED: usize = 2_048;
/// Searches for unknown ancestors begun in one tick.
const SEARCHES: usize = 8;
/// How long an answer is taken. The reference takes it for a minute; what is so late has been asked elsewhere.
const OPEN_LIFE: Duration = Duration::from_secs(10);
const RECENT_LIFE: Duration = Duration::from_secs(5);
/// How soon a slot is looked at again of which nothing could be asked, or of which more becomes due.
const GLANCE: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Open {
    ask: Ask,
    answers_left: u8,
    server: Pubkey,
    address: SocketAddr,
    sent: Now,
}

impl Open {
    fn unanswered(&self) -> bool {
        self.answers_left == self.ask.answers()
    }
}

#[derive(Debug)]
struct Recent {
    at: Now,
    /// It is not made again before.
    until: Now,
    attempts: u32,
    server: Pubkey,
}

/// What could not be asked, and what was not answered, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Slots whose turn had requests that were due but over the budget.
    pub(crate) over_budget: u64,
    /// Searches that were due but over their budget.
    pub(crate) searches_over_budget: u64,
    /// Requests not answered in time.
    pub(crate) unanswered: u64,
    /// Requests given up because too many were open.
    pub(crate) given_up: u64,
}

/// The repair requester.
pub(crate) struct Repair {
    signer: Arc<dyn Sign>,
    pace: Pace,
    rng: ChaCha8Rng,
    peers: RepairPeers,
    ping_checks: Allowance,
    open: BTreeMap<u32, Open>,
    oldest_open: VecDeque<(Now, u32)>,
    /// When open requests should have been answered; as many as may be open.
    deadlines: BTreeSet<(Now, u32)>,
    recent: BTreeMap<Ask, Recent>,
    oldest_recent: VecDeque<(Now, Ask)>,
    wanted: Vec<Slot>,
    /// Slots below are left alone.
    from: Slot,
    pub(crate) tally: Tally,
}

impl Repair {
    pub(crate) fn new(signer: Arc<dyn Sign>, pace: Pace, seed: [u8; 32]) -> Self {
        Self {
            signer,
            pace,
            rng: ChaCha8Rng::from_seed(seed),
            peers: RepairPeers::default(),
            ping_checks: Allowance::new(PING_CHECKS_PER_SECOND),
            open: BTreeMap::new(),
            oldest_open: VecDeque::new(),
            deadlines: BTreeSet::new(),
            recent: BTreeMap::new(),
            oldest_recent: VecDeque::new(),
            wanted: Vec::new(),
            from: Slot::ZERO,
            tally: Tally::default(),
        }
    }

    /// Whom to ask: those on this chain that serve repair.
    pub(crate) fn set_peers(&mut self, peers: &[Peer], shred_version: u16) {
        self.peers.set(peers, self.signer.identity(), shred_version);
    }

    /// A peer says that it has these slots whole.
    pub(crate) fn announce(&mut self, peer: Pubkey, slots: &[Slot]) {
        self.peers.announce(peer, slots);
    }

    /// These peers were asked for something else than shreds.
    pub(crate) fn note_asked(&mut self, now: Now, peers: &[Pubkey]) {
        peers.iter().for_each(|peer| self.peers.note_asked(now, peer));
    }

    /// These peers did not answer what they were asked beside shreds.
    pub(crate) fn note_silent(&mut self, peers: &[Pubkey]) {
        peers.iter().for_each(|peer| self.peers.unanswered(peer));
        self.tally.unanswered += peers.len() as u64;
    }

    /// How the peers have answered.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &RepairPeer> {
        self.peers.iter()
    }

    pub(crate) fn set_wanted(&mut self, slots: Vec<Slot>) {
        self.wanted = slots;
        self.wanted.truncate(WANTED_MAX);
    }

    pub(crate) fn set_root(&mut self, root: Slot) {
        self.wanted.retain(|slot| *slot > root);
        self.peers.set_root(root);
    }

    /// Leaves slots below alone: others fetch them. Zero: repairs all.
    pub(crate) fn set_from(&mut self, slot: Slot) {
        self.from = slot;
    }

    /// Whether there is anything that a tick could ask for.
    pub(crate) fn has_work(&self, gather: &Gather) -> bool {
        let unknown = |slot: &Slot| *slot >= self.from && gather.block(*slot).is_none();
        !self.peers.is_empty() && (gather.lacks_something_from(self.from) || self.wanted.iter().any(unknown))
    }

    /// Makes the requests that are due. `tip`: the slot that should be running by the clock.
    pub(crate) fn tick(&mut self, now: Now, tip: Slot, gather: &mut Gather, out: &mut Vec<Effect>) {
        self.expire(now);
        let searches = self.searches(now, tip, gather);
        let mut room = self.pace.budget.saturating_sub(searches.len());
        for ask in searches {
            self.send(now, ask, out);
        }
        let mut slots: Vec<Slot> = self.wanted.iter().copied().filter(|slot| *slot >= self.from).collect();
        slots.extend(gather.open_from(self.from).take(LOOKED_AT));
        for share in [self.pace.share(), self.pace.budget] {
            let mut window = 0;
            for slot in &slots {
                let asks = self.lacks_of(now, (*slot, tip), gather, room.min(share));
                window += usize::from(!asks.is_empty());
                room -= asks.len();
                for ask in asks {
                    self.send(now, ask, out);
                }
                if room == 0 || window >= WINDOW {
                    break;
                }
            }
        }
        self.tally.over_budget += u64::from(room == 0);
    }

    /// Unknown ancestors, and wanted slots of which nothing is here.
    fn searches(&mut self, now: Now, tip: Slot, gather: &Gather) -> Vec<Ask> {
        let late = self.pace.late_slots();
        let due =
            |(slot, since): &(Slot, Now)| slot.saturating_add(late) <= tip || now.since(*since) >= self.pace.patience;
        let orphans = gather.orphans_from(self.from).filter(due).map(|(slot, _)| slot);
        let lowest = self.from.max(gather.root().next());
        let unknown = |slot: &Slot| *slot >= lowest && gather.block(*slot).is_none();
        let wanted = self.wanted.iter().copied().filter(unknown);
        let mut asks = Vec::new();
        for slot in wanted.chain(orphans.take(LOOKED_AT)) {
            let ask = Ask::Orphan { slot };
            if !self.may_ask(now, &ask) || asks.contains(&ask) {
                continue;
            }
            if asks.len() >= SEARCHES.min(self.pace.budget) {
                self.tally.searches_over_budget += 1;
                break;
            }
            asks.push(ask);
        }
        asks
    }

    /// What a slot lacks and may be asked for now, at most `room`.
    fn lacks_of(&self, now: Now, (slot, tip): (Slot, Slot), gather: &mut Gather, room: usize) -> Vec<Ask> {
        let late = slot.saturating_add(self.pace.late_slots()) <= tip;
        let Some(block) = gather.block(slot) else {
            return Vec::new();
        };
        if block.status != Status::Gathering || !(now.reached(block.retry_at) || late && block.idle == 0) {
            return Vec::new();
        }
        let due = if late { Some(Due::All) } else { self.pace.due(now.since(block.started)) };
        let missing = due.map(|due| gather.missing(slot, due, LISTED)).unwrap_or_default();
        let window = missing.indexes.iter().map(|index| Ask::Window { slot, index: index.get().into() });
        let tail = missing.tail.map(|index| Ask::Highest { slot, index: index.get().into() });
        let mut askable = tail.into_iter().chain(window).filter(|ask| self.may_ask(now, ask));
        let asks: Vec<Ask> = askable.by_ref().take(room).collect();
        let left_over = askable.next().is_some();
        let Some(block) = gather.block_mut(slot) else {
            return asks;
        };
        block.turn = block.turn.wrapping_add(u32::from(!asks.is_empty()));
        block.retry_at = if left_over {
            now
        } else if asks.is_empty() || !matches!(due, Some(Due::All)) {
            now.after(GLANCE)
        } else {
            block.idle += 1;
            now.after(pause(block.idle - 1))
        };
        asks
    }

    fn may_ask(&self, now: Now, ask: &Ask) -> bool {
        self.recent.get(ask).is_none_or(|recent| now.reached(recent.until))
    }

    fn send(&mut self, now: Now, ask: Ask, out: &mut Vec<Effect>) {
        let before = self.recent.get(&ask).map(|recent| (recent.server, recent.attempts + 1));
        let Some(peer) = self.peers.pick(now, &mut self.rng, ask.slot(), before.map(|(server, _)| server)) else {
            return;
        };
        let (server, address) = (peer.identity, peer.address);
        let nonce = loop {
            let nonce = self.rng.r#gen();
            if !self.open.contains_key(&nonce) {
                break nonce;
            }
        };
        let timeout = self.peers.timeout(&server);
        let attempts = before.map_or(0, |(_, attempts)| attempts);
        self.remember(Open { ask, answers_left: ask.answers(), server, address, sent: now }, nonce, timeout);
        self.recent.insert(ask, Recent { at: now, until: now.after(rest(attempts, timeout)), attempts, server });
        self.oldest_recent.push_back((now, ask));
        let sender = self.signer.identity();
        let request = Request { sender, recipient: server, timestamp_ms: now.unix_ms, nonce, ask };
        let kind = match ask {
            Ask::Window { .. } => RepairKind::Window,
            Ask::Highest { .. } => RepairKind::Highest,
            Ask::Orphan { .. } => RepairKind::Orphan,
            Ask::AncestorHashes { .. } => RepairKind::Ancestors,
        };
        out.push(Effect::SendRepair { to: address, bytes: request.sign(&*self.signer), kind });
    }

    fn remember(&mut self, open: Open, nonce: u32, timeout: Duration) {
        while self.open.len() >= OPEN_MAX
            && let Some((_, oldest)) = self.oldest_open.pop_front()
        {
            self.tally.given_up += u64::from(self.open.remove(&oldest).is_some());
        }
        if self.deadlines.len() >= OPEN_MAX {
            self.deadlines.pop_first();
        }
        self.deadlines.insert((open.sent.after(timeout), nonce));
        self.oldest_open.push_back((open.sent, nonce));
        self.open.insert(nonce, open);
    }

    /// Whether a response answers an open request; it counts against that request. Tells who was asked.
    ///
    /// # Errors
    /// Why it is refused. Nothing of the shred is read before nonce and host are right.
    pub(crate) fn answered(
        &mut self,
        now: Now,
        from: SocketAddr,
        nonce: u32,
        shred: &[u8],
    ) -> Result<Pubkey, DropReason> {
        let open = self.open.get_mut(&nonce).ok_or(DropReason::UnknownNonce)?;
        if !same_host(open.address, from) {
            return Err(DropReason::OtherAddress);
        }
        let server = open.server;
        if !open.ask.answered_by(shred) {
            self.peers.answered_wrongly(&server);
            return Err(DropReason::WrongAnswer);
        }
        if open.unanswered() {
            self.peers.answered(&server, now.since(open.sent));
        }
        open.answers_left -= 1;
        if open.answers_left == 0 {
            self.open.remove(&nonce);
        }
        Ok(server)
    }

    /// A server answered with a shred of another version of the slot than the chosen one: it is not asked for this slot
    /// for a while, and what it was asked others may be asked at once.
    pub(crate) fn has_other_version(&mut self, now: Now, server: Pubkey, shred: &Shred<Signed>) {
        let slot = shred.slot();
        self.peers.has_other_version(now, server, slot);
        let window = Ask::Window { slot, index: shred.index().get().into() };
        let highest = Ask::Highest { slot, index: 0 }..=Ask::Highest { slot, index: u64::MAX };
        let others: Vec<Ask> = self.recent.range(highest).map(|(ask, _)| *ask).collect();
        for ask in others.into_iter().chain([window, Ask::Orphan { slot }]) {
            if let Some(recent) = self.recent.get_mut(&ask).filter(|recent| recent.server == server) {
                recent.until = now;
            }
        }
    }

    /// Answers a server's ping, and makes what it was asked askable again at once.
    pub(crate) fn pong(&mut self, now: Now, from: SocketAddr, ping: &Ping) -> Result<Bytes, DropReason> {
        if !self.peers.may_ping(now, &ping.from, from) {
            return Err(DropReason::UnaskedPing);
        }
        if !self.ping_checks.take(now, 1) {
            return Err(DropReason::PingBudget);
        }
        if !ping.verify() {
            return Err(DropReason::BadPing);
        }
        self.peers.ponged(now, &ping.from);
        let recent = &mut self.recent;
        self.open.retain(|_, open| {
            let unserved = open.server == ping.from && open.unanswered();
            if unserved && recent.get(&open.ask).is_some_and(|recent| recent.at == open.sent) {
                recent.remove(&open.ask);
            }
            !unserved
        });
        Ok(Pong::new(ping, &*self.signer).encode())
    }

    fn expire(&mut self, now: Now) {
        while let Some((_, nonce)) = self.deadlines.first().copied().filter(|(due, _)| now.reached(*due)) {
            self.deadlines.pop_first();
            if let Some(open) = self.open.get(&nonce).filter(|open| open.unanswered()) {
                self.peers.unanswered(&open.server);
                self.tally.unanswered += 1;
            }
        }
        while let Some((sent, nonce)) = self.oldest_open.front().copied()
            && (now.since(sent) >= OPEN_LIFE || self.oldest_open.len() > OPEN_MAX)
        {
            self.oldest_open.pop_front();
            self.open.remove(&nonce);
        }
        while let Some((at, ask)) = self.oldest_recent.front().copied()
            && (now.since(at) >= RECENT_LIFE || self.oldest_recent.len() > RECENT_MAX)
        {
            self.oldest_recent.pop_front();
            if self.recent.get(&ask).is_some_and(|recent| recent.at == at) {
                self.recent.remove(&ask);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use solana_keypair::Keypair;
    use sundog_types::{
        peer::{Addresses, Version},
        sign::Identity,
    };

    const NOW: Now = Now { mono_us: 1_000_000, unix_ms: 1_000_000 };

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, host], 1_000))
    }

    fn peer(number: u8, stake: u64) -> Peer {
        Peer {
            identity: Pubkey::from([number; 32]),
            addresses: Addresses { serve_repair: Some(address(number)), ..Addresses::default() },
            stake,
            last_seen: NOW,
            shred_version: 7,
            version: Version::default(),
            outset_us: 0,
            lowest_slot: Slot::ZERO,
        }
    }

    fn repair(peers: &[Peer]) -> Repair {
        let pace = Pace {
            tick: Duration::from_micros(6_250),
            ticks_per_slot: 64,
            patience: Duration::from_millis(250),
            budget: BUDGET,
        };
        let signer = Arc::new(Identity::new(Keypair::new_from_array([1; 32])));
        let mut repair = Repair::new(signer, pace, [1; 32]);
        repair.set_peers(peers, 7);
        repair
    }

    fn window(index: u64) -> Ask {
        Ask::Window { slot: Slot::new(1), index }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn send_all(repair: &mut Repair, now: Now, ask: Ask) -> Option<(SocketAddr, u32)> {
        let mut out = Vec::new();
        repair.send(now, ask, &mut out);
        match out.pop() {
            Some(Effect::SendRepair { to, bytes, .. }) => {
                Some((to, u32::from_le_bytes(bytes[140..144].try_into().unwrap())))
            }
            _ => None,
        }
    }

    fn send(repair: &mut Repair, now: Now, ask: Ask) -> Option<SocketAddr> {
        send_all(repair, now, ask).map(|(to, _)| to)
    }

    /// Only what an answer is recognised by: slot 1 and this index.
    fn shred(index: u32) -> [u8; 88] {
        let mut bytes = [0; 88];
        bytes[65] = 1;
        bytes[73..77].copy_from_slice(&index.to_le_bytes());
        bytes
    }

    #[test]
    fn full_tables_give_up_their_oldest_requests() {
        let mut repair = repair(&[peer(1, 1)]);
        for index in 0..(RECENT_MAX + 100) as u64 {
            assert!(send(&mut repair, NOW, window(index)).is_some());
        }
        assert_eq!(repair.open.len(), OPEN_MAX);
        assert_eq!(repair.deadlines.len(), OPEN_MAX);
        assert_eq!(repair.tally.given_up, (RECENT_MAX + 100 - OPEN_MAX) as u64);
        repair.expire(NOW);
        assert_eq!(repair.recent.len(), RECENT_MAX);
        assert!(repair.oldest_open.len() <= OPEN_MAX);
        assert!(repair.may_ask(NOW, &window(0)), "forgotten");
        assert!(!repair.may_ask(NOW, &window(RECENT_MAX as u64)));
        repair.expire(NOW.after(OPEN_LIFE));
        assert!(repair.open.is_empty() && repair.recent.is_empty());
        repair.set_wanted((0..1_000).map(Slot::new).collect());
        assert_eq!(repair.wanted.len(), WANTED_MAX);
    }

    #[test]
    fn a_request_is_repeated_after_a_while_and_elsewhere() {
        let mut repair = repair(&[peer(1, 1_000), peer(2, 1)]);
        let first = send(&mut repair, NOW, window(1));
        assert!(!repair.may_ask(NOW.after(ms(249)), &window(1)), "nothing is known of the peer's answer time");
        let later = NOW.after(ms(250));
        assert!(repair.may_ask(later, &window(1)));
        assert_ne!(send(&mut repair, later, window(1)), first);
        assert!(!repair.may_ask(later.after(ms(499)), &window(1)));
    }

    #[test]
    fn the_pause_is_150_ms_at_a_fast_peer_and_longer_at_a_slow_one() {
        let mut repair = repair(&[peer(1, 1)]);
        let answer_after = |repair: &mut Repair, index: u32, took| {
            let (to, nonce) = send_all(repair, NOW, window(index.into())).unwrap();
            assert!(repair.answered(NOW.after(took), to, nonce, &shred(index)).is_ok());
        };
        answer_after(&mut repair, 1, ms(10));
        send(&mut repair, NOW, window(2));
        assert!(!repair.may_ask(NOW.after(ms(149)), &window(2)) && repair.may_ask(NOW.after(ms(150)), &window(2)));
        for index in 3..40 {
            answer_after(&mut repair, index, ms(300));
        }
        send(&mut repair, NOW, window(50));
        assert!(!repair.may_ask(NOW.after(ms(600)), &window(50)) && repair.may_ask(NOW.after(ms(650)), &window(50)));
    }

    #[test]
    fn an_answer_is_believed_for_its_nonce_and_host_before_it_is_read() {
        let mut repair = repair(&[peer(1, 1)]);
        let (to, nonce) = send_all(&mut repair, NOW, window(3)).unwrap();
        let now = NOW.after(ms(30));
        for garbage in [&[][..], &[1], &shred(3)] {
            assert_eq!(repair.answered(now, to, nonce.wrapping_add(1), garbage), Err(DropReason::UnknownNonce));
            assert_eq!(repair.answered(now, address(2), nonce, garbage), Err(DropReason::OtherAddress));
        }
        assert_eq!(repair.answered(now, to, nonce, &shred(4)), Err(DropReason::WrongAnswer));
        let moved = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(repair.answered(now, moved, nonce, &shred(3)), Ok(peer(1, 1).identity), "ports may change");
        assert_eq!(repair.answered(now, to, nonce, &shred(3)), Err(DropReason::UnknownNonce), "answered once");
        let seen = *repair.peers().next().unwrap();
        assert_eq!((seen.asked, seen.answered, seen.wrong), (1, 1, 1));
        assert_eq!(seen.answer_time, Some(ms(30)));
    }

    #[test]
    fn an_orphan_request_takes_eleven_answers() {
        let mut repair = repair(&[peer(1, 1)]);
        let (to, nonce) = send_all(&mut repair, NOW, Ask::Orphan { slot: Slot::new(5) }).unwrap();
        for index in 0..11 {
            assert!(repair.answered(NOW.after(ms(10 + 40 * u64::from(index))), to, nonce, &shred(index)).is_ok());
        }
        assert_eq!(repair.answered(NOW, to, nonce, &shred(11)), Err(DropReason::UnknownNonce));
        let seen = *repair.peers().next().unwrap();
        assert_eq!((seen.answered, seen.answer_time), (1, Some(ms(10))), "the first answer is the measure");
    }

    #[test]
    fn a_peer_that_does_not_answer_in_time_is_asked_rarely() {
        let mut repair = repair(&[peer(1, 1_000_000), peer(2, 1)]);
        let mut now = NOW;
        let mut asked = [0; 3];
        for index in 0..400 {
            repair.expire(now);
            let (to, nonce) = send_all(&mut repair, now, window(index)).unwrap();
            let host = to.ip().to_string().ends_with('2');
            asked[1 + usize::from(host)] += 1;
            if host {
                repair.answered(now.after(ms(5)), to, nonce, &shred(index as u32)).unwrap();
            }
            now = now.after(ms(20));
        }
        assert!(asked[1] < 60 && asked[2] > 340, "{asked:?}");
        assert!(repair.tally.unanswered > 20);
    }

    #[test]
    fn a_ping_is_answered_only_for_a_peer_and_makes_its_requests_askable() {
        let server = Identity::new(Keypair::new_from_array([9; 32]));
        let known = Peer { identity: server.identity(), ..peer(1, 1) };
        let mut repair = repair(&[known]);
        let ask = window(1);
        assert!(send(&mut repair, NOW, ask).is_some());
        let ping = Ping::new([3; 32], &server);
        assert_eq!(repair.pong(NOW, address(2), &ping), Err(DropReason::UnaskedPing));
        let forged = Ping { token: [4; 32], ..ping };
        assert_eq!(repair.pong(NOW, address(1), &forged), Err(DropReason::BadPing));
        assert!(!repair.may_ask(NOW, &ask));
        while repair.pong(NOW, address(1), &forged) != Err(DropReason::PingBudget) {}
        let now = NOW.after(ms(2));
        assert!(repair.pong(now, address(1), &forged) == Err(DropReason::BadPing), "the budget fills");
        let now = NOW.after(ms(4));
        assert!(repair.pong(now, address(1), &ping).is_ok());
        assert!(repair.may_ask(now, &ask));
        assert_eq!(repair.pong(now, address(1), &ping), Err(DropReason::UnaskedPing), "too soon");
        let long_after = NOW.after(Duration::from_secs(10));
        assert_eq!(repair.pong(long_after, address(1), &ping), Err(DropReason::UnaskedPing), "asked nothing since");
    }
}
