//! A simulated machine: a node, its recorder, its disk.

use super::{
    Port, SyncFault, World, WorldConfig,
    clock::Clock,
    fork::{Draft, Other, spoil},
    world::UNIX_START_MS,
};
use crate::node::{
    Boot, BootError, Effect, Event, GossipSettings, Input, Job, Node, RestartOrder, SyncBounds, TowerPolicy, View,
    Voter, stored,
};
use bytes::Bytes;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use solana_keypair::Keypair;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};
use sundog_ledger::{Ledger, MemoryStore};
use sundog_poh::{Recorder, RecorderConfig, RecorderInput};
use sundog_runtime::genesis::{GenesisConfig, GenesisValidator, LocalnetGenesis};
use sundog_turbine::FecSet;
use sundog_types::{
    Effects, Hash, Machine as _, Now, Slot,
    entry::Entry,
    machine::earliest,
    shred,
    vote::{self, VoteOnWire},
};

/// Hashes in a tick of a simulated chain: enough that records fit between ticks, few enough to be quick.
const HASHES_PER_TICK: u64 = 8;
/// One SOL in lamports.
const LAMPORTS_PER_SOL: u64 = 1_000_000_000;

/// What a lying leader does to its block before it is shredded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first entry claims another hash.
    WrongEntryHash,
    /// One tick is missing.
    WrongTickCount,
    /// A transaction that cannot pay is in an entry whose hash is right.
    InvalidTransaction,
    /// Several good blocks: [`Host::versions`] says which node gets which. The first is the one that it has itself, each
    /// other has a transfer more. By default there are two, and nodes with odd numbers get the second.
    TwoVersions,
    /// The code shreds of the last FEC set are noise under a valid signature.
    NotDecodable,
    /// Not a lie in a block, and not once: all shreds that it passes on it sends to all others, ten times, and ten
    /// times with signatures that nobody made.
    Floods,
}

/// A simulated machine.
pub struct Host {
    /// The node, while it runs.
    pub node: Option<Node>,
    /// Its recorder, while it runs.
    pub recorder: Option<Recorder>,
    /// Its disk.
    pub store: Arc<MemoryStore>,
    /// Its tower file.
    pub tower: Option<Vec<u8>>,
    /// What it does without that.
    pub tower_policy: TowerPolicy,
    /// What it is told of coordinated restarts.
    pub restart: RestartOrder,
    /// What it said that keeps it apart from others.
    pub troubles: Vec<String>,
    /// Its identity.
    pub identity: Arc<Keypair>,
    /// Its vote key, which is also its vote account's address.
    pub vote: Arc<Keypair>,
    /// Whether it votes when it is started: at first only those with stake in the genesis do.
    pub is_voter: bool,
    /// What it last published.
    pub view: Option<Arc<View>>,
    /// The bank hash of every block it froze.
    pub blocks: BTreeMap<Slot, Hash>,
    /// The slots of which it froze two different blocks, in this life or an earlier one: never.
    pub refrozen: BTreeSet<Slot>,
    /// The parent of every block it froze.
    pub parents: BTreeMap<Slot, Slot>,
    /// The blocks it threw away for another version, by slot: the bank hashes they had.
    pub lost: BTreeMap<Slot, Hash>,
    /// The parents of the blocks it threw away.
    pub lost_parents: BTreeMap<Slot, Slot>,
    /// The slots it found dead.
    pub dead: BTreeMap<Slot, String>,
    /// The slots of which it says that their leader signed two versions.
    pub duplicates: BTreeMap<Slot, String>,
    /// The slots it rooted, newest last.
    pub rooted: Vec<Slot>,
    /// The highest slot it knows to be finalized.
    pub finalized: Slot,
    /// The slots it voted for, over all its lives, in the order of voting.
    pub voted: Vec<Slot>,
    /// Its votes as they left for the next leaders, over all its lives.
    pub votes: Vec<VoteOnWire>,
    /// The leaders of the slots it saw begin.
    pub started: BTreeMap<Slot, sundog_types::Pubkey>,
    /// Whether its votes tell block ids.
    pub tells_block_ids: bool,
    /// How it lies in its own slots from the given one on, once.
    pub fault: Option<(Fault, Slot)>,
    /// How it treats those who fetch blocks from it.
    pub sync_fault: Option<SyncFault>,
    /// The slot it lied in, and where its own chain of hashes stands.
    pub(super) lie: Option<(Slot, Hash)>,
    /// Every slot it lied in.
    pub(super) lies: BTreeSet<Slot>,
    /// Which version of its block each node gets, by its number, when it makes several.
    pub versions: Vec<usize>,
    /// The other versions of the block that it lied in, from the second on.
    pub(super) others: Vec<Option<Other>>,
    /// The moment of the wake-up that counts, in the world's time; earlier ones in the queue are stale.
    pub(super) wake: Option<Now>,
    /// Its clocks.
    pub(super) clock: Clock,
    /// Counts restarts: what was under way for an earlier life is not delivered.
    pub(super) life: u32,
}

