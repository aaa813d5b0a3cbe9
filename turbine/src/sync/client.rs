//! The side that fetches: whether to look, whom to ask for what, what to hand on, when to stop.
//!
//! ```text
//!    Idle --behind by hearsay, or just started--> Probing --a root far ahead--> Syncing
//!     ^                                              |                             |
//!     +---------------- nobody is far ahead ---------+------- near the roots ------+
//! ```

use super::{
    check::CheckedBlock,
    effect::{ChainState, Effect, LinkId},
    machine::Sync,
    progress::Meter,
    ranges::Release,
    refusal::Refusal,
    requests::Purpose,
    wire::Message,
};
use std::time::Duration;
use sundog_types::{Now, Pubkey, Slot};

/// Dials after the start, as long as nobody answered: on a cluster where nobody offers bulk sync a node soon stops to
/// look. When it hears that it is behind it looks again.
const FIRST_DIALS: u32 = 16;
/// Dials under way at a time.
const DIALING_MAX: usize = 4;
/// A node that looked around in vain looks again after this time, if there is still a reason.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A node that nobody can help looks again after this time.
const STRANDED_AGAIN: Duration = Duration::from_secs(60);
/// Time in which leaders of the next epoch must become known, after all blocks before it are executed.
const DRY: Duration = Duration::from_secs(2);
/// A node whose fetch was cut short looks around so often again, until it finds somebody who is far ahead.
const RESUME_TRIES: u32 = 30;
/// By hearsay a node is at the end if it is not so many times farther behind than where a fetch begins: roots lag.
const HEARSAY_TIMES: u64 = 4;
/// Blocks handed on in one go: the node's thread gathers them at once, and has other work, too.
const RELEASED_AT_ONCE: usize = 16;
/// Then it goes on after this time.
const RELEASE_AGAIN: Duration = Duration::from_millis(1);

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
    /// When to go on handing on: there was more than may be handed on at once.
    more_at: Option<Now>,
    /// What repair was told.
    repair_from: Slot,
    /// The highest root that any peer claimed meanwhile.
    highest: Slot,
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

    pub(super) fn has_candidate(&mut self, now: Now) -> bool {
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
                let own = fetch.meter.due().min(self.stalls_at(fetch.moved));
                let own = fetch.more_at.map_or(own, |more| more.min(own));
                Some(free.map_or(own, |free| free.min(own)))
            }
        }
    }

    pub(super) fn dial(&mut self, now: Now, most: usize, out: &mut Vec<Effect>) {
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
        let waits = self.links.dialed().filter(|(_, link)| link.held.is_none() || link.asked_peers).count();
        let asked = self.book.dialing() + waits;
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
        let repair_from = self.repair_from(target);
        self.phase = Phase::Syncing(Fetch { meter, moved: now, more_at: None, repair_from, highest: target });
        out.push(Effect::RepairFrom(repair_from));
        self.dial(now, self.config.peers_max, out);
    }

    /// Where repair takes over: at the target, but no nearer to what the cluster votes for than a node at its tip can
    /// be. Else whoever boasts of a root would keep such a node from repairing what Turbine did not bring.
    fn repair_from(&self, target: Slot) -> Slot {
        match self.chain.heard {
            Slot::ZERO => target,
            heard => target.min(heard.saturating_sub(self.config.behind_slots)),
        }
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
            self.finish(out);
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

    /// The node is near the roots of those that are left. They may know less than those that are left alone for a
    /// while: then it looks around again.
    fn finish(&mut self, out: &mut Vec<Effect>) {
        let at = self.chain.applied;
        let highest = if let Phase::Syncing(fetch) = &self.phase { fetch.highest } else { at };
        let hearsay = self.config.behind_slots.saturating_mul(HEARSAY_TIMES);
        let lags = self.chain.heard > at.saturating_add(hearsay);
        if lags || self.is_behind(highest) {
            self.outlook.resume = RESUME_TRIES;
        }
        if !lags {
            out.push(Effect::CaughtUp { at });
        }
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

    /// Hands on what is due, as much as may be at once.
    fn release(&mut self, now: Now, out: &mut Vec<Effect>) {
        let last = self.chain.applied.saturating_add(self.config.window);
        if let Phase::Syncing(fetch) = &mut self.phase {
            fetch.more_at = None;
        }
        for _ in 0..RELEASED_AT_ONCE {
            if self.dispute.is_some() {
                return;
            }
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
        if let Phase::Syncing(fetch) = &mut self.phase {
            fetch.more_at = Some(now.after(RELEASE_AGAIN));
        }
    }

    pub(super) fn hand_on(&mut self, from: Pubkey, block: CheckedBlock, out: &mut Vec<Effect>) {
        self.metrics.blocks_released += 1;
        out.push(Effect::Block { from, slot: block.slot(), shreds: block.into_shreds() });
    }

    /// Tells how far the node has come, and notices when nothing moves.
    fn watch(&mut self, now: Now, target: Slot, out: &mut Vec<Effect>) {
        let (applied, repair_from) = (self.chain.applied, self.repair_from(target));
        let Phase::Syncing(fetch) = &mut self.phase else { return };
        fetch.highest = fetch.highest.max(target);
        if std::mem::replace(&mut fetch.repair_from, repair_from) != repair_from {
            out.push(Effect::RepairFrom(repair_from));
        }
        let moved = fetch.moved;
        out.extend(fetch.meter.report(now, applied, target).map(Effect::Progress));
        if now.reached(self.stalls_at(moved)) {
            self.stalled(now, target, out);
        }
    }

    /// When it is time to do something about that nothing moves: soon, if nothing is under way that could.
    fn stalls_at(&self, moved: Now) -> Now {
        let dry = self.ranges.is_empty() && self.chain.applied >= self.ranges.tip().slot;
        moved.after(if dry { DRY.min(self.config.stall) } else { self.config.stall })
    }

    /// Nothing moves. Somebody lies, or execution is stuck.
    fn stalled(&mut self, now: Now, target: Slot, out: &mut Vec<Effect>) {
        if let Phase::Syncing(fetch) = &mut self.phase {
            fetch.moved = now;
        }
        self.metrics.rewinds += 1;
        self.dispute = None;
        if self.chain.applied < self.ranges.tip().slot {
            return self.ranges.restart(self.chain.root, self.chain.root_id);
        }
        if let Some((from, peers)) = self.ranges.skippers() {
            // They said that there is nothing, and nobody has shown what comes after.
            self.ranges.rewind(from);
            for peer in peers {
                self.drop_peer(now, peer, Refusal::WrongBlock, out);
            }
        } else if let Some(link) = self.ranges.awaited().and_then(|id| self.requests.link(id)) {
            self.refuse(now, link, Refusal::Silent, out);
        } else {
            // Those who claim the most cannot show it.
            let boasters = self.links.servers().filter(|(_, _, held)| held.root == target);
            let boasters: Vec<LinkId> = boasters.map(|(id, ..)| id).collect();
            for id in boasters {
                self.refuse(now, id, Refusal::WrongBlock, out);
            }
            self.ranges.restart(self.chain.root, self.chain.root_id);
        }
    }
}
