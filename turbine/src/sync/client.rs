//! The side that fetches: whether to look, whom to ask for what, what to hand on, when to stop.
//!
//! ```text
//!    Idle --behind by hearsay, or just started--> Probing --a root far ahead--> Syncing
//!     ^                                              |                             |
//!     +---------------- nobody is far ahead ---------+------- near the roots ------+
//! ```

use super::{
    book::Offence,
    check::{CheckedBlock, Expect, Fault, RangeChecked},
    effect::{ChainState, Effect, LinkId},
    machine::Sync,
    progress::Meter,
    ranges::Release,
    refusal::Refusal,
    requests::{BLOCK_BYTES_MAX, Purpose, Request},
    wire::Message,
};
use std::{collections::BTreeSet, time::Duration};
use sundog_types::{Hash, Now, Pubkey, Slot};

/// Dials after the start, as long as nobody answered: on a cluster where nobody offers bulk sync a node soon stops to
/// look. When it hears that it is behind it looks again.
const FIRST_DIALS: u32 = 16;
/// Dials under way at a time.
const DIALING_MAX: usize = 4;
/// A node that looked around in vain looks again after this time, if there is still a reason.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A node that nobody can help looks again after this time.
const STRANDED_AGAIN: Duration = Duration::from_secs(60);
/// A node whose fetch was cut short looks around so often again, until it finds somebody who is far ahead.
const RESUME_TRIES: u32 = 30;
/// By hearsay a node is at the end if it is not so many times farther behind than where a fetch begins: roots lag.
const HEARSAY_TIMES: u64 = 4;
/// Single blocks that may be wanted at a time. Full: newcomers are given up; whoever wants them asks again.
pub const WANTED_MAX: usize = 32;
/// Peers that are asked for a single block before it is given up.
const WANTED_TRIES: usize = 16;

/// What the client is about.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nothing.
    Idle,
    /// Asks a few peers for their roots.
    Probing,
    /// Fetches.
    Syncing(Fetch),
}

/// What is known while fetching.
#[derive(Debug)]
pub(crate) struct Fetch {
    meter: Meter,
    /// When a block was last handed on or executed.
    moved: Now,
    /// What repair was told.
    repair_from: Slot,
}

/// What makes a node look around, and what keeps it from looking again.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    /// The chain's state is known.
    started: bool,
    /// A peer's root was seen.
    looked: bool,
    dials: u32,
    not_before: Option<Now>,
    /// A fetch was cut short: look around so often again.
    resume: u32,
    stranded_at: Option<Slot>,
}

/// An answer that the pool checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checking {
    pub(crate) peer: Pubkey,
    pub(crate) purpose: Purpose,
    pub(crate) bytes: usize,
}

/// A single block to fetch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    tried: BTreeSet<Pubkey>,
    under_way: bool,
}

impl Sync {
    /// The highest root that a peer claims.
    fn target(&self) -> Slot {
        self.links.servers().map(|(_, _, held)| held.root).max().unwrap_or_default()
    }

    fn is_behind(&self, of: Slot) -> bool {
        of > self.chain.applied.saturating_add(self.config.behind_slots)
    }

    fn has_reason(&self) -> bool {
        let first = !self.outlook.looked && self.outlook.dials < FIRST_DIALS;
        self.outlook.started && (first || self.outlook.resume > 0 || self.is_behind(self.chain.heard))
    }

    fn has_candidate(&mut self, now: Now) -> bool {
        let links = &self.links;
        self.book.choose(now, |peer| links.dialed().any(|(_, link)| link.peer == *peer)).is_some()
    }

    /// Decides what the node is about, and does what follows from it.
    pub(super) fn steer(&mut self, now: Now, out: &mut Vec<Effect>) {
        let ready = self.outlook.not_before.is_none_or(|time| now.reached(time));
        if matches!(self.phase, Phase::Idle) && ready && self.has_reason() && self.has_candidate(now) {
            self.phase = Phase::Probing;
        }
        if matches!(self.phase, Phase::Probing) {
            self.dial(now, self.config.probe_peers, out);
            self.probe(now, out);
        }
        if self.is_syncing() {
            self.dial(now, self.config.peers_max, out);
            self.fetch(now, out);
        }
        self.fetch_wanted(now, out);
        if matches!(self.phase, Phase::Idle) && self.wants.is_empty() {
            self.hang_up(now, out);
        }
    }