/// What a node starts with, apart from its disk and keys.
pub(super) struct Start<'a> {
    pub(super) genesis: &'a Arc<GenesisConfig>,
    /// Which machine it is; decides its addresses.
    pub(super) number: usize,
    pub(super) entrypoint: Option<SocketAddr>,
    pub(super) fanout: Option<usize>,
}

/// The genesis of a world: keys and times come from its seed.
pub(super) fn genesis(config: &WorldConfig, hosts: &[Host]) -> GenesisConfig {
    let staked = hosts.iter().zip(&config.stakes).filter(|(_, stake)| **stake > 0);
    let validators = staked
        .map(|(host, stake)| GenesisValidator {
            identity: host.identity.pubkey(),
            identity_lamports: 500 * LAMPORTS_PER_SOL,
            vote: host.vote.pubkey(),
            vote_authority: host.vote.pubkey(),
            vote_lamports: 0,
            stake: Keypair::new_from_array(Hash::new_from_array(host.vote.pubkey().to_bytes()).to_bytes()).pubkey(),
            delegated: stake * LAMPORTS_PER_SOL,
        })
        .collect();
    let faucet = World::faucet(config.seed).pubkey();
    let creation_time = i64::try_from(UNIX_START_MS / 1_000).expect("a year near ours");
    let mut genesis = LocalnetGenesis::new(creation_time, faucet, validators);
    genesis.tick_duration = config.slot / 64;
    genesis.slots_per_epoch = config.slots_per_epoch;
    genesis.hashes_per_tick = Some(HASHES_PER_TICK);
    genesis.build().expect("a world's genesis is consistent")
}

