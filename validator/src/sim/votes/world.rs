//! The world: hosts, links, and the queue of what is still to happen.

use super::{
    chain::{BlockId, Cast, Chain, Content},
    checker::{Checker, Violation, Voter},
    config::VotesConfig,
    ending::Ending,
    host::{Host, Unsigned},
    outcome::VotesOutcome,
    plan::{Lie, Plan, Step, WINDOW},
};
use crate::sim::queue::Queue;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use std::{collections::BTreeMap, sync::Arc};
use sundog_tower::{Consensus, ConsensusConfig, Effect, Input, RootBlock};
use sundog_types::{
    Machine as _, Now, Pubkey, Slot,
    stakes::{EpochStakes, VoteStake},
};

/// A slot, in milliseconds.
pub(super) const SLOT_MS: u64 = 400;
/// When virtual time starts, in milliseconds since the Unix epoch.
const START_UNIX_MS: u64 = 1_700_000_000_000;
/// How often of a hundred times a leader who forks makes a second version of a block.
const FORKS_PERCENT: u32 = 12;
/// Slots between two looks at what a neighbour has heard.
const PULL_SLOTS: u64 = 2;
/// Slots between two times that others are asked for what they settled on.
const ASK_SLOTS: u64 = 12;

/// Something that happens.
pub(super) enum Event {
    /// Blocks arrive, the oldest first.
    Blocks { from: usize, to: usize, blocks: Vec<BlockId> },
    /// A vote arrives.
    Vote { from: usize, to: usize, cast: Arc<Cast> },
    /// What a neighbour has heard arrives.
    Heard { from: usize, to: usize },
    /// A proof of two versions arrives.
    Proof { from: usize, to: usize, slot: Slot },
    /// A node says that it has a slot.
    Announced { from: usize, to: usize, slot: Slot },
    /// A tower is durable.
    Saved { host: usize, life: u32, id: u64 },
}

/// Hosts and all that is between them.
pub(super) struct VotesWorld {
    pub(super) config: VotesConfig,
    pub(super) plan: Plan,
    pub(super) chain: Chain,
    pub(super) hosts: Vec<Host>,
    pub(super) checker: Checker,
    pub(super) rng: ChaCha8Rng,
    pub(super) now_ms: u64,
    pub(super) violation: Option<Violation>,
    pub(super) outcome: VotesOutcome,
    /// Votes so far.
    pub(super) casts: u32,
    /// The faults are over: liars vote no more.
    pub(super) ending: Option<Ending>,
    pub(super) stakes: Arc<EpochStakes>,
    pub(super) keys: Vec<Keypair>,
    queue: Queue<Event>,
    /// Whether what the first sends reaches the second: by the first times the number of hosts plus the second.
    open: Vec<bool>,
}

/// Plays a seed.
#[must_use]
pub fn run(config: &VotesConfig) -> VotesOutcome {
    let mut world = VotesWorld::new(*config);
    for host in 0..world.hosts.len() {
        world.start(host);
    }
    let mut slot = 0;
    while world.violation.is_none() && !world.is_over(slot) {
        slot += 1;
        world.play_until(slot * SLOT_MS);
        world.begin_slot(slot);
    }
    world.into_outcome(slot)
}

impl VotesWorld {
    pub(super) fn new(config: VotesConfig) -> Self {
        let plan = Plan::new(&config);
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ u64::MAX);
        let key = |_| {
            let mut secret = [0; 32];
            rng.fill_bytes(&mut secret);
            Keypair::new_from_array(secret)
        };
        let keys: Vec<Keypair> = plan.seats.iter().map(key).collect();
        let account = |seat: usize| Pubkey::new_from_array([seat as u8 + 1; 32]);
        let voters: Vec<Voter> = plan
            .seats
            .iter()
            .enumerate()
            .map(|(n, seat)| Voter { account: account(n), stake: seat.stake, honest: seat.lie.is_none() })
            .collect();
        let stake = |(voter, key): (&Voter, &Keypair)| {
            let node = key.pubkey();
            (voter.account, VoteStake { node, authorized_voter: node, stake: voter.stake })
        };
        let stakes = EpochStakes { by_vote_account: voters.iter().zip(&keys).map(stake).collect::<BTreeMap<_, _>>() };
        let chain = Chain::new(voters.iter().map(|voter| (voter.account, voter.stake)));
        let genesis = chain.get(0);
        let hosts: Vec<Host> = plan.hosts.iter().map(|seat| Host::new(*seat, plan.seats.len())).collect();
        Self {
            checker: Checker::new(voters, (genesis.slot, genesis.hash)),
            open: vec![true; hosts.len() * hosts.len()],
            outcome: VotesOutcome::new(&config, &plan),
            stakes: Arc::new(stakes),
            queue: Queue::default(),
            now_ms: 0,
            violation: None,
            casts: 0,
            ending: None,
            config,
            plan,
            chain,
            hosts,
            rng,
            keys,
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { mono_us: self.now_ms * 1_000, unix_ms: START_UNIX_MS + self.now_ms }
    }