    /// When the client has something to do though nothing comes in.
    pub(super) fn wake_up(&self, now: Now) -> Option<Now> {
        let free = self.book.next_free(now);
        match &self.phase {
            Phase::Idle => {
                let later = self.outlook.not_before.filter(|time| !now.reached(*time));
                if self.has_reason() { later.or(free) } else { None }
            }
            Phase::Probing => free,
            Phase::Syncing(fetch) => {
                let own = fetch.meter.due().min(fetch.moved.after(self.config.stall));
                Some(free.map_or(own, |free| free.min(own)))
            }
        }
    }

    fn dial(&mut self, now: Now, most: usize, out: &mut Vec<Effect>) {
        while self.book.dialing() < DIALING_MAX && self.links.dialed().count() + self.book.dialing() < most {
            let links = &self.links;
            let chosen = self.book.choose(now, |peer| links.dialed().any(|(_, link)| link.peer == *peer));
            let Some((peer, address)) = chosen else { return };
            self.book.dial(peer, address, now.after(self.config.handshake_timeout));
            self.metrics.dials += 1;
            self.outlook.dials = self.outlook.dials.saturating_add(u32::from(!self.outlook.looked));
            out.push(Effect::Dial { peer, address });
        }
    }

    fn hang_up(&mut self, now: Now, out: &mut Vec<Effect>) {
        let links: Vec<LinkId> = self.links.dialed().map(|(id, _)| id).collect();
        for id in links {
            self.lose(now, id, out);
            out.push(Effect::Close { link: id });
        }
    }

    /// Looks at the roots of the peers that answered.
    fn probe(&mut self, now: Now, out: &mut Vec<Effect>) {
        let greeted = self.links.servers().count();
        let target = self.target();
        if greeted > 0 && self.is_behind(target) {
            return self.start(now, target, out);
        }
        let asked = self.book.dialing() + self.links.dialed().count() - greeted;
        let enough = greeted >= self.config.probe_peers || !self.has_candidate(now);
        if asked == 0 && enough {
            self.outlook.looked |= greeted > 0;
            self.outlook.resume = self.outlook.resume.saturating_sub(u32::from(greeted > 0));
            let again = if greeted > 0 { Some(now.after(LOOK_AGAIN)) } else { None };
            self.outlook.not_before = again;
            self.phase = Phase::Idle;
        }
    }

    fn start(&mut self, now: Now, target: Slot, out: &mut Vec<Effect>) {
        (self.outlook.looked, self.outlook.resume) = (true, 0);
        self.ranges.restart(self.chain.applied, self.chain.applied_id);
        self.dispute = None;
        let meter = Meter::new(now, self.chain.applied);
        self.phase = Phase::Syncing(Fetch { meter, moved: now, repair_from: target });
        out.push(Effect::RepairFrom(target));
        self.dial(now, self.config.peers_max, out);
    }

    /// Ends the fetch. What waits is thrown away.
    fn stop(&mut self, not_before: Option<Now>, out: &mut Vec<Effect>) {
        self.phase = Phase::Idle;
        self.dispute = None;
        self.outlook.not_before = not_before;
        self.ranges.restart(self.chain.applied, self.chain.applied_id);
        out.push(Effect::RepairFrom(Slot::ZERO));
    }

    /// The node's chain moved.
    pub(super) fn advanced(&mut self, now: Now, old: ChainState) {
        self.outlook.started = true;
        let applied = self.chain.applied;
        if let Phase::Syncing(fetch) = &mut self.phase {
            if applied > old.applied {
                fetch.moved = now;
            }
            if applied > self.ranges.next() {
                self.ranges.restart(applied, self.chain.applied_id);
                self.dispute = None;
            }
            for peer in self.ranges.root(self.chain.root) {
                self.book.forgive(&peer);
            }
        }
    }

