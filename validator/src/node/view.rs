//! What readers see of a node: an immutable view, replaced whole.

use super::{
    Effect, Node, VIEW_EVERY,
    outlook::{self, Outlook},
    waiting::Attendance,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use sundog_rpc::subscriptions::ExecutedTransaction;
use sundog_runtime::Bank;
use sundog_tower::Abstain;
use sundog_types::{Effects, Now, Pubkey, Slot, peer::Peer, schedule::Leaders};

/// Samples of the chain's pace kept: an hour of one-minute samples, as clients ask for at most 720.
const SAMPLES_MAX: usize = 720;
/// Length of a sample, seconds.
const SAMPLE_SECONDS: u16 = 60;
/// How often it is looked what gossip holds and whom it pushes to: the latter changes each 7.5 s, and to look takes some
/// microseconds for each thousand nodes.
const GOSSIP_EVERY: Duration = Duration::from_secs(1);

/// How busy the chain was during a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The slot at its end.
    pub slot: Slot,
    /// Transactions executed.
    pub transactions: u64,
    /// Of them, votes.
    pub votes: u64,
    /// Slots it covers.
    pub slots: u64,
    /// Its length in seconds.
    pub seconds: u16,
}

/// A node at one moment.
#[derive(Clone)]
pub struct View {
    /// The bank that the next block builds on.
    pub processed: Arc<Bank>,
    /// The newest bank that two thirds of the stake voted for.
    pub confirmed: Arc<Bank>,
    /// The rooted and finalized bank.
    pub finalized: Arc<Bank>,
    /// The highest slot that two thirds of the stake have voted for or beyond. `None` before they have.
    pub cluster_voted: Option<Slot>,
    /// The tower's root.
    pub root: Slot,
    /// Finalized slots that the ledger has not marked yet, ascending.
    pub unwritten_roots: Arc<Vec<Slot>>,
    /// The slots of the fork that is built on, above the finalized one, ascending.
    pub fork: Arc<Vec<Slot>>,
    /// The highest slot of which a shred came or for which a vote was cast.
    pub highest_seen: Slot,
    /// The slot that the clock is in.
    pub clock_slot: Slot,
    /// The registry, this node included.
    pub peers: Arc<Vec<Peer>>,
    /// Who leads when.
    pub leaders: Arc<Leaders>,
    /// How far behind a node may be that still says it keeps up, slots.
    pub health_distance_slots: u64,
    /// Newest first.
    pub samples: Arc<Vec<Sample>>,
    /// Who is there, while the node waits for enough of the stake after a restart of the cluster.
    pub waiting: Option<Attendance>,
    /// How far the node has come, while it catches up.
    pub catching_up: Option<sundog_turbine::sync::Progress>,
    /// The lowest slot that any peer has, while this node needs an older one.
    pub stranded: Option<Slot>,
    /// The node's own counters.
    pub counters: Arc<Counters>,
    /// Turbine's counters.
    pub turbine: Arc<sundog_turbine::Metrics>,
    /// Bulk sync's counters.
    pub sync: Arc<sundog_turbine::sync::Metrics>,
    /// Gossip's counters.
    pub gossip: Arc<sundog_gossip::Metrics>,
    /// What gossip holds and whom it pushes to; renewed each second.
    pub gossip_now: Arc<GossipNow>,
    /// Gulf Stream's counters.
    pub gulfstream: Arc<sundog_gulfstream::Metrics>,
    /// The tower and the forks.
    pub outlook: Option<Arc<Outlook>>,
}

/// Gossip at one moment.
#[derive(Clone, Debug, Default)]
pub struct GossipNow {
    /// This node.
    pub me: Pubkey,
    /// Peers that are pushed to, by the stake bucket of whose values, and how many of these were since it began.
    pub pushed_to: Vec<(usize, Pubkey, u64)>,
    /// Nodes in the table.
    pub nodes: usize,
    /// Values in the table.
    pub values: usize,
    /// Bytes of memory that the table takes.
    pub table_bytes: usize,
    /// Contact infos that wait for their address to answer a ping.
    pub waiting: usize,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View(processed {}, root {})", self.processed.slot(), self.root)
    }
}