    /// Keeps the first violation.
    pub(super) fn judged(&mut self, judged: Result<(), Violation>) {
        if let Err(violation) = judged {
            self.violation.get_or_insert(violation);
        }
    }

    pub(super) fn is_honest(&self, host: usize) -> bool {
        self.plan.seats[self.hosts[host].seat].lie.is_none()
    }

    /// Starts a host with what its disk has.
    pub(super) fn start(&mut self, host: usize) {
        if self.hosts[host].machine.is_some() {
            return;
        }
        let now = self.now();
        let this = &mut self.hosts[host];
        let seat = this.seat;
        let root = self.chain.get(this.root);
        let saved = this.saved(&self.keys[seat]);
        let votes = self.plan.seats[seat].lie != Some(Lie::Free);
        let account = self.chain.get(0).voters[seat].vote_account;
        let config = ConsensusConfig {
            checks: if self.plan.seats[seat].lie.is_none() { self.config.checks } else { Default::default() },
            ..ConsensusConfig::default()
        };
        let start = RootBlock { slot: root.slot, hash: root.hash };
        let signer = Arc::new(Unsigned(self.keys[seat].pubkey()));
        this.machine = Some(Consensus::new(config, votes.then_some(account), start, saved, signer));
        this.life += 1;
        this.executed.insert(root.slot, this.root);
        let proven: Vec<Slot> = this.proven.iter().copied().collect();
        let children = root.children.clone();
        for slot in proven {
            self.feed(host, Input::Duplicate(slot));
        }
        self.replay(host, &children);
        self.outcome.note(now, host, 1);
    }

    /// A host dies: what was not durable is gone, and a write that was under way may or may not be on the disk.
    fn crash(&mut self, host: usize) {
        let written = self.rng.gen_bool(0.5);
        let lost_from = self.now_ms / SLOT_MS - self.rng.gen_range(0..4);
        let this = &mut self.hosts[host];
        if this.machine.take().is_none() {
            return;
        }
        if let Some(bytes) = this.writing.take().filter(|_| written) {
            this.disk = Some(bytes);
        }
        let lost: Vec<BlockId> = match self.config.torn_ledgers {
            true => this.executed.range(Slot::new(lost_from)..).map(|(_, block)| *block).collect(),
            false => Vec::new(),
        };
        for block in lost {
            if self.chain.get(block).leader != host && block != this.root {
                this.store(block, false);
            }
        }
        this.executed.clear();
        this.wanted.clear();
        this.stray.clear();
        this.again = None;
        this.heard.iter_mut().for_each(Vec::clear);
        self.outcome.crashes += 1;
    }

    /// Tells a host's machine something, and does what it asks for.
    pub(super) fn feed(&mut self, host: usize, input: Input) {
        let now = self.now();
        let Some(machine) = &mut self.hosts[host].machine else { return };
        let mut effects = Vec::new();
        machine.handle(now, input, &mut effects);
        self.obey(host, effects);
    }

