//! Asks other nodes for the shreds that Turbine did not bring (reference 7.3).

use crate::{
    block::{Due, Status},
    effect::{Effect, RepairKind},
    gather::Gather,
    metrics::DropReason,
    repair_wire::{Ask, Ping, Pong, Request},
};
use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use sundog_types::{Now, Pubkey, Slot, peer::Peer, sign::Sign};

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
/// Slots for which something is asked in one tick. More wait until these have what they lack.
const WINDOW: usize = 64;
/// Slots looked at in one tick.
const LOOKED_AT: usize = 512;
/// Missing shreds listed of a slot in one tick.
const LISTED: usize = 2_048;
/// Searches for unknown ancestors begun in one tick.
const SEARCHES: usize = 8;
/// Least time before the same request is made again; doubles with each attempt, three times at most.
const PAUSE: Duration = Duration::from_millis(150);
const PAUSE_DOUBLED_MAX: u32 = 3;
/// How long an answer is waited for.
const OPEN_LIFE: Duration = Duration::from_secs(10);
const RECENT_LIFE: Duration = Duration::from_secs(5);
/// Requests in a row without an answer after which a peer is asked rarely.
const SILENT: u32 = 64;
/// Least time between two pongs to a peer.
const PONG_PAUSE: Duration = Duration::from_millis(100);

/// When shreds should have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) tick: Duration,
    pub(crate) ticks_per_slot: u64,
    pub(crate) patience: Duration,
    pub(crate) budget: usize,
}

impl Pace {
    /// Slots behind the clock's one at which everything is overdue.
    fn late_slots(&self) -> u64 {
        let slot_us = (self.tick.as_micros() as u64).saturating_mul(self.ticks_per_slot).max(1);
        2 + (self.patience.as_micros() as u64).div_ceil(slot_us)
    }

    fn due(&self, elapsed: Duration) -> Option<Due> {
        let overdue = elapsed.checked_sub(self.patience)?;
        let ticks = overdue.as_micros() as u64 / (self.tick.as_micros() as u64).max(1);
        Some(if ticks >= self.ticks_per_slot { Due::All } else { Due::Ticks(ticks) })
    }
}

#[derive(Debug)]
struct Server {
    identity: Pubkey,
    address: SocketAddr,
    /// Sum of the weights up to and with this one.
    weights: u64,
    silent: u32,
    ponged: Option<Now>,
}

#[derive(Debug)]
struct Open {
    ask: Ask,
    answers_left: u8,
    server: Pubkey,
}

#[derive(Debug)]
struct Recent {
    at: Now,
    attempts: u32,
    server: Pubkey,
}

/// The repair requester.
pub(crate) struct Repair {
    signer: Arc<dyn Sign>,
    pace: Pace,
    rng: ChaCha8Rng,
    servers: Vec<Server>,
    open: BTreeMap<u32, Open>,
    oldest_open: VecDeque<(Now, u32)>,
    recent: BTreeMap<Ask, Recent>,
    oldest_recent: VecDeque<(Now, Ask)>,
    wanted: Vec<Slot>,
    /// Requests that were due but over the budget.
    pub(crate) over_budget: u64,
}

impl Repair {
    pub(crate) fn new(signer: Arc<dyn Sign>, pace: Pace, seed: [u8; 32]) -> Self {
        Self {
            signer,
            pace,
            rng: ChaCha8Rng::from_seed(seed),
            servers: Vec::new(),
            open: BTreeMap::new(),
            oldest_open: VecDeque::new(),
            recent: BTreeMap::new(),
            oldest_recent: VecDeque::new(),
            wanted: Vec::new(),
            over_budget: 0,
        }
    }