/// What the node itself counts.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Blocks executed and frozen.
    pub blocks: u64,
    /// Transactions executed, votes included.
    pub transactions: u64,
    /// Votes cast.
    pub votes: u64,
    /// Votes that were not sent because the cluster is far beyond their slots: this node catches up.
    pub stale_votes: u64,
    /// Blocks found dead.
    pub dead: u64,
    /// Executed blocks thrown away for another version of them, or of one that they are built on.
    pub lost: u64,
    /// Times that another version was chosen of a slot that is rooted here.
    pub lost_too_late: u64,
    /// Blocks thrown away because peers agreed on another bank hash.
    pub lost_by_ancestors: u64,
    /// Versions given up because nobody could bring the block id that voters or a later block named.
    pub versions_given_up: u64,
    /// Votes from gossip whose signatures did not hold.
    pub unsigned_votes: u64,
    /// Votes from gossip of accounts and keys that may not vote; not even checked.
    pub strange_votes: u64,
    /// Proofs of two versions of a slot, from gossip, that prove nothing.
    pub false_proofs: u64,
    /// Own slots left out because too few nodes had the last own block.
    pub unpropagated: u64,
    /// How often an own block was sent again for that reason.
    pub spread_again: u64,
    /// Datagrams, votes and proofs of gossip that were not even checked, because the pool was behind or their host has its
    /// share of it.
    pub unchecked: u64,
    /// Transactions that the leader could not put into its block: too old, already there, or unable to pay.
    pub rejected: u64,
    /// Votes not cast, by reason.
    pub abstained: BTreeMap<&'static str, u64>,
    /// The last block not voted for, and why not.
    pub last_abstained: Option<(Slot, Abstain)>,
    /// Time from the first shred of a block until it was executed, added up, milliseconds.
    pub propagation_ms: u64,
    /// Blocks in that sum.
    pub propagated: u64,
    vote_transactions: u64,
    samples: VecDeque<Sample>,
    sample_start: Option<(Now, Slot, u64, u64)>,
    places: BTreeMap<Slot, u32>,
}

impl Counters {
    pub(super) fn abstained(&mut self, slot: Slot, why: Abstain) {
        self.last_abstained = Some((slot, why));
        *self.abstained.entry(why.name()).or_default() += 1;
    }

    pub(super) fn frozen(&mut self, slot: Slot, now: Now, block: &[ExecutedTransaction]) {
        self.blocks += 1;
        self.transactions += block.len() as u64;
        self.vote_transactions += block.iter().filter(|t| t.vote).count() as u64;
        let begins = (now, slot, self.transactions, self.vote_transactions);
        let (since, from, transactions, votes) = *self.sample_start.get_or_insert(begins);
        if now.since(since).as_secs() >= u64::from(SAMPLE_SECONDS) {
            self.samples.push_front(Sample {
                slot,
                transactions: self.transactions - transactions,
                votes: self.vote_transactions - votes,
                slots: slot.since(from).map_or(0, sundog_types::Delta::get),
                seconds: SAMPLE_SECONDS,
            });
            self.samples.truncate(SAMPLES_MAX);
            self.sample_start = Some(begins);
        }
    }

    /// The place in its block of the first of `count` more transactions.
    pub(super) fn next_place(&mut self, slot: Slot, count: usize) -> u32 {
        let place = self.places.entry(slot).or_default();
        let first = *place;
        *place = place.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }

    pub(super) fn forget(&mut self, slot: Slot) {
        self.places.remove(&slot);
    }

    pub(super) fn forget_below(&mut self, root: Slot) {
        self.places.retain(|slot, _| *slot > root);
    }

    fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }
}

/// When the next view is due.
pub(super) struct Publisher {
    last: Now,
    changed: bool,
    gossip: Arc<GossipNow>,
    gossip_since: Option<Now>,
    outlook: Option<Arc<Outlook>>,
    /// What the outlook was made of.
    outlook_of: Option<outlook::Mark>,
}

impl Publisher {
    pub(super) fn new(now: Now) -> Self {
        Self { last: now, changed: true, gossip: Arc::default(), gossip_since: None, outlook: None, outlook_of: None }
    }

