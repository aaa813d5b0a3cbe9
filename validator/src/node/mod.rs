//! The whole node as a value: the machines, composed.
//!
//! ```text
//!  datagrams --> gossip ----- peers, stakes ----> turbine, gulfstream
//!            --> turbine ---- entry batches ----> replay --- frozen banks ---> tower --- votes ---> gossip, leaders
//!            --> gulfstream - transactions -----> leading -- entries --------> broadcast --- shreds ---> turbine
//! ```
//!
//! Nothing here waits, and nothing heavy runs here: work leaves as [`Job`]s, writes as batches.

mod ancestors;
mod boot;
mod broadcast;
mod checks;
mod forks;
mod heard;
mod job;
mod leading;
mod lost;
mod memory;
mod outlook;
mod own_block;
mod ports;
mod propagation;
mod recall;
mod record;
mod replay;
mod restart;
mod returning;
mod roots;
mod shelf;
mod sync;
mod view;
mod voting;
mod waiting;
mod windows;
mod wiring;

pub use boot::{Boot, BootError, FEATURE_SET, GossipSettings, SyncBounds, TowerPolicy, VERSION, stored};
pub use forks::{FROZEN_MAX, Forks, Frozen};
pub use heard::ProofCheck;
pub use job::{Done, Job, ShredJob};
pub use outlook::{Outlook, fork_blocks, votes_of};
pub use ports::{Divergence, Effect, Event, Input, Socket};
pub use record::{record, status_meta, told};
pub use replay::{ChainSoFar, DeadBlock, PENDING_BYTES_MAX, PENDING_MAX, PUT_OFF_MAX, Replay, Replayed, Start, Tally};
pub use restart::{RestartError, RestartOrder, WayBack, agree, blocks_above, way_back};
pub use view::{Counters, GossipNow, Sample, View};
pub use waiting::{Attendance, Look, SUPERMAJORITY_PERCENT, Wait};

use solana_keypair::Keypair;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use sundog_gossip::Gossip;
use sundog_gulfstream::Gulfstream;
use sundog_ledger::Ledger;
use sundog_rpc::subscriptions::ExecutedTransaction;
use sundog_runtime::Bank;
use sundog_tower::Consensus;
use sundog_turbine::Turbine;
use sundog_types::{
    Effects, Hash, Machine, Now, Pubkey, Signature, Slot, machine::earliest, peer::Peer, schedule::Leaders,
    shred::View as ShredView, sign::Sign,
};

/// How often the view's counters are renewed when nothing else renews it.
const VIEW_EVERY: Duration = Duration::from_millis(500);
/// How often is looked after what no input brings about, blocks and views or none.
const TEND_EVERY: Duration = Duration::from_millis(500);

/// What a node needs to know that does not change while it runs.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Length of a slot, from genesis.
    pub slot: Duration,
    /// Ticks in a slot, from genesis.
    pub ticks_per_slot: u64,
    /// Which chain this is (reference 3.11).
    pub shred_version: u16,
    /// A node leads no slot before it sees peers with two thirds of the stake, or this much time has passed.
    pub lead_after: Duration,
    /// A node whose confirmed slot is further than this behind the cluster's says that it is behind.
    pub health_distance_slots: u64,
    /// Slots of blocks kept in the ledger below the root.
    pub ledger_slots: u64,
}

/// The machines and the state that a node starts from.
pub struct NodeParts {
    /// The configuration.
    pub config: NodeConfig,
    /// The identity's key, for vote transactions.
    pub identity: Arc<Keypair>,
    /// The vote account and the key that votes for it. `None`: the node follows without voting.
    pub voter: Option<Voter>,
    /// Signs what is not a transaction.
    pub signer: Arc<dyn Sign>,
    /// The registry.
    pub gossip: Gossip,
    /// The blocks' way.
    pub turbine: Turbine,
    /// Catching up.
    pub sync: sundog_turbine::sync::Sync,
    /// The fork decisions.
    pub consensus: Consensus,
    /// Whether votes of an earlier life are looked for, as there is no tower file.
    pub listens: bool,
    /// What an earlier life executed above the root.
    pub recall: recall::Recall,
    /// When the genesis was made, in milliseconds since the Unix epoch.
    pub genesis_ms: u64,
    /// The transactions' way.
    pub gulfstream: Gulfstream,
    /// What is remembered.
    pub ledger: Ledger,
    /// What the node waits for at its root before it takes part.
    pub wait: Option<Wait>,
    /// The last slot that this node may have led before it was restarted.
    pub led: Option<Slot>,
    /// The rooted bank.
    pub root: Arc<Bank>,
    /// The Merkle root of the last FEC set of the rooted block, if the ledger has it.
    pub block_id: Option<Hash>,
}

/// A vote account and its key.
#[derive(Clone)]
pub struct Voter {
    /// The account.
    pub account: Pubkey,
    /// The key that votes.
    pub key: Arc<Keypair>,
}