    /// Whom to ask: those on this chain that serve repair, by stake.
    pub(crate) fn set_peers(&mut self, peers: &[Peer], shred_version: u16) {
        let me = self.signer.identity();
        let before: BTreeMap<_, _> =
            self.servers.drain(..).map(|server| (server.identity, (server.silent, server.ponged))).collect();
        let mut weights = 0_u64;
        for peer in peers {
            let Some(address) = peer.addresses.serve_repair else {
                continue;
            };
            if peer.identity == me || peer.shred_version != shred_version {
                continue;
            }
            weights = weights.saturating_add(peer.stake.saturating_add(1));
            let (silent, ponged) = before.get(&peer.identity).copied().unwrap_or_default();
            self.servers.push(Server { identity: peer.identity, address, weights, silent, ponged });
        }
    }

    pub(crate) fn set_wanted(&mut self, slots: Vec<Slot>) {
        self.wanted = slots;
        self.wanted.truncate(WANTED_MAX);
    }

    pub(crate) fn set_root(&mut self, root: Slot) {
        self.wanted.retain(|slot| *slot > root);
    }

    /// Whether there is anything that a tick could ask for.
    pub(crate) fn has_work(&self, gather: &Gather) -> bool {
        !self.servers.is_empty()
            && (gather.lacks_something() || self.wanted.iter().any(|slot| gather.block(*slot).is_none()))
    }

    /// Makes the requests that are due. `tip`: the slot that should be running by the clock.
    pub(crate) fn tick(&mut self, now: Now, tip: Slot, gather: &mut Gather, out: &mut Vec<Effect>) {
        self.expire(now);
        let mut asks = self.searches(now, tip, gather);
        let mut slots: Vec<Slot> = self.wanted.clone();
        slots.extend(gather.open().take(LOOKED_AT));
        let mut window = 0;
        for slot in slots {
            let room = self.pace.budget.saturating_sub(asks.len());
            let before = asks.len();
            self.lacks_of(now, (slot, tip), gather, (&mut asks, room));
            window += usize::from(asks.len() > before);
            if asks.len() >= self.pace.budget || window >= WINDOW {
                break;
            }
        }
        for ask in asks {
            self.send(now, ask, out);
        }
    }

    /// Unknown ancestors, and wanted slots of which nothing is here.
    fn searches(&mut self, now: Now, tip: Slot, gather: &Gather) -> Vec<Ask> {
        let late = self.pace.late_slots();
        let due =
            |(slot, since): &(Slot, Now)| slot.saturating_add(late) <= tip || now.since(*since) >= self.pace.patience;
        let orphans = gather.orphans().filter(due).map(|(slot, _)| slot);
        let unknown = |slot: &Slot| *slot > gather.root() && gather.block(*slot).is_none();
        let wanted = self.wanted.iter().copied().filter(unknown);
        let mut asks = Vec::new();
        for slot in wanted.chain(orphans.take(LOOKED_AT)) {
            let ask = Ask::Orphan { slot };
            if self.may_ask(now, &ask) && !asks.contains(&ask) {
                asks.push(ask);
            }
            if asks.len() >= SEARCHES {
                break;
            }
        }
        asks
    }

    /// What a slot lacks and may be asked for now, into `asks`, at most `room`.
    fn lacks_of(
        &mut self,
        now: Now,
        (slot, tip): (Slot, Slot),
        gather: &mut Gather,
        (asks, room): (&mut Vec<Ask>, usize),
    ) {
        let late = slot.saturating_add(self.pace.late_slots()) <= tip;
        let Some(block) = gather.block(slot) else {
            return;
        };
        if block.status != Status::Gathering || !(now.reached(block.retry_at) || late && block.idle == 0) {
            return;
        }
        let due = if late { Some(Due::All) } else { self.pace.due(now.since(block.started)) };
        let missing = due.map(|due| gather.missing(slot, due, LISTED)).unwrap_or_default();
        let window = missing.indexes.iter().map(|index| Ask::Window { slot, index: index.get().into() });
        let tail = missing.tail.map(|index| Ask::Highest { slot, index: index.get().into() });
        let mut askable = tail.into_iter().chain(window).filter(|ask| self.may_ask(now, ask));
        let before = asks.len();
        asks.extend(askable.by_ref().take(room));
        let left_over = askable.next().is_some();
        let asked = asks.len() > before;
        let Some(block) = gather.block_mut(slot) else {
            return;
        };
        block.retry_at = if left_over {
            self.over_budget += 1;
            now
        } else if asked {
            block.idle += 1;
            now.after(pause(block.idle - 1))
        } else {
            now.after(PAUSE / 3)
        };
    }