    fn fetch(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (target, applied) = (self.target(), self.chain.applied);
        let alone = self.links.dialed().count() + self.book.dialing() == 0;
        if alone && !self.has_candidate(now) {
            self.outlook.resume = RESUME_TRIES;
            return self.stop(None, out);
        }
        let greeted = self.links.servers().count() > 0;
        if greeted && applied.saturating_add(self.config.near_slots) >= target {
            // Who is left may know less than those that are left alone for a while.
            let hearsay = self.config.behind_slots.saturating_mul(HEARSAY_TIMES);
            if self.chain.heard > applied.saturating_add(hearsay) {
                self.outlook.resume = RESUME_TRIES;
            } else {
                out.push(Effect::CaughtUp { at: applied });
            }
            return self.stop(Some(now.after(LOOK_AGAIN)), out);
        }
        if greeted && self.is_stranded(now, out) {
            return;
        }
        if greeted {
            self.ranges.cut(target);
        }
        let known_end = self.known_end(self.ranges.next());
        self.ranges.plan(target, known_end, self.config.ranges_max);
        self.ask_ranges(now, out);
        self.release(now, out);
        self.watch(now, target, out);
    }

    /// Nobody has the next slot any more, and nobody else can be asked.
    fn is_stranded(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        let front = self.ranges.front();
        let lowest = self.links.servers().map(|(_, _, held)| held.lowest).min().unwrap_or_default();
        let asked = self.book.dialing() > 0 || self.links.dialed().any(|(_, link)| link.held.is_none());
        if lowest <= front || asked || self.has_candidate(now) {
            return false;
        }
        let applied = self.chain.applied;
        if self.outlook.stranded_at != Some(applied) {
            self.outlook.stranded_at = Some(applied);
            out.push(Effect::Stranded { lowest, applied });
        }
        self.outlook.resume = RESUME_TRIES;
        self.stop(Some(now.after(STRANDED_AGAIN)), out);
        true
    }

    /// The end of the known epochs that follow on each other from the one that a slot lies in; the slot, if that one
    /// is not known.
    fn known_end(&self, slot: Slot) -> Slot {
        let before = self.epochs.range(..=slot).next_back().map_or(slot, |(first, _)| *first);
        let mut end = slot;
        for (first, epoch) in self.epochs.range(before..) {
            if *first > end {
                break;
            }
            end = end.max(first.saturating_add(epoch.slots));
        }
        end
    }

    fn ask_ranges(&mut self, now: Now, out: &mut Vec<Effect>) {
        for (from, end) in self.ranges.wanted() {
            let checking: usize = self.checks.values().map(|check| check.bytes).sum();
            let held = self.requests.bytes() + self.ranges.bytes().max(checking);
            if from != self.ranges.front() && held + self.config.answer_bytes > self.config.bytes_max {
                return;
            }
            let last = end.saturating_sub(1);
            let able = self.links.servers().filter(|(_, _, held)| held.lowest <= from && held.root >= last);
            let loads = able.map(|(id, link, held)| (self.requests.on(id), (id, link.peer, held.root)));
            let free = loads.filter(|(load, _)| *load < self.config.requests_per_peer);
            let Some((_, server)) = free.min_by_key(|(load, server)| (*load, server.0)) else {
                continue;
            };
            let id = self.next_id();
            self.requests.start(now, id, server, (Purpose::Range(from), end));
            self.ranges.asked(from, id);
            self.metrics.ranges_asked += 1;
            let count = end.get().saturating_sub(from.get());
            self.send(server.0, &Message::GetBlocks { id, from, count }, out);
        }
    }

    fn release(&mut self, now: Now, out: &mut Vec<Effect>) {
        let last = self.chain.applied.saturating_add(self.config.window);
        while self.dispute.is_none() {
            match self.ranges.release(last) {
                Release::Block(peer, block) => {
                    if let Phase::Syncing(fetch) = &mut self.phase {
                        fetch.moved = now;
                    }
                    self.hand_on(peer, block, out);
                }
                Release::Mismatch(mismatch) => self.dispute(now, mismatch, out),
                Release::Wait => return,
            }
        }
    }