/// What a durable write was for.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// The tower's own id.
    Tower(u64),
    /// The blocks that it votes for; nobody waits for these alone.
    Blocks,
    /// Own slots up to here are marked as led.
    Led(Slot),
    /// The bank of this slot is the root on disk.
    Root(Slot),
}

/// A validator.
pub struct Node {
    config: NodeConfig,
    identity: Pubkey,
    key: Arc<Keypair>,
    voter: Option<Voter>,
    signer: Arc<dyn Sign>,
    gossip: Gossip,
    turbine: Turbine,
    sync: sundog_turbine::sync::Sync,
    catching: sync::Catching,
    consensus: Consensus,
    gulfstream: Gulfstream,
    ledger: Ledger,
    forks: Forks,
    shelf: shelf::Shelf,
    replays: replay::Replays,
    leading: leading::Leading,
    broadcast: broadcast::Broadcast,
    leaders: Leaders,
    peers: Arc<Vec<Peer>>,
    dead: BTreeSet<Slot>,
    proven: heard::Proven,
    returning: returning::Returning,
    first_vote: windows::FirstVote,
    /// When it was last looked after what no input brings about.
    tended: Now,
    recall: recall::Recall,
    ancestors: ancestors::Ancestors,
    fetched: lost::Fetched,
    propagation: propagation::Propagation,
    /// The highest slot of which a shred came or for which a vote was cast.
    highest_seen: Slot,
    /// The newest verified vote of every staked vote account.
    newest_votes: BTreeMap<Pubkey, Slot>,
    transactions_in_block: BTreeMap<Slot, u64>,
    /// What subscribers will be told of blocks that are not frozen yet.
    told: BTreeMap<Slot, Vec<ExecutedTransaction>>,
    /// Transactions in blocks that are not confirmed yet.
    unsettled: BTreeMap<Slot, Vec<Signature>>,
    awaited: BTreeMap<u64, Awaited>,
    /// A tower that waits for the last sets of an own block. The tower makes none while one is not saved.
    unsaved: Option<(u64, Vec<u8>)>,
    next_id: u64,
    checks: checks::Checks,
    roots: roots::Roots,
    view: view::Publisher,
    started: Now,
    saw_supermajority: bool,
    /// Set: the cluster is restarted, and too few are there yet.
    wait: Option<Wait>,
    counters: Counters,
}

impl Node {
    /// A node at its root, before anything happened.
    #[must_use]
    pub fn new(parts: NodeParts, now: Now, out: &mut Effects<Effect>) -> Self {
        let root = Frozen { bank: Arc::clone(&parts.root), mine: false, block_id: parts.block_id, transactions: 0 };
        let leaders = Leaders::new(parts.root.epoch_schedule().clone());
        let lowest = parts.ledger.lowest_slot().ok().flatten().unwrap_or_default();
        let mut node = Self {
            identity: parts.signer.identity(),
            config: parts.config,
            key: parts.identity,
            voter: parts.voter,
            signer: parts.signer,
            gossip: parts.gossip,
            turbine: parts.turbine,
            sync: parts.sync,
            catching: sync::Catching::from(parts.root.slot(), lowest),
            consensus: parts.consensus,
            gulfstream: parts.gulfstream,
            ledger: parts.ledger,
            forks: Forks::new(root),
            shelf: shelf::Shelf::default(),
            replays: replay::Replays::default(),
            leading: leading::Leading::after(parts.led),
            broadcast: broadcast::Broadcast::default(),
            leaders,
            peers: Arc::default(),
            dead: BTreeSet::new(),
            proven: heard::Proven::default(),
            recall: parts.recall,
            ancestors: ancestors::Ancestors::default(),
            fetched: lost::Fetched::default(),
            returning: returning::Returning::new(parts.listens, parts.genesis_ms),
            first_vote: windows::FirstVote::default(),
            tended: now,
            propagation: propagation::Propagation::default(),
            highest_seen: Slot::ZERO,
            newest_votes: BTreeMap::new(),
            transactions_in_block: BTreeMap::new(),
            told: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            awaited: BTreeMap::new(),
            unsaved: None,
            next_id: 0,
            checks: checks::Checks::default(),
            roots: roots::Roots::new(&parts.root),
            view: view::Publisher::new(now),
            started: now,
            saw_supermajority: false,
            wait: parts.wait,
            counters: Counters::default(),
        };
        node.first_vote.was_stored(parts.root.slot());
        node.enter_epochs(now, &parts.root, out);
        let own = node.voter.as_ref().and_then(|voter| returning::tower_in(&parts.root, voter.account));
        if let Some(own) = own {
            node.consensus(now, sundog_tower::Input::OwnVote(own), out);
        }
        node.tell_gossip_root(now, out);
        node.turbine(now, sundog_turbine::Input::Root(parts.root.slot()), out);
        node.lead_reset(now, parts.root.slot(), out);
        node.publish(now, out);
        node
    }