    fn obey(&mut self, host: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.hear_effect(host, effect);
        }
    }

    /// Whether what one host sends reaches another now.
    pub(super) fn reaches(&self, from: usize, to: usize) -> bool {
        self.open[from * self.hosts.len() + to] && self.hosts[to].machine.is_some()
    }

    /// How long something takes from a host to another.
    pub(super) fn delay(&mut self, from: usize) -> u64 {
        let (least, most) = self.plan.delay_ms;
        self.rng.gen_range(least..=most) + self.hosts[from].slow_ms
    }

    pub(super) fn later(&mut self, after_ms: u64, event: Event) {
        self.queue.push(self.now_ms + after_ms.max(1), event);
    }

    fn play_until(&mut self, until_ms: u64) {
        while self.violation.is_none()
            && let Some(ms) = self.queue.next_ms(self.now_ms).filter(|ms| *ms < until_ms)
        {
            self.now_ms = ms;
            if let Some(event) = self.queue.pop() {
                self.happen(event);
            }
        }
        self.now_ms = until_ms;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Saved { host, life, id } => {
                if self.hosts[host].life == life && self.hosts[host].machine.is_some() {
                    self.hosts[host].disk = self.hosts[host].writing.take();
                    self.feed(host, Input::Saved { id });
                }
            }
            Event::Blocks { from, to, .. }
            | Event::Vote { from, to, .. }
            | Event::Heard { from, to }
            | Event::Proof { from, to, .. }
            | Event::Announced { from, to, .. }
                if !self.reaches(from, to) => {}
            Event::Blocks { to, blocks, .. } => blocks.into_iter().for_each(|block| self.receive(to, block)),
            Event::Vote { to, cast, .. } => self.hear(to, &cast),
            Event::Heard { from, to } => self.hear_all(from, to),
            Event::Proof { to, slot, .. } => self.prove(to, slot),
            Event::Announced { from, to, slot } => {
                let node = self.keys[self.hosts[from].seat].pubkey();
                self.feed(to, Input::Announced { node, slot });
            }
        }
    }

    fn begin_slot(&mut self, slot: u64) {
        if self.ending.is_none() {
            for step in self.plan.steps.remove(&slot).unwrap_or_default() {
                self.take(step);
            }
            if slot >= self.config.slots {
                self.heal(slot);
            }
        }
        let now = self.now();
        for host in 0..self.hosts.len() {
            let Some(machine) = &mut self.hosts[host].machine else { continue };
            if machine.poll_timeout().is_some_and(|due| now.reached(due)) {
                let mut effects = Vec::new();
                machine.handle_timeout(now, &mut effects);
                self.obey(host, effects);
            }
            self.trace_versions(host);
            if slot.is_multiple_of(ASK_SLOTS) {
                self.ask_ancestors(host);
            }
            self.fetch(host);
            self.spread_again(host);
            let peer = self.rng.gen_range(0..self.hosts.len());
            if slot.is_multiple_of(PULL_SLOTS) && peer != host {
                let after = self.delay(peer);
                self.later(after, Event::Heard { from: peer, to: host });
            }
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].seat == self.plan.leader(slot) {
                self.lead(host, slot);
            }
        }
    }

    fn take(&mut self, step: Step) {
        let count = self.hosts.len();
        match step {
            Step::Part(groups) => {
                for (link, open) in self.open.iter_mut().enumerate() {
                    *open &= groups[link / count] == groups[link % count];
                }
            }
            Step::Cut(from, to) => self.open[from * count + to] = from == to,
            Step::Join => self.open.fill(true),
            Step::Crash(host) => self.crash(host),
            Step::Start(host) => self.start(host),
            Step::Slow(host, ms) => self.hosts[host].slow_ms = ms,
        }
    }

    /// Ends every fault.
    fn heal(&mut self, slot: u64) {
        self.take(Step::Join);
        for host in 0..self.hosts.len() {
            self.hosts[host].slow_ms = 0;
            self.start(host);
        }
        self.plan.delay_ms.1 = self.plan.delay_ms.1.min(200);
        self.end_faults(slot);
    }

    /// A leader's slot: it builds on the block that its machine says, and those who lie make a second version.
    fn lead(&mut self, host: usize, slot: u64) {
        let Some(machine) = &self.hosts[host].machine else { return };
        let (reset, hash) = machine.reset_block();
        let parent = self.hosts[host].executed.get(&reset).copied();
        let Some(parent) = parent.filter(|parent| self.chain.get(*parent).hash == hash) else { return };
        if reset.get() >= slot || self.hosts[host].made >= Some(slot) || !self.may_lead(host, parent, slot) {
            return;
        }
        self.hosts[host].made = Some(slot);
        let liar = self.ending.is_none() && self.plan.seats[self.hosts[host].seat].forks;
        let second = liar && self.rng.gen_range(0..100) < FORKS_PERCENT;
        let first = self.build(host, (slot, parent), 0, true);
        let other = second.then(|| {
            let older = self.chain.get(parent).parent;
            let parent = if self.rng.gen_bool(0.3) && older >= self.hosts[host].root { older } else { parent };
            let sound = self.rng.gen_bool(0.8);
            self.build(host, (slot, parent), 1, sound)
        });
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            let block = other.filter(|_| self.rng.gen_bool(0.5)).unwrap_or(first);
            if self.rng.gen_range(0..100) >= self.plan.loss_percent {
                let after = self.delay(host);
                self.later(after, Event::Blocks { from: host, to, blocks: vec![block] });
            }
        }
        self.receive(host, first);
    }

    /// Before a new window, the last own block on the fork must have reached enough others.
    fn may_lead(&self, host: usize, parent: BlockId, slot: u64) -> bool {
        let this = &self.hosts[host];
        let mut at = parent;
        while self.chain.get(at).leader != host && at != this.root && at != 0 {
            at = self.chain.get(at).parent;
        }
        let last = self.chain.get(at).slot;
        let same_window = last.get() / WINDOW == slot / WINDOW;
        same_window || at == this.root || this.machine.as_ref().is_some_and(|machine| machine.is_propagated(last))
    }

    fn build(&mut self, host: usize, (slot, parent): (u64, BlockId), version: u8, sound: bool) -> BlockId {
        let (slot, votes) = (Slot::new(slot), &self.hosts[host].heard);
        // Two machines of one leader make two versions.
        let version = version + 2 * u8::from(host >= self.plan.seats.len());
        let block = self.chain.make(&Content { slot, parent, leader: host, version, sound, votes });
        let made = self.chain.get(block);
        let judged = self.checker.block(made.slot, made.hash, self.chain.parent_key(block));
        self.judged(judged);
        self.outcome.blocks += 1;
        block
    }
}