    fn hand_on(&mut self, from: Pubkey, block: CheckedBlock, out: &mut Vec<Effect>) {
        self.metrics.blocks_released += 1;
        out.push(Effect::Block { from, slot: block.slot(), shreds: block.into_shreds() });
    }

    /// Tells how far the node has come, and notices when nothing moves.
    fn watch(&mut self, now: Now, target: Slot, out: &mut Vec<Effect>) {
        let applied = self.chain.applied;
        let Phase::Syncing(fetch) = &mut self.phase else { return };
        if std::mem::replace(&mut fetch.repair_from, target) != target {
            out.push(Effect::RepairFrom(target));
        }
        out.extend(fetch.meter.report(now, applied, target).map(Effect::Progress));
        if !now.reached(fetch.moved.after(self.config.stall)) {
            return;
        }
        fetch.moved = now;
        // Nothing comes though all that came is executed: those who claim the most cannot show it.
        if applied >= self.ranges.tip().slot {
            let boasters = self.links.servers().filter(|(_, _, held)| held.root == target);
            let boasters: Vec<LinkId> = boasters.map(|(id, ..)| id).collect();
            for id in boasters {
                self.refuse(now, id, Refusal::WrongBlock, out);
            }
        }
        self.metrics.rewinds += 1;
        self.dispute = None;
        self.ranges.restart(self.chain.root, self.chain.root_id);
    }

    /// The last part of an answer came.
    pub(super) fn answered(
        &mut self,
        id: u64,
        request: Request,
        next: Slot,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let bytes = request.bytes;
        let expect = match request.purpose {
            Purpose::Range(from) => {
                if next <= from || next > request.end {
                    self.ranges.failed(from, id);
                    return Err(Refusal::Malformed);
                }
                if !self.ranges.checking(from, id, next, bytes) {
                    return Ok(());
                }
                let holds = (from <= request.root && request.root < next).then_some(request.root);
                Expect::Range { from, end: next, holds }
            }
            Purpose::Want(slot, block_id) | Purpose::Dispute(slot, block_id) => Expect::Block { slot, block_id },
        };
        if bytes > BLOCK_BYTES_MAX && matches!(expect, Expect::Block { .. }) {
            self.unanswered(id, request.purpose);
            return Err(Refusal::Malformed);
        }
        self.check(id, expect, request, out);
        Ok(())
    }

    /// A peer does not have what it was asked for.
    pub(super) fn not_held(
        &mut self,
        now: Now,
        (id, link): (u64, LinkId),
        lowest: Slot,
        out: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let request = self.requests.take(id, link).ok_or(Refusal::Unexpected)?;
        self.unanswered(id, request.purpose);
        if let Purpose::Range(from) = request.purpose {
            // Ledgers are pruned from below. Else it does not have what it claims to have.
            let held = self.links.get_mut(link).and_then(|link| link.held.as_mut());
            match held.filter(|held| lowest > from && lowest > held.lowest) {
                Some(held) => held.lowest = lowest,
                None => return Err(Refusal::WrongBlock),
            }
        }
        self.settle_if_alone(now, out);
        Ok(())
    }

    /// A request came to nothing: others are asked.
    pub(super) fn unanswered(&mut self, id: u64, purpose: Purpose) {
        match purpose {
            Purpose::Range(from) => {
                self.metrics.ranges_failed += 1;
                self.ranges.failed(from, id);
            }
            Purpose::Want(slot, block_id) => {
                if let Some(want) = self.wants.get_mut(&(slot, block_id)) {
                    want.under_way = false;
                }
            }
            Purpose::Dispute(..) => {}
        }
    }

    /// The pool checked an answer.
    pub(super) fn checked(&mut self, now: Now, checked: RangeChecked, out: &mut Vec<Effect>) {
        let RangeChecked { id, result } = checked;
        let Some(Checking { peer, purpose, .. }) = self.checks.remove(&id) else { return };
        match result {
            Ok(blocks) => {
                self.metrics.blocks_checked += blocks.len() as u64;
                self.good(now, id, (peer, purpose), (blocks, out));
            }
            Err(Fault::Leader(_)) if !matches!(purpose, Purpose::Range(_)) => {
                self.unanswered(id, purpose);
                self.settle_if_alone(now, out);
            }
            Err(_) => {
                self.unanswered(id, purpose);
                self.drop_peer(now, peer, Refusal::WrongBlock, out);
                self.settle_if_alone(now, out);
            }
        }
    }

