//! Bulk sync as a machine: what comes in is counted, judged and handed to the server or the client in it.

use super::{
    answers::Checking,
    book::{Book, Offence},
    check::{Expect, RangeCheck},
    client::{Outlook, Phase},
    config::{PEERS_MAX, RANGE_SLOTS_MAX, SyncConfig},
    effect::{ChainState, Effect, Input, LinkId, LoadWhat},
    links::{Due, Link, Links},
    metrics::Metrics,
    ranges::{Mismatch, Ranges},
    refusal::Refusal,
    requests::{Request, Requests},
    server::Server,
    wanted::Want,
    wire::{Held, Hello, Message, PROTOCOL, PeerEntry},
};
use crate::{config::Versions, effect::EpochInfo};
use bytes::Bytes;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use sundog_types::{Effects, Hash, Machine, Now, Pubkey, Slot, schedule::SCHEDULES_MAX};

/// At most one announcement in this time: it is about the newest root, and keepalives tell it too.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(250);
/// A machine never asks to be woken sooner than this.
const WAKE_LEAST: Duration = Duration::from_millis(1);

/// Serves finalised blocks to others, and fetches them when this node is far behind.
#[derive(Debug)]
pub struct Sync {
    pub(super) config: SyncConfig,
    versions: Versions,
    pub(super) links: Links,
    pub(super) book: Book,
    pub(super) server: Server,
    pub(super) requests: Requests,
    pub(super) ranges: Ranges,
    pub(super) phase: Phase,
    pub(super) dispute: Option<Mismatch>,
    /// Answers that the pool checks, by the id of their request.
    pub(super) checks: BTreeMap<u64, Checking>,
    /// Single blocks to fetch. Bounded by [`super::WANTED_MAX`].
    pub(super) wants: BTreeMap<(Slot, Hash), Want>,
    /// What is known of leaders, by first slot. Bounded by [`SCHEDULES_MAX`]; full: the oldest epoch is forgotten.
    pub(super) epochs: BTreeMap<Slot, EpochInfo>,
    pub(super) chain: ChainState,
    pub(super) outlook: Outlook,
    pub(super) metrics: Metrics,
    next_id: u64,
    announced: Option<Now>,
    wake: Option<Now>,
}