    fn may_ask(&self, now: Now, ask: &Ask) -> bool {
        self.recent.get(ask).is_none_or(|recent| now.since(recent.at) >= pause(recent.attempts))
    }

    fn send(&mut self, now: Now, ask: Ask, out: &mut Vec<Effect>) {
        let before = self.recent.get(&ask).map(|recent| (recent.server, recent.attempts + 1));
        let Some((server, address)) = self.pick(before.map(|(server, _)| server)) else {
            return;
        };
        let nonce = loop {
            let nonce = self.rng.r#gen();
            if !self.open.contains_key(&nonce) {
                break nonce;
            }
        };
        self.remember(now, ask, nonce, server);
        self.recent.insert(ask, Recent { at: now, attempts: before.map_or(0, |(_, attempts)| attempts), server });
        self.oldest_recent.push_back((now, ask));
        let sender = self.signer.identity();
        let request = Request { sender, recipient: server, timestamp_ms: now.unix_ms, nonce, ask };
        let kind = match ask {
            Ask::Window { .. } => RepairKind::Window,
            Ask::Highest { .. } => RepairKind::Highest,
            Ask::Orphan { .. } | Ask::AncestorHashes { .. } => RepairKind::Orphan,
        };
        out.push(Effect::SendRepair { to: address, bytes: request.sign(&*self.signer), kind });
    }

    fn remember(&mut self, now: Now, ask: Ask, nonce: u32, server: Pubkey) {
        if self.open.len() >= OPEN_MAX
            && let Some((_, oldest)) = self.oldest_open.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.open.insert(nonce, Open { ask, answers_left: ask.answers(), server });
        self.oldest_open.push_back((now, nonce));
    }

    /// A server by weight; if that is the one that was asked last, or one that has been silent (save for one draw in
    /// sixteen, so that it may come back), then any other.
    fn pick(&mut self, last: Option<Pubkey>) -> Option<(Pubkey, SocketAddr)> {
        let total = self.servers.last()?.weights;
        let drawn = self.rng.gen_range(0..total);
        let mut place = self.servers.partition_point(|server| server.weights <= drawn);
        let repeated = |server: &Server| Some(server.identity) == last;
        let patient = self.rng.gen_ratio(1, 16);
        let silent = |server: &Server| server.silent >= SILENT && !patient;
        if repeated(&self.servers[place]) || silent(&self.servers[place]) {
            let (count, from) = (self.servers.len(), self.rng.gen_range(0..self.servers.len()));
            let mut others = (0..count).map(|step| (from + step) % count);
            let fit = |at: &usize| !repeated(&self.servers[*at]) && !silent(&self.servers[*at]);
            place = others.find(fit).unwrap_or(place);
        }
        let server = &mut self.servers[place];
        server.silent = server.silent.saturating_add(1);
        Some((server.identity, server.address))
    }

    /// Whether a response answers an open request; it counts against that request.
    pub(crate) fn answered(&mut self, nonce: u32, shred: &[u8]) -> Result<(), DropReason> {
        let open = self.open.get_mut(&nonce).ok_or(DropReason::UnknownNonce)?;
        if !open.ask.answered_by(shred) {
            return Err(DropReason::WrongAnswer);
        }
        open.answers_left -= 1;
        let (answers_left, server) = (open.answers_left, open.server);
        if answers_left == 0 {
            self.open.remove(&nonce);
        }
        if let Some(server) = self.servers.iter_mut().find(|other| other.identity == server) {
            server.silent = 0;
        }
        Ok(())
    }