/// The machines of a world, not started yet.
pub(super) fn hosts(config: &WorldConfig, rng: &mut ChaCha8Rng) -> Vec<Host> {
    let host = |stake: &u64| Host {
        node: None,
        recorder: None,
        store: Arc::new(MemoryStore::new()),
        tower: None,
        tower_policy: TowerPolicy::default(),
        restart: RestartOrder::default(),
        troubles: Vec::new(),
        identity: Arc::new(Keypair::new_from_array(rng.r#gen())),
        vote: Arc::new(Keypair::new_from_array(rng.r#gen())),
        is_voter: *stake > 0,
        view: None,
        blocks: BTreeMap::new(),
        refrozen: BTreeSet::new(),
        parents: BTreeMap::new(),
        lost: BTreeMap::new(),
        lost_parents: BTreeMap::new(),
        dead: BTreeMap::new(),
        duplicates: BTreeMap::new(),
        rooted: Vec::new(),
        finalized: Slot::ZERO,
        voted: Vec::new(),
        votes: Vec::new(),
        started: BTreeMap::new(),
        tells_block_ids: true,
        fault: None,
        sync_fault: None,
        lie: None,
        lies: BTreeSet::new(),
        versions: (0..config.stakes.len()).map(|node| node % 2).collect(),
        others: Vec::new(),
        wake: None,
        clock: Clock::default(),
        life: 0,
    };
    config.stakes.iter().map(host).collect()
}

impl Host {
    /// Starts the node from its disk.
    pub(super) fn boot(
        &mut self,
        start: Start<'_>,
        seed: [u8; 32],
        now: Now,
        out: &mut Effects<Effect>,
    ) -> Result<(), BootError> {
        let voter = Voter { account: self.vote.pubkey(), key: Arc::clone(&self.vote) };
        let boot = Boot {
            genesis: Arc::clone(start.genesis),
            identity: Arc::clone(&self.identity),
            voter: self.is_voter.then_some(voter),
            store: Arc::<MemoryStore>::clone(&self.store),
            tower: self.tower.clone(),
            tower_policy: self.tower_policy,
            restart: self.restart.clone(),
            addresses: Port::advertised(start.number),
            entrypoints: start.entrypoint.into_iter().collect(),
            allow_private: true,
            fanout: start.fanout,
            gossip: GossipSettings::default(),
            sync: SyncBounds::default(),
            ledger_slots: 20_000,
            health_distance_slots: 32,
            seed,
        };
        let recorder: RecorderConfig = boot.recorder();
        let (node, effects) = boot.start(now)?;
        self.recorder = Some(Recorder::new(recorder));
        self.node = Some(node);
        self.wake = None;
        out.extend(effects);
        Ok(())
    }

    /// The shreds on its disk above the root.
    pub(super) fn stored(&self) -> Vec<Vec<Bytes>> {
        stored(&Ledger::new(Arc::<MemoryStore>::clone(&self.store))).expect("memory does not fail")
    }

    /// Tells the recorder something; what it answers goes to `deliver`.
    pub(super) fn record(&mut self, now: Now, input: RecorderInput, deliver: &mut dyn FnMut(Input)) {
        let mut effects = Vec::new();
        if let RecorderInput::Start { since, .. } = &input {
            self.clock.start_poh(*since);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.handle(self.clock.poh_time(now), input, &mut effects);
        }
        effects.into_iter().for_each(|effect| deliver(Input::Poh(effect)));
    }

    /// Does what is due.
    pub(super) fn wake_up(&mut self, now: Now, out: &mut Effects<Effect>) {
        let mut ticks = Vec::new();
        let paced = self.clock.poh_time(now);
        let due = |recorder: &&mut Recorder| recorder.poll_timeout().is_some_and(|due| paced.reached(due));
        if let Some(recorder) = self.recorder.as_mut().filter(due) {
            recorder.handle_timeout(paced, &mut ticks);
        }
        let Some(node) = &mut self.node else { return };
        for tick in ticks {
            node.handle(now, Input::Poh(tick), out);
        }
        if node.poll_timeout().is_some_and(|due| now.reached(due)) {
            node.handle_timeout(now, out);
        }
    }

    /// When there is something to do, by its own clock.
    pub(super) fn poll_timeout(&self) -> Option<Now> {
        let node = self.node.as_ref()?.poll_timeout();
        let tick = self.recorder.as_ref().and_then(Recorder::poll_timeout);
        earliest(node, tick.map(|due| self.clock.poh_due(due)))
    }

    /// The blocks from just after genesis to `root`, ascending; empty if a link is missing.
    #[must_use]
    pub fn rooted_chain(&self, root: Slot) -> Vec<Slot> {
        let mut chain = Vec::new();
        let mut at = root;
        while at > Slot::ZERO {
            chain.push(at);
            let Some(parent) = self.parents.get(&at) else { return Vec::new() };
            at = *parent;
        }
        chain.reverse();
        chain
    }

    /// Notes an event.
    pub(super) fn note(&mut self, event: &Event) {
        event.log();
        match event {
            Event::SlotStarted { slot, leader, .. } => {
                self.started.insert(*slot, *leader);
            }
            Event::BlockComplete { slot, parent, bank_hash, .. } => {
                if self.blocks.insert(*slot, *bank_hash).is_some_and(|before| before != *bank_hash) {
                    self.refrozen.insert(*slot);
                }
                self.parents.insert(*slot, *parent);
            }
            Event::Lost { slot, hash } => {
                self.blocks.remove(slot);
                self.lost_parents.extend(self.parents.remove(slot).map(|parent| (*slot, parent)));
                self.lost.insert(*slot, *hash);
            }
            Event::Dead { slot, why } => {
                self.dead.insert(*slot, why.clone());
            }
            Event::Duplicate { slot, why } => {
                self.duplicates.insert(*slot, why.clone());
            }
            Event::Voted { slot, .. } => self.voted.push(*slot),
            Event::Rooted { slot } => self.rooted.push(*slot),
            Event::Gossip(trouble) => self.troubles.push(trouble.to_string()),
            Event::Finalized { slot } => self.finalized = self.finalized.max(*slot),
            _ => {}
        }
    }

    /// Notes what leaves by the vote socket, if it is a vote of this host.
    pub(super) fn note_vote(&mut self, bytes: &[u8]) -> Option<&VoteOnWire> {
        let transaction = bincode::deserialize::<VersionedTransaction>(bytes).ok();
        let parsed = transaction.as_ref().and_then(vote::parse_vote);
        let own = parsed.filter(|parsed| parsed.vote_account == self.vote.pubkey())?;
        self.votes.push(own.voted);
        self.votes.last()
    }

    /// Lets a lying leader change what it is about to shred.
    pub(super) fn tamper(&mut self, job: &mut Job) {
        let Some((fault, from)) = self.fault else { return };
        let Job::Shred(shred) = job else { return };
        let slot = shred.shredder.slot();
        let begins = self.lie.is_none() && slot >= from;
        if !begins && self.lie.is_none_or(|(lied_in, _)| lied_in != slot) {
            return;
        }
        let parent = self.node.as_ref().and_then(|n| n.forks().get(shred.shredder.parent()));
        let start = parent.map(|p| p.bank.last_blockhash()).unwrap_or_default();
        let hash = self.lie.map_or(start, |(_, hash)| hash);
        self.lies.insert(slot);
        self.lie = Some((slot, tell(fault, begins, hash, &mut shred.entries)));
    }

    /// A batch of a block whose shreds it will change.
    pub(super) fn draft(&self, job: &Job) -> Option<Draft> {
        let (slot, _) = self.lie.filter(|_| self.has(Fault::TwoVersions) || self.has(Fault::NotDecodable))?;
        Draft::of(job, slot)
    }

    /// Spoils the sets of a batch, or makes the sets of the other versions that belong to them, with their numbers.
    pub(super) fn deceive(&mut self, draft: Draft, sets: &mut [FecSet], seed: u64) -> Vec<(usize, Vec<FecSet>)> {
        if self.has(Fault::NotDecodable) {
            spoil(&draft, sets);
            return Vec::new();
        }
        let Some((_, start)) = self.lie else { return Vec::new() };
        self.others.resize_with(self.versions.iter().copied().max().unwrap_or_default(), || None);
        let others = (1..).zip(&mut self.others);
        others
            .map(|(number, other)| (number, Other::go_on(other, draft.clone(), sets, (start, seed, number))))
            .collect()
    }

    /// Whether it keeps a shred from the node with this number, which is to get another version.
    pub(super) fn keeps_from(&self, to: usize, bytes: &[u8]) -> bool {
        let of = |slot| shred::View::read(bytes).is_ok_and(|shred| shred.slot() == slot);
        let gets_first = self.versions.get(to).is_none_or(|version| *version == 0);
        self.has(Fault::TwoVersions) && !gets_first && self.lie.is_some_and(|(slot, _)| of(slot))
    }

    /// Has it lie once more, from the given slot on, in the way it did.
    pub fn lie_again(&mut self, from: Slot) {
        self.fault = self.fault.map(|(fault, _)| (fault, from));
        self.lie = None;
        self.others.clear();
    }

    /// Whether it has this fault.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault.is_some_and(|(has, _)| has == fault)
    }

    /// The slot it lied in.
    #[must_use]
    pub fn lied_in(&self) -> Option<Slot> {
        self.lie.map(|(slot, _)| slot)
    }
}

/// Changes the entries of a batch; returns the hash that the next batch continues from.
fn tell(fault: Fault, begins: bool, start: Hash, entries: &mut Vec<Entry>) -> Hash {
    match (fault, begins) {
        (Fault::WrongEntryHash, true) => {
            if let Some(entry) = entries.first_mut() {
                entry.hash = Hash::new_from_array([7; 32]);
            }
        }
        (Fault::WrongTickCount, true) => {
            entries.pop();
        }
        (Fault::InvalidTransaction, true) => {
            let poor = Keypair::new_from_array([9; 32]);
            let nobody = sundog_types::Pubkey::new_from_array([8; 32]);
            let transfer = crate::payments::transfer(&poor, &nobody, 1, start);
            if let Some(first) = entries.first_mut() {
                first.num_hashes -= 1;
            }
            entries.insert(0, Entry { num_hashes: 1, hash: Hash::default(), transactions: vec![transfer] });
        }
        _ => {}
    }
    if fault == Fault::InvalidTransaction {
        // The chain itself stays right, so that only the transaction can be found wrong.
        return entries.iter_mut().fold(start, |hash, entry| {
            entry.hash = sundog_poh::next_hash(hash, entry);
            entry.hash
        });
    }
    start
}