    fn good(
        &mut self,
        now: Now,
        id: u64,
        (peer, purpose): (Pubkey, Purpose),
        (blocks, out): (Vec<CheckedBlock>, &mut Vec<Effect>),
    ) {
        match purpose {
            Purpose::Range(from) => self.ranges.ready(from, id, peer, blocks),
            Purpose::Want(slot, block_id) => {
                if self.wants.remove(&(slot, block_id)).is_some() {
                    self.metrics.wanted_fetched += 1;
                    for block in blocks {
                        self.hand_on(peer, block, out);
                    }
                }
            }
            Purpose::Dispute(slot, block_id) => {
                self.parent_shown(now, slot, block_id, out);
                self.settle_if_alone(now, out);
            }
        }
    }

    /// A single block is wanted.
    pub(super) fn want(&mut self, slot: Slot, block_id: Hash) {
        let known = self
            .epochs
            .values()
            .any(|epoch| slot.since(epoch.first_slot).is_some_and(|place| epoch.leaders.get(place.get()).is_some()));
        if known && (self.wants.len() < WANTED_MAX || self.wants.contains_key(&(slot, block_id))) {
            self.wants.entry((slot, block_id)).or_default();
        } else {
            self.metrics.wanted_given_up += 1;
        }
    }

    fn fetch_wanted(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.wants.is_empty() {
            return;
        }
        self.dial(now, self.config.probe_peers, out);
        let asked = self.book.dialing() > 0 || self.links.dialed().any(|(_, link)| link.held.is_none());
        let more = asked || self.has_candidate(now);
        let idle = self.wants.iter().filter(|(_, want)| !want.under_way).map(|(key, _)| *key);
        for key in idle.collect::<Vec<_>>() {
            let tried = |peer: &Pubkey| self.wants.get(&key).is_some_and(|want| want.tried.contains(peer));
            let able = self.links.servers().filter(|(_, link, held)| held.lowest <= key.0 && !tried(&link.peer));
            let servers: Vec<_> = able.map(|(id, link, held)| (id, link.peer, held.root)).collect();
            let free = servers.iter().find(|server| self.requests.on(server.0) < self.config.requests_per_peer);
            let tries = self.wants.get(&key).map_or(0, |want| want.tried.len());
            if tries >= WANTED_TRIES || servers.is_empty() && !more {
                self.wants.remove(&key);
                self.metrics.wanted_given_up += 1;
            } else if let Some(server) = free.copied() {
                self.ask_wanted(now, key, server, out);
            } else if servers.is_empty() && !asked {
                self.make_room(now, out);
            }
        }
    }

    fn ask_wanted(&mut self, now: Now, key: (Slot, Hash), server: (LinkId, Pubkey, Slot), out: &mut Vec<Effect>) {
        if let Some(want) = self.wants.get_mut(&key) {
            want.tried.insert(server.1);
            want.under_way = true;
        }
        let id = self.next_id();
        self.requests.start(now, id, server, (Purpose::Want(key.0, key.1), key.0.saturating_add(1)));
        self.send(server.0, &Message::GetBlock { id, slot: key.0, block_id: key.1 }, out);
    }

    /// All linked peers were asked in vain, but there are others: hangs up on one with which nothing is under way.
    fn make_room(&mut self, now: Now, out: &mut Vec<Effect>) {
        let unused = self.links.dialed().find(|(id, _)| self.requests.on(*id) == 0);
        let Some((id, peer)) = unused.map(|(id, link)| (id, link.peer)).filter(|_| !self.is_syncing()) else { return };
        self.lose(now, id, out);
        self.book.mark(now, peer, Offence::Absent);
        out.push(Effect::Close { link: id });
    }
}