    /// The node's identity.
    #[must_use]
    pub const fn identity(&self) -> Pubkey {
        self.identity
    }

    /// The tree of frozen blocks.
    #[must_use]
    pub const fn forks(&self) -> &Forks {
        &self.forks
    }

    /// The ledger it reads.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn await_durable(&mut self, what: Awaited) -> u64 {
        self.next_id += 1;
        self.awaited.insert(self.next_id, what);
        self.next_id
    }

    /// Has something that gossip brought checked, unless the pool is that far behind. Whether it is checked.
    fn check(&mut self, job: Job, out: &mut Effects<Effect>) -> bool {
        if !self.checks.begin(&job) {
            self.counters.unchecked += 1;
            return false;
        }
        out.push(Effect::Run(job));
        true
    }

    fn is_own(&self, slot: Slot) -> bool {
        self.leading.made(slot, self.leaders.leader(slot) == Some(self.identity))
    }

    /// Whether this node may begin its slots: it knows enough of the cluster, is not behind it,
    /// and is where it was before it was restarted.
    fn ready_to_lead(&self, now: Now) -> bool {
        let heard = self.saw_supermajority || now.since(self.started) >= self.config.lead_after;
        let voted = self.voted_beyond(1).unwrap_or_default();
        // By what it has executed, not by what it builds on: more than a third of the stake may vote on, far ahead on a
        // fork that the others are not free to take, and the others' fork must grow all the same.
        let behind = voted > self.forks.highest().saturating_add(leading::BEHIND_SLOTS);
        heard && !behind && self.wait.is_none() && self.recall.is_over()
    }
}

impl Node {
    /// Looks after what no input brings about.
    fn tend(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.look_around(now, out);
        self.tell_tip(now, out);
        self.tell_chain(now, out);
        self.spread_again(now, out);
        self.trace_versions(now, out);
        self.hear_others(now);
        self.give_up_versions(now, out);
        self.ask_ancestors(now, out);
        self.note_settled(out);
        self.recall_timeout(now, out);
    }
}

impl Machine for Node {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Effects<Effect>) {
        if self.wait.is_some() && input.brings_blocks() {
            return;
        }
        match input {
            Input::Gossip { from, bytes } => {
                if self.gossip.accept(now, from, bytes.len()).is_ok() {
                    self.check(Job::CheckGossip { from, bytes }, out);
                }
            }
            Input::Shred { from, bytes } => self.turbine(now, sundog_turbine::Input::Shred { bytes, from }, out),
            Input::RepairResponse { from, bytes } => {
                self.turbine(now, sundog_turbine::Input::RepairResponse { from, bytes }, out);
            }
            Input::RepairRequest { from, bytes } => {
                self.turbine(now, sundog_turbine::Input::RepairRequest { from, bytes }, out);
            }
            Input::Transactions { source, packets } => {
                self.gulf(now, sundog_gulfstream::Input::Packets { source, packets }, out);
            }
            Input::Submit { packet, last_valid_block_height, retries_max } => {
                self.gulf(now, sundog_gulfstream::Input::Submit { packet, last_valid_block_height, retries_max }, out);
            }
            Input::Done(done) => self.done(now, done, out),
            Input::Poh(effect) => self.lead_poh(now, effect, out),
            Input::Durable { id } => self.durable(now, id, out),
            Input::Sync(input) => self.sync(now, input, out),
            Input::Stored { shreds } => {
                let slot = shreds.first().and_then(|shred| ShredView::read(shred).ok()).map(|shred| shred.slot());
                self.first_vote.was_stored(slot.unwrap_or_default());
                self.recall.begins(now);
                self.turbine(now, sundog_turbine::Input::Stored { shreds }, out);
            }
        }
    }

    fn handle_timeout(&mut self, now: Now, out: &mut Effects<Effect>) {
        self.gossip_timeout(now, out);
        self.turbine_timeout(now, out);
        self.sync_timeout(now, out);
        self.consensus_timeout(now, out);
        self.gulf_timeout(now, out);
        self.lead_timeout(now, out);
        self.broadcast_pump(now, out);
        self.remember_due(now, out);
        if now.reached(self.tended.after(TEND_EVERY)) {
            self.tended = now;
            self.tend(now, out);
        }
        if self.view.due(now) {
            self.publish(now, out);
        }
    }

    fn poll_timeout(&self) -> Option<Now> {
        [
            self.gossip.poll_timeout(),
            self.turbine.poll_timeout(),
            self.sync.poll_timeout(),
            self.consensus.poll_timeout(),
            self.gulfstream.poll_timeout(),
            self.leading.poll_timeout(),
            self.broadcast.poll_timeout(),
            self.shelf.poll_timeout(),
            self.view.poll_timeout(),
            Some(self.tended.after(TEND_EVERY)),
        ]
        .into_iter()
        .fold(None, earliest)
    }
}