    /// Something changed that readers want to see soon.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    pub(super) fn due(&self, now: Now) -> bool {
        now.reached(self.last.after(VIEW_EVERY))
    }

    pub(super) fn poll_timeout(&self) -> Option<Now> {
        Some(self.last.after(VIEW_EVERY))
    }
}

impl Node {
    /// Gives readers a new view.
    pub(super) fn publish(&mut self, now: Now, out: &mut Effects<Effect>) {
        if !std::mem::take(&mut self.view.changed) && !self.view.due(now) {
            return;
        }
        self.view.last = now;
        if self.view.gossip_since.is_none_or(|since| now.since(since) >= GOSSIP_EVERY) {
            self.view.gossip_since = Some(now);
            self.view.gossip = Arc::new(self.gossip_now());
        }
        let mark = self.outlook_mark();
        if self.view.outlook_of.is_none_or(|before| before != mark) {
            self.view.outlook_of = Some(mark);
            self.view.outlook = Some(Arc::new(self.outlook()));
        }
        out.push(Effect::Publish(Arc::new(self.look(now))));
    }

    fn gossip_now(&self) -> GossipNow {
        let table = self.gossip.table();
        GossipNow {
            me: self.identity,
            pushed_to: self.gossip.pushed_to().collect(),
            nodes: table.origins().count(),
            values: table.len(),
            table_bytes: table.held_bytes(),
            waiting: self.gossip.waiting_len(),
        }
    }

    /// The node as it is.
    #[must_use]
    pub fn look(&self, now: Now) -> View {
        let root = self.forks.get(self.forks.root()).expect("the root is in the tree");
        let at = |slot: Slot| self.forks.get(slot).map_or_else(|| Arc::clone(&root.bank), |f| Arc::clone(&f.bank));
        let processed = at(self.leading.reset().map_or(self.forks.root(), |r| r.slot));
        View {
            fork: Arc::new(self.forks.chain_to(processed.slot())),
            processed,
            confirmed: at(self.roots.confirmed),
            finalized: Arc::clone(&root.bank),
            unwritten_roots: self.roots.unwritten(),
            cluster_voted: self.cluster_voted(),
            root: self.roots.tower(),
            highest_seen: self.highest_seen,
            clock_slot: self.clock_slot(now),
            peers: Arc::clone(&self.peers),
            leaders: Arc::new(self.leaders.clone()),
            health_distance_slots: self.config.health_distance_slots,
            samples: Arc::new(self.counters.samples()),
            waiting: self.wait.as_ref().map(|wait| wait.attendance().clone()),
            catching_up: self.catching.progress(),
            stranded: self.catching.stranded(),
            counters: Arc::new(self.counters.clone()),
            turbine: Arc::new(self.turbine.metrics().clone()),
            sync: Arc::new(self.sync.metrics().clone()),
            gossip: Arc::new(self.gossip.metrics().clone()),
            gossip_now: Arc::clone(&self.view.gossip),
            gulfstream: Arc::new(self.gulfstream.metrics().clone()),
            outlook: self.view.outlook.clone(),
        }
    }

    /// Tells the machines which slot the clock is in.
    pub(super) fn tell_tip(&mut self, now: Now, out: &mut Effects<Effect>) {
        let slot = self.clock_slot(now);
        self.turbine(now, sundog_turbine::Input::Tip(slot), out);
        self.tell_upcoming(now, out);
    }

    /// Tells Gulf Stream who leads next.
    pub(super) fn tell_upcoming(&mut self, now: Now, out: &mut Effects<Effect>) {
        let slot = self.clock_slot(now);
        let upcoming: Vec<_> = (0..super::leading::UPCOMING_SLOTS)
            .map(|offset| slot.saturating_add(offset))
            .filter_map(|slot| self.leaders.leader(slot).map(|leader| (slot, leader)))
            .collect();
        self.gulf(now, sundog_gulfstream::Input::Leaders(Arc::new(upcoming)), out);
        let block_height = self.forks.get(self.forks.root()).map_or(0, |f| f.bank.block_height());
        self.gulf(now, sundog_gulfstream::Input::Tip { slot, block_height }, out);
    }
}