impl Sync {
    /// A node that knows no peers, no epochs and no chain. `seed` feeds the choice of peers.
    #[must_use]
    pub fn new(config: SyncConfig, me: Pubkey, seed: [u8; 32]) -> Self {
        Self {
            versions: Versions::new(config.shred_version, Vec::new()),
            config,
            links: Links::new(config),
            book: Book::new(me, config.shred_version, config.ban, seed),
            server: Server::new(&config),
            requests: Requests::new(&config),
            ranges: Ranges::default(),
            phase: Phase::Idle,
            dispute: None,
            checks: BTreeMap::new(),
            wants: BTreeMap::new(),
            epochs: BTreeMap::new(),
            chain: ChainState::default(),
            outlook: Outlook::default(),
            metrics: Metrics::default(),
            next_id: 0,
            announced: None,
            wake: None,
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether blocks are being fetched now.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        matches!(self.phase, Phase::Syncing(_))
    }

    /// Open links: those that this node dialed, and those of others.
    #[must_use]
    pub fn links(&self) -> (usize, usize) {
        let dialed = self.links.dialed().count();
        (dialed, self.links.iter().count() - dialed)
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn held(&self) -> Held {
        Held { root: self.chain.root, highest: self.chain.highest, lowest: self.chain.lowest }
    }

    fn hello(&self) -> Message {
        Message::Hello(Hello {
            protocol: PROTOCOL,
            genesis_hash: self.config.genesis_hash,
            shred_version: self.config.shred_version,
            held: self.held(),
            role: self.config.role,
        })
    }

    pub(super) fn send(&mut self, link: LinkId, message: &Message, out: &mut Vec<Effect>) {
        let frame = message.encode();
        self.metrics.frames_sent += 1;
        self.metrics.bytes_sent += frame.len() as u64;
        out.push(Effect::Send { link, frame });
    }

    /// Ends a link, says why, and leaves a peer that was dialed alone for a while.
    pub(super) fn refuse(&mut self, now: Now, id: LinkId, why: Refusal, out: &mut Vec<Effect>) {
        if let Some(link) = self.lose(now, id, out) {
            self.say_refused(id, (link.peer, link.address), why, out);
            if link.dialed {
                let offence = if why.is_final() { Offence::Foreign } else { Offence::Bad };
                self.book.mark(now, link.peer, offence);
            }
        }
    }

    fn say_refused(&mut self, id: LinkId, who: (Pubkey, SocketAddr), why: Refusal, out: &mut Vec<Effect>) {
        let (peer, address) = who;
        self.metrics.count_refused(why);
        self.send(id, &Message::Refuse { why, detail: self.detail(why) }, out);
        out.push(Effect::Close { link: id });
        out.push(Effect::Refused { peer, address, why });
    }

    /// What the other side needs to know to mend what is wrong.
    fn detail(&self, why: Refusal) -> String {
        let SyncConfig { genesis_hash, shred_version, .. } = self.config;
        match why {
            Refusal::OtherProtocol => format!("version {PROTOCOL} is spoken here"),
            Refusal::OtherGenesis => format!("the genesis hash here is {genesis_hash}"),
            Refusal::OtherShredVersion => format!("the shred version here is {shred_version}"),
            Refusal::FrameTooLarge => format!("frames may have {} bytes", self.config.frame_bytes_max),
            Refusal::TooManyMessages => format!("{} messages a second are taken", self.config.messages_per_second),
            Refusal::TooManyConnections => {
                format!("{} links from an address are taken", self.config.connections_per_address)
            }
            _ => String::new(),
        }
    }

    /// Forgets a link and gives what was asked over it to others.
    pub(super) fn lose(&mut self, now: Now, id: LinkId, out: &mut Vec<Effect>) -> Option<Link> {
        let link = self.links.remove(id)?;
        self.server.gone(id);
        for (request, what) in self.requests.gone(id) {
            self.unanswered(request, what.purpose);
        }
        self.settle_if_alone(now, out);
        Some(link)
    }

    fn opened(&mut self, now: Now, id: LinkId, link: (Pubkey, SocketAddr, bool), out: &mut Vec<Effect>) {
        self.metrics.links_opened += 1;
        let (peer, address, dialed) = link;
        if dialed && !self.book.arrived(now, &peer, address) {
            return self.say_refused(id, (peer, address), Refusal::NotIdentified, out);
        }
        match self.links.open(now, id, link) {
            Err(why) => self.say_refused(id, (peer, address), why, out),
            Ok(()) if dialed => {
                let hello = self.hello();
                self.send(id, &hello, out);
            }
            Ok(()) => {}
        }
    }

    fn dial_failed(&mut self, now: Now, peer: Pubkey) {
        if self.book.dial_failed(&peer) {
            self.metrics.dials_failed += 1;
            self.book.mark(now, peer, Offence::Bad);
        }
    }

    fn closed(&mut self, now: Now, id: LinkId, out: &mut Vec<Effect>) {
        if let Some(link) = self.lose(now, id, out) {
            self.metrics.links_lost += 1;
            if link.dialed {
                self.book.mark(now, link.peer, Offence::Bad);
            }
        }
    }

    fn frame(&mut self, now: Now, id: LinkId, bytes: &Bytes, out: &mut Vec<Effect>) {
        if self.links.get(id).is_none() {
            return;
        }
        self.metrics.frames_received += 1;
        self.metrics.bytes_received += bytes.len() as u64;
        if let Err(why) = self.take(now, id, bytes, out) {
            self.refuse(now, id, why, out);
        }
    }

    fn take(&mut self, now: Now, id: LinkId, bytes: &Bytes, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        if bytes.len() > self.config.frame_bytes_max {
            return Err(Refusal::FrameTooLarge);
        }
        self.links.note_message(now, id)?;
        let message = Message::decode(bytes).map_err(|_| Refusal::Malformed)?;
        let link = self.links.get(id).ok_or(Refusal::Unexpected)?;
        match message {
            Message::Refuse { why, detail } => {
                self.refused_by(now, id, (why, detail), out);
                Ok(())
            }
            Message::Hello(hello) if link.held.is_none() => self.greeted(id, &hello, out),
            _ if link.held.is_none() => Err(Refusal::Unexpected),
            message if link.dialed => self.answer(now, id, message, out),
            message => self.question(now, id, message, out),
        }
    }

    fn refused_by(&mut self, now: Now, id: LinkId, said: (Refusal, String), out: &mut Vec<Effect>) {
        let (why, detail) = said;
        let Some(link) = self.lose(now, id, out) else { return };
        self.metrics.count_refused_by(why);
        out.push(Effect::Close { link: id });
        out.push(Effect::RefusedBy { peer: link.peer, address: link.address, why, detail });
        if link.dialed {
            let offence = match why {
                why if why.is_final() => Offence::Foreign,
                why if why.is_lack_of_room() => Offence::Unhelpful,
                _ => Offence::Bad,
            };
            self.book.mark(now, link.peer, offence);
        }
    }

    fn greeted(&mut self, id: LinkId, hello: &Hello, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        if hello.protocol != PROTOCOL {
            return Err(Refusal::OtherProtocol);
        }
        if hello.genesis_hash != self.config.genesis_hash {
            return Err(Refusal::OtherGenesis);
        }
        if hello.shred_version != self.config.shred_version {
            return Err(Refusal::OtherShredVersion);
        }
        let ours = self.hello();
        let Some(link) = self.links.get_mut(id) else {
            return Ok(());
        };
        link.held = Some(hello.held);
        if link.dialed {
            link.asked_peers = true;
            self.send(id, &Message::GetPeers, out);
        } else {
            self.send(id, &ours, out);
        }
        Ok(())
    }

    /// A message of a node that dialed this one.
    fn question(&mut self, now: Now, id: LinkId, message: Message, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        match message {
            Message::Ping(held) => {
                self.note_held(id, held);
                let pong = Message::Pong(self.held());
                self.send(id, &pong, out);
            }
            Message::GetPeers => {
                let peers = self.name_peers();
                self.send(id, &Message::Peers(peers), out);
            }
            Message::GetBlocks { id: request, from, count } => {
                if count == 0 || count > RANGE_SLOTS_MAX {
                    return Err(Refusal::Malformed);
                }
                let Held { root, lowest, .. } = self.held();
                if from > root || from < lowest {
                    self.send(id, &Message::NotHeld { id: request, lowest }, out);
                    return Ok(());
                }
                let count = count.min((root.get() - from.get()).saturating_add(1));
                let what = LoadWhat::Range { from, count, bytes_max: self.config.answer_bytes };
                self.server.ask(now, id, request, what)?;
            }
            Message::GetBlock { id: request, slot, block_id } => {
                self.server.ask(now, id, request, LoadWhat::Block { slot, block_id })?;
            }
            _ => return Err(Refusal::Unexpected),
        }
        self.server.pump(now, out);
        Ok(())
    }

    fn name_peers(&mut self) -> Vec<PeerEntry> {
        let named = self.book.known().into_iter().map(|(identity, address)| {
            let held = self.links.iter().find(|(_, link)| link.peer == identity).and_then(|(_, link)| link.held);
            let Held { root, highest, .. } = held.unwrap_or_default();
            PeerEntry { identity, address, root, highest }
        });
        named.take(PEERS_MAX).collect()
    }

    /// A message of a node that this one dialed.
    fn answer(&mut self, now: Now, id: LinkId, message: Message, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        match message {
            Message::Pong(held) => self.note_held(id, held),
            Message::Announce { slot, .. } => {
                if let Some(held) = self.links.get_mut(id).and_then(|link| link.held.as_mut()) {
                    held.root = held.root.max(slot);
                    held.highest = held.highest.max(slot);
                }
            }
            Message::Peers(peers) => {
                let link = self.links.get_mut(id).ok_or(Refusal::Unexpected)?;
                if !std::mem::take(&mut link.asked_peers) {
                    return Err(Refusal::Unexpected);
                }
                self.book.learn(peers);
            }
            Message::Blocks { id: request, blocks, next, more } => {
                self.requests.elsewhere = self.ranges.bytes();
                if let Some(whole) = self.requests.part(now, (request, id), blocks, more)? {
                    self.answered(request, whole, next, out)?;
                }
            }
            Message::NotHeld { id: request, lowest } => self.not_held(now, (request, id), lowest, out)?,
            _ => return Err(Refusal::Unexpected),
        }
        Ok(())
    }

    fn note_held(&mut self, id: LinkId, held: Held) {
        if let Some(link) = self.links.get_mut(id) {
            link.held = Some(held);
        }
    }

    /// Takes blocks from before a restart of the cluster by the version that their shreds have.
    pub fn set_versions(&mut self, versions: Versions) {
        self.versions = versions;
    }

    /// Has the pool check an answer.
    pub(super) fn check(&mut self, id: u64, expect: Expect, request: Request, out: &mut Vec<Effect>) {
        let (from, end) = match expect {
            Expect::Range { from, end, .. } => (from, end),
            Expect::Block { slot, .. } => (slot, slot.saturating_add(1)),
        };
        let overlaps =
            |epoch: &&EpochInfo| epoch.first_slot < end && from < epoch.first_slot.saturating_add(epoch.slots);
        let epochs = self.epochs.values().filter(overlaps).cloned().collect();
        let Request { peer, purpose, blocks, bytes, .. } = request;
        self.checks.insert(id, Checking { peer, purpose, bytes });
        let versions = self.versions.clone();
        out.push(Effect::Check(Box::new(RangeCheck { id, versions, expect, epochs, blocks })));
    }

    fn moved(&mut self, now: Now, chain: ChainState, out: &mut Vec<Effect>) {
        let old = std::mem::replace(&mut self.chain, chain);
        self.advanced(now, old);
        let due = self.announced.is_none_or(|last| now.reached(last.after(ANNOUNCE_EVERY)));
        if chain.root > old.root && due {
            self.announced = Some(now);
            let greeted = |(id, link): (LinkId, &Link)| (!link.dialed && link.held.is_some()).then_some(id);
            let links: Vec<LinkId> = self.links.iter().filter_map(greeted).collect();
            for link in links {
                self.send(link, &Message::Announce { slot: chain.root, block_id: chain.root_id }, out);
            }
        }
    }

    fn epoch(&mut self, epoch: EpochInfo) {
        self.epochs.insert(epoch.first_slot, epoch);
        while self.epochs.len() > SCHEDULES_MAX {
            self.epochs.pop_first();
        }
    }

    fn loaded(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let Input::Loaded { id, blocks, next, lowest } = input else { return };
        let Some(answer) = self.server.loaded(now, id, blocks, (next, lowest)) else { return };
        if self.links.get(answer.link).is_some() {
            self.metrics.served_requests += u64::from(answer.blocks > 0);
            self.metrics.served_blocks += answer.blocks;
            self.metrics.served_bytes += answer.bytes;
            for message in answer.messages {
                self.send(answer.link, &message, out);
            }
        }
        self.server.pump(now, out);
    }

    /// Does all that is due, then decides what to do next and when to be woken.
    fn turn(&mut self, now: Now, out: &mut Vec<Effect>) {
        for (id, due) in self.links.due(now) {
            match due {
                Due::Silent => self.refuse(now, id, Refusal::Silent, out),
                Due::Ping => {
                    let ping = Message::Ping(self.held());
                    self.send(id, &ping, out);
                }
            }
        }
        for peer in self.book.overdue(now) {
            self.dial_failed(now, peer);
        }
        for link in self.requests.late(now) {
            self.refuse(now, link, Refusal::Silent, out);
        }
        for link in self.server.late(now) {
            self.refuse(now, link, Refusal::Busy, out);
        }
        self.server.pump(now, out);
        self.steer(now, out);
        let server = self.server.deadline(now);
        let times = [self.links.deadline(), self.book.deadline(), self.requests.deadline(), server, self.wake_up(now)];
        self.wake = times.into_iter().flatten().min().map(|wake| wake.max(now.after(WAKE_LEAST)));
    }
}

impl Machine for Sync {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        match input {
            Input::Opened { link, peer, address, dialed } => self.opened(now, link, (peer, address, dialed), out),
            Input::DialFailed { peer, .. } => self.dial_failed(now, peer),
            Input::Frame { link, bytes } => self.frame(now, link, &bytes, out),
            Input::Oversized { link, .. } => self.refuse(now, link, Refusal::FrameTooLarge, out),
            Input::Closed { link } => self.closed(now, link, out),
            Input::Peers(peers) => self.book.set_registry(peers),
            Input::Epoch(epoch) => self.epoch(epoch),
            Input::Chain(chain) => self.moved(now, chain, out),
            loaded @ Input::Loaded { .. } => self.loaded(now, loaded, out),
            Input::Checked(checked) => self.checked(now, *checked, out),
            Input::Dead { slot } => self.dead(now, slot, out),
            Input::Wanted { slot, block_id } => self.want(slot, block_id),
        }
        self.turn(now, out);
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.turn(now, out);
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Role;
    use std::sync::Arc;
    use sundog_types::{Epoch, schedule::LeaderSchedule, shred::Gates, stakes::EpochStakes};

    #[test]
    fn epochs_are_bounded_and_the_oldest_is_forgotten() {
        let config = SyncConfig::new(Hash::default(), 7, Role::Voting);
        let mut sync = Sync::new(config, Pubkey::default(), [0; 32]);
        let now = Now { mono_us: 0, unix_ms: 0 };
        let stakes = Arc::new(EpochStakes::default());
        for number in 0..SCHEDULES_MAX as u64 + 5 {
            let (epoch, first_slot, gates) = (Epoch::new(number), Slot::new(number * 32), Gates::NONE);
            let leaders = Arc::new(LeaderSchedule::new(epoch, 32, &stakes));
            let stakes = Arc::clone(&stakes);
            let epoch = EpochInfo { epoch, first_slot, slots: 32, leaders, stakes, gates };
            sync.handle(now, Input::Epoch(epoch), &mut Vec::new());
        }
        assert_eq!(sync.epochs.len(), SCHEDULES_MAX);
        assert_eq!(sync.epochs.first_key_value().map(|(slot, _)| slot.get()), Some(5 * 32));
        assert_eq!(sync.poll_timeout(), None);
    }
}