    /// Answers a server's ping, and makes what it was asked askable again at once.
    pub(crate) fn pong(&mut self, now: Now, from: SocketAddr, ping: &Ping) -> Result<Bytes, DropReason> {
        let asked = |server: &&mut Server| {
            server.address == from
                && server.identity == ping.from
                && server.ponged.is_none_or(|ponged| now.since(ponged) >= PONG_PAUSE)
        };
        let server = self.servers.iter_mut().find(asked).ok_or(DropReason::UnaskedPing)?;
        if !ping.verify() {
            return Err(DropReason::BadPing);
        }
        server.ponged = Some(now);
        server.silent = 0;
        let recent = &mut self.recent;
        self.open.retain(|_, open| {
            let unanswered = open.server == ping.from && open.answers_left == open.ask.answers();
            if unanswered {
                recent.remove(&open.ask);
            }
            !unanswered
        });
        Ok(Pong::new(ping, &*self.signer).encode())
    }

    fn expire(&mut self, now: Now) {
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

/// How long a request rests after its attempt number `attempts`, from 0.
fn pause(attempts: u32) -> Duration {
    PAUSE * (1 << attempts.min(PAUSE_DOUBLED_MAX))
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

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn peer(number: u8, stake: u64) -> Peer {
        Peer {
            identity: Pubkey::from([number; 32]),
            addresses: Addresses { serve_repair: Some(address(number.into())), ..Addresses::default() },
            stake,
            last_seen: NOW,
            shred_version: 7,
            version: Version::default(),
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

    fn send(repair: &mut Repair, now: Now, ask: Ask) -> Option<SocketAddr> {
        let mut out = Vec::new();
        repair.send(now, ask, &mut out);
        match out.pop() {
            Some(Effect::SendRepair { to, .. }) => Some(to),
            _ => None,
        }
    }

    #[test]
    fn full_tables_give_up_their_oldest_requests() {
        let mut repair = repair(&[peer(1, 1)]);
        for index in 0..(RECENT_MAX + 100) as u64 {
            assert!(send(&mut repair, NOW, window(index)).is_some());
        }
        assert_eq!(repair.open.len(), OPEN_MAX);
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
        assert!(!repair.may_ask(NOW.after(Duration::from_millis(149)), &window(1)));
        let later = NOW.after(Duration::from_millis(150));
        assert!(repair.may_ask(later, &window(1)));
        assert_ne!(send(&mut repair, later, window(1)), first);
        assert!(!repair.may_ask(later.after(Duration::from_millis(299)), &window(1)));
    }

    #[test]
    fn stake_is_asked_more_often_and_strangers_never() {
        let me = Identity::new(Keypair::new_from_array([1; 32])).identity();
        let myself = Peer { identity: me, ..peer(3, 1_000_000) };
        let elsewhere = Peer { shred_version: 8, ..peer(4, 1_000_000) };
        let deaf = Peer { addresses: Addresses::default(), ..peer(5, 1_000_000) };
        let mut repair = repair(&[peer(1, 900), peer(2, 100), myself, elsewhere, deaf]);
        let mut asked = [0; 6];
        for index in 0..200 {
            let to = send(&mut repair, NOW, window(index)).unwrap();
            asked[usize::from(to.port())] += 1;
            repair.servers.iter_mut().for_each(|server| server.silent = 0);
        }
        assert_eq!(asked[3..], [0; 3]);
        assert!(asked[1] > 150 && asked[2] > 5, "{asked:?}");
    }

    #[test]
    fn a_peer_that_never_answers_is_asked_rarely() {
        let mut repair = repair(&[peer(1, 1_000_000), peer(2, 1)]);
        let mut asked = [0; 3];
        for index in 0..400 {
            let to = send(&mut repair, NOW, window(index)).unwrap();
            asked[usize::from(to.port())] += 1;
            repair.servers[1].silent = 0;
        }
        assert!(asked[1] < 300 && asked[2] > 0, "{asked:?}");
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
        assert!(repair.pong(NOW, address(1), &ping).is_ok());
        assert!(repair.may_ask(NOW, &ask));
        assert_eq!(repair.pong(NOW, address(1), &ping), Err(DropReason::UnaskedPing), "too soon");
    }
}
